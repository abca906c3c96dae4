// LoopServer: the connections of one loop and what they share: pools, limits, metrics, deadlines.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/logger.h"
#include "io/io.h"
#include "server/frame_buffer.h"
#include "server/limits.h"
#include "server/request.h"
#include "server/services.h"

namespace odradek::server {

class Connection;

/// Requests that are not in use, kept with their arenas.
class RequestPool {
 public:
  static constexpr size_t kFreeMax = 256;
  static constexpr size_t kKeptBytesMax = 64 << 10;  // a request with more memory is not kept

  RequestPool() = default;
  RequestPool(const RequestPool&) = delete;
  RequestPool& operator=(const RequestPool&) = delete;
  ~RequestPool();
  Request* take();
  void give_back(Request* request);

 private:
  Request* free_ = nullptr;
  size_t free_count_ = 0;
};

/// Lets at most `kBurst` lines a second through.
class LineLimiter {
 public:
  static constexpr int kBurst = 10;
  /// Whether a line may be written now; `suppressed` gets how many were not since the last one.
  bool allow(MonoNs now, uint64_t& suppressed);

 private:
  int64_t second_ = -1;
  int lines_ = 0;
  uint64_t suppressed_ = 0;
};

class LoopServer {
 public:
  using OnClosed = std::function<void(const std::string& host)>;

  /// `on_closed` is called, on this loop, for every connection that ends, with its peer's host.
  LoopServer(Services& services, const Limits& limits, OnClosed on_closed);
  ~LoopServer();
  LoopServer(const LoopServer&) = delete;
  LoopServer& operator=(const LoopServer&) = delete;

  /// Serves a connection from now on; closes it at once when `close` was called before.
  void add(const ListenerSpec& listener, std::unique_ptr<io::Socket> socket, uint64_t id);
  /// Closes every connection; `done` once no handler runs any more.
  void close(std::move_only_function<void()> done);

  Services& services() { return services_; }
  io::Loop& loop() { return services_.loop; }
  const Limits& limits() const { return limits_; }
  FramePool& frames() { return frames_; }
  RequestPool& requests() { return requests_; }
  size_t connection_count() const { return connections_.size(); }

  /// A rate-limited line about a connection that is given up.
  void log_closed(const ConnectionInfo& info, std::string_view reason);

  // --- memory of frames
  bool may_take_frames() const { return queued_bytes_ <= limits_.loop_queued_bytes_max; }
  void frame_taken(size_t bytes);
  void frame_given_back(size_t bytes);
  /// Calls `connection.resume_reading` once half of the limit is free.
  void wait_for_memory(Connection& connection);
  bool others_wait_for_memory() const { return !waiting_.empty(); }

  // --- deadlines
  /// There is something to check at `at`; one timer serves all.
  void check_at(MonoNs at);
  /// The connection has nothing left to do and goes away at the end of this turn.
  void finished(Connection& connection);

 private:
  void sweep();
  void remove_finished();
  int64_t held_bytes() const;
  void memory_taken() { held_most_ = std::max(held_most_, held_bytes()); }
  void memory_given_back();
  void wake_waiting();

  Services& services_;
  Limits limits_;
  OnClosed on_closed_;
  FramePool frames_;
  RequestPool requests_;
  std::unordered_map<uint64_t, std::unique_ptr<Connection>> connections_;
  std::vector<uint64_t> finished_;
  std::vector<uint64_t> waiting_;  // ids of connections that wait for memory, oldest first
  int64_t queued_bytes_ = 0;
  int64_t held_most_ = 0;  // since memory was last released
  io::TimerId release_timer_ = io::TimerId::kNone;
  LineLimiter lines_;
  MonoNs sweep_at_{INT64_MAX};
  io::TimerId sweep_timer_ = io::TimerId::kNone;
  bool removal_due_ = false;
  bool wake_due_ = false;
  bool closing_ = false;
  std::move_only_function<void()> on_all_closed_;
};

}  // namespace odradek::server
