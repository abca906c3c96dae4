#include "io/linux/linux_io.h"

#include <fmt/format.h>
#include <pthread.h>

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
      workers_(std::make_unique<WorkerPool>(std::max(options.file_threads, 1))) {
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
  return std::make_unique<LinuxSyncQueue>(directory, std::move(ahead));
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
