// TopicSettings: a topic's resolved configuration as its partitions need it.
#pragma once

#include "log/log_config.h"
#include "metadata/topic_config.h"

namespace odradek::replica {

struct TopicSettings {
  metadata::ResolvedTopicConfig config;
  log::LogConfig log;  // the same, as the log takes it

  /// flush.messages = 1: acks=all waits for the disk and nobody reads what is not durable. Above:
  /// a sync after so many records, for which nobody waits.
  bool synced() const { return config.synced(); }
  bool operator==(const TopicSettings&) const = default;
};

/// `producer_expiration` is the broker's producer.id.expiration.ms.
TopicSettings make_topic_settings(const metadata::ResolvedTopicConfig& config,
                                  Millis producer_expiration);

}  // namespace odradek::replica
