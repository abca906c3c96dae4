// Connection: one client's socket on its loop.
//
// One coroutine reads. It takes every complete frame of a read, starts the requests that may start,
// and writes all answers that are ready in one call. Requests that wait (Fetch, Produce) overlap
// with what follows as the dispatch table says; answers leave in the order of the requests: what is
// ready before its turn stays in its Request. Answers that become ready later are written together
// at the end of that turn.
//
// Reading stops while a limit (limits.h) is passed and goes on below half of it, so a client that
// sends faster than it is served, or does not read its answers, is held back by TCP.
#pragma once

#include <coroutine>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "io/io.h"
#include "io/task.h"
#include "server/frame_buffer.h"
#include "server/loop_server.h"
#include "server/request.h"

namespace odradek::server {

class Connection final : public RequestOwner {
 public:
  Connection(LoopServer& home, const ListenerSpec& listener, std::unique_ptr<io::Socket> socket,
             uint64_t id);
  ~Connection() override;

  /// Starts reading. The connection calls home.finished() when it may be destroyed.
  void start();
  /// Closes the socket. Requests that wait are told; their answers are dropped. An empty reason is
  /// not logged.
  void close(std::string_view reason);
  /// Memory for frames is free again, or the connection may look at its limits again.
  void resume_reading() { schedule_turn_end(); }
  /// Closes itself if it has been idle, slow or stalled for too long; otherwise the time at which
  /// to look again.
  MonoNs check_deadlines(MonoNs now);

  // RequestOwner
  wire::Writer& begin_answer(Request& request) override;
  void answered(Request& request) override;
  void order_released(Request& request) override;
  void frame_released(Request& request, size_t bytes) override;
  void close_connection(std::string_view reason) override;
  void abort_connection(std::string_view reason) override { close(reason); }
  ConnectionInfo& info() override { return info_; }

 private:
  /// What is read and not yet taken apart: [begin, end) of a buffer.
  struct Input {
    FrameRef buffer;
    size_t begin = 0;
    size_t end = 0;
    size_t size() const { return end - begin; }
    const uint8_t* data() const { return buffer.data() + begin; }
  };
  /// What the reading coroutine waits at while a limit is passed.
  struct Gate {
    std::coroutine_handle<> waiter;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) noexcept { waiter = h; }
    void await_resume() const noexcept {}
  };
  /// A request whose answer has not been written yet, for the metrics.
  struct Unsent {
    wire::ApiKey api;
    RequestTimes times;
  };

  // reading
  io::Task<void> read_loop();
  MutableBytes room();
  void take_frames();
  bool take_frame();
  bool has_frame() const;
  void count_frame(size_t bytes);
  void uncount_frame(size_t bytes);
  bool admit(Request& request, ByteView frame);
  void refuse_rest(std::string reason);
  bool over_limits() const;
  bool below_half() const;

  // requests
  void pump();
  bool may_start(const Request& request) const;
  void start_request(Request& request);
  io::Task<void> run_handler(Request& request);
  void retire_answered();
  void drop_unstarted();
  void abandon_waiting();
  void unpin(Request& request);

  // writing
  void flush();
  bool take_output();
  io::Task<void> write_loop();
  void record_sent();
  void record(wire::ApiKey key, const RequestTimes& times, MonoNs sent);
  uint64_t unsent_bytes() const;

  void schedule_turn_end();
  void at_turn_end();
  void maybe_finish();

  LoopServer& home_;
  std::unique_ptr<io::Socket> socket_;
  ConnectionInfo info_;

  Input input_;
  size_t usual_read_ = FramePool::kSmallest;  // how much the next buffer holds
  size_t partial_counted_ = 0;  // bytes counted already for the frame that is still coming
  Gate gate_;

  // In order of arrival; `next_start_` is the first that has not been started.
  Request* head_ = nullptr;
  Request* tail_ = nullptr;
  Request* next_start_ = nullptr;
  int32_t pending_ = 0;     // in that list
  int32_t handlers_ = 0;    // that have not ended
  int32_t unreleased_ = 0;  // started, and what follows may not start yet
  int64_t queued_bytes_ = 0;

  wire::Writer out_;  // answers in order, not handed to the socket
  Chain ready_;       // what comes before out_: answers that hold pieces of files
  std::vector<Unsent> out_times_;
  wire::Writer sending_buffer_;
  Chain sending_;
  std::vector<Unsent> sending_times_;

  MonoNs stamp_;  // the clock as last read in this chain of requests
  MonoNs last_active_;
  MonoNs send_started_;
  std::string close_reason_;
  bool reading_ = false;
  bool writing_ = false;
  bool stopped_ = false;  // reading, at a limit
  bool pumping_ = false;
  bool turn_end_due_ = false;
  bool input_ended_ = false;
  bool closed_ = false;
  bool finished_ = false;
};

}  // namespace odradek::server
