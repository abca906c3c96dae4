// What the log checks of a batch's header by itself: that it can be walked over.
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "wire/record_batch.h"

namespace odradek::log {

using BatchView = wire::BatchHeader;
using wire::kBatchHeaderSize;

/// What can be said without the CRC: magic, length, offsets and count are possible. The bytes must
/// hold the header.
inline bool plausible(const BatchView& batch) {
  return batch.magic() == wire::kMagic &&
         batch.length() >= static_cast<int32_t>(kBatchHeaderSize - wire::kBatchOverhead) &&
         batch.base_offset().value >= 0 && batch.last_offset_delta() >= 0 && batch.count() >= 0 &&
         int64_t{batch.count()} <= int64_t{batch.last_offset_delta()} + 1 &&
         batch.base_offset().value <= INT64_MAX - batch.last_offset_delta() - 1;
}

/// The batch at the start of `bytes`, if it is whole and plausible.
inline std::optional<BatchView> first_batch(ByteView bytes) {
  if (bytes.size() < kBatchHeaderSize) return std::nullopt;
  BatchView batch(bytes.data());
  if (!plausible(batch) || batch.size() > bytes.size()) return std::nullopt;
  return batch;
}

inline bool has_producer(const BatchView& batch) { return batch.producer_id().value >= 0; }

}  // namespace odradek::log
