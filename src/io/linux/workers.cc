#include "io/linux/workers.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>

#include "io/linux/errors.h"
#include "io/linux/linux_file.h"

namespace odradek::io {
namespace {

int64_t now_ns() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

/// The file system that a file to be synced lies on. A file that is gone from its name (renamed, a
/// removed directory) counts as one of the directory's own.
dev_t device_of(const File& file, dev_t own) {
  if (const auto* open = dynamic_cast<const LinuxFile*>(&file)) return open->device();
  struct stat st{};
  return ::stat(file.path().c_str(), &st) == 0 ? st.st_dev : own;
}

}  // namespace

LinuxSyncQueue::LinuxSyncQueue(std::string directory) : name_(std::move(directory)) {
  directory_ = ::open(name_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  struct stat st{};
  if (directory_ >= 0 && ::fstat(directory_, &st) == 0) device_ = st.st_dev;
}

LinuxSyncQueue::~LinuxSyncQueue() {
  {
    std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  ready_.notify_all();
  if (thread_.joinable()) thread_.join();
  if (directory_ >= 0) ::close(directory_);
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
  ::pthread_setname_np(::pthread_self(), "sync");
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
  Results files;
  for (Job& job : jobs) {
    for (auto& file : job.files) files.try_emplace(file.get());
  }
  if (directory_ >= 0 && choice_.whole(files.size())) {
    sync_whole(files);
  } else {
    sync_each(files);
  }
  std::map<Loop*, std::vector<Finished>> answers;
  for (Job& job : jobs) {
    Result<void> result;
    for (auto& file : job.files) {
      const Result<void>& r = files.at(file.get());
      if (!r && result) result = r;
    }
    answers[job.reply_to].push_back({std::move(job.done), std::move(result)});
  }
  for (auto& [loop, answer] : answers) {
    loop->post([finished = std::move(answer)]() mutable {
      for (Finished& each : finished) each.done(std::move(each.result));
    });
  }
}

void LinuxSyncQueue::sync_each(Results& files) {
  const int64_t began = now_ns();
  for (auto& [file, result] : files) result = file->sync();
  choice_.took_each(files.size(), now_ns() - began);
}

void LinuxSyncQueue::sync_whole(Results& files) {
  const int64_t began = now_ns();
  // Not retried, like fdatasync: what could not be written is marked clean.
  Result<void> all;
  if (::syncfs(directory_) != 0) all = os_error(errno, name_ + ": syncfs");
  choice_.took_whole(now_ns() - began);
  whole_syncs_.fetch_add(1, std::memory_order_relaxed);
  for (auto& [file, result] : files) {
    // A folder may be a link to another disk.
    result = all && device_of(*file, device_) != device_ ? file->sync() : all;
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
