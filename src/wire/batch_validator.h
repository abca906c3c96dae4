// What a leader demands of a producer's batch before it enters the log: the rules of Apache's
// LogValidator for magic 2, in one walk over the batch, streamed if it is compressed.
//
// Differences to Apache: offset deltas must be 0, 1, 2 … (Apache rewrites compressed batches where
// they are not, and lets them pass in others), and bytes behind the batch are refused instead of
// cut off.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "wire/compression.h"
#include "wire/errors.h"
#include "wire/record_batch.h"

namespace odradek::wire {

/// The topic's settings, and what the request allows.
struct ValidationRules {
  bool compacted = false;  // cleanup.policy has compact: every record needs a key
  TimestampType timestamp_type = TimestampType::kCreateTime;  // message.timestamp.type
  Millis timestamp_before_max{INT64_MAX};                     // message.timestamp.before.max.ms
  Millis timestamp_after_max{3'600'000};                      // message.timestamp.after.max.ms
  int32_t max_message_bytes = 1'048'588;                      // max.message.bytes
  bool zstd_allowed = true;  // Produce below version 7 may not carry zstd
  uint64_t decompressed_max = RecordIterator::kOutputMax;
  WallMs now{0};
};

/// A record that made its batch be refused.
struct RecordError {
  int32_t batch_index;
  std::string message;
  bool operator==(const RecordError&) const = default;
};

struct Validation {
  ErrorCode error = ErrorCode::kNone;
  std::string message;               // empty without error
  std::vector<RecordError> records;  // at most kRecordErrorsMax
  WallMs max_timestamp = kNoTimestamp;
  int32_t max_timestamp_offset_delta = 0;  // of the first record that has it
  bool stamped = false;                    // max timestamp, type and CRC were written anew

  bool ok() const { return error == ErrorCode::kNone; }
};

/// More than these are not named one by one.
inline constexpr size_t kRecordErrorsMax = 100;

/// Checks `records`, one partition's field of a Produce request: exactly one batch. Where the
/// header's max timestamp or timestamp type is not what the log is to hold, it is written in place
/// (Apache does so too). Base offset and leader epoch are left to the log.
Validation validate_producer_batch(MutableBytes records, const ValidationRules& rules,
                                   Decompressor& d);

}  // namespace odradek::wire
