// One event loop: an io_context that one thread runs. Private to io/linux.
//
// Every handler begins with `enter`. A turn is a handler, or, once somebody has asked for
// `at_turn_end`, everything from there until what was ready has run: the end of the turn is a
// handler that is posted behind all ready ones. So a busy loop pays one epoll_wait a turn.
#pragma once

#define BOOST_ASIO_NO_DEPRECATED
#include <array>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "io/linux/linux_io.h"

namespace odradek::io {

class LinuxLoop : public Loop, Clock, Timers, Net, Random {
 public:
  LinuxLoop(int index, const LinuxOptions& options, LinuxCounters& counters);
  ~LinuxLoop() override;

  int index() const override { return index_; }
  Clock& clock() override { return *this; }
  Timers& timers() override { return *this; }
  Net& net() override { return *this; }
  Random& random() override { return *this; }
  void post(Callback callback) override;
  void at_turn_end(Callback callback) override;
  void release_memory() override;

  WallMs wall() const override;
  MonoNs now() const override;
  MonoNs precise() const override;
  TimerId start(Millis delay, Callback callback) override;
  void cancel(TimerId id) override;
  uint64_t next() override;
  Result<std::unique_ptr<Listener>> listen(const Endpoint& at, bool shared_port,
                                           OnAccept on_accept) override;
  void start_connect(const Endpoint& to,
                     Completion<Result<std::unique_ptr<Socket>>>& done) override;

  /// Runs until `stop`.
  void run();
  void stop() { context_.stop(); }

  /// Begins a handler: time may have gone on.
  void enter() {
    if (turn_open_) return;
    turns_.store(turns_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    now_.reset();
    wall_.reset();
  }
  /// Runs a handler that is a turn by itself, if none is open: nothing else is waited for.
  template <class F>
  void turn(F handler) {
    enter();
    if (turn_open_) return handler();
    turn_open_ = true;
    handler();
    end_turn();
  }
  boost::asio::io_context& context() { return context_; }
  LinuxCounters& counters() { return counters_; }
  uint64_t turns() const { return turns_.load(std::memory_order_relaxed); }
  /// Room for small file pieces on their way to a socket.
  MutableBytes scratch();

 private:
  using Deadline = std::pair<int64_t, uint64_t>;  // nanoseconds, id

  void drain_posts();
  void end_turn();
  void arm();
  void fire();

  const int index_;
  const LinuxOptions& options_;
  LinuxCounters& counters_;
  boost::asio::io_context context_;
  std::optional<boost::asio::executor_work_guard<boost::asio::io_context::executor_type>> work_;
  std::atomic<uint64_t> turns_{0};

  std::mutex posts_mutex_;
  std::vector<Callback> posts_;

  bool turn_open_ = false;
  std::vector<Callback> turn_end_;
  std::vector<Callback> ending_;  // what was in it when the turn ended; both keep their memory
  mutable std::optional<MonoNs> now_;
  mutable std::optional<WallMs> wall_;

  boost::asio::steady_timer alarm_;
  int64_t armed_for_;  // nanoseconds; the largest value: not armed
  uint64_t next_timer_ = 1;
  std::map<Deadline, Callback> timers_;
  std::unordered_map<uint64_t, int64_t> deadlines_;

  std::array<uint64_t, 32> random_{};
  size_t random_left_ = 0;
  ByteBuffer scratch_;
};

}  // namespace odradek::io
