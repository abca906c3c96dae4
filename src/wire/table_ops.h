// The FieldOps of every member type, for the generated tables (json.h).
#pragma once

#include <optional>

#include "base/arena.h"
#include "wire/json.h"

namespace odradek::wire {

template <class T>
struct PlainOps {
  static const void* get(const void* member) { return member; }
  static void* emplace(void* member) { return &(*static_cast<T*>(member) = T()); }
  static constexpr void (*reset)(void*) = nullptr;  // cannot be null
  using Value = T;
};
template <class T>
struct PlainOps<std::optional<T>> {
  static const void* get(const void* member) {
    const auto& o = *static_cast<const std::optional<T>*>(member);
    return o ? &*o : nullptr;
  }
  static void* emplace(void* member) { return &static_cast<std::optional<T>*>(member)->emplace(); }
  static void reset(void* member) { static_cast<std::optional<T>*>(member)->reset(); }
  using Value = T;
};

template <class T>
struct ArrayOps {
  static constexpr size_t (*size)(const void*) = nullptr;
  static constexpr const void* (*at)(const void*, size_t) = nullptr;
  static constexpr void* (*add)(void*, Arena&) = nullptr;
};
template <class E>
struct ArrayOps<Array<E>> {
  static size_t size(const void* array) { return static_cast<const Array<E>*>(array)->size(); }
  static const void* at(const void* array, size_t i) {
    return &(*static_cast<const Array<E>*>(array))[i];
  }
  static void* add(void* array, Arena& arena) { return &static_cast<Array<E>*>(array)->add(arena); }
};

template <class T>
inline constexpr FieldOps kOps = {PlainOps<T>::get,
                                  PlainOps<T>::emplace,
                                  PlainOps<T>::reset,
                                  ArrayOps<typename PlainOps<T>::Value>::size,
                                  ArrayOps<typename PlainOps<T>::Value>::at,
                                  ArrayOps<typename PlainOps<T>::Value>::add};

/// The type-erased doors of a message.
template <class T>
struct MessageOps {
  static void* make(Arena& arena) { return arena.make_array<T>(1); }
  static void encode(const void* message, Writer& w, int16_t version) {
    static_cast<const T*>(message)->encode(w, version);
  }
  static Result<void> decode(void* message, Reader& r, int16_t version) {
    return static_cast<T*>(message)->decode(r, version);
  }
};

}  // namespace odradek::wire
