// Housekeeping: what happens to a loop's partitions by itself: checkpoints of their offsets,
// retention, the silence of producers, flush.ms, and the removal of what was set aside.
//
// Checkpoint timers run only while something has changed; an idle shard wakes for retention alone.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/logger.h"
#include "base/uuid.h"
#include "io/io.h"
#include "log/log_dir.h"

namespace odradek::replica {

class Partition;
class Shard;

class Housekeeping {
 public:
  Housekeeping(Shard& shard, io::Io& io, Logger logger);
  ~Housekeeping();
  Housekeeping(const Housekeeping&) = delete;
  Housekeeping& operator=(const Housekeeping&) = delete;

  /// The line of this partition in that checkpoint file is out of date.
  void changed(Partition& partition, log::CheckpointKind kind);
  /// So much was appended: with much, recovery points are reported sooner than their interval says,
  /// since a crash has to check what lies behind them.
  void written(uint64_t bytes);
  /// Tells LogDirs what has changed of that file, without waiting for its interval.
  void report_now(log::CheckpointKind kind);
  /// What the line of this partition in that file should say.
  static Offset offset_of(const Partition& partition, log::CheckpointKind kind);
  /// flush.ms: the partition has bytes that want a sync by then.
  void flush_by(Partition& partition, MonoNs when);
  /// The partition goes away, or its directory has failed.
  void forget(Partition& partition);
  enum class Kind : uint8_t { kFile, kFolder };
  /// Unlinks a file, or a folder with everything in it, after `delay`.
  void remove_later(std::string path, Kind kind, Millis delay);
  /// Nothing begins by itself any more.
  void stop();
  /// Retention of one partition, now.
  void retain(Partition& partition);
  /// Tells LogDirs all that the checkpoints should say (stop).
  void report_all();

 private:
  struct Due {
    std::vector<Partition*> partitions;
    io::TimerId timer = io::TimerId::kNone;
  };
  struct Doomed {
    std::string path;
    Kind kind;
  };
  static constexpr size_t kKinds = 3;  // without that of the cleaner (cleaning.h)

  /// Where a log begins.
  struct Start {
    Uuid topic;
    PartitionIndex index;
    Offset offset;
  };
  using Unsaved = std::map<size_t, std::vector<Start>>;  // by directory

  void report(log::CheckpointKind kind);
  void retention();
  /// Moves the log start offset. Segments go at once only if the checkpoint has it already, or if
  /// the disk is full and room comes first; the others' starts are added to `unsaved`.
  void expire(Partition& partition, Unsaved& unsaved);
  void save_starts(Unsaved unsaved);
  void starts_saved(size_t dir, const std::vector<Start>& starts);
  void remove_expired(Partition& partition, Offset limit);
  void expire_producers();
  void flush_due();
  void arm_flush();
  void remove_due();
  void arm_removal();

  Shard& shard_;
  io::Io& io_;
  io::Timers& timers_;
  Logger logger_;
  std::array<Due, kKinds> due_;
  uint64_t written_ = 0;  // since recovery points were last reported because of it
  std::vector<Partition*> flush_;
  io::TimerId flush_timer_ = io::TimerId::kNone;
  std::multimap<MonoNs, Doomed> doomed_;
  io::TimerId removal_timer_ = io::TimerId::kNone;
  io::TimerId retention_timer_ = io::TimerId::kNone;
  io::TimerId producers_timer_ = io::TimerId::kNone;
  bool stopped_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // what waits for a file may be late
};

}  // namespace odradek::replica
