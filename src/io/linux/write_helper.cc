#include "io/linux/write_helper.h"

#include <pthread.h>

#include <utility>

namespace odradek::io {

WriteHelper::WriteHelper() { ::sched_getaffinity(0, sizeof allowed_, &allowed_); }

WriteHelper::~WriteHelper() {
  {
    std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  ready_.notify_one();
  if (thread_.joinable()) thread_.join();
}

bool WriteHelper::call(Callback work) {
  if (CPU_COUNT(&allowed_) < 2) return false;
  {
    std::scoped_lock lock(mutex_);
    if (work_) return false;
    if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
    if (!keep_off(::sched_getcpu())) return false;
    work_ = std::move(work);
  }
  ready_.notify_one();
  return true;
}

/// The system likes to put a thread that is woken beside the one that wakes it, where it would work
/// instead of the loop and not beside it.
bool WriteHelper::keep_off(int cpu) {
  if (cpu == away_from_) return true;
  cpu_set_t others = allowed_;
  if (cpu < 0 || !CPU_ISSET(cpu, &others)) return false;
  CPU_CLR(static_cast<size_t>(cpu), &others);
  if (::pthread_setaffinity_np(thread_.native_handle(), sizeof others, &others) != 0) return false;
  away_from_ = cpu;
  return true;
}

void WriteHelper::run() {
  ::pthread_setname_np(::pthread_self(), "writes");
  std::unique_lock lock(mutex_);
  for (;;) {
    ready_.wait(lock, [&] { return stopping_ || work_; });
    if (!work_) return;
    Callback work = std::exchange(work_, {});
    lock.unlock();
    work();
    work = nullptr;
    lock.lock();
  }
}

}  // namespace odradek::io
