// LogConfig: the resolved settings of one partition's log. A plain value; the owner resolves names,
// defaults and sources (broker setting, topic override) and hands a new one over when they change.
#pragma once

#include <cstdint>

#include "base/ids.h"

namespace odradek::log {

struct LogConfig {
  int32_t segment_bytes = 1 << 30;            // segment.bytes
  Millis segment_ms{7 * 24 * 3600 * 1000};    // segment.ms
  Millis segment_jitter_ms{0};                // segment.jitter.ms
  int32_t segment_index_bytes = 10 << 20;     // segment.index.bytes: bound of each index file
  int32_t index_interval_bytes = 4096;        // index.interval.bytes
  Millis retention_ms{7 * 24 * 3600 * 1000};  // retention.ms; −1: no limit
  int64_t retention_bytes = -1;               // retention.bytes; −1: no limit
  bool delete_policy = true;                  // cleanup.policy contains delete
  bool compact_policy = false;                // cleanup.policy contains compact
  Millis file_delete_delay{60'000};           // file.delete.delay.ms; kept by the owner's timer
  Millis producer_expiration{86'400'000};     // producer.id.expiration.ms

  // of compaction (compaction.h)
  Millis min_compaction_lag{0};          // min.compaction.lag.ms
  Millis max_compaction_lag{INT64_MAX};  // max.compaction.lag.ms; also bounds segment.ms
  Millis delete_retention{86'400'000};   // delete.retention.ms
  double min_cleanable_ratio = 0.5;      // min.cleanable.dirty.ratio

  bool operator==(const LogConfig&) const = default;
};

}  // namespace odradek::log
