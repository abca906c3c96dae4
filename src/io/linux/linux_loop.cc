#include "io/linux/linux_loop.h"

#include <malloc.h>
#include <sys/random.h>

#include <boost/asio/post.hpp>
#include <chrono>
#include <ctime>
#include <limits>

#include "base/check.h"
#include "io/linux/linux_net.h"

namespace odradek::io {
namespace {

constexpr int64_t kNotArmed = std::numeric_limits<int64_t>::max();
constexpr int64_t kNsPerMs = 1'000'000;
constexpr size_t kScratchBytes = 256 * 1024;

int64_t monotonic_ns() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

}  // namespace

LinuxLoop::LinuxLoop(int index, const LinuxOptions& options, LinuxCounters& counters)
    : index_(index),
      options_(options),
      counters_(counters),
      context_(1),
      work_(boost::asio::make_work_guard(context_)),
      alarm_(context_),
      armed_for_(kNotArmed) {}

LinuxLoop::~LinuxLoop() {
  // What never ran is destroyed while the loop is whole: it may own sockets and cancel timers.
  auto posts = std::move(posts_);
  auto at_end = std::move(turn_end_);
  auto ending = std::move(ending_);
  auto timers = std::move(timers_);
  posts_.clear();
  turn_end_.clear();
  timers_.clear();
  deadlines_.clear();
}

void LinuxLoop::run() { context_.run(); }

// ------------------------------------------------------------------------------------------------
// posts and turns

void LinuxLoop::post(Callback callback) {
  bool first;
  {
    std::scoped_lock lock(posts_mutex_);
    first = posts_.empty();
    posts_.push_back(std::move(callback));
  }
  // One wake-up for all posts until the loop has taken them.
  if (first) boost::asio::post(context_, [this] { drain_posts(); });
}

void LinuxLoop::drain_posts() {
  enter();
  std::vector<Callback> due;
  {
    std::scoped_lock lock(posts_mutex_);
    due.swap(posts_);
  }
  for (Callback& callback : due) {
    callback();
    callback = nullptr;
  }
}

void LinuxLoop::at_turn_end(Callback callback) {
  turn_end_.push_back(std::move(callback));
  if (turn_open_) return;
  turn_open_ = true;
  boost::asio::post(context_, [this] { end_turn(); });
}

void LinuxLoop::end_turn() {
  while (!turn_end_.empty()) {
    ending_.swap(turn_end_);
    for (Callback& callback : ending_) callback();
    ending_.clear();
  }
  turn_open_ = false;
}

void LinuxLoop::release_memory() { ::malloc_trim(0); }

// ------------------------------------------------------------------------------------------------
// clock and random

WallMs LinuxLoop::wall() const {
  if (!wall_) {
    timespec t{};
    ::clock_gettime(CLOCK_REALTIME, &t);
    wall_ = WallMs(int64_t{t.tv_sec} * 1000 + t.tv_nsec / kNsPerMs);
  }
  return *wall_;
}

MonoNs LinuxLoop::now() const {
  if (!now_) now_ = MonoNs(monotonic_ns());
  return *now_;
}

MonoNs LinuxLoop::precise() const { return MonoNs(monotonic_ns()); }

uint64_t LinuxLoop::next() {
  if (random_left_ == 0) {
    // Up to 256 bytes come whole and cannot be interrupted.
    ODRADEK_CHECK(::getrandom(random_.data(), sizeof random_, 0) == sizeof random_);
    random_left_ = random_.size();
  }
  return random_[--random_left_];
}

MutableBytes LinuxLoop::scratch() {
  if (scratch_.empty()) scratch_.resize(kScratchBytes);
  return scratch_;
}

// ------------------------------------------------------------------------------------------------
// timers: one alarm for the earliest

TimerId LinuxLoop::start(Millis delay, Callback callback) {
  // Not now(), which may be from long before in a long turn. Full milliseconds, so that timers that
  // are due together share a wake-up.
  int64_t at = monotonic_ns() + std::max<int64_t>(delay.value, 0) * kNsPerMs;
  at = (at + kNsPerMs - 1) / kNsPerMs * kNsPerMs;
  uint64_t id = next_timer_++;
  timers_.emplace(Deadline(at, id), std::move(callback));
  deadlines_.emplace(id, at);
  arm();
  return static_cast<TimerId>(id);
}

void LinuxLoop::cancel(TimerId id) {
  auto found = deadlines_.find(static_cast<uint64_t>(id));
  if (found == deadlines_.end()) return;
  // Extracted, so that the callback is destroyed when both tables are in order. The alarm stays: a
  // wake-up for nothing is cheaper than setting it for every cancelled request timeout.
  auto timer = timers_.extract(Deadline(found->second, found->first));
  deadlines_.erase(found);
}

void LinuxLoop::arm() {
  if (timers_.empty() || timers_.begin()->first.first >= armed_for_) return;
  armed_for_ = timers_.begin()->first.first;
  alarm_.expires_at(std::chrono::steady_clock::time_point(std::chrono::nanoseconds(armed_for_)));
  alarm_.async_wait([this](const boost::system::error_code& ec) {
    if (ec) return;  // set anew
    enter();
    fire();
  });
}

void LinuxLoop::fire() {
  armed_for_ = kNotArmed;
  // Not now(): the turn may have begun before the alarm.
  int64_t time = monotonic_ns();
  // Timers that start during this have later ids or deadlines; those due already wait for the next
  // alarm, so that a timer that restarts itself with 0 cannot hold the loop.
  uint64_t newest = next_timer_;
  while (!timers_.empty()) {
    auto first = timers_.begin();
    if (first->first.first > time || first->first.second >= newest) break;
    auto timer = timers_.extract(first);
    deadlines_.erase(timer.key().second);
    timer.mapped()();
  }
  arm();
}

// ------------------------------------------------------------------------------------------------
// net

Result<std::unique_ptr<Listener>> LinuxLoop::listen(const Endpoint& at, bool shared_port,
                                                    OnAccept on_accept) {
  return open_listener(*this, at, shared_port, options_, std::move(on_accept));
}

void LinuxLoop::start_connect(const Endpoint& to,
                              Completion<Result<std::unique_ptr<Socket>>>& done) {
  connect_socket(*this, to, done);
}

}  // namespace odradek::io
