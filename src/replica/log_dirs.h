// LogDirs: the log directories of one node, shared by all loops.
//
// Constant after construction, but for the atomic flags and counts. Each directory has one sync
// queue; its checkpoint files are written here, on one loop, from what the shards report.
//
// A directory is online, or has failed and is offline for good (until the next start). Online ones
// may be cordoned (nothing new goes there, cordoned.log.dirs) or full (appends are refused until
// there is room again).
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/logger.h"
#include "base/result.h"
#include "base/uuid.h"
#include "io/io.h"
#include "log/log_dir.h"
#include "log/write_ahead.h"

namespace odradek::replica {

/// A change of one line of a checkpoint file; no offset: the line goes.
struct CheckpointChange {
  log::TopicPartition partition;
  std::optional<Offset> offset;
};

class LogDirs {
 public:
  /// A directory, opened and formatted, as node hands it over.
  struct Entry {
    std::unique_ptr<log::LogDir> dir;  // null: it could not be opened and is offline from the start
    Uuid id;                           // directory.id; zero if it could not be read
    bool clean = false;                // it had its clean-shutdown marker
    bool metadata = false;             // holds __cluster_metadata
    std::string path{};                // as configured; may be left out with `dir`
  };

  /// Called once, on the loop that saw the failure, when the last directory or the metadata
  /// directory has failed: the process must stop, without a clean marker.
  using OnFatal = std::function<void(const Error&)>;
  /// Called on every registered loop after directory `index` has gone offline.
  using OnOffline = std::function<void(size_t index)>;

  /// `home` is the loop that keeps the checkpoints (loop 0).
  /// `ahead_bytes`: size of each of a directory's two write-ahead files; 0: there are none.
  LogDirs(io::Io& io, io::Loop& home, std::vector<Entry> entries, uint64_t ahead_bytes,
          OnFatal on_fatal, Logger logger);
  ~LogDirs();
  LogDirs(const LogDirs&) = delete;
  LogDirs& operator=(const LogDirs&) = delete;

  size_t size() const { return slots_.size(); }
  const std::string& path(size_t index) const { return slots_[index]->entry.path; }
  /// Not for one that was offline from the start.
  log::LogDir& dir(size_t index) const { return *slots_[index]->entry.dir; }
  const Uuid& id(size_t index) const { return slots_[index]->entry.id; }
  bool clean(size_t index) const { return slots_[index]->entry.clean; }
  /// Of the volume it lies on.
  Result<io::Disk::Space> space(size_t index) const { return disk_.space(path(index)); }
  io::SyncQueue& sync_queue(size_t index) const { return *slots_[index]->sync; }
  void write_all(std::span<io::FileWrite> writes) const { io_.write_all(writes); }
  /// Everything that was found at start is durable: write-ahead files of an earlier run go, and new
  /// ones may be used.
  void begin_ahead();
  /// Null: there are no write-ahead files.
  const log::WriteAheadCounts* ahead_counts(size_t index) const {
    return slots_[index]->ahead ? &slots_[index]->ahead->counts() : nullptr;
  }
  bool offline(size_t index) const {
    return slots_[index]->offline.load(std::memory_order_acquire);
  }

  bool any_offline() const { return online_.load() < static_cast<int>(slots_.size()); }
  /// The directory with that path, as configured; with that id. Online or not.
  std::optional<size_t> find(std::string_view path) const;
  std::optional<size_t> find(const Uuid& id) const;

  /// cordoned.log.dirs: paths, or a single `*` for all. From any loop.
  void set_cordoned(const std::vector<std::string>& paths);
  bool cordoned(size_t index) const { return slots_[index]->cordoned.load(); }

  /// Where a new replica goes, counted there: the directory that was asked for (if it is one of
  /// ours and online), else the online one with the fewest partitions that is not cordoned. Nothing
  /// if there is none. From any loop.
  std::optional<size_t> place(const Uuid& asked);
  /// Counts partitions found at start (+), or deleted (−).
  void count(size_t index, int change) { slots_[index]->partitions.fetch_add(change); }

  /// Below so many free bytes (or a twentieth of the volume, if that is less) appends are refused,
  /// so that what must be written (metadata, checkpoints, indexes) still can. Before the loops run.
  void set_reserve(uint64_t bytes) { reserve_ = bytes; }
  /// Whether `bytes` may be appended in that directory. Asks the system now and then only. From any
  /// loop.
  bool has_room(size_t index, uint64_t bytes) {
    const auto wanted = static_cast<int64_t>(bytes);
    return slots_[index]->room.fetch_sub(wanted, std::memory_order_relaxed) >= wanted ||
           look_for_room(index, bytes);
  }
  /// Why an append was refused, for a client.
  std::string full_message(size_t index) const;
  /// As of the last look.
  bool full(size_t index) const { return slots_[index]->full.load(); }

  /// Before the loops run: who wants to hear of failures (one for each shard).
  void subscribe(io::Loop& loop, OnOffline on_offline);
  /// Takes the directory offline; the second and later calls for it do nothing. From any loop.
  void fail(size_t index, const Error& error);

  /// The lines that the checkpoint files held at start.
  void load_checkpoint(size_t index, log::CheckpointKind kind, log::OffsetCheckpoint lines);
  /// Takes over changes and writes the file soon, on a file thread. From any loop; nothing happens
  /// for an offline directory.
  void update(size_t index, log::CheckpointKind kind, std::vector<CheckpointChange> changes);
  /// Calls back on `reply_to` when all that was reported before is on the disk, or the directory
  /// offline. From any loop.
  void when_saved(size_t index, log::CheckpointKind kind, io::Loop& reply_to, io::Callback done);
  /// On the home loop, after all shards have closed: calls `done` when everything reported is on
  /// disk, with the clean marker if `marker`.
  void close(std::optional<BrokerEpoch> marker, std::move_only_function<void(Result<void>)> done);

 private:
  struct Waiter {
    io::Loop* loop;
    io::Callback done;
  };
  /// A checkpoint file: on the home loop only.
  struct File {
    log::OffsetCheckpoint lines;
    bool changed = false;
    bool writing = false;
    std::vector<Waiter> waiting;  // for what is not being written yet
    std::vector<Waiter> served;   // by the write under way
  };
  struct Slot {
    Entry entry;
    std::shared_ptr<log::WriteAheadFile> ahead;
    std::unique_ptr<io::SyncQueue> sync;
    std::atomic<bool> offline{false};
    std::atomic<bool> cordoned{false};
    std::atomic<int64_t> room{0};  // may be written before the system is asked again
    std::atomic<bool> full{false};
    std::atomic<int> partitions{0};
    std::map<log::CheckpointKind, File> files;
  };
  struct Subscriber {
    io::Loop* loop;
    std::shared_ptr<OnOffline> on_offline;  // shared with posts under way
  };

  bool look_for_room(size_t index, uint64_t bytes);
  uint64_t reserve_of(const io::Disk::Space& space) const;
  void apply(size_t index, log::CheckpointKind kind, std::vector<CheckpointChange> changes);
  void retry_checkpoints();
  void write(size_t index, log::CheckpointKind kind);
  void written(size_t index, log::CheckpointKind kind, const Result<void>& result);
  static void answer(std::vector<Waiter>& waiters);
  void finish_close();

  io::Io& io_;
  io::Disk& disk_;
  io::Loop& home_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Subscriber> subscribers_;
  OnFatal on_fatal_;
  Logger logger_;
  std::atomic<int> online_{0};
  uint64_t reserve_ = 0;
  io::TimerId retry_ = io::TimerId::kNone;  // checkpoints that a full disk refused
  // closing, on the home loop
  std::move_only_function<void(Result<void>)> closed_;
  std::optional<BrokerEpoch> marker_;
};

}  // namespace odradek::replica
