// DirMoves: the replicas of one loop that are on their way to another log directory
// (AlterReplicaLogDirs, KIP-113).
//
// The copy, the future replica, is a log of its own in a `-future` folder of the new directory. It
// grows in pieces that a file thread copies; the loop goes on serving. When it is nearly even, the
// high watermark is held, the rest is copied and synced, the controller is told where the replica
// lives, and the folders change their names: the old one to `-delete`, then the new one to the
// partition's. So at no moment is there a folder that lacks something that was acknowledged, and
// never two of the same name, whenever the power fails. A move that a stop or a crash interrupts
// goes on at the next start.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/logger.h"
#include "base/result.h"
#include "io/io.h"
#include "log/log.h"
#include "wire/errors.h"

namespace odradek::replica {

class Partition;
class Shard;

class DirMoves {
 public:
  DirMoves(Shard& shard, io::Io& io, Logger logger);
  ~DirMoves();
  DirMoves(const DirMoves&) = delete;
  DirMoves& operator=(const DirMoves&) = delete;

  /// Bytes a second that this loop may copy (replica.alter.log.dirs.io.max.bytes.per.second).
  void set_rate(int64_t bytes_per_second);

  /// Moves the replica to directory `to`, which is online. A move to another directory that is
  /// under way ends; to where the replica is already: only that.
  Result<void> begin(Partition& partition, size_t to);
  /// Goes on with a future replica that was found at start: after a clean stop where it was, else
  /// anew, for of what was not synced a power loss takes any part.
  void resume(Partition& partition, size_t to, std::unique_ptr<log::Log> future);
  /// The partition goes away.
  void forget(Partition& partition);
  void dir_failed(size_t dir);
  /// Nothing is copied any more; future replicas are closed, to go on at the next start.
  void close(io::Callback done);

  struct Progress {
    size_t dir;  // where it goes
    uint64_t size = 0;
    Offset end;
  };
  /// Nothing if the partition stays where it is.
  std::optional<Progress> find(const Partition& partition) const;

 private:
  enum class Phase : uint8_t { kCopying, kSyncing, kAssigning, kRenamed };
  struct Move;
  using MovePtr = std::shared_ptr<Move>;
  struct Copied;

  void enter(Partition& partition, MovePtr move);
  void pump();
  void step(const MovePtr& move);
  void step_later(const MovePtr& move, Millis delay);
  void copy_piece(const MovePtr& move, log::ReadResult from);
  void copied(const MovePtr& move, const Copied& result);
  Result<bool> catch_up(Move& move, uint64_t bytes_max);
  void make_even(const MovePtr& move);
  void synced(const MovePtr& move, const Result<void>& result);
  void assigned(const MovePtr& move, bool accepted);
  void rename_old(const MovePtr& move);
  void swap(const MovePtr& move, const Result<void>& old_synced);
  Result<void> take_place(Move& move);
  void undo_rename(Move& move);
  void swapped(const MovePtr& move, size_t from, const std::string& old_folder);

  enum class Folder : uint8_t { kRemove, kKeep };
  void cancel(Partition& partition, Folder folder);
  void drop(const MovePtr& move);
  void source_failed(const MovePtr& move, const Error& error);
  void target_failed(const MovePtr& move, const Error& error);
  void give_up(const MovePtr& move, std::string_view why);
  void leave(const MovePtr& move);
  void close_future(const MovePtr& move);
  void background(const MovePtr& move, io::Callback work, io::Callback done);

  Shard& shard_;
  io::Io& io_;
  io::Loop& loop_;
  Logger logger_;
  std::map<const Partition*, MovePtr> moves_;
  std::deque<MovePtr> waiting_;
  int running_ = 0;
  int busy_ = 0;  // on a file thread
  int64_t rate_ = INT64_MAX;
  MonoNs next_piece_{0};
  bool closing_ = false;
  io::Callback closed_;
};

}  // namespace odradek::replica
