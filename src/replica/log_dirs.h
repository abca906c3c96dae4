// LogDirs: the log directories of one node, shared by all loops.
//
// Constant after construction, but for the atomic flags and counts. Each directory has one sync
// queue; its checkpoint files are written here, on one loop, from what the shards report.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/logger.h"
#include "base/result.h"
#include "base/uuid.h"
#include "io/io.h"
#include "log/log_dir.h"

namespace odradek::replica {

/// A change of one line of a checkpoint file; no offset: the line goes.
struct CheckpointChange {
  log::TopicPartition partition;
  std::optional<Offset> offset;
};

class LogDirs {
 public:
  /// An opened and formatted directory, as node hands it over.
  struct Entry {
    std::unique_ptr<log::LogDir> dir;
    Uuid id;                // directory.id
    bool clean = false;     // it had its clean-shutdown marker
    bool metadata = false;  // holds __cluster_metadata
  };

  /// Called once, on the loop that saw the failure, when the last directory or the metadata
  /// directory has failed: the process must stop, without a clean marker.
  using OnFatal = std::function<void(const Error&)>;
  /// Called on every registered loop after directory `index` has gone offline.
  using OnOffline = std::function<void(size_t index)>;

  /// `home` is the loop that keeps the checkpoints (loop 0).
  LogDirs(io::Io& io, io::Loop& home, std::vector<Entry> entries, OnFatal on_fatal, Logger logger);
  ~LogDirs();
  LogDirs(const LogDirs&) = delete;
  LogDirs& operator=(const LogDirs&) = delete;

  size_t size() const { return slots_.size(); }
  log::LogDir& dir(size_t index) const { return *slots_[index]->entry.dir; }
  const Uuid& id(size_t index) const { return slots_[index]->entry.id; }
  bool clean(size_t index) const { return slots_[index]->entry.clean; }
  /// Of the volume it lies on.
  Result<io::Disk::Space> space(size_t index) const {
    return dir(index).disk().space(dir(index).path());
  }
  io::SyncQueue& sync_queue(size_t index) const { return *slots_[index]->sync; }
  bool offline(size_t index) const {
    return slots_[index]->offline.load(std::memory_order_acquire);
  }

  /// Where a new replica goes, counted there: the directory that the controller has assigned (if it
  /// is one of ours and online), else the online one with the fewest partitions. Nothing if all are
  /// offline. From any loop.
  std::optional<size_t> place(const Uuid& assigned);
  /// Counts partitions found at start (+), or deleted (−).
  void count(size_t index, int change) { slots_[index]->partitions.fetch_add(change); }

  /// Before the loops run: who wants to hear of failures (one for each shard).
  void subscribe(io::Loop& loop, OnOffline on_offline);
  /// Takes the directory offline; the second and later calls for it do nothing. From any loop.
  void fail(size_t index, const Error& error);

  /// The lines that the checkpoint files held at start.
  void load_checkpoint(size_t index, log::CheckpointKind kind, log::OffsetCheckpoint lines);
  /// Takes over changes and writes the file soon, on a file thread. From any loop; nothing happens
  /// for an offline directory.
  void update(size_t index, log::CheckpointKind kind, std::vector<CheckpointChange> changes);
  /// On the home loop, after all shards have closed: calls `done` when everything reported is on
  /// disk, with the clean marker if `marker`.
  void close(std::optional<BrokerEpoch> marker, std::move_only_function<void(Result<void>)> done);

 private:
  /// A checkpoint file: on the home loop only.
  struct File {
    log::OffsetCheckpoint lines;
    bool changed = false;
    bool writing = false;
  };
  struct Slot {
    Entry entry;
    std::unique_ptr<io::SyncQueue> sync;
    std::atomic<bool> offline{false};
    std::atomic<int> partitions{0};
    std::map<log::CheckpointKind, File> files;
  };
  struct Subscriber {
    io::Loop* loop;
    std::shared_ptr<OnOffline> on_offline;  // shared with posts under way
  };

  void apply(size_t index, log::CheckpointKind kind, std::vector<CheckpointChange> changes);
  void write(size_t index, log::CheckpointKind kind);
  void written(size_t index, log::CheckpointKind kind, const Result<void>& result);
  void finish_close();

  io::Io& io_;
  io::Loop& home_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Subscriber> subscribers_;
  OnFatal on_fatal_;
  Logger logger_;
  std::atomic<int> online_;
  // closing, on the home loop
  std::move_only_function<void(Result<void>)> closed_;
  std::optional<BrokerEpoch> marker_;
};

}  // namespace odradek::replica
