// Settings of a topic: names and values as altered, resolved against the broker's defaults.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "metadata/broker_config.h"
#include "metadata/image.h"

namespace odradek::metadata {

enum class CompressionType : uint8_t { kProducer, kUncompressed, kGzip, kSnappy, kLz4, kZstd };
enum class TimestampType : uint8_t { kCreateTime, kLogAppendTime };

/// Every setting that a partition's log and its leader follow. `−1` means no limit where said.
struct ResolvedTopicConfig {
  bool cleanup_delete = true;
  bool cleanup_compact = false;
  CompressionType compression = CompressionType::kProducer;
  int32_t gzip_level = -1;
  int32_t lz4_level = 9;
  int32_t zstd_level = 3;
  Millis delete_retention{86400000};
  Millis file_delete_delay{60000};
  int64_t flush_messages = 1;  // 1: acks=all waits for the sync
  Millis flush_interval{INT64_MAX};
  int32_t index_interval_bytes = 4096;
  Millis max_compaction_lag{INT64_MAX};
  Millis min_compaction_lag{0};
  int32_t max_message_bytes = 1048588;
  TimestampType timestamp_type = TimestampType::kCreateTime;
  Millis timestamp_before_max{INT64_MAX};
  Millis timestamp_after_max{3600000};
  double min_cleanable_ratio = 0.5;
  int32_t min_insync_replicas = 1;
  bool preallocate = false;
  int64_t retention_bytes = -1;  // −1: no limit
  Millis retention{604800000};   // −1: no limit
  int32_t segment_bytes = 1073741824;
  int32_t segment_index_bytes = 10485760;
  Millis segment_interval{604800000};
  Millis segment_jitter{0};
  bool unclean_election = false;
  std::vector<std::string> leader_throttled_replicas;  // "partition:broker", or "*"
  std::vector<std::string> follower_throttled_replicas;

  bool operator==(const ResolvedTopicConfig&) const = default;
  /// Whether acks=all waits for the sync.
  bool synced() const { return flush_messages == 1; }
};

/// The topic's own settings over the broker's. Own values that do not parse (they were checked when
/// they were set) count as not set.
ResolvedTopicConfig resolve_topic_config(const ConfigMap& own, const BrokerConfig& broker);

/// Checks a topic's whole set of own settings as CreateTopics and AlterConfigs must: names, values,
/// and rules between them. The error's text is for the client, its code is INVALID_CONFIG.
Result<void> validate_topic_config(const ConfigMap& own, const BrokerConfig& broker);
/// The same for a group's and a client metrics subscription's settings.
Result<void> validate_group_config(const ConfigMap& own, const BrokerConfig& broker);
Result<void> validate_client_metrics_config(const ConfigMap& own);

/// Value of one topic, group or client metrics setting: own, else that of the broker settings that
/// supply its default, else the default.
ConfigValue resolve_topic_value(const ConfigDef& d, const ConfigMap& own,
                                const BrokerConfig& broker);
/// Value of one group setting: own, else the broker's, else the default.
ConfigValue resolve_group_config(const ConfigMap& own, const BrokerConfig& broker, GroupKey key);

}  // namespace odradek::metadata
