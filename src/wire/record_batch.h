// Record batches, magic 2: the unit that producers send, logs store and consumers fetch
// (docs/formats/record-batch.md).
//
//   BatchHeader     the 61 bytes before the records, read where they lie
//   BatchIterator   the batches of a buffer
//   RecordIterator  the records of a batch, decompressed on the way if need be
//   BatchBuilder    makes batches, control batches included
//
// All of them are views: the bytes belong to the caller and must stay. A producer's batch is
// checked by batch_validator.h.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/ids.h"
#include "base/result.h"
#include "wire/compression.h"
#include "wire/writer.h"

namespace odradek::wire {

/// Base offset and length: what comes before the bytes that `length` counts.
inline constexpr size_t kBatchOverhead = 12;
inline constexpr size_t kBatchHeaderSize = 61;
/// Bytes needed to know size and magic of a batch, whatever its magic.
inline constexpr size_t kBatchMagicEnd = 17;
inline constexpr int8_t kMagic = 2;
inline constexpr size_t kCrcFrom = 21;

enum class TimestampType : uint8_t { kCreateTime = 0, kLogAppendTime = 1 };

/// Bits of the attributes.
namespace attribute {
inline constexpr int16_t kCodec = 0x07;
inline constexpr int16_t kLogAppendTime = 0x08;
inline constexpr int16_t kTransactional = 0x10;
inline constexpr int16_t kControl = 0x20;
inline constexpr int16_t kDeleteHorizon = 0x40;
}  // namespace attribute

/// What a control record says; other numbers exist in the future and are ignored.
enum class ControlType : int16_t {
  kAbort = 0,
  kCommit = 1,
  kLeaderChange = 2,
  kSnapshotHeader = 3,
  kSnapshotFooter = 4,
  kKraftVersion = 5,
  kKraftVoters = 6,
};

/// a + b modulo 2^64: what a batch says may be nonsense, and must not be undefined behaviour.
constexpr int64_t wrapping_add(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}

/// A batch's header, and through it the batch. A value: a pointer to bytes that the caller keeps.
class BatchHeader {
 public:
  /// The batch at the front of `bytes`. kCorrupt: shorter than a header, or than it says it is, or
  /// an impossible length or magic; kUnsupported: magic 0 or 1. The CRC is not looked at.
  static Result<BatchHeader> parse(ByteView bytes);
  /// The header at `at`, known to be good.
  explicit BatchHeader(const uint8_t* at) : at_(at) {}

  Offset base_offset() const { return Offset(load_be<int64_t>(at_)); }
  int32_t length() const { return load_be<int32_t>(at_ + 8); }
  LeaderEpoch leader_epoch() const { return LeaderEpoch(load_be<int32_t>(at_ + 12)); }
  int8_t magic() const { return static_cast<int8_t>(at_[16]); }
  uint32_t crc() const { return load_be<uint32_t>(at_ + 17); }
  int16_t attributes() const { return load_be<int16_t>(at_ + 21); }
  int32_t last_offset_delta() const { return load_be<int32_t>(at_ + 23); }
  /// With `has_delete_horizon`: the moment from which tombstones and markers may go.
  WallMs base_timestamp() const { return WallMs(load_be<int64_t>(at_ + 27)); }
  WallMs max_timestamp() const { return WallMs(load_be<int64_t>(at_ + 35)); }
  ProducerId producer_id() const { return ProducerId(load_be<int64_t>(at_ + 43)); }
  ProducerEpoch producer_epoch() const { return ProducerEpoch(load_be<int16_t>(at_ + 51)); }
  int32_t base_sequence() const { return load_be<int32_t>(at_ + 53); }
  int32_t count() const { return load_be<int32_t>(at_ + 57); }

  /// Bytes of the whole batch.
  size_t size() const { return static_cast<size_t>(length()) + kBatchOverhead; }
  /// Offset of the last record that the batch ever had.
  Offset last_offset() const {
    return Offset(wrapping_add(base_offset().value, last_offset_delta()));
  }
  /// The first offset behind the batch.
  Offset next_offset() const { return Offset(wrapping_add(last_offset().value, 1)); }
  /// −1 without a sequence; wraps after 2147483647 to 0.
  int32_t last_sequence() const {
    if (base_sequence() < 0) return -1;
    return static_cast<int32_t>((int64_t{base_sequence()} + last_offset_delta()) & INT32_MAX);
  }
  /// Values 5 to 7 do not exist.
  Codec codec() const { return static_cast<Codec>(attributes() & attribute::kCodec); }
  TimestampType timestamp_type() const {
    return attributes() & attribute::kLogAppendTime ? TimestampType::kLogAppendTime
                                                    : TimestampType::kCreateTime;
  }
  bool is_transactional() const { return (attributes() & attribute::kTransactional) != 0; }
  bool is_control() const { return (attributes() & attribute::kControl) != 0; }
  bool has_delete_horizon() const { return (attributes() & attribute::kDeleteHorizon) != 0; }
  bool has_producer_id() const { return producer_id().value != -1; }

  ByteView bytes() const { return {at_, size()}; }
  /// What follows the header: the records, compressed as a whole if there is a codec.
  ByteView records() const { return {at_ + kBatchHeaderSize, size() - kBatchHeaderSize}; }
  uint32_t computed_crc() const { return crc32c({at_ + kCrcFrom, size() - kCrcFrom}); }
  bool crc_matches() const { return crc() == computed_crc(); }

 private:
  const uint8_t* at_;
};

/// Base offset and leader epoch lie outside the CRC: a leader writes them where the batch lies.
inline void set_base_offset(uint8_t* batch, Offset offset) { store_be(batch, offset.value); }
inline void set_leader_epoch(uint8_t* batch, LeaderEpoch epoch) {
  store_be(batch + 12, epoch.value);
}
/// Timestamp type and max timestamp lie inside it: the CRC is computed anew.
void set_max_timestamp(MutableBytes batch, TimestampType type, WallMs max_timestamp);

/// The batches of a buffer, front to back.
class BatchIterator {
 public:
  explicit BatchIterator(ByteView bytes) : rest_(bytes) {}

  /// The next batch; nothing when what is left holds no whole batch (`rest` tells whether anything
  /// is left). Errors as BatchHeader::parse, for what can be seen of the batch.
  Result<std::optional<BatchHeader>> next();
  /// What has not been returned yet.
  ByteView rest() const { return rest_; }

 private:
  ByteView rest_;
};

/// A header of a record.
struct RecordHeader {
  std::string_view key;
  std::optional<ByteView> value;
};

/// A record of a batch.
struct RecordView {
  Offset offset;
  WallMs timestamp;
  int32_t offset_delta = 0;
  std::optional<ByteView> key;
  std::optional<ByteView> value;
  int32_t header_count = 0;
  ByteView header_bytes;  // known to be well formed

  /// Calls f(RecordHeader) for each header, in order.
  template <class F>
  void for_each_header(F f) const {
    ByteView rest = header_bytes;
    for (int32_t i = 0; i < header_count; i++) f(take_header(rest));
  }

 private:
  static RecordHeader take_header(ByteView& rest);
};

/// Pulls bytes out of a batch's records: from memory, or out of a decompressor through its window.
/// Errors stick, as in Reader; `problem` then says what it was.
class RecordSource {
 public:
  static constexpr size_t kWindow = 16 << 10;

  /// From memory.
  explicit RecordSource(ByteView bytes) : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}
  /// Out of a started stream.
  explicit RecordSource(Decompressor& stream) : stream_(&stream) {}

  bool ok() const { return !failed_; }
  const Error& problem() const { return error_; }
  /// Bytes taken so far.
  uint64_t taken() const { return taken_before_ + static_cast<uint64_t>(at_ - window_from_); }
  /// What can be read without asking the stream for more; `skip` takes it.
  ByteView available() const { return {at_, static_cast<size_t>(end_ - at_)}; }
  /// True when nothing is left.
  bool at_end() { return at_ == end_ && !refill(); }

  uint8_t byte() {
    if (at_ == end_ && !refill()) [[unlikely]]
      return short_of();
    return *at_++;
  }
  int32_t varint() {
    const auto n = static_cast<uint32_t>(unsigned_varint(5));
    return static_cast<int32_t>(n >> 1) ^ -static_cast<int32_t>(n & 1);
  }
  int64_t varlong() {
    const uint64_t n = unsigned_varint(10);
    return static_cast<int64_t>(n >> 1) ^ -static_cast<int64_t>(n & 1);
  }
  /// Passes over n bytes, whatever the size of the window.
  void skip(uint64_t n) {
    if (n <= static_cast<uint64_t>(end_ - at_)) [[likely]] {
      at_ += n;
      return;
    }
    long_skip(n);
  }
  /// n bytes in one piece, good until the next call; the window grows to hold them.
  ByteView take(uint64_t n);

  /// Sets an error of the caller's.
  void fail_with(Errc kind, std::string text);

 private:
  uint64_t unsigned_varint(int bytes_max) {
    if (at_ != end_ && *at_ < 0x80) [[likely]]
      return *at_++;
    return long_varint(bytes_max);
  }
  uint64_t long_varint(int bytes_max);
  void long_skip(uint64_t n);
  bool refill();
  bool fetch(uint8_t* to, size_t size, size_t& got);
  uint8_t short_of();

  const uint8_t* at_ = nullptr;
  const uint8_t* end_ = nullptr;
  const uint8_t* window_from_ = at_;  // where `taken` counts from
  uint64_t taken_before_ = 0;
  Decompressor* stream_ = nullptr;
  bool failed_ = false;
  Error error_{Errc::kCorrupt, ""};
};

/// The records of a batch, in order.
class RecordIterator {
 public:
  /// Bound of what a batch may decompress to: 2 GiB − 9, Apache's default limit.
  static constexpr uint64_t kOutputMax = 2147483639;

  /// Uses `d` (and its window) until the last call of `next`, if the batch is compressed.
  RecordIterator(const BatchHeader& batch, Decompressor& d, uint64_t output_max = kOutputMax);

  /// Reads the next record; false after the last. `out` is good until the next call if the batch is
  /// compressed, otherwise as long as its bytes. kCorrupt also if count and bytes disagree.
  Result<bool> next(RecordView& out);

 private:
  BatchHeader batch_;
  RecordSource source_;
  int32_t left_;
  bool checked_end_ = false;
};

/// How the batch that is being built is to be.
struct BatchOptions {
  Offset base_offset{0};
  LeaderEpoch leader_epoch = kNoEpoch;
  Codec codec = Codec::kNone;
  std::optional<int> level;
  TimestampType timestamp_type = TimestampType::kCreateTime;
  WallMs append_time = kNoTimestamp;  // with kLogAppendTime: the max timestamp
  bool transactional = false;
  bool control = false;
  ProducerId producer_id{-1};
  ProducerEpoch producer_epoch{-1};
  int32_t base_sequence = -1;
};

/// Puts a batch together; offsets are consecutive from the base offset.
class BatchBuilder {
 public:
  explicit BatchBuilder(const BatchOptions& options);

  void add(WallMs timestamp, std::optional<ByteView> key, std::optional<ByteView> value,
           std::span<const RecordHeader> headers = {});
  /// A control record; the value is the message of that type, encoded.
  void add_control(WallMs timestamp, ControlType type, ByteView value);
  /// A control record whose value is a message without a prefix, version 0 (all but the transaction
  /// markers).
  template <class Message>
  void add_control(WallMs timestamp, ControlType type, const Message& message) {
    Writer w;
    message.encode(w, 0);
    add_control(timestamp, type, w.view());
  }

  int32_t count() const { return count_; }
  /// Bytes of the batch so far, before compression.
  size_t size() const { return records_.size(); }
  /// Bytes that such a record would add at most.
  static size_t size_bound(std::optional<ByteView> key, std::optional<ByteView> value,
                           std::span<const RecordHeader> headers = {});
  /// The batch; at least one record must have been added. The builder is used up.
  Result<ByteBuffer> build();

 private:
  BatchOptions options_;
  Writer records_;  // header, then records
  WallMs base_timestamp_ = kNoTimestamp;
  WallMs max_timestamp_ = kNoTimestamp;
  int32_t count_ = 0;
};

/// A marker that ends a transaction: one control batch.
ByteBuffer end_transaction_batch(Offset base_offset, LeaderEpoch leader_epoch, ProducerId id,
                                 ProducerEpoch epoch, bool commit, int32_t coordinator_epoch,
                                 WallMs timestamp);

/// The type that a control record's key states. kCorrupt if the key is not one.
Result<ControlType> control_type(const RecordView& record);
/// Coordinator epoch that the value of an abort or commit marker states.
Result<int32_t> marker_coordinator_epoch(const RecordView& record);

/// The same batch with its records under another codec; attributes, length and CRC follow.
Result<ByteBuffer> recompress(const BatchHeader& batch, Codec codec, std::optional<int> level,
                              Decompressor& d, uint64_t output_max = RecordIterator::kOutputMax);

}  // namespace odradek::wire
