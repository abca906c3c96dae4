// Shard: the partitions of one loop, and everything about them that happens by itself: group
// commit, retention, checkpoints, deletion.
//
// A resource of its loop. Handlers find their partition here (`find`), call it, and wait with a
// CommitWait or FetchWait. Metadata enters through `apply`.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "base/logger.h"
#include "base/metrics.h"
#include "base/result.h"
#include "base/uuid.h"
#include "io/io.h"
#include "log/log.h"
#include "replica/deadlines.h"
#include "replica/log_dirs.h"
#include "replica/owner.h"
#include "replica/partition.h"
#include "replica/waits.h"

namespace odradek::metadata {
struct Image;
struct Publication;
}  // namespace odradek::metadata

namespace odradek::replica {

class SyncGroup;
class Housekeeping;

/// Broker settings that are not a topic's.
struct ShardSettings {
  BrokerId node_id{0};
  int loops = 1;
  Millis retention_check{300'000};            // log.retention.check.interval.ms
  Millis high_watermark_checkpoint{5'000};    // replica.high.watermark.checkpoint.interval.ms
  Millis recovery_point_checkpoint{60'000};   // log.flush.offset.checkpoint.interval.ms
  Millis log_start_checkpoint{60'000};        // log.flush.start.offset.checkpoint.interval.ms
  Millis producer_expiration_check{600'000};  // producer.id.expiration.check.interval.ms
};

/// Resolves the settings of a topic in an image: overrides, else the broker's, else the defaults.
using ResolveSettings =
    std::function<TopicSettings(const metadata::Image& image, const std::string& topic)>;

/// A log that was found at start, on its way to its shard.
struct LoadedLog {
  std::unique_ptr<log::Log> log;
  size_t dir = 0;
  Offset high_watermark{0};  // from replication-offset-checkpoint
};

class Shard {
 public:
  Shard(io::Io& io, io::Loop& loop, LogDirs& dirs, ShardSettings settings, ResolveSettings resolve,
        MetricSet& metrics, Logger logger);
  ~Shard();
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  io::Loop& loop() { return loop_; }
  const ShardSettings& settings() const { return settings_; }

  // ---- start, metadata, stop
  /// Logs found at start, before the first `apply`; it makes those it knows serve.
  void adopt(std::vector<LoadedLog> logs);
  /// Follows a new image: creates, deletes, changes leadership and settings of this loop's
  /// partitions. Every publication must come, in order.
  void apply(const metadata::Publication& publication);
  /// Everybody waiting is answered NOT_LEADER_OR_FOLLOWER; syncs and closes all logs and reports
  /// their checkpoints. `done` when that is over, with the first error.
  void close(std::move_only_function<void(Result<void>)> done);

  // ---- handlers
  /// Null if this loop has no such replica.
  Partition* find(const Uuid& topic_id, PartitionIndex index);
  Partition* find(std::string_view topic, PartitionIndex index);
  /// All replicas of this loop, in order of topic name and index.
  std::vector<Partition*> partitions();
  Deadlines& deadlines() { return deadlines_; }

 private:
  friend class Partition;
  friend class CommitWait;
  friend class FetchWait;
  friend class SyncGroup;
  friend class Housekeeping;

  struct Topic {
    std::shared_ptr<const TopicInfo> info;
    std::vector<std::unique_ptr<Partition>> partitions;  // by index; null: not here
  };

  io::Io& io_;
  io::Loop& loop_;
  LogDirs& dirs_;
  ShardSettings settings_;
  ResolveSettings resolve_;
  MetricSet& metrics_;
  Logger logger_;
  Deadlines deadlines_;
  std::unordered_map<Uuid, std::unique_ptr<Topic>> topics_;
  std::unordered_map<std::string_view, Topic*> by_name_;
  std::vector<LoadedLog> adopted_;
};

}  // namespace odradek::replica
