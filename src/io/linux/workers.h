// Threads for what blocks: one per sync queue, two for background work. Private to io/linux.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "io/io.h"

namespace odradek::io {

/// fdatasync for one log directory. Takes everything that is queued at once, syncs every file once,
/// and answers with one post per loop.
class LinuxSyncQueue : public SyncQueue {
 public:
  explicit LinuxSyncQueue(std::string name) : name_(std::move(name)) {}
  /// Runs what is queued first.
  ~LinuxSyncQueue() override;
  void submit(std::vector<std::shared_ptr<File>> files, Loop& reply_to, Done done) override;

 private:
  struct Job {
    std::vector<std::shared_ptr<File>> files;
    Loop* reply_to;
    Done done;
  };
  void run();
  static void sync_all(std::vector<Job> jobs);

  const std::string name_;
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
