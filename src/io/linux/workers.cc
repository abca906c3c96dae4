#include "io/linux/workers.h"

#include <pthread.h>

#include <map>

namespace odradek::io {

LinuxSyncQueue::~LinuxSyncQueue() {
  {
    std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  ready_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void LinuxSyncQueue::submit(std::vector<std::shared_ptr<File>> files, Loop& reply_to, Done done) {
  bool first;
  {
    std::scoped_lock lock(mutex_);
    if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
    first = jobs_.empty();
    jobs_.push_back({std::move(files), &reply_to, std::move(done)});
  }
  // The thread takes all jobs at once, so only the first one needs to wake it.
  if (first) ready_.notify_one();
}

void LinuxSyncQueue::run() {
  ::pthread_setname_np(::pthread_self(), name_.substr(0, 15).c_str());
  std::unique_lock lock(mutex_);
  for (;;) {
    ready_.wait(lock, [&] { return stopping_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    std::vector<Job> jobs = std::move(jobs_);
    jobs_.clear();
    lock.unlock();
    sync_all(std::move(jobs));
    lock.lock();
  }
}

void LinuxSyncQueue::sync_all(std::vector<Job> jobs) {
  struct Finished {
    Done done;
    Result<void> result;
  };
  std::map<File*, Result<void>> synced;
  std::map<Loop*, std::vector<Finished>> answers;
  for (Job& job : jobs) {
    Result<void> result;
    for (auto& file : job.files) {
      auto [it, fresh] = synced.try_emplace(file.get());
      if (fresh) it->second = file->sync();
      if (!it->second && result) result = it->second;
    }
    answers[job.reply_to].push_back({std::move(job.done), std::move(result)});
  }
  for (auto& [loop, answer] : answers) {
    loop->post([finished = std::move(answer)]() mutable {
      for (Finished& each : finished) each.done(std::move(each.result));
    });
  }
}

WorkerPool::~WorkerPool() {
  {
    std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  ready_.notify_all();
  for (std::thread& t : threads_) t.join();
}

void WorkerPool::submit(Callback work) {
  {
    std::scoped_lock lock(mutex_);
    queue_.push_back(std::move(work));
    if (static_cast<int>(queue_.size()) > idle_ &&
        static_cast<int>(threads_.size()) < threads_max_) {
      threads_.emplace_back([this] { run(); });
    }
  }
  ready_.notify_one();
}

void WorkerPool::run() {
  ::pthread_setname_np(::pthread_self(), "files");
  std::unique_lock lock(mutex_);
  for (;;) {
    idle_++;
    ready_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
    idle_--;
    if (queue_.empty()) return;
    Callback work = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    work();
    work = nullptr;
    lock.lock();
  }
}

}  // namespace odradek::io
