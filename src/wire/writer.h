// Writer: puts messages together in one growing buffer, and remembers where pieces that are not
// copied (record batches of a fetch answer) go between its bytes.
//
// Errors stick: the first one is kept (`error`), the bytes are then worthless. An error means that
// the message cannot be said in that version: a string over 32,767 bytes, a null that the version
// does not know, or a value in a field that the version lacks and that may not be dropped.
#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "base/result.h"
#include "base/uuid.h"
#include "wire/message.h"

namespace odradek::wire {

class Writer {
 public:
  /// Pieces of memory up to this size are copied: cheaper than one more entry of the system call.
  static constexpr size_t kCopyMax = 1024;

  Writer() = default;
  /// Starts in `buffer`, whose contents are dropped and whose memory is used again.
  explicit Writer(ByteBuffer&& buffer) : buffer_(std::move(buffer)) {
    buffer_.resize(buffer_.capacity());
  }

  Writer(Writer&&) = default;
  Writer& operator=(Writer&&) = default;

  /// Bytes written so far, pieces included.
  uint64_t size() const { return used_ + spliced_; }
  const std::optional<Error>& error() const { return error_; }
  /// Success, or the error.
  Result<void> result() const {
    if (!error_) return {};
    return std::unexpected(*error_);
  }

  /// All bytes in one buffer; pieces of memory are copied in. Must not hold pieces of a source. The
  /// writer is empty afterwards.
  ByteBuffer take();
  /// All bytes, pieces as they are. The writer is empty afterwards.
  Chain take_chain();
  /// What has been written, when no piece was.
  ByteView view() const {
    ODRADEK_CHECK(splices_.empty());
    return {buffer_.data(), used_};
  }
  /// Forgets everything but the buffer's memory.
  void clear();

  void boolean(bool v) { fixed<uint8_t>(v ? 1 : 0); }
  void int8(int8_t v) { fixed(v); }
  void int16(int16_t v) { fixed(v); }
  void uint16(uint16_t v) { fixed(v); }
  void int32(int32_t v) { fixed(v); }
  void uint32(uint32_t v) { fixed(v); }
  void int64(int64_t v) { fixed(v); }
  void float64(double v) { fixed(std::bit_cast<uint64_t>(v)); }
  void uuid(const Uuid& v) {
    fixed(v.high);
    fixed(v.low);
  }
  void uvarint(uint32_t v) { uvarlong(v); }
  void varint(int32_t v) {
    uvarint((static_cast<uint32_t>(v) << 1) ^ static_cast<uint32_t>(v >> 31));
  }
  void varlong(int64_t v) {
    uvarlong((static_cast<uint64_t>(v) << 1) ^ static_cast<uint64_t>(v >> 63));
  }
  void raw(ByteView bytes) {
    uint8_t* p = grow(bytes.size());
    if (!bytes.empty()) std::memcpy(p, bytes.data(), bytes.size());
  }

  void string(std::string_view v) {
    check_string(v);
    int16(static_cast<int16_t>(v.size()));
    raw(as_bytes(v));
  }
  void compact_string(std::string_view v) {
    check_string(v);
    compact_length(v.size());
    raw(as_bytes(v));
  }
  void null_string() { int16(-1); }
  void compact_null_string() { uvarint(0); }
  void bytes(ByteView v) {
    length(v.size());
    raw(v);
  }
  void compact_bytes(ByteView v) {
    compact_length(v.size());
    raw(v);
  }
  void null_bytes() { int32(-1); }
  void compact_null_bytes() { uvarint(0); }
  void records(ByteView v) { bytes(v); }
  void compact_records(ByteView v) { compact_bytes(v); }
  void records(const RecordsRef& v) {
    length(v.size());
    splice(v);
  }
  void compact_records(const RecordsRef& v) {
    compact_length(v.size());
    splice(v);
  }
  void null_records() { int32(-1); }
  void compact_null_records() { uvarint(0); }
  void count(size_t n) { length(n); }
  void compact_count(size_t n) { compact_length(n); }
  void null_array() { int32(-1); }
  void compact_null_array() { uvarint(0); }

  /// Starts a tagged field whose size comes before its bytes; returns what `end_tagged` needs.
  size_t begin_tagged() {
    grow(1);
    return used_;
  }
  void end_tagged(size_t begin);

  /// Where a frame began: its size field in the buffer, and all that was written up to behind it.
  struct FrameMark {
    size_t size_at;
    uint64_t begin;
  };
  /// Starts a frame: room for the int32 size.
  FrameMark begin_frame() {
    const size_t at = used_;
    int32(0);
    return {at, size()};
  }
  /// Fills in its size.
  void end_frame(FrameMark mark) {
    const uint64_t n = size() - mark.begin;
    if (n > INT32_MAX) return fail_with(Errc::kLimit, "a frame has more than 2147483647 bytes");
    patch_int32(mark.size_at, static_cast<int32_t>(n));
  }
  /// Memory of the buffer, used or not.
  size_t capacity() const { return buffer_.size(); }
  /// Position in the buffer (pieces not counted), for patches.
  size_t buffer_position() const { return used_; }
  /// Writes over four bytes at a buffer position.
  void patch_int32(size_t buffer_position, int32_t v) {
    ODRADEK_CHECK(buffer_position + 4 <= used_);
    store_be(buffer_.data() + buffer_position, v);
  }

  /// The encoder's refusals.
  void unsupported(std::string_view message, std::string_view field, int16_t version);
  void null_unsupported(std::string_view message, std::string_view field, int16_t version);
  void unsupported_version(std::string_view message, int16_t version);

 private:
  struct Splice {
    size_t at;  // the piece goes before this position of the buffer
    Piece piece;
  };

  template <class T>
  void fixed(T v) {
    store_be(grow(sizeof v), v);
  }
  /// Room for n more bytes, and the place where they go.
  uint8_t* grow(size_t n) {
    if (buffer_.size() - used_ < n) [[unlikely]]
      enlarge(n);
    uint8_t* p = buffer_.data() + used_;
    used_ += n;
    return p;
  }
  void uvarlong(uint64_t v) {
    if (v < 0x80) [[likely]] {
      *grow(1) = static_cast<uint8_t>(v);
      return;
    }
    long_uvarint(v);
  }
  void length(size_t n) {
    if (n > INT32_MAX) [[unlikely]]
      return fail_with(Errc::kLimit, "a field is longer than 2 GiB");
    int32(static_cast<int32_t>(n));
  }
  void compact_length(size_t n) {
    if (n > INT32_MAX - 1) [[unlikely]]
      return fail_with(Errc::kLimit, "a field is longer than 2 GiB");
    uvarint(static_cast<uint32_t>(n) + 1);
  }
  void check_string(std::string_view v) {
    if (v.size() > 32767) [[unlikely]]
      fail_with(Errc::kInvalid, "a string has more than 32767 bytes");
  }
  void long_uvarint(uint64_t v);
  void enlarge(size_t n);
  void splice(const RecordsRef& records);
  void fail_with(Errc kind, std::string text) {
    if (!error_) error_ = Error{kind, std::move(text)};
  }

  ByteBuffer buffer_;  // all of it may be written; `used_` bytes are
  size_t used_ = 0;
  uint64_t spliced_ = 0;
  std::vector<Splice> splices_;
  std::optional<Error> error_;
};

}  // namespace odradek::wire
