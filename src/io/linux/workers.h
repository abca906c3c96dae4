// Threads for what blocks: one per sync queue, two for background work. Private to io/linux.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "io/io.h"
#include "io/linux/sync_choice.h"

namespace odradek::io {

/// Runs callbacks on its threads.
class WorkerPool {
 public:
  /// `nice`: of its threads, as for nice(1).
  explicit WorkerPool(int threads_max, int nice = 0) : threads_max_(threads_max), nice_(nice) {}
  /// Runs what is queued first.
  ~WorkerPool();
  void submit(Callback work);

 private:
  void run();

  const int threads_max_;
  const int nice_;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<Callback> queue_;
  int idle_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

/// Syncs for one log directory. Takes everything that is queued at once, syncs every file once, or
/// all with one syncfs (SyncChoice), or copies what was appended into the write-ahead file and
/// syncs that; answers with one post per loop.
class LinuxSyncQueue : public SyncQueue {
 public:
  /// Files that lie on the file system of `directory` may be synced together.
  explicit LinuxSyncQueue(std::string directory, std::shared_ptr<WriteAhead> ahead = nullptr);
  /// Runs what is queued first.
  ~LinuxSyncQueue() override;
  void submit(SyncJob job, Loop& reply_to, Done done) override;
  /// How often a round was one syncfs. For tests.
  uint64_t whole_syncs() const { return whole_syncs_.load(std::memory_order_relaxed); }

 private:
  using Files = std::map<File*, std::shared_ptr<File>>;
  struct Job {
    SyncJob wanted;
    Loop* reply_to;
    Done done;
  };
  void run();
  Result<void> sync_files(const std::vector<std::shared_ptr<File>>& files);
  static Result<void> sync_each(const Files& files);
  Result<void> sync_whole(const Files& files) const;
  void await_written();
  void hear_flush(const std::vector<std::shared_ptr<File>>& synced);
  Result<void> write_back(const std::vector<FileRange>& lap) const;
  void flush_lap();

  const std::string name_;
  // Open from before the first write on: syncfs tells what has failed since (Linux 5.8).
  int directory_ = -1;
  dev_t device_ = 0;
  SyncChoice choice_;
  const std::shared_ptr<WriteAhead> ahead_;
  std::atomic<uint64_t> whole_syncs_{0};
  std::mutex mutex_;
  std::condition_variable ready_;
  std::vector<Job> jobs_;
  std::vector<std::pair<WrittenCount, uint64_t>> unwritten_;  // jobs of the last round
  Files flushing_;  // of the lap that is being flushed; this and the next are the sync thread's own
  bool flushing_whole_ = false;          // with everything else on the file system
  std::optional<Result<void>> flushed_;  // what became of it
  std::atomic<bool> awaited_{false};     // a round waits for that
  bool stopping_ = false;
  std::thread thread_;
  /// Behind the loops and the rounds where there are fewer cores than threads that want one: it has
  /// as long as the next lap lasts. Last: it uses the others.
  WorkerPool flusher_{1, 5};
};

}  // namespace odradek::io
