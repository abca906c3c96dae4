// Shard: the partitions of one loop, and everything about them that happens by itself: group
// commit, retention, checkpoints, deletion.
//
// A resource of its loop. Handlers find their partition here (`find`), call it, and wait with a
// CommitWait or FetchWait. Metadata enters through `apply`.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/logger.h"
#include "base/result.h"
#include "base/uuid.h"
#include "io/io.h"
#include "log/log.h"
#include "metadata/delta.h"
#include "replica/cleaning.h"
#include "replica/deadlines.h"
#include "replica/dir_moves.h"
#include "replica/housekeeping.h"
#include "replica/log_dirs.h"
#include "replica/owner.h"
#include "replica/partition.h"
#include "replica/sync_group.h"
#include "replica/waits.h"
#include "wire/compression.h"

namespace odradek::replica {

/// Broker settings that are not a topic's.
struct ShardSettings {
  BrokerId node_id{0};
  int loops = 1;
  Millis retention_check{300'000};            // log.retention.check.interval.ms
  Millis high_watermark_checkpoint{5'000};    // replica.high.watermark.checkpoint.interval.ms
  Millis recovery_point_checkpoint{60'000};   // log.flush.offset.checkpoint.interval.ms
  Millis log_start_checkpoint{60'000};        // log.flush.start.offset.checkpoint.interval.ms
  Millis producer_expiration_check{600'000};  // producer.id.expiration.check.interval.ms
  uint64_t decompressed_max = 134'217'728;    // odradek.max.decompressed.batch.bytes
};

/// Resolves the settings of a topic in an image: overrides, else the broker's, else the defaults.
using ResolveSettings =
    std::function<TopicSettings(const metadata::Image& image, const std::string& topic)>;

/// A log that was found at start, on its way to its shard (startup.h).
struct LoadedLog {
  std::unique_ptr<log::Log> log;
  size_t dir = 0;
  Offset high_watermark{0};  // from replication-offset-checkpoint
  bool future = false;       // a copy on its way to `dir` (dir_moves.h)
};

class Shard {
 public:
  Shard(io::Io& io, io::Loop& loop, LogDirs& dirs, ShardSettings settings, ResolveSettings resolve,
        Logger logger);
  ~Shard();
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  io::Loop& loop() { return loop_; }
  LogDirs& dirs() { return dirs_; }
  const ShardSettings& settings() const { return settings_; }

  // ---- start, metadata, stop
  /// Tells the controller where a replica lives; `done` comes back on this loop: whether it took
  /// it. Without one nobody is told, and every assignment is taken.
  using Assign = std::function<void(const Uuid& topic, PartitionIndex index, const Uuid& directory,
                                    std::move_only_function<void(bool)> done)>;
  void on_assign(Assign assign) { assign_ = std::move(assign); }
  /// Logs found at start, before the `apply` that knows their topics: it makes them serve.
  void adopt(std::vector<LoadedLog> logs);
  /// Follows a new image: creates, deletes, changes leadership and settings of this loop's
  /// partitions. Every publication must come, in order.
  void apply(const metadata::Publication& publication);
  /// The broker's own settings have changed: topics without overrides change too.
  void resolve_all(const metadata::Image& image);
  /// Calls back when all that was found at start is durable, so that high watermarks do not begin
  /// behind where clients saw them; the recovery points are then reported at once, so that a crash
  /// that follows does not find the same work again. After the first `apply`, before anybody is
  /// served; once.
  void when_durable(io::Callback callback);
  /// Everybody who waits is answered NOT_LEADER_OR_FOLLOWER; then gives up what is being cleaned,
  /// syncs and closes all logs and reports their checkpoints to LogDirs. `done` when that is over,
  /// with the first error.
  void close(std::move_only_function<void(Result<void>)> done);

  /// Replicas of that topic are told about from now on; before the first `apply`. It is told that
  /// they are gone when this closes.
  void watch(std::string topic, PartitionWatcher& watcher) {
    watchers_.emplace_back(std::move(topic), &watcher);
  }

  // ---- handlers
  /// Null if this loop has no such replica.
  Partition* find(const Uuid& topic_id, PartitionIndex index);
  /// All replicas of this loop, in order of topic name and index.
  std::vector<Partition*> partitions();
  /// AlterReplicaLogDirs of a replica that is not here (of any loop: nobody knows where it will
  /// be): if it comes, it goes to that directory.
  void prefer(const log::TopicPartition& name, size_t dir);

  // ---- partitions and waits
  Deadlines& deadlines() { return deadlines_; }
  Housekeeping& housekeeping() { return housekeeping_; }
  SyncGroup& sync_group() { return sync_group_; }
  Cleaning& cleaning() { return cleaning_; }
  DirMoves& moves() { return moves_; }
  /// Tells the controller that the replica lives there from now on.
  void assign(Partition& partition, const Uuid& directory,
              std::move_only_function<void(bool)> done);
  /// Tells it where the replica is, if the image says something else.
  void tell_directory(Partition& partition);
  /// The partition is about to get another log: nothing of the old one is waited for.
  void unlist(Partition& partition);
  wire::Decompressor& decompressor() { return decompressor_; }
  /// The partition's bytes go with the next sync of its directory.
  void sync_soon(Partition& partition);
  bool writes_ahead(size_t dir) const { return sync_group_.writes_ahead(dir); }
  /// The wait goes on at the end of this turn.
  void woken(FetchWait& wait);
  void forget_woken(FetchWait& wait) { woken_.remove(wait); }
  void fail_dir(size_t dir, const Error& error) { dirs_.fail(dir, error); }
  /// An operation in that directory has failed: unless the disk is only full, the directory goes
  /// offline.
  void disk_failed(size_t dir, const Error& error);
  void report(size_t dir, log::CheckpointKind kind, std::vector<CheckpointChange> changes) {
    dirs_.update(dir, kind, std::move(changes));
  }

 private:
  struct Topic {
    std::shared_ptr<const TopicInfo> info;
    std::vector<std::unique_ptr<Partition>> partitions;  // by index; null: not here
  };

  void apply_topic(const metadata::Publication& publication, const metadata::TopicChange& change);
  void apply_partition(Topic& topic, int32_t index, const metadata::Partition& state, bool is_new);
  void apply_configs(const metadata::Publication& publication);
  void resolve(const metadata::Image& image, Topic& topic);
  std::unique_ptr<Partition> create(const Topic& topic, int32_t index,
                                    const metadata::Partition& state, bool is_new);
  std::optional<size_t> place(const log::TopicPartition& name, const Uuid& assigned, bool is_new);
  /// After a while, when a full disk may have room again.
  void create_later(const Uuid& topic, int32_t index, const metadata::Partition& state,
                    bool is_new);
  /// In one of the next turns.
  void create_soon(const Uuid& topic, int32_t index, const metadata::Partition& state, bool is_new);
  void post_creations();
  void create_waiting();
  void tell_unplaced();
  std::unique_ptr<Partition> take_adopted(const Topic& topic, int32_t index);
  void remove(std::unique_ptr<Partition> partition);
  void dir_failed(size_t dir);
  void schedule_turn_end();
  void turn_end();
  struct Closing;
  void close_logs(std::move_only_function<void(Result<void>)> done);
  void closed(Closing& closing);

  io::Io& io_;
  io::Loop& loop_;
  LogDirs& dirs_;
  ShardSettings settings_;
  ResolveSettings resolve_;
  Logger logger_;
  Deadlines deadlines_;
  SyncGroup sync_group_;
  Housekeeping housekeeping_;
  Cleaning cleaning_;
  DirMoves moves_;
  wire::Decompressor decompressor_;
  std::unordered_map<Uuid, Topic> topics_;
  std::unordered_map<std::string, LoadedLog> adopted_;  // by name of the folder
  std::unordered_map<std::string, LoadedLog> futures_;  // of those, by name of the partition
  IntrusiveList<FetchWait> woken_;
  Assign assign_;
  std::vector<std::pair<std::string, PartitionWatcher*>> watchers_;  // by topic
  /// Where replicas that are not here yet should go, if they come: by name.
  std::map<log::TopicPartition, size_t> preferred_;
  struct Uncreated {
    metadata::Partition state;
    bool is_new;
  };
  using Uncreateds = std::map<std::pair<Uuid, int32_t>, Uncreated>;
  Uncreateds create_soon_;
  Uncreateds create_later_;  // a full disk kept them from being created
  io::TimerId create_timer_ = io::TimerId::kNone;
  bool create_posted_ = false;
  int creations_left_ = 0;  // in this turn
  /// False once this is gone: what is posted may come later.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  int unplaced_ = 0;  // not told yet: in directories that are offline
  bool turn_end_scheduled_ = false;
  bool closing_ = false;
};

}  // namespace odradek::replica
