#include "metadata/topic_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace odradek::metadata {
namespace {

/// What applies without an own value: the first broker setting among the synonyms that is set, else
/// the default.
ConfigValue inherited(const ConfigDef& d, const BrokerConfig& broker) {
  for (const ConfigSynonym& s : d.synonyms) {
    const ConfigDef* source = find_broker_config(s.name);
    ODRADEK_CHECK(source != nullptr);
    const ConfigValue& value =
        broker.value(static_cast<BrokerKey>(source - broker_configs().data()));
    if (std::holds_alternative<std::monostate>(value)) continue;
    if (const auto* n = std::get_if<int64_t>(&value)) {
      // Any negative time of the broker's means no limit, whatever its unit.
      if (d.name == def(TopicKey::kRetentionMs).name && *n < 0) return int64_t{-1};
      return *n * s.factor;
    }
    return value;
  }
  auto fallback = parse_config(d, d.fallback);
  ODRADEK_CHECK(fallback);
  return *fallback;
}

/// One topic's settings, typed by what the caller expects.
class Settings {
 public:
  Settings(const ConfigMap& own, const BrokerConfig& broker) : own_(own), broker_(broker) {}

  int64_t int64(TopicKey key) const { return std::get<int64_t>(value(key)); }
  int32_t int32(TopicKey key) const { return static_cast<int32_t>(int64(key)); }
  Millis millis(TopicKey key) const { return Millis(int64(key)); }
  bool boolean(TopicKey key) const { return std::get<bool>(value(key)); }
  double real(TopicKey key) const { return std::get<double>(value(key)); }
  std::string text(TopicKey key) const { return std::get<std::string>(value(key)); }
  std::vector<std::string> list(TopicKey key) const {
    return std::get<std::vector<std::string>>(value(key));
  }

 private:
  ConfigValue value(TopicKey key) const { return resolve_topic_value(def(key), own_, broker_); }

  const ConfigMap& own_;
  const BrokerConfig& broker_;
};

CompressionType parse_compression(std::string_view name) {
  if (name == "uncompressed") return CompressionType::kUncompressed;
  if (name == "gzip") return CompressionType::kGzip;
  if (name == "snappy") return CompressionType::kSnappy;
  if (name == "lz4") return CompressionType::kLz4;
  if (name == "zstd") return CompressionType::kZstd;
  return CompressionType::kProducer;
}

std::unexpected<Error> invalid(std::string message) {
  return fail(Errc::kInvalid, std::move(message));
}

}  // namespace

ConfigValue resolve_topic_value(const ConfigDef& d, const ConfigMap& own,
                                const BrokerConfig& broker) {
  if (const auto at = own.find(d.name); at != own.end()) {
    if (auto value = parse_config(d, at->second)) return *value;
  }
  return inherited(d, broker);
}

ResolvedTopicConfig resolve_topic_config(const ConfigMap& own, const BrokerConfig& broker) {
  using Key = TopicKey;
  const Settings s(own, broker);
  const auto limit = [](int64_t n) { return n < 0 ? int64_t{-1} : n; };
  const std::vector<std::string> cleanup = s.list(Key::kCleanupPolicy);
  ResolvedTopicConfig c;
  c.cleanup_delete = std::ranges::find(cleanup, "delete") != cleanup.end();
  c.cleanup_compact = std::ranges::find(cleanup, "compact") != cleanup.end();
  c.compression = parse_compression(s.text(Key::kCompressionType));
  c.gzip_level = s.int32(Key::kCompressionGzipLevel);
  c.lz4_level = s.int32(Key::kCompressionLz4Level);
  c.zstd_level = s.int32(Key::kCompressionZstdLevel);
  c.delete_retention = s.millis(Key::kDeleteRetentionMs);
  c.file_delete_delay = s.millis(Key::kFileDeleteDelayMs);
  c.flush_messages = s.int64(Key::kFlushMessages);
  c.flush_interval = s.millis(Key::kFlushMs);
  c.index_interval_bytes = s.int32(Key::kIndexIntervalBytes);
  c.max_compaction_lag = s.millis(Key::kMaxCompactionLagMs);
  c.min_compaction_lag = s.millis(Key::kMinCompactionLagMs);
  c.max_message_bytes = s.int32(Key::kMaxMessageBytes);
  c.timestamp_type = s.text(Key::kMessageTimestampType) == "LogAppendTime"
                         ? TimestampType::kLogAppendTime
                         : TimestampType::kCreateTime;
  c.timestamp_before_max = s.millis(Key::kMessageTimestampBeforeMaxMs);
  c.timestamp_after_max = s.millis(Key::kMessageTimestampAfterMaxMs);
  c.min_cleanable_ratio = s.real(Key::kMinCleanableDirtyRatio);
  c.min_insync_replicas = s.int32(Key::kMinInsyncReplicas);
  c.preallocate = s.boolean(Key::kPreallocate);
  c.retention_bytes = limit(s.int64(Key::kRetentionBytes));
  c.retention = Millis(limit(s.int64(Key::kRetentionMs)));
  c.segment_bytes = s.int32(Key::kSegmentBytes);
  if (own.contains(def(Key::kInternalSegmentBytes).name))
    c.segment_bytes = s.int32(Key::kInternalSegmentBytes);
  c.segment_index_bytes = s.int32(Key::kSegmentIndexBytes);
  c.segment_interval = s.millis(Key::kSegmentMs);
  c.segment_jitter = s.millis(Key::kSegmentJitterMs);
  c.unclean_election = s.boolean(Key::kUncleanLeaderElectionEnable);
  c.leader_throttled_replicas = s.list(Key::kLeaderReplicationThrottledReplicas);
  c.follower_throttled_replicas = s.list(Key::kFollowerReplicationThrottledReplicas);
  return c;
}

Result<void> validate_topic_config(const ConfigMap& own, const BrokerConfig& broker) {
  for (const auto& [name, text] : own) {
    const ConfigDef* d = find_topic_config(name);
    if (d == nullptr) return invalid(fmt::format("Unknown topic config name: {}", name));
    if (auto value = parse_config(*d, text); !value) return std::unexpected(value.error());
  }
  const Settings s(own, broker);
  const int64_t low = s.int64(TopicKey::kMinCompactionLagMs);
  const int64_t high = s.int64(TopicKey::kMaxCompactionLagMs);
  if (low > high) {
    return invalid(
        fmt::format("conflict topic config setting min.compaction.lag.ms ({}) > "
                    "max.compaction.lag.ms ({})",
                    low, high));
  }
  if (s.boolean(TopicKey::kRemoteStorageEnable)) {
    return invalid(
        "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with "
        "remote log storage.");
  }
  return {};
}

ConfigValue resolve_group_config(const ConfigMap& own, const BrokerConfig& broker, GroupKey key) {
  return resolve_topic_value(def(key), own, broker);
}

Result<void> validate_group_config(const ConfigMap& own, const BrokerConfig& broker) {
  for (const auto& [name, text] : own) {
    const ConfigDef* d = find_group_config(name);
    if (d == nullptr) return invalid(fmt::format("Unknown group config name: {}", name));
    if (auto value = parse_config(*d, text); !value) return std::unexpected(value.error());
  }
  struct Bound {
    GroupKey key;
    std::optional<BrokerKey> min;
    BrokerKey max;
  };
  using B = BrokerKey;
  constexpr Bound kBounds[] = {
      {GroupKey::kConsumerSessionTimeoutMs, B::kGroupConsumerMinSessionTimeoutMs,
       B::kGroupConsumerMaxSessionTimeoutMs},
      {GroupKey::kConsumerHeartbeatIntervalMs, B::kGroupConsumerMinHeartbeatIntervalMs,
       B::kGroupConsumerMaxHeartbeatIntervalMs},
      {GroupKey::kConsumerAssignmentIntervalMs, B::kGroupConsumerMinAssignmentIntervalMs,
       B::kGroupConsumerMaxAssignmentIntervalMs},
      {GroupKey::kShareSessionTimeoutMs, B::kGroupShareMinSessionTimeoutMs,
       B::kGroupShareMaxSessionTimeoutMs},
      {GroupKey::kShareHeartbeatIntervalMs, B::kGroupShareMinHeartbeatIntervalMs,
       B::kGroupShareMaxHeartbeatIntervalMs},
      {GroupKey::kShareRecordLockDurationMs, B::kGroupShareMinRecordLockDurationMs,
       B::kGroupShareMaxRecordLockDurationMs},
      {GroupKey::kShareDeliveryCountLimit, B::kGroupShareMinDeliveryCountLimit,
       B::kGroupShareMaxDeliveryCountLimit},
      {GroupKey::kSharePartitionMaxRecordLocks, B::kGroupShareMinPartitionMaxRecordLocks,
       B::kGroupShareMaxPartitionMaxRecordLocks},
      {GroupKey::kShareAssignmentIntervalMs, B::kGroupShareMinAssignmentIntervalMs,
       B::kGroupShareMaxAssignmentIntervalMs},
      {GroupKey::kStreamsSessionTimeoutMs, B::kGroupStreamsMinSessionTimeoutMs,
       B::kGroupStreamsMaxSessionTimeoutMs},
      {GroupKey::kStreamsHeartbeatIntervalMs, B::kGroupStreamsMinHeartbeatIntervalMs,
       B::kGroupStreamsMaxHeartbeatIntervalMs},
      {GroupKey::kStreamsAssignmentIntervalMs, B::kGroupStreamsMinAssignmentIntervalMs,
       B::kGroupStreamsMaxAssignmentIntervalMs},
      {GroupKey::kStreamsNumStandbyReplicas, std::nullopt, B::kGroupStreamsMaxStandbyReplicas},
  };
  const auto number = [&](GroupKey key) {
    return std::get<int64_t>(resolve_group_config(own, broker, key));
  };
  for (const Bound& b : kBounds) {
    if (b.min && number(b.key) < broker.int64(*b.min)) {
      return invalid(
          fmt::format("{} must be greater than or equal to {}", def(b.key).name, def(*b.min).name));
    }
    if (number(b.key) > broker.int64(b.max)) {
      return invalid(
          fmt::format("{} must be less than or equal to {}", def(b.key).name, def(b.max).name));
    }
  }
  constexpr std::pair<GroupKey, GroupKey> kAbove[] = {
      {GroupKey::kConsumerSessionTimeoutMs, GroupKey::kConsumerHeartbeatIntervalMs},
      {GroupKey::kShareSessionTimeoutMs, GroupKey::kShareHeartbeatIntervalMs},
      {GroupKey::kStreamsSessionTimeoutMs, GroupKey::kStreamsHeartbeatIntervalMs},
  };
  for (const auto& [timeout, interval] : kAbove) {
    if (number(timeout) <= number(interval))
      return invalid(
          fmt::format("{} must be greater than {}", def(timeout).name, def(interval).name));
  }
  return {};
}

namespace {

/// `name=pattern` of a client metrics subscription. Patterns are only checked for what no regular
/// expression may have: a bracket that is not closed.
bool is_match(std::string_view entry) {
  constexpr std::string_view kNames[] = {"client_instance_id",    "client_id",
                                         "client_software_name",  "client_software_version",
                                         "client_source_address", "client_source_port"};
  const size_t equals = entry.find('=');
  if (equals == std::string_view::npos || equals + 1 == entry.size()) return false;
  if (std::ranges::find(kNames, entry.substr(0, equals)) == std::end(kNames)) return false;
  int round = 0;
  bool square = false;
  const std::string_view pattern = entry.substr(equals + 1);
  for (size_t i = 0; i < pattern.size(); i++) {
    if (pattern[i] == '\\') {
      i++;
    } else if (square) {
      square = pattern[i] != ']';
    } else if (pattern[i] == '[') {
      square = true;
    } else if (pattern[i] == '(') {
      round++;
    } else if (pattern[i] == ')' && --round < 0) {
      return false;
    }
  }
  return round == 0 && !square;
}

}  // namespace

Result<void> validate_client_metrics_config(const ConfigMap& own) {
  for (const auto& [name, text] : own) {
    const ConfigDef* d = find_client_metrics_config(name);
    if (d == nullptr) return invalid(fmt::format("Unknown client metrics configuration: {}", name));
    auto value = parse_config(*d, text);
    if (!value) return std::unexpected(value.error());
    if (name == "interval.ms") {
      const int64_t ms = std::get<int64_t>(*value);
      if (ms < 100 || ms > 3600000) {
        return invalid(fmt::format(
            "Invalid value {} for interval.ms, interval must be between 100 and 3600000 (1 hour)",
            ms));
      }
    }
    if (name == "match") {
      for (const std::string& entry : std::get<std::vector<std::string>>(*value)) {
        if (!is_match(entry)) return invalid("Illegal client matching pattern: " + entry);
      }
    }
  }
  return {};
}

}  // namespace odradek::metadata
