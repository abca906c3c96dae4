// TopicSettings: what a partition needs to know of its topic's configuration, resolved and typed.
#pragma once

#include <cstdint>
#include <limits>

#include "base/ids.h"
#include "log/log_config.h"

namespace odradek::replica {

/// compression.type of a topic. Values above kProducer are codecs of the record batch format + 1.
enum class TopicCompression : uint8_t { kProducer, kUncompressed, kGzip, kSnappy, kLz4, kZstd };

struct TopicSettings {
  log::LogConfig log;
  int32_t message_bytes_max = 1'048'588;  // max.message.bytes
  TopicCompression compression = TopicCompression::kProducer;
  int compression_level = 0;     // of that codec (compression.<codec>.level)
  bool log_append_time = false;  // message.timestamp.type
  Millis timestamp_before_max{std::numeric_limits<int64_t>::max()};
  Millis timestamp_after_max{3'600'000};
  int32_t min_insync_replicas = 1;
  /// 1: acks=all waits for the disk and nobody reads what is not durable. Above: a sync each so
  /// many records, nobody waits for it.
  int64_t flush_messages = 1;
  Millis flush_ms{std::numeric_limits<int64_t>::max()};  // flush.ms; the largest: never

  bool synced() const { return flush_messages == 1; }
  bool operator==(const TopicSettings&) const = default;
};

}  // namespace odradek::replica
