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
#include "io/linux/linux_loop.h"
#include "io/linux/write_ring.h"

namespace odradek::io {
namespace {

constexpr uint64_t kPiece = 64 << 10;  // of a lap that is flushed
/// A round of more bytes is for the thread: copying them would hold up a loop.
constexpr uint64_t kLoopMost = 128 << 10;

int64_t now_ns() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

/// The file system that a file to be synced lies on. A file that is gone from its name (renamed, a
/// removed directory) counts as one of the directory's own.
dev_t device_of(const File& file, dev_t own) {
  if (const auto* open = dynamic_cast<const LinuxFile*>(&file)) return open->device();
  struct stat st{};
  return ::stat(file.path().c_str(), &st) == 0 ? st.st_dev : own;
}

}  // namespace

LinuxSyncQueue::LinuxSyncQueue(std::string directory, std::shared_ptr<WriteAhead> ahead,
                               bool io_uring)
    : name_(std::move(directory)),
      ahead_(std::move(ahead)),
      io_uring_(io_uring && ahead_ != nullptr) {
  directory_ = ::open(name_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  struct stat st{};
  if (directory_ >= 0 && ::fstat(directory_, &st) == 0) device_ = st.st_dev;
}

LinuxSyncQueue::~LinuxSyncQueue() {
  for (auto& [loop, ring] : rings_) {
    if (const auto result = ring->detach()) take_result(*result);
  }
  {
    std::scoped_lock lock(mutex_);
    stopping_ = true;
    self_.reset();
    // No loop goes on with it.
    if (owner_ == Owner::kLoop) give_to_thread();
  }
  ready_.notify_all();
  if (thread_.joinable()) thread_.join();
  if (directory_ >= 0) ::close(directory_);
}

void LinuxSyncQueue::submit(SyncJob job, Loop& reply_to, Done done) {
  {
    std::scoped_lock lock(mutex_);
    jobs_.push_back({std::move(job), &reply_to, std::move(done)});
    // All jobs are taken at once, so whoever is at it takes this one next.
    if (owner_ != Owner::kNobody) return;
    owner_ = Owner::kLoop;
  }
  next_round(static_cast<LinuxLoop&>(reply_to));
}

/// Are the jobs of the next round something for a loop? With the mutex.
bool LinuxSyncQueue::for_a_loop() const {
  if (!io_uring_) return false;
  uint64_t bytes = 0;
  for (const Job& job : jobs_) {
    const SyncJob& wanted = job.wanted;
    if (!wanted.files.empty() || wanted.order != AheadOrder::kNone) return false;
    for (const Appended& each : wanted.appended) bytes += each.to - each.from;
  }
  return bytes > 0 && bytes <= kLoopMost;
}

void LinuxSyncQueue::begin_round(std::vector<Job> jobs) {
  hear_flush({});
  round_.emplace(std::move(jobs), SyncRound(ahead_.get()));
  for (Job& job : round_->jobs) {
    if (job.wanted.written) unwritten_.emplace_back(job.wanted.written, job.wanted.job);
    round_->work.add(job.wanted);
  }
  round_->work.begin();
}

/// Tells those who wait; `here` is the loop that this runs on.
void LinuxSyncQueue::answer(std::vector<Job> jobs, const Result<Synced>& result, Loop* here) {
  std::map<Loop*, std::vector<Done>> answers;
  for (Job& job : jobs) {
    if (job.reply_to != here) answers[job.reply_to].push_back(std::move(job.done));
  }
  for (auto& [loop, answer] : answers) {
    loop->post([finished = std::move(answer), result]() mutable {
      for (Done& done : finished) done(result);
    });
  }
  for (Job& job : jobs) {
    if (job.reply_to == here) job.done(result);
  }
}

// ---- on a loop

/// Begins the next round, or has the thread do it. The loop is the owner, and there are jobs.
void LinuxSyncQueue::next_round(LinuxLoop& loop) {
  std::vector<Job> jobs;
  {
    std::scoped_lock lock(mutex_);
    if (!for_a_loop() || !all_written()) return give_to_thread();
    jobs.swap(jobs_);
  }
  unwritten_.clear();
  begin_round(std::move(jobs));
  WriteRing* ring = ring_of(loop);
  const auto write = ring == nullptr ? std::nullopt : round_->work.direct();
  if (write && ring->start(*write)) {
    write_bytes_ = write->bytes.size();
    ring_writes_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  std::scoped_lock lock(mutex_);
  give_to_thread();
}

WriteRing* LinuxSyncQueue::ring_of(LinuxLoop& loop) {
  auto [at, fresh] = rings_.try_emplace(&loop);
  if (fresh) {
    at->second = WriteRing::make(loop, [this, &loop](int result) { written(loop, result); });
    if (!at->second) {
      rings_.erase(at);
      io_uring_ = false;
      return nullptr;
    }
  }
  return at->second.get();
}

void LinuxSyncQueue::written(LinuxLoop& loop, int result) {
  take_result(result);
  if (!round_->written || !*round_->written) {
    std::scoped_lock lock(mutex_);
    return give_to_thread();
  }
  const Result<Synced> synced = round_->work.wrote({});
  std::vector<Job> jobs = std::move(round_->jobs);
  round_.reset();
  flush_lap();
  bool more;
  {
    std::scoped_lock lock(mutex_);
    more = !jobs_.empty();
    if (!more) owner_ = Owner::kNobody;
  }
  // The device first: it works while we answer.
  if (more) next_round(loop);
  answer(std::move(jobs), synced, &loop);
}

/// Not set: the round is to be carried out anew, by the thread. Some file systems want larger
/// blocks than ours.
void LinuxSyncQueue::take_result(int result) {
  if (result == static_cast<int>(write_bytes_)) {
    round_->written.emplace();
  } else if (result >= 0 || result == -EINVAL || result == -EOPNOTSUPP || result == -EAGAIN) {
    io_uring_ = false;
  } else {
    round_->written = os_error(-result, name_ + ": write-ahead file");
  }
}

/// With the mutex.
void LinuxSyncQueue::give_to_thread() {
  owner_ = Owner::kThread;
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  ready_.notify_all();
}

// ---- on the thread

void LinuxSyncQueue::run() {
  ::pthread_setname_np(::pthread_self(), "sync");
  std::unique_lock lock(mutex_);
  for (;;) {
    ready_.wait(lock, [&] { return stopping_ || owner_ == Owner::kThread; });
    if (owner_ != Owner::kThread) return;
    std::vector<Job> jobs;
    if (!round_) jobs.swap(jobs_);
    lock.unlock();
    if (!round_) {
      await_written();
      begin_round(std::move(jobs));
    }
    const Result<Synced> result = carry_out();
    jobs = std::move(round_->jobs);
    round_.reset();
    answer(std::move(jobs), result, nullptr);
    if (ahead_ != nullptr) flush_lap();
    lock.lock();
    if (jobs_.empty()) {
      owner_ = Owner::kNobody;
    } else if (!stopping_ && for_a_loop()) {
      owner_ = Owner::kLoop;
      auto* const next = static_cast<LinuxLoop*>(jobs_.front().reply_to);
      next->post([self = std::weak_ptr(self_), next] {
        if (const auto queue = self.lock()) (*queue)->next_round(*next);
      });
    }
  }
}

Result<Synced> LinuxSyncQueue::carry_out() {
  SyncRound& work = round_->work;
  if (round_->written) return work.wrote(*round_->written);
  const Result<void> synced = sync_files(work.files());
  hear_flush(work.files());
  return work.finish(synced);
}

bool LinuxSyncQueue::all_written() const {
  return std::ranges::all_of(unwritten_,
                             [](const auto& each) { return each.first->load() >= each.second; });
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

WorkerPool::WorkerPool(int threads_max, const char* name, int nice)
    : threads_max_(threads_max), name_(name), nice_(nice) {
  ::sched_getaffinity(0, sizeof allowed_, &allowed_);
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
      if (away_from_ >= 0) place(threads_.back());
    }
  }
  ready_.notify_one();
}

bool WorkerPool::keep_off(int cpu) {
  std::scoped_lock lock(mutex_);
  if (cpu == away_from_) return true;
  if (cpu < 0 || CPU_COUNT(&allowed_) < 2) return false;
  away_from_ = cpu;
  return std::ranges::all_of(threads_, [this](std::thread& t) { return place(t); });
}

bool WorkerPool::place(std::thread& thread) {
  cpu_set_t others = allowed_;
  CPU_CLR(static_cast<size_t>(away_from_), &others);
  return ::pthread_setaffinity_np(thread.native_handle(), sizeof others, &others) == 0;
}

void WorkerPool::run() {
  ::pthread_setname_np(::pthread_self(), name_);
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
