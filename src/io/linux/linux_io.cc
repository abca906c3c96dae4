#include "io/linux/linux_io.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <boost/asio/signal_set.hpp>
#include <csignal>

#include "base/check.h"
#include "io/linux/linux_loop.h"
#include "io/linux/workers.h"

namespace odradek::io {
namespace {

size_t prepare_process(size_t max_open_files) {
  raise_descriptor_limit();
  // sendfile has no MSG_NOSIGNAL.
  std::signal(SIGPIPE, SIG_IGN);
  return max_open_files;
}

constexpr uint64_t kPage = 4096;
/// New pages of the page cache, 3 µs each: below this it is not worth it to wake a thread.
constexpr uint64_t kPagesShared = 48;

/// Writes that two threads take a few at a time.
class SharedWrites {
 public:
  explicit SharedWrites(std::span<FileWrite> writes) : writes_(writes) {}
  /// Returns when all are done.
  void run() {
    take();
    for (bool busy = helping_.load(); busy; busy = helping_.load()) helping_.wait(true);
  }
  /// May come too late: then nothing is left to take, and the writes themselves are gone.
  void help() {
    helping_ = true;
    take();
    helping_ = false;
    helping_.notify_one();
  }

 private:
  void take() {
    for (size_t at = next_.fetch_add(kTaken); at < writes_.size(); at = next_.fetch_add(kTaken)) {
      for (FileWrite& each : writes_.subspan(at, std::min(kTaken, writes_.size() - at))) {
        each.result = each.file->write(each.position, each.bytes);
      }
    }
  }

  static constexpr size_t kTaken = 2;
  const std::span<FileWrite> writes_;
  std::atomic<size_t> next_{0};
  std::atomic<bool> helping_{false};
};

/// Waits for signals for ever; owned by its own handler.
struct Signals : std::enable_shared_from_this<Signals> {
  Signals(LinuxLoop& l, std::move_only_function<void(int)> c)
      : loop(l), set(l.context(), SIGTERM, SIGINT), callback(std::move(c)) {}
  void wait() {
    set.async_wait([self = shared_from_this()](const boost::system::error_code& ec, int signal) {
      if (ec) return;
      self->loop.enter();
      self->wait();
      self->callback(signal);
    });
  }
  LinuxLoop& loop;
  boost::asio::signal_set set;
  std::move_only_function<void(int)> callback;
};

}  // namespace

LinuxIo::LinuxIo(LinuxOptions options)
    : options_(options),
      disk_(prepare_process(options.max_open_files)),
      workers_(std::make_unique<WorkerPool>(std::max(options.file_threads, 1), "files")),
      helpers_(std::make_unique<WorkerPool>(1, "writes")) {
  ODRADEK_CHECK(options.loops > 0);
  for (int i = 0; i < options.loops; i++) {
    loops_.push_back(std::make_unique<LinuxLoop>(i, options_, counters_));
  }
}

LinuxIo::~LinuxIo() {
  workers_.reset();  // its last answers go to the loops
}

void LinuxIo::run() {
  std::vector<std::thread> threads;
  for (size_t i = 1; i < loops_.size(); i++) {
    threads.emplace_back([this, i] {
      ::pthread_setname_np(::pthread_self(), fmt::format("loop-{}", i).c_str());
      loops_[i]->run();
    });
  }
  loops_[0]->run();
  for (std::thread& t : threads) t.join();
}

void LinuxIo::stop() {
  for (auto& loop : loops_) loop->stop();
}

void LinuxIo::on_signal(std::move_only_function<void(int)> callback) {
  std::make_shared<Signals>(*loops_[0], std::move(callback))->wait();
}

Loop& LinuxIo::loop(int index) { return *loops_.at(static_cast<size_t>(index)); }

std::unique_ptr<SyncQueue> LinuxIo::make_sync_queue(const std::string& directory,
                                                    std::shared_ptr<WriteAhead> ahead) {
  return std::make_unique<LinuxSyncQueue>(directory, std::move(ahead), options_.io_uring);
}

void LinuxIo::write_all(std::span<FileWrite> writes) {
  uint64_t pages = 0;  // that are new
  for (const FileWrite& each : writes) {
    pages += (each.position + each.bytes.size()) / kPage - each.position / kPage;
  }
  if (pages < kPagesShared) return Io::write_all(writes);
  auto shared = std::make_shared<SharedWrites>(writes);
  // The system likes to put a thread that is woken beside the one that wakes it, where it would
  // work instead of the loop and not beside it.
  if (helpers_->keep_off(::sched_getcpu())) helpers_->submit([shared] { shared->help(); });
  shared->run();
}

void LinuxIo::background(Callback work, Loop& reply_to, Callback done) {
  workers_->submit([&reply_to, work = std::move(work), done = std::move(done)]() mutable {
    work();
    reply_to.post(std::move(done));
  });
}

uint64_t LinuxIo::turns() const {
  uint64_t sum = 0;
  for (const auto& loop : loops_) sum += loop->turns();
  return sum;
}

}  // namespace odradek::io
