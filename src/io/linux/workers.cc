#include "io/linux/workers.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "io/linux/errors.h"
#include "io/linux/linux_file.h"
#include "io/sync_round.h"

namespace odradek::io {
namespace {

constexpr uint64_t kPiece = 256 << 10;  // of a lap that is flushed

int64_t now_ns() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

/// The file system that a file to be synced lies on. A file that is gone from its name (renamed, a
/// removed directory) counts as one of the directory's own.
dev_t device_of(const File& file, dev_t own) {
  if (const auto* open = dynamic_cast<const LinuxFile*>(&file)) return open->device();
  struct stat st{};
  return ::stat(file.path().c_str(), &st) == 0 ? st.st_dev : own;
}

}  // namespace

LinuxSyncQueue::LinuxSyncQueue(std::string directory, std::shared_ptr<WriteAhead> ahead)
    : name_(std::move(directory)), ahead_(std::move(ahead)) {
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

void LinuxSyncQueue::submit(SyncJob job, Loop& reply_to, Done done) {
  bool first;
  {
    std::scoped_lock lock(mutex_);
    if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
    first = jobs_.empty();
    jobs_.push_back({std::move(job), &reply_to, std::move(done)});
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
    hear_flush({});
    await_written();
    SyncRound round(ahead_.get());
    for (Job& job : jobs) {
      if (job.wanted.written) unwritten_.emplace_back(job.wanted.written, job.wanted.job);
      round.add(job.wanted);
    }
    round.begin();
    const Result<void> synced = sync_files(round.files());
    hear_flush(round.files());
    const Result<Synced> result = round.finish(synced);
    std::map<Loop*, std::vector<Done>> answers;
    for (Job& job : jobs) answers[job.reply_to].push_back(std::move(job.done));
    for (auto& [loop, answer] : answers) {
      loop->post([finished = std::move(answer), result]() mutable {
        for (Done& done : finished) done(result);
      });
    }
    if (ahead_ != nullptr) flush_lap();
    lock.lock();
  }
}

/// A lap must not count as flushed, nor be forgotten, while bytes of it are in no file: those of
/// the round before this one were to be written while it ran.
void LinuxSyncQueue::await_written() {
  for (const auto& [count, job] : unwritten_) {
    for (uint64_t seen = count->load(); seen < job; seen = count->load()) count->wait(seen);
  }
  unwritten_.clear();
}

/// What has become of the lap that was being flushed. If it syncs what this round has synced too,
/// waits for it: an error of the device is told to only one of both.
void LinuxSyncQueue::hear_flush(const std::vector<std::shared_ptr<File>>& synced) {
  if (flushing_.empty()) return;
  std::unique_lock lock(mutex_);
  const bool shared = std::ranges::any_of(
      synced, [&](const auto& f) { return flushing_whole_ || flushing_.contains(f.get()); });
  if (shared) {
    awaited_ = true;
    ready_.wait(lock, [&] { return flushed_.has_value(); });
    awaited_ = false;
  }
  if (!flushed_) return;
  const Result<void> result = *std::exchange(flushed_, std::nullopt);
  flushing_.clear();
  flushing_whole_ = false;
  lock.unlock();
  ahead_->flushed(result);
}

Result<void> LinuxSyncQueue::sync_files(const std::vector<std::shared_ptr<File>>& list) {
  Files files;
  for (const auto& file : list) files.try_emplace(file.get(), file);
  const bool whole = directory_ >= 0 && choice_.whole(files.size());
  const int64_t began = now_ns();
  Result<void> result = whole ? sync_whole(files) : sync_each(files);
  if (whole) {
    choice_.took_whole(now_ns() - began);
    whole_syncs_.fetch_add(1, std::memory_order_relaxed);
  } else {
    choice_.took_each(files.size(), now_ns() - began);
  }
  return result;
}

Result<void> LinuxSyncQueue::sync_each(const Files& files) {
  Result<void> result;
  for (const auto& [key, file] : files) {
    auto r = file->sync();
    if (!r && result) result = r;
  }
  return result;
}

Result<void> LinuxSyncQueue::sync_whole(const Files& files) const {
  // Not retried, like fdatasync: what could not be written is marked clean.
  if (::syncfs(directory_) != 0) return os_error(errno, name_ + ": syncfs");
  for (const auto& [key, file] : files) {
    // A folder may be a link to another disk.
    if (device_of(*file, device_) == device_) continue;
    if (auto r = file->sync(); !r) return r;
  }
  return {};
}

/// Piece by piece, so that the sync of a round meanwhile has at most one of them in front of it.
Result<void> LinuxSyncQueue::write_back(const std::vector<FileRange>& lap) const {
  for (const FileRange& range : lap) {
    auto* file = dynamic_cast<LinuxFile*>(range.file.get());
    if (file == nullptr) continue;
    for (uint64_t at = range.from; at < range.to && !awaited_; at += kPiece) {
      if (auto r = file->write_back(at, std::min(at + kPiece, range.to)); !r) return r;
    }
  }
  return {};
}

/// A lap that is over gets into its files while rounds go on.
void LinuxSyncQueue::flush_lap() {
  std::vector<FileRange> lap = ahead_->over();
  if (lap.empty()) return;
  Files files;
  for (const FileRange& range : lap) files.try_emplace(range.file.get(), range.file);
  // Many fdatasyncs are many commits of the file system's journal, and rounds may wait for those.
  const bool whole = directory_ >= 0 && files.size() >= SyncChoice::kFewest;
  flushing_ = files;
  flushing_whole_ = whole;
  flusher_.submit([this, whole, lap = std::move(lap), files = std::move(files)] {
    const Result<void> written = write_back(lap);
    Result<void> result = whole ? sync_whole(files) : sync_each(files);
    if (!written) result = written;
    {
      std::scoped_lock lock(mutex_);
      flushed_ = std::move(result);
    }
    ready_.notify_one();
  });
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
  if (nice_ != 0) ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), nice_);
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
