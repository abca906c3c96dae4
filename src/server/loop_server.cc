#include "server/loop_server.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "server/connection.h"
#include "server/server_metrics.h"

namespace odradek::server {
namespace {
// About what a connection takes beside its frames.
constexpr int64_t kConnectionBytes = 6 << 10;
// A burst that is worth to be cleaned up after, and how long it has to be over.
constexpr int64_t kBurstBytes = 8 << 20;
constexpr Millis kReleaseAfter{1'000};
}  // namespace

RequestPool::~RequestPool() {
  while (free_) delete std::exchange(free_, free_->next_);
}

Request* RequestPool::take() {
  if (!free_) return new Request();
  Request* request = std::exchange(free_, free_->next_);
  request->next_ = nullptr;
  free_count_--;
  return request;
}

void RequestPool::give_back(Request* request) {
  request->reset();
  if (free_count_ >= kFreeMax || request->arena_.reserved() > kKeptBytesMax) {
    delete request;
    return;
  }
  request->next_ = std::exchange(free_, request);
  free_count_++;
}

bool LineLimiter::allow(MonoNs now, uint64_t& suppressed) {
  const int64_t second = now.value / 1'000'000'000;
  if (second != second_) {
    second_ = second;
    lines_ = 0;
  }
  if (lines_ >= kBurst) {
    suppressed_++;
    return false;
  }
  lines_++;
  suppressed = std::exchange(suppressed_, 0);
  return true;
}

LoopServer::LoopServer(Services& services, const Limits& limits, OnClosed on_closed)
    : services_(services), limits_(limits), on_closed_(std::move(on_closed)) {}

LoopServer::~LoopServer() {
  ODRADEK_CHECK(connections_.empty());
  loop().timers().cancel(release_timer_);
}

void LoopServer::add(const ListenerSpec& listener, std::unique_ptr<io::Socket> socket,
                     uint64_t id) {
  if (closing_) return on_closed_(socket->peer().host);
  auto connection = std::make_unique<Connection>(*this, listener, std::move(socket), id);
  Connection& c = *connection;
  connections_.emplace(id, std::move(connection));
  services_.metrics.connections_accepted.add();
  services_.metrics.connections.set(connections_.size());
  memory_taken();
  if (limits_.idle_max.value >= 0) check_at(loop().clock().now() + limits_.idle_max);
  c.start();
}

void LoopServer::close(std::move_only_function<void()> done) {
  closing_ = true;
  on_all_closed_ = std::move(done);
  std::vector<uint64_t> ids;
  for (auto& [id, connection] : connections_) ids.push_back(id);
  std::ranges::sort(ids);
  for (uint64_t id : ids) connections_.at(id)->close("");
  loop().at_turn_end([this] { remove_finished(); });
}

void LoopServer::log_closed(const ConnectionInfo& info, std::string_view reason) {
  uint64_t suppressed = 0;
  if (!lines_.allow(loop().clock().now(), suppressed)) return;
  if (suppressed > 0)
    services_.logger.warn("{} more connections were closed like this", suppressed);
  services_.logger.warn("closing the connection from {}:{} ({}) on {}: {}", info.peer.host,
                        info.peer.port,
                        info.software_name.empty() ? "unnamed client" : info.software_name,
                        info.listener->name, reason);
}

void LoopServer::frame_taken(size_t bytes) {
  queued_bytes_ += static_cast<int64_t>(bytes);
  services_.metrics.queued_bytes.set(static_cast<uint64_t>(queued_bytes_));
  memory_taken();
}

void LoopServer::frame_given_back(size_t bytes) {
  queued_bytes_ -= static_cast<int64_t>(bytes);
  ODRADEK_CHECK(queued_bytes_ >= 0);
  services_.metrics.queued_bytes.set(static_cast<uint64_t>(queued_bytes_));
  if (!waiting_.empty() && queued_bytes_ <= limits_.loop_queued_bytes_max / 2) wake_waiting();
  memory_given_back();
}

int64_t LoopServer::held_bytes() const {
  return queued_bytes_ + static_cast<int64_t>(connections_.size()) * kConnectionBytes;
}

/// The allocator keeps what a burst of connections or frames took, between what is still in use.
void LoopServer::memory_given_back() {
  const auto over = [this] {
    return held_most_ >= kBurstBytes && held_bytes() <= held_most_ / 2 && !closing_;
  };
  if (!over() || release_timer_ != io::TimerId::kNone) return;
  release_timer_ = loop().timers().start(kReleaseAfter, [this, over] {
    release_timer_ = io::TimerId::kNone;
    if (!over()) return;
    held_most_ = held_bytes();
    loop().release_memory();
  });
}

void LoopServer::wait_for_memory(Connection& connection) {
  waiting_.push_back(connection.info().id);
  check_at(loop().clock().now() + limits_.stall_max);
}

void LoopServer::wake_waiting() {
  if (std::exchange(wake_due_, true)) return;
  loop().at_turn_end([this] {
    wake_due_ = false;
    for (uint64_t id : std::exchange(waiting_, {}))
      if (auto it = connections_.find(id); it != connections_.end()) it->second->resume_reading();
  });
}

void LoopServer::check_at(MonoNs at) {
  if (at >= sweep_at_) return;
  loop().timers().cancel(sweep_timer_);
  sweep_at_ = at;
  const int64_t ns = std::max<int64_t>(at - loop().clock().now(), 0);
  sweep_timer_ = loop().timers().start(Millis((ns + 999'999) / 1'000'000), [this] { sweep(); });
}

/// Looks at every connection, then sleeps until the earliest deadline, but not shorter than a tenth
/// of a second: a thousand deadlines that are close together cost a few sweeps.
void LoopServer::sweep() {
  sweep_timer_ = io::TimerId::kNone;
  sweep_at_ = MonoNs(INT64_MAX);
  const MonoNs now = loop().clock().now();
  MonoNs next(INT64_MAX);
  for (auto& [id, connection] : connections_)
    next = std::min(next, connection->check_deadlines(now));
  if (next.value != INT64_MAX) check_at(std::max(next, now + Millis(100)));
}

void LoopServer::finished(Connection& connection) {
  finished_.push_back(connection.info().id);
  if (!std::exchange(removal_due_, true)) loop().at_turn_end([this] { remove_finished(); });
}

void LoopServer::remove_finished() {
  removal_due_ = false;
  for (uint64_t id : std::exchange(finished_, {})) {
    auto node = connections_.extract(id);
    ODRADEK_CHECK(!node.empty());
    on_closed_(node.mapped()->info().peer.host);
  }
  services_.metrics.connections.set(connections_.size());
  memory_given_back();
  if (closing_) loop().timers().cancel(std::exchange(release_timer_, io::TimerId::kNone));
  if (!connections_.empty()) return;
  loop().timers().cancel(std::exchange(sweep_timer_, io::TimerId::kNone));
  sweep_at_ = MonoNs(INT64_MAX);
  if (closing_ && on_all_closed_) std::exchange(on_all_closed_, nullptr)();
}

}  // namespace odradek::server
