// What a broker demands of a producer's records, with Apache's error codes, for magic 2: first that
// they are one batch (before any partition sees them), then, as the partition's leader, the rules
// of Apache's LogValidator, in one walk over the batch, streamed if it is compressed.
//
// Differences to Apache: a record of a compressed batch must have the size that it states (Apache
// does not look, and its consumers then stumble over it), and a batch may unpack to so much only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "wire/compression.h"
#include "wire/errors.h"
#include "wire/record_batch.h"

namespace odradek::wire {

/// What can be said of a partition's field of a Produce request by its first bytes.
struct ProducedBatch {
  ErrorCode error = ErrorCode::kNone;
  /// Only with an error that refuses the whole request, all of its partitions: why.
  std::string message;
  size_t size = 0;  // of the batch; bytes behind it that are no batch are cut off, as at Apache
  bool transactional = false;
};
/// Exactly one batch of magic 2, by its length and magic; nothing else is looked at.
/// CORRUPT_MESSAGE, INVALID_RECORD, UNSUPPORTED_COMPRESSION_TYPE (zstd before version 7),
/// UNKNOWN_SERVER_ERROR (where Apache's arithmetic fails it).
ProducedBatch find_produced_batch(ByteView records, int16_t version);

/// The topic's settings.
struct ValidationRules {
  bool compacted = false;  // cleanup.policy has compact: every record needs a key
  TimestampType timestamp_type = TimestampType::kCreateTime;  // message.timestamp.type
  Millis timestamp_before_max{INT64_MAX};                     // message.timestamp.before.max.ms
  Millis timestamp_after_max{3'600'000};                      // message.timestamp.after.max.ms
  int32_t max_message_bytes = 1'048'588;                      // max.message.bytes
  /// compression.type, if it is not `producer`.
  std::optional<Codec> target;
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
  bool consecutive = true;                 // offset deltas are 0, 1, 2 …

  bool ok() const { return error == ErrorCode::kNone; }
};

/// More than these are not named one by one.
inline constexpr size_t kRecordErrorsMax = 10'000;

/// Checks a batch (exactly what find_produced_batch has found). Where the header's max timestamp or
/// timestamp type is not what the log is to hold, it is written in place (Apache does so too). Base
/// offset and leader epoch are left to the log. Offset deltas that are not consecutive pass where
/// nothing is compressed, as at Apache, and where the batch is going to be rewritten.
Validation validate_producer_batch(MutableBytes batch, const ValidationRules& rules,
                                   Decompressor& d);

/// A batch that has passed, under another codec, with offset deltas 0, 1, 2 … whatever they were
/// (`recompress` leaves them).
Result<ByteBuffer> recompress_renumbered(const BatchHeader& batch, Codec codec,
                                         std::optional<int> level, Decompressor& d,
                                         uint64_t output_max = RecordIterator::kOutputMax);

}  // namespace odradek::wire
