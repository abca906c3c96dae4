// Reader: takes a message apart. Nothing is copied: strings and bytes are views into the input,
// arrays lie in the arena; both must outlive the message.
//
// Errors stick: the first one is kept, every later call returns zeros and empty views, and `result`
// tells at the end. Declared sizes are checked against what is left of the input before any memory
// is taken, and the arrays of one input may take at most kArrayBase + kArrayFactor × its size, so
// that a frame of tiny elements cannot grow a hundredfold. Rules: docs/formats/wire.md.
#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/result.h"
#include "base/uuid.h"
#include "wire/message.h"

namespace odradek::wire {

class Reader {
 public:
  static constexpr size_t kArrayBase = 4U << 20;
  static constexpr size_t kArrayFactor = 8;
  static constexpr size_t kStringMax = 32767;

  Reader(ByteView input, Arena& arena)
      : begin_(input.data()),
        at_(input.data()),
        end_(input.data() + input.size()),
        arena_(&arena),
        array_budget_(kArrayBase + kArrayFactor * input.size()) {}

  bool ok() const { return problem_ == Problem::kNone; }
  size_t remaining() const { return static_cast<size_t>(end_ - at_); }
  /// Bytes taken so far.
  size_t position() const { return static_cast<size_t>(at_ - begin_); }
  /// What has not been read yet.
  ByteView rest() const { return {at_, remaining()}; }
  Arena& arena() { return *arena_; }

  /// The first error so far, told about `name` in `version`; success when there is none.
  Result<void> result(std::string_view name, int16_t version) const {
    if (ok()) [[likely]]
      return {};
    return error(name, version);
  }
  /// Refuses bytes that follow a complete message.
  Result<void> expect_end(std::string_view name, int16_t version) {
    if (ok() && remaining() != 0) report(Problem::kTrailing, remaining());
    return result(name, version);
  }
  /// The answer to a version that the schema does not have.
  static Result<void> unsupported_version(std::string_view name, int16_t version);

  bool boolean() { return fixed<uint8_t>() != 0; }
  int8_t int8() { return fixed<int8_t>(); }
  int16_t int16() { return fixed<int16_t>(); }
  uint16_t uint16() { return fixed<uint16_t>(); }
  int32_t int32() { return fixed<int32_t>(); }
  uint32_t uint32() { return fixed<uint32_t>(); }
  int64_t int64() { return fixed<int64_t>(); }
  double float64() { return std::bit_cast<double>(fixed<uint64_t>()); }
  Uuid uuid() {
    const uint64_t high = fixed<uint64_t>();
    return {high, fixed<uint64_t>()};
  }
  /// 7 bits a byte, least significant first, at most 5 bytes; bits beyond the 32nd are dropped, as
  /// Apache does.
  uint32_t uvarint() {
    if (at_ < end_ && *at_ < 0x80) [[likely]]
      return *at_++;
    return static_cast<uint32_t>(long_uvarint(5));
  }
  /// Zigzag of uvarint (5 bytes at most).
  int32_t varint() {
    const uint32_t n = uvarint();
    return static_cast<int32_t>(n >> 1) ^ -static_cast<int32_t>(n & 1);
  }
  /// Zigzag, 10 bytes at most.
  int64_t varlong() {
    const uint64_t n = at_ < end_ && *at_ < 0x80 ? *at_++ : long_uvarint(10);
    return static_cast<int64_t>(n >> 1) ^ -static_cast<int64_t>(n & 1);
  }
  /// `size` bytes as they are.
  ByteView raw(size_t size) {
    if (size > remaining()) [[unlikely]] {
      report(Problem::kShort, size);
      return {};
    }
    at_ += size;
    return {at_ - size, size};
  }

  std::string_view string() { return text(required(int16())); }
  std::string_view compact_string() { return text(required(compact_length())); }
  std::optional<std::string_view> nullable_string() { return nullable_text(int16()); }
  std::optional<std::string_view> compact_nullable_string() {
    return nullable_text(compact_length());
  }
  ByteView bytes() { return view(required(int32())); }
  ByteView compact_bytes() { return view(required(compact_length())); }
  std::optional<ByteView> nullable_bytes() { return nullable_view(int32()); }
  std::optional<ByteView> compact_nullable_bytes() { return nullable_view(compact_length()); }
  ByteView records() { return bytes(); }
  ByteView compact_records() { return compact_bytes(); }
  std::optional<ByteView> nullable_records() { return nullable_bytes(); }
  std::optional<ByteView> compact_nullable_records() { return compact_nullable_bytes(); }
  RecordsRef records_ref() { return ref(bytes()); }
  RecordsRef compact_records_ref() { return ref(compact_bytes()); }
  std::optional<RecordsRef> nullable_records_ref() { return nullable_ref(nullable_bytes()); }
  std::optional<RecordsRef> compact_nullable_records_ref() {
    return nullable_ref(compact_nullable_bytes());
  }

  /// Number of elements of an array, −1 for null. An element takes at least `smallest` bytes, so a
  /// count that cannot fit in what is left is refused.
  int64_t count(size_t smallest) { return checked_count(int32(), smallest); }
  int64_t compact_count(size_t smallest) { return checked_count(compact_length(), smallest); }
  /// `n` default elements in the arena; none when they exceed the memory that this input may take.
  template <class T>
  Array<T> make_array(int64_t n) {
    const size_t count = static_cast<size_t>(n);
    if (count == 0) return {};
    if (sizeof(T) * count > array_budget_) [[unlikely]] {
      report(Problem::kArrayMemory, count);
      return {};
    }
    array_budget_ -= sizeof(T) * count;
    return Array<T>(arena_->make_array<T>(count), count);
  }

  /// Before a nullable struct: int8, −1 null, otherwise present.
  bool struct_present() { return int8() >= 0; }
  /// Before a nullable struct that is a tagged field: uvarint 0 null, 1 present.
  bool tagged_struct_present() { return uvarint() != 0; }
  /// A null where the version does not allow one.
  void refuse_null(const char* field) {
    if (ok()) field_ = field;
    report(Problem::kNull, 0);
  }

  /// A tagged field being read: its number, and the end of what surrounds it.
  struct Tagged {
    uint32_t tag;
    const uint8_t* outer_end;
  };
  /// Reads tag and size; until `leave_tagged` nothing beyond that size can be read.
  Tagged enter_tagged() {
    const uint32_t tag = uvarint();
    const uint32_t size = uvarint();
    const Tagged t{tag, end_};
    if (size > remaining()) [[unlikely]] {
      report(Problem::kShort, size);
    } else {
      end_ = at_ + size;
    }
    return t;
  }
  void skip_tagged(const Tagged&) { at_ = end_; }
  /// The field must have been used up.
  void leave_tagged(const Tagged& t) {
    if (at_ != end_) [[unlikely]]
      report(Problem::kTagSize, t.tag);
    if (ok()) end_ = t.outer_end;
  }
  void skip_tagged_section() {
    for (uint32_t left = uvarint(); left > 0 && ok(); left--) {
      const Tagged t = enter_tagged();
      skip_tagged(t);
      leave_tagged(t);
    }
  }

 private:
  enum class Problem : uint8_t {
    kNone,
    kShort,
    kVarint,
    kNull,
    kLength,
    kStringLength,
    kCount,
    kArrayMemory,
    kTagSize,
    kTrailing,
  };

  template <class T>
  T fixed() {
    if (remaining() < sizeof(T)) [[unlikely]] {
      report(Problem::kShort, sizeof(T));
      return T{};
    }
    const T v = load_be<T>(at_);
    at_ += sizeof(T);
    return v;
  }
  /// Length of something in a flexible version: −1 null.
  int64_t compact_length() { return static_cast<int64_t>(uvarint()) - 1; }
  int64_t required(int64_t length) {
    if (length >= 0) [[likely]]
      return length;
    if (ok()) field_ = nullptr;
    report(length == -1 ? Problem::kNull : Problem::kLength, static_cast<uint64_t>(length));
    return 0;
  }
  std::string_view text(int64_t length) {
    if (length > static_cast<int64_t>(kStringMax)) [[unlikely]] {
      report(Problem::kStringLength, static_cast<uint64_t>(length));
      return {};
    }
    return as_text(raw(static_cast<size_t>(length)));
  }
  ByteView view(int64_t length) { return raw(static_cast<size_t>(length)); }
  std::optional<std::string_view> nullable_text(int64_t length) {
    if (length == -1) return std::nullopt;
    return text(required(length));
  }
  std::optional<ByteView> nullable_view(int64_t length) {
    if (length == -1) return std::nullopt;
    return view(required(length));
  }
  RecordsRef ref(ByteView bytes);
  std::optional<RecordsRef> nullable_ref(std::optional<ByteView> bytes) {
    if (!bytes) return std::nullopt;
    return ref(*bytes);
  }
  int64_t checked_count(int64_t n, size_t smallest) {
    if (n < -1 || n > static_cast<int64_t>(remaining() / smallest)) [[unlikely]] {
      report(n < -1 ? Problem::kLength : Problem::kCount, static_cast<uint64_t>(n));
      return 0;
    }
    return n;
  }
  uint64_t long_uvarint(int bytes_max);
  /// Keeps the first problem, and leaves nothing to read.
  void report(Problem problem, uint64_t value);
  Result<void> error(std::string_view name, int16_t version) const;

  const uint8_t* begin_;
  const uint8_t* at_;
  const uint8_t* end_;
  Arena* arena_;
  size_t array_budget_;
  Problem problem_ = Problem::kNone;
  const char* field_ = nullptr;  // name of the field that was null, when known
  uint64_t value_ = 0;           // the number that was refused
  size_t problem_at_ = 0;
  size_t problem_left_ = 0;
};

}  // namespace odradek::wire
