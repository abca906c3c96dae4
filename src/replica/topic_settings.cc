#include "replica/topic_settings.h"

namespace odradek::replica {

TopicSettings make_topic_settings(const metadata::ResolvedTopicConfig& config,
                                  Millis producer_expiration) {
  TopicSettings out;
  out.config = config;
  out.log.segment_bytes = config.segment_bytes;
  out.log.segment_ms = config.segment_interval;
  out.log.segment_jitter_ms = config.segment_jitter;
  out.log.segment_index_bytes = config.segment_index_bytes;
  out.log.index_interval_bytes = config.index_interval_bytes;
  out.log.retention_ms = config.retention;
  out.log.retention_bytes = config.retention_bytes;
  out.log.delete_policy = config.cleanup_delete;
  out.log.compact_policy = config.cleanup_compact;
  out.log.file_delete_delay = config.file_delete_delay;
  out.log.min_compaction_lag = config.min_compaction_lag;
  out.log.max_compaction_lag = config.max_compaction_lag;
  out.log.delete_retention = config.delete_retention;
  out.log.min_cleanable_ratio = config.min_cleanable_ratio;
  out.log.producer_expiration = producer_expiration;
  return out;
}

}  // namespace odradek::replica
