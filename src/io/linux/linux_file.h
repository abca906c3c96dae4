// Open files whose descriptors come and go. Private to io/linux.
//
// A log directory can have more files than the process may have descriptors. So a LinuxFile is a
// path and an inode; its descriptor is opened when needed and closed when others need it more. A
// use pins the descriptor: one atomic increment while it is open. Files that are renamed through
// the Disk are found again under their new name; files that are removed or replaced keep their
// descriptor until the last reference goes.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <atomic>
#include <list>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <string>

#include "io/io.h"

namespace odradek::io {

class LinuxFile;

/// The descriptors of all files of one Disk, and the table of live files by path. Any thread.
class DescriptorTable : public std::enable_shared_from_this<DescriptorTable> {
 public:
  explicit DescriptorTable(size_t limit) : limit_(limit) {}

  Result<std::shared_ptr<LinuxFile>> open(const std::string& path, OpenMode mode);
  Result<void> rename(const std::string& from, const std::string& to);
  Result<void> remove(const std::string& path);

  size_t open_count() const { return open_count_.load(std::memory_order_relaxed); }
  uint64_t reopened() const { return reopened_.load(std::memory_order_relaxed); }

 private:
  friend class LinuxFile;
  using Lock = std::scoped_lock<std::mutex>;

  // All of these want the mutex held.

  /// Opens the file's descriptor by its current path, after closing idle ones if there are too
  /// many. 0 or an errno.
  int attach(LinuxFile& file, int extra_flags);
  /// The file has this descriptor from now on, unless it is another file's. 0 or an errno.
  int take(LinuxFile& file, int fd, const struct stat& st);
  /// Closes idle descriptors until `most` are open or all are in use.
  void shrink(size_t most);
  /// Gives the live files at `path` a descriptor that stays.
  Result<void> hold(const std::string& path);
  void move(LinuxFile& file, std::string path);
  void enter(LinuxFile& file);
  void leave(LinuxFile& file);

  const size_t limit_;
  /// Shared while a file gets its name in the table, whole while names change.
  std::shared_mutex names_;
  std::mutex mutex_;  // after `names_`
  std::multimap<std::string_view, LinuxFile*> by_path_;
  std::list<LinuxFile*> open_;  // the hand of the clock is at the front
  std::atomic<size_t> open_count_{0};
  std::atomic<uint64_t> reopened_{0};
};

class LinuxFile : public File {
 public:
  LinuxFile(std::shared_ptr<DescriptorTable> table, std::string path, OpenMode mode)
      : table_(std::move(table)), path_(std::move(path)), mode_(mode) {}
  ~LinuxFile() override;

  const std::string& path() const override { return path_; }
  Result<size_t> read(uint64_t position, MutableBytes into) override;
  Result<void> write(uint64_t position, std::span<const ByteView> pieces) override;
  Result<uint64_t> size() override;
  Result<void> truncate(uint64_t size) override;
  Result<void> sync() override;

  /// Has the device take what is dirty there, and waits for it; to make it durable is for `sync`.
  /// An error is told once, here or there.
  Result<void> write_back(uint64_t from, uint64_t to);

  /// Do writes go past the page cache?
  bool direct() const { return direct_.load(std::memory_order_relaxed); }

  /// The file system it lies on. Any thread: it never changes.
  dev_t device() const { return device_; }

  /// The descriptor, open as long as this lives. `fd` is −errno if it cannot be opened.
  class Use {
   public:
    explicit Use(LinuxFile& file) : file_(file), fd_(file.pin()) {}
    ~Use() {
      if (fd_ >= 0) file_.pins_.fetch_sub(1, std::memory_order_release);
    }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    int fd() const { return fd_; }

   private:
    LinuxFile& file_;
    int fd_;
  };

 private:
  friend class DescriptorTable;

  int pin();
  const std::string& current_path() const { return renamed_.empty() ? path_ : renamed_; }

  const std::shared_ptr<DescriptorTable> table_;
  const std::string path_;
  const OpenMode mode_;
  std::atomic<int> pins_{-1};  // −1: no descriptor; else how many uses are under way
  std::atomic<bool> recent_{true};
  std::atomic<bool> direct_{false};
  int fd_ = -1;  // valid while pins_ ≥ 0

  // guarded by the table's mutex
  std::string renamed_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
  bool stays_ = false;  // it can no longer be opened by its path
  std::list<LinuxFile*>::iterator place_;
};

}  // namespace odradek::io
