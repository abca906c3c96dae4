// Threads for what blocks: one per sync queue, two for background work. Private to io/linux.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "io/io.h"
#include "io/linux/sync_choice.h"

namespace odradek::io {

/// Syncs for one log directory. Takes everything that is queued at once, syncs every file once, or
/// all with one syncfs (SyncChoice), and answers with one post per loop.
class LinuxSyncQueue : public SyncQueue {
 public:
  /// Files that lie on the file system of `directory` may be synced together.
  explicit LinuxSyncQueue(std::string directory);
  /// Runs what is queued first.
  ~LinuxSyncQueue() override;
  void submit(std::vector<std::shared_ptr<File>> files, Loop& reply_to, Done done) override;
  /// How often a round was one syncfs. For tests.
  uint64_t whole_syncs() const { return whole_syncs_.load(std::memory_order_relaxed); }

 private:
  using Results = std::map<File*, Result<void>>;
  struct Job {
    std::vector<std::shared_ptr<File>> files;
    Loop* reply_to;
    Done done;
  };
  void run();
  void sync_all(std::vector<Job> jobs);
  void sync_each(Results& files);
  void sync_whole(Results& files);

  const std::string name_;
  // Open from before the first write on: syncfs tells what has failed since (Linux 5.8).
  int directory_ = -1;
  dev_t device_ = 0;
  SyncChoice choice_;
  std::atomic<uint64_t> whole_syncs_{0};
  std::mutex mutex_;
  std::condition_variable ready_;
  std::vector<Job> jobs_;
  bool stopping_ = false;
  std::thread thread_;
};

/// Runs callbacks on its threads.
class WorkerPool {
 public:
  explicit WorkerPool(int threads_max) : threads_max_(threads_max) {}
  /// Runs what is queued first.
  ~WorkerPool();
  void submit(Callback work);

 private:
  void run();

  const int threads_max_;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<Callback> queue_;
  int idle_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace odradek::io
