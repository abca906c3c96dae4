// SyncGroup: group commit of one loop. All appends of a turn share one sync per log directory, and
// all that come while a sync is under way share the next one. So a sync is under way whenever
// something is dirty, and never more than one of this loop per directory.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "base/result.h"
#include "io/io.h"
#include "log/log.h"
#include "replica/log_dirs.h"

namespace odradek::replica {

class Partition;

/// Leaves one of those files that have the same path: new partitions all name the directory they
/// lie in.
void drop_twins(std::vector<std::shared_ptr<io::File>>& files);

class SyncGroup {
 public:
  SyncGroup(io::Loop& loop, LogDirs& dirs);

  /// The partition has bytes that want to be durable. Submitted by `submit`.
  void mark(Partition& partition);
  /// The directory's write-ahead file takes what is appended: who answers after the sync need not
  /// write to the segment before it.
  bool writes_ahead(size_t dir) const { return by_dir_[dir].ahead; }
  /// At the end of a turn.
  void submit();
  /// What the directory's write-ahead file holds is to get into the segments soon.
  void next_lap(size_t dir);
  /// Laps of it up to this one have, as far as this loop has heard.
  uint64_t flushed_lap(size_t dir) const { return by_dir_[dir].flushed; }
  /// The partition goes away.
  void forget(Partition& partition);
  /// Calls back when no sync is under way and nothing is dirty (at once if so). For stopping.
  void when_idle(io::Callback callback);

 private:
  struct Taken {
    Partition* partition;  // null: gone meanwhile; or its sync was refused
    log::SyncTicket ticket;
  };
  struct Dir {
    std::vector<Partition*> dirty;
    std::vector<Taken> syncing;
    bool in_flight = false;
    bool ahead = false;  // so it was with the last appends
    uint64_t flushed = 0;
    io::WrittenCount written = std::make_shared<std::atomic<uint64_t>>(0);
    uint64_t jobs = 0;
  };

  void submit(size_t index);
  void write_out(Dir& dir);
  void write_out(const std::vector<Taken>& taken);
  void sync_refused(std::vector<Taken>& done);
  void completed(size_t index, const Result<io::Synced>& result);
  bool idle() const;

  io::Loop& loop_;
  LogDirs& dirs_;
  std::vector<Dir> by_dir_;
  std::vector<io::FileWrite>
      writes_;  // both are empty, but for `write_out`; they keep their memory
  std::vector<const Taken*> written_;  // whose each of them is
  io::Callback on_idle_;
};

}  // namespace odradek::replica
