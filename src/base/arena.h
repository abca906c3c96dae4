// Arena: memory for what lives exactly as long as one request. Nothing is freed before the arena
// is. Only trivially destructible things go in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>
#include <type_traits>
#include <vector>

namespace odradek {

class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// Uninitialised memory; never null.
  void* allocate(size_t size, size_t align) {
    auto at = (reinterpret_cast<uintptr_t>(next_) + align - 1) & ~(align - 1);
    if (next_ == nullptr || at + size > reinterpret_cast<uintptr_t>(end_))
      return allocate_block(size, align);
    next_ = reinterpret_cast<uint8_t*>(at + size);
    return reinterpret_cast<void*>(at);
  }
  /// `count` value-initialised objects.
  template <class T>
  T* make_array(size_t count) {
    static_assert(std::is_trivially_destructible_v<T>);
    T* p = static_cast<T*>(allocate(sizeof(T) * count, alignof(T)));
    for (size_t i = 0; i < count; i++) new (p + i) T();
    return p;
  }
  /// A copy of `text` that lives as long as the arena.
  std::string_view copy(std::string_view text) {
    char* p = static_cast<char*>(allocate(text.size(), 1));
    if (!text.empty()) std::memcpy(p, text.data(), text.size());
    return {p, text.size()};
  }
  /// Bytes taken from the system so far.
  size_t reserved() const { return reserved_; }
  /// Forgets everything, keeps the first block for the next use.
  void reset();

 private:
  void* allocate_block(size_t size, size_t align);

  uint8_t* next_ = nullptr;
  uint8_t* end_ = nullptr;
  size_t reserved_ = 0;
  std::vector<std::unique_ptr<uint8_t[]>> blocks_;
  size_t first_size_ = 0;
};

/// A list of T in an arena: what a decoded array is, and what a response array is built from.
/// Copying it copies the view, not the elements. `add` may move the elements.
template <class T>
class Array {
 public:
  Array() = default;
  /// A view of elements that live elsewhere (they are not copied; `add` then copies them to the
  /// arena first).
  Array(T* data, size_t size) : data_(data), size_(static_cast<uint32_t>(size)) {}

  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  T& back() { return data_[size_ - 1]; }

  /// Makes room for `n` elements in all.
  void reserve(Arena& arena, size_t n) {
    static_assert(std::is_trivially_destructible_v<T> && std::is_trivially_copyable_v<T>);
    if (n <= capacity_) return;
    T* p = static_cast<T*>(arena.allocate(sizeof(T) * n, alignof(T)));
    if (size_ != 0) std::memcpy(static_cast<void*>(p), data_, sizeof(T) * size_);
    data_ = p;
    capacity_ = static_cast<uint32_t>(n);
  }
  /// Appends a default element and returns it; the reference is good until the next `add`.
  T& add(Arena& arena) { return add(arena, T()); }
  T& add(Arena& arena, const T& value) {
    if (size_ >= capacity_) reserve(arena, size_ < 4 ? 4 : size_ * 2);
    return *new (data_ + size_++) T(value);
  }

 private:
  T* data_ = nullptr;
  uint32_t size_ = 0;
  uint32_t capacity_ = 0;
};

}  // namespace odradek
