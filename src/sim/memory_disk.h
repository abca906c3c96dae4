// MemoryDisk: io::Disk in memory, which knows what a power loss would leave.
//
// Every file has its current and its durable content, every directory its current and its durable
// names. File::sync makes a file's content durable (not its name); sync_directory makes creations,
// renames and removals in one directory durable (not the content of the files). power_loss throws
// the rest away, but not neatly: of the writes that were not synced a random part survives, torn at
// 512-byte sectors; of the name changes a random part.
//
// Stricter than most file systems on purpose: syncing a new file does not make its name durable,
// and after a failed sync what was not durable never becomes so, although reads still show it.
// Listings come in an order that is fixed but not sorted. One thread only. The root directory is
// always there; paths may be absolute or not (the same thing here).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "io/io.h"
#include "sim/rng.h"

namespace odradek::sim {

enum class DiskOp { kOpen, kRead, kWrite, kTruncate, kSync, kRename, kRemove, kMakeDir, kSyncDir };

class MemoryDisk : public io::Disk {
 public:
  /// What has been done since the start.
  struct Counts {
    uint64_t writes = 0;
    uint64_t bytes_written = 0;
    uint64_t reads = 0;
    uint64_t bytes_read = 0;
    uint64_t syncs = 0;  // of files
    uint64_t directory_syncs = 0;
  };
  /// Asked before every operation; an error makes the operation fail with it. A failing write
  /// leaves the first half of its bytes.
  using Fault = std::function<std::optional<Error>(DiskOp op, const std::string& path)>;

  MemoryDisk();
  ~MemoryDisk() override;

  Result<std::shared_ptr<io::File>> open(const std::string& path, io::OpenMode mode) override;
  Result<std::vector<io::DirEntry>> list(const std::string& path) override;
  bool exists(const std::string& path) override;
  Result<void> make_directory(const std::string& path) override;
  Result<void> rename(const std::string& from, const std::string& to) override;
  Result<void> remove(const std::string& path) override;
  Result<void> remove_tree(const std::string& path) override;
  Result<void> sync_directory(const std::string& path) override;
  Result<std::unique_ptr<io::DirLock>> lock(const std::string& path) override;
  Result<Space> space(const std::string& path) override;
  Result<WallMs> modified(const std::string& path) override;
  Result<void> set_modified(const std::string& path, WallMs time) override;

  /// The process is gone (kill -9): open files and locks of it answer kClosed from now on; what was
  /// written stays.
  void process_died();
  /// process_died, and what was not durable is lost, except for what chance keeps.
  void power_loss(Rng& rng);
  /// While down, whatever changes the disk answers kClosed: what is left of a dead process.
  void set_down(bool down) { down_ = down; }
  /// Calls `then` in the middle of what happens, before the n-th change of the disk from now (n ≥
  /// 1), which answers kClosed if the process is dead afterwards.
  void interrupt_after(uint64_t n, std::function<void()> then) {
    interrupt_in_ = n;
    interrupt_ = std::move(then);
  }
  /// Makes everything durable: the end of a test's set-up.
  void sync_everything();

  void set_fault(Fault fault) { fault_ = std::move(fault); }
  /// Writes that would make the files larger than this together fail with kNoSpace.
  void set_space(uint64_t bytes) { space_ = bytes; }
  /// Of all files together.
  uint64_t used() const { return used_; }
  /// Bit rot: flips one bit of what a file holds, for good. False if there is no such byte.
  bool flip_bit(const std::string& path, uint64_t position, int bit);
  /// Where modification times come from; without it they are 0.
  void set_wall_clock(std::function<WallMs()> wall) { wall_ = std::move(wall); }
  const Counts& counts() const { return counts_; }

  /// How far a file has been written, for a sync that starts now and takes effect later (SimIo).
  static uint64_t write_mark(io::File& file);
  /// Makes durable what was written before `mark` was taken. Counts and fails as File::sync.
  static Result<void> sync_up_to(io::File& file, uint64_t mark);

 private:
  friend class MemoryFile;
  friend class MemoryLock;
  struct Node;
  using NodePtr = std::shared_ptr<Node>;
  /// One or two changes of names that survive a power loss together or not at all. Changes of one
  /// node survive only with all earlier ones of that node.
  struct EntryOp {
    struct Change {
      NodePtr directory;
      std::string name;
      NodePtr node;  // null: removed
    };
    NodePtr subject;
    std::vector<Change> changes;
  };

  NodePtr find(const std::string& path) const;
  Result<NodePtr> find_parent(const std::string& path, std::string& name) const;
  std::optional<Error> fault(DiskOp op, const std::string& path);
  void change(EntryOp op);
  static void make_durable(const EntryOp& op);
  void forget(const NodePtr& node);

  NodePtr root_;
  std::vector<EntryOp> pending_;
  std::set<std::string> locks_;
  uint64_t incarnation_ = 0;
  uint64_t used_ = 0;
  uint64_t space_ = uint64_t{1} << 40;
  bool down_ = false;
  uint64_t interrupt_in_ = 0;
  std::function<void()> interrupt_;
  Fault fault_;
  std::function<WallMs()> wall_;
  Counts counts_;
};

}  // namespace odradek::sim
