// Connection: one client's socket on its loop.
//
// One coroutine reads. It takes every complete frame of a read, starts the requests that may start,
// and writes all answers that are ready in one call. Requests that wait (Fetch, Produce) overlap
// with what follows as the dispatch table says; answers leave in the order of the requests: what is
// ready before its turn is kept in its Request. Answers that become ready later are written
// together at the end of that turn.
//
// Reading stops while a limit (limits.h) is passed and goes on below half of it, so a client that
// sends faster than it is served, or does not read its answers, is held back by TCP.
#pragma once

#include <memory>
#include <string>

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
  /// Closes the socket. Requests that wait are told; their answers are dropped.
  void close(std::string_view reason);
  /// Memory is free again.
  void resume_reading();

  /// Closes itself if it has been idle, slow or stalled for too long; otherwise the time at which
  /// to look again.
  MonoNs check_deadlines(MonoNs now);

  // RequestOwner
  wire::Writer& begin_answer(Request& request) override;
  void answered(Request& request) override;
  void order_released(Request& request) override;
  void frame_released(Request& request, size_t bytes) override;
  void close_connection(std::string_view reason) override { close(reason); }
  ConnectionInfo& info() override { return info_; }

 private:
  /// What is read and not yet taken apart: [begin_, end_) of a buffer.
  struct Input {
    FrameRef buffer;
    size_t begin = 0;
    size_t end = 0;
    size_t size() const { return end - begin; }
  };
  /// Lets the reading coroutine wait for this connection itself.
  struct Gate {
    std::coroutine_handle<> waiter;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) noexcept { waiter = h; }
    void await_resume() const noexcept {}
  };

  io::Task<void> read_loop();
  io::Task<void> write_loop();
  io::Task<void> run_handler(Request& request);

  MutableBytes room();
  /// Takes complete frames until a limit is reached; false when none is left.
  void take_frames();
  bool take_frame();
  void enqueue(ByteView frame);
  bool admit(Request& request);
  /// Nothing more is read; what is queued is still answered, then the socket closes.
  void refuse_rest(std::string reason);
  void pump();
  void start_request(Request& request);
  void retire_answered();
  void flush();
  void schedule_turn_end();
  void at_turn_end();
  bool over_limits() const;
  bool below_half() const;
  void maybe_finish();
  uint64_t unsent_bytes() const;
  void record_sent();

  LoopServer& home_;
  std::unique_ptr<io::Socket> socket_;
  ConnectionInfo info_;
  Input input_;
  size_t usual_read_ = FramePool::kSmallest;  // how much the next buffer should hold
  size_t partial_reserved_ = 0;               // bytes counted for a frame that is still coming

  // Requests in order of arrival; `next_start_` is the first that has not been started.
  Request* head_ = nullptr;
  Request* tail_ = nullptr;
  Request* next_start_ = nullptr;
  Request* ended_early_ = nullptr;
  int32_t pending_ = 0;     // in the queue: not answered in order yet
  int32_t running_ = 0;     // handlers that have not ended
  int32_t unanswered_ = 0;  // started, no answer yet
  int32_t unreleased_ = 0;  // started, and what follows may not start yet
  int64_t queued_bytes_ = 0;

  wire::Writer out_;  // answers in order, not handed to the socket
  Chain ready_;       // the same, those before out_ that hold pieces of files
  std::vector<std::shared_ptr<const void>> kept_;
  Chain sending_;
  std::vector<uint8_t> sending_memory_;

  Gate gate_;
  MonoNs last_active_;
  MonoNs send_started_{INT64_MAX};
  std::string close_reason_;
  bool reading_ = false;
  bool writing_ = false;
  bool stopped_ = false;  // at a limit
  bool taking_ = false;   // inside take_frames: answers are flushed by it
  bool turn_end_due_ = false;
  bool input_ended_ = false;
  bool closed_ = false;
  bool finished_ = false;
};

}  // namespace odradek::server
