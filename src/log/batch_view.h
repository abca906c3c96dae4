// BatchView: the 61-byte header of a record batch (magic 2), read in place.
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/ids.h"

namespace odradek::log {

inline constexpr uint32_t kBatchHeaderSize = 61;

/// A view; the bytes must hold at least the header.
class BatchView {
 public:
  explicit BatchView(const uint8_t* at) : at_(at) {}

  Offset base_offset() const { return Offset(load_be<int64_t>(at_)); }
  int32_t length() const { return load_be<int32_t>(at_ + 8); }
  LeaderEpoch leader_epoch() const { return LeaderEpoch(load_be<int32_t>(at_ + 12)); }
  int8_t magic() const { return static_cast<int8_t>(at_[16]); }
  uint32_t crc() const { return load_be<uint32_t>(at_ + 17); }
  int16_t attributes() const { return load_be<int16_t>(at_ + 21); }
  WallMs base_timestamp() const { return WallMs(load_be<int64_t>(at_ + 27)); }
  int32_t last_offset_delta() const { return load_be<int32_t>(at_ + 23); }
  WallMs max_timestamp() const { return WallMs(load_be<int64_t>(at_ + 35)); }
  ProducerId producer_id() const { return ProducerId(load_be<int64_t>(at_ + 43)); }
  ProducerEpoch producer_epoch() const { return ProducerEpoch(load_be<int16_t>(at_ + 51)); }
  int32_t base_sequence() const { return load_be<int32_t>(at_ + 53); }
  int32_t count() const { return load_be<int32_t>(at_ + 57); }

  /// Bytes of the whole batch.
  uint64_t size() const { return static_cast<uint64_t>(length()) + 12; }
  Offset last_offset() const { return base_offset() + int64_t{last_offset_delta()}; }
  bool is_control() const { return (attributes() & 0x20) != 0; }
  bool is_transactional() const { return (attributes() & 0x10) != 0; }
  bool is_log_append_time() const { return (attributes() & 0x08) != 0; }
  bool has_producer() const { return producer_id().value >= 0; }
  /// Wraps after 2147483647 to 0.
  int32_t last_sequence() const {
    if (base_sequence() < 0) return -1;
    int64_t last = int64_t{base_sequence()} + last_offset_delta();
    return static_cast<int32_t>(last > INT32_MAX ? last - INT32_MAX - 1 : last);
  }

  /// What can be said without the CRC: magic, length, offsets.
  bool plausible() const {
    return magic() == 2 && length() >= static_cast<int32_t>(kBatchHeaderSize) - 12 &&
           base_offset().value >= 0 && last_offset_delta() >= 0 && count() >= 0 &&
           int64_t{count()} <= int64_t{last_offset_delta()} + 1 &&
           base_offset().value <= INT64_MAX - last_offset_delta() - 1;
  }

 private:
  const uint8_t* at_;
};

/// The batch at the start of `bytes`, if it is whole and plausible.
inline std::optional<BatchView> first_batch(ByteView bytes) {
  if (bytes.size() < kBatchHeaderSize) return std::nullopt;
  BatchView batch(bytes.data());
  if (!batch.plausible() || batch.size() > bytes.size()) return std::nullopt;
  return batch;
}

}  // namespace odradek::log
