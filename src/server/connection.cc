#include "server/connection.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "server/dispatch.h"
#include "server/handlers/handlers.h"
#include "server/server_metrics.h"
#include "wire/frame.h"

namespace odradek::server {

namespace {

constexpr size_t kSizeBytes = 4;
// Beyond it a frame gets a buffer of its own; larger standing buffers would cost memory per idle
// connection.
constexpr size_t kUsualReadMax = 64 << 10;
// What a connection keeps of its answers' memory.
constexpr size_t kOutputKeptMax = 64 << 10;

}  // namespace

Connection::Connection(LoopServer& home, const ListenerSpec& listener,
                       std::unique_ptr<io::Socket> socket, uint64_t id)
    : home_(home), socket_(std::move(socket)), last_active_(home.loop().clock().now()) {
  info_.id = id;
  info_.listener = &listener;
  info_.peer = socket_->peer();
}

Connection::~Connection() { ODRADEK_CHECK(handlers_ == 0 && head_ == nullptr && !reading_); }

void Connection::start() {
  reading_ = true;
  io::spawn(read_loop());
}

// ------------------------------------------------------------------------------------------------
// reading

io::Task<void> Connection::read_loop() {
  while (true) {
    take_frames();
    flush();
    if (closed_ || input_ended_) break;
    if (over_limits()) {
      stopped_ = true;
      home_.services().metrics.reads_stopped.add();
      if (!home_.may_take_frames()) home_.wait_for_memory(*this);
      co_await gate_;
      continue;
    }
    if (has_frame()) continue;  // the flush made room for it
    const MutableBytes into = room();
    const Result<size_t> n = co_await socket_->read(into);
    if (closed_) break;
    if (!n || *n == 0) {
      input_ended_ = true;
      break;
    }
    if (*n == into.size()) usual_read_ = std::min(usual_read_ * 2, kUsualReadMax);
    input_.end += *n;
    last_active_ = home_.loop().clock().now();
    stamp_ = home_.loop().clock().precise();
    home_.services().metrics.bytes_in.add(*n);
  }
  reading_ = false;
  // What was sent before the end is still done: a producer with acks=0 may close right after.
  if (!closed_) {
    abandon_waiting();
    schedule_turn_end();
  }
  maybe_finish();
}

bool Connection::has_frame() const {
  if (input_.size() < kSizeBytes) return false;
  const auto size = load_be<int32_t>(input_.data());
  return size < 0 || input_.size() - kSizeBytes >= static_cast<size_t>(size);
}

/// Where the next read goes: behind what is there if the frame that has begun fits, else in a new
/// buffer that holds all of it.
MutableBytes Connection::room() {
  const size_t have = input_.size();
  size_t need = usual_read_;
  if (have >= kSizeBytes) {
    const auto frame = static_cast<size_t>(load_be<int32_t>(input_.data())) + kSizeBytes;
    need = std::max(need, frame);
    usual_read_ = std::max(usual_read_, std::min(frame, kUsualReadMax));
  }
  if (have == 0 && input_.buffer && !input_.buffer.is_shared()) input_.begin = input_.end = 0;
  const size_t capacity = input_.buffer.capacity();
  const bool fits = have == 0 ? capacity - input_.begin >= std::max(need, capacity / 2)
                              : capacity - input_.begin >= need;
  if (!input_.buffer || !fits) {
    FrameRef larger = home_.frames().take(need);
    if (have != 0) std::memcpy(larger.data(), input_.data(), have);
    input_ = Input{std::move(larger), 0, have};
  }
  return {input_.buffer.data() + input_.end, input_.buffer.capacity() - input_.end};
}

void Connection::take_frames() {
  while (!closed_ && !input_ended_ && !over_limits() && take_frame()) pump();
}

/// Takes one complete frame of the input; false when there is none.
bool Connection::take_frame() {
  if (input_.size() < kSizeBytes) return false;
  const auto size = load_be<int32_t>(input_.data());
  if (size < 0 || size > home_.limits().frame_bytes_max) {
    refuse_rest(fmt::format("a frame of {} bytes (socket.request.max.bytes is {})", size,
                            home_.limits().frame_bytes_max));
    return false;
  }
  const auto bytes = static_cast<size_t>(size);
  if (partial_counted_ == 0) count_frame(partial_counted_ = bytes);
  if (input_.size() - kSizeBytes < bytes) return false;

  const ByteView frame(input_.data() + kSizeBytes, bytes);
  Request* request = home_.requests().take();
  request->owner_ = this;
  request->services_ = &home_.services();
  request->frame_ = input_.buffer;
  request->frame_bytes_ = std::exchange(partial_counted_, 0);
  request->times_.received = stamp_;
  request->pins_ = 1;
  input_.begin += kSizeBytes + bytes;
  if (!admit(*request, frame)) {
    uncount_frame(request->frame_bytes_);
    home_.requests().give_back(request);
    return false;
  }
  (tail_ ? tail_->next_ : head_) = request;
  tail_ = request;
  if (!next_start_) next_start_ = request;
  pending_++;
  return true;
}

/// Decodes the header and finds the handler. What Apache answers by closing the connection, we do:
/// keys and versions that are not served, malformed headers.
bool Connection::admit(Request& request, ByteView frame) {
  wire::Reader reader(frame, request.arena_);
  if (Result<void> r = wire::decode_request_header(reader, request.header_); !r) {
    refuse_rest("a malformed request header: " + r.error().message);
    return false;
  }
  request.body_ = reader.rest();
  const ApiEntry* entry = home_.services().dispatch.find(request.header_.request_api_key);
  if (entry == nullptr || !entry->serves(info_.listener->kind)) {
    refuse_rest(fmt::format("{} is not served on listener {}", wire::name(request.api()),
                            info_.listener->name));
    return false;
  }
  const int16_t version = request.version();
  // ApiVersions answers every version, so that a client can find out what to speak.
  const bool known = version >= entry->advertised_min && version <= entry->max;
  if (!known && entry->key != wire::ApiKey::kApiVersions) {
    refuse_rest(fmt::format("{} version {} is not supported ({} to {} are)",
                            wire::name(request.api()), version, entry->min, entry->max));
    return false;
  }
  request.entry_ = entry;
  return true;
}

void Connection::count_frame(size_t bytes) {
  queued_bytes_ += static_cast<int64_t>(bytes);
  home_.frame_taken(bytes);
}

void Connection::uncount_frame(size_t bytes) {
  queued_bytes_ -= static_cast<int64_t>(bytes);
  home_.frame_given_back(bytes);
}

/// Reads nothing more; what came before is still answered, then the connection closes.
void Connection::refuse_rest(std::string reason) {
  home_.services().metrics.requests_refused.add();
  close_reason_ = std::move(reason);
  input_ended_ = true;
}

bool Connection::over_limits() const {
  const Limits& limits = home_.limits();
  // A frame that has begun is read to its end whatever it counts, or nothing would ever free it.
  const auto partial = static_cast<int64_t>(partial_counted_);
  return pending_ >= limits.connection_requests_max ||
         queued_bytes_ - partial > limits.connection_queued_bytes_max ||
         unsent_bytes() > static_cast<uint64_t>(limits.connection_unsent_bytes_max) ||
         (partial == 0 && !home_.may_take_frames());
}

bool Connection::below_half() const {
  const Limits& limits = home_.limits();
  return pending_ <= limits.connection_requests_max / 2 &&
         queued_bytes_ - static_cast<int64_t>(partial_counted_) <=
             limits.connection_queued_bytes_max / 2 &&
         unsent_bytes() <= static_cast<uint64_t>(limits.connection_unsent_bytes_max / 2);
}

// ------------------------------------------------------------------------------------------------
// requests

/// Starts what may start, in order.
void Connection::pump() {
  if (pumping_) return;
  pumping_ = true;
  while (next_start_ && !closed_ && may_start(*next_start_)) {
    Request& request = *next_start_;
    next_start_ = request.next_;
    start_request(request);
  }
  pumping_ = false;
}

bool Connection::may_start(const Request& request) const {
  if (unsent_bytes() > static_cast<uint64_t>(home_.limits().connection_unsent_bytes_max))
    return false;
  return request.entry_->order == Order::kBarrier ? &request == head_ : unreleased_ == 0;
}

void Connection::start_request(Request& request) {
  request.started_ = true;
  request.times_.started = stamp_;
  request.pins_ += 2;  // for the handler, and for this function
  unreleased_++;
  handlers_++;
  io::spawn(run_handler(request));
  if (!request.answered_) {
    request.times_.handled = stamp_ = home_.loop().clock().precise();
    if (request.entry_->order == Order::kOverlaps) request.release_order();
  }
  unpin(request);
}

io::Task<void> Connection::run_handler(Request& request) {
  const ApiEntry& entry = *request.entry_;
  if (request.version() < entry.min && entry.key == wire::ApiKey::kProduce) {
    co_await handle_unsupported_produce(request);
  } else {
    co_await entry.handle(request);
  }
  ODRADEK_CHECK(request.answered_);
  handlers_--;
  unpin(request);
  if (!pumping_) maybe_finish();
}

wire::Writer& Connection::begin_answer(Request& request) {
  if (&request == head_ && !closed_) return out_;
  request.answer_is_apart_ = true;
  return request.answer_;
}

void Connection::answered(Request& request) {
  const MonoNs now = home_.loop().clock().precise();
  request.times_.answered = now;
  if (pumping_) stamp_ = now;
  if (request.times_.handled.value == 0) request.times_.handled = now;
  if (!std::exchange(request.released_, true)) unreleased_--;
  if (&request == head_) retire_answered();
  if (!pumping_) schedule_turn_end();
}

void Connection::order_released(Request&) {
  unreleased_--;
  if (!pumping_) schedule_turn_end();
}

void Connection::frame_released(Request&, size_t bytes) {
  uncount_frame(bytes);
  if (stopped_) schedule_turn_end();
}

/// Moves the answers whose turn it is to the output.
void Connection::retire_answered() {
  while (head_ && head_->answered_) {
    Request& request = *head_;
    if (!closed_) {
      if (!request.kept_.empty() || request.answer_.size() != request.answer_.buffer_position()) {
        ready_.append(out_.take_chain());
        if (request.answer_is_apart_) ready_.append(request.answer_.take_chain());
        for (auto& owner : request.kept_) ready_.keep(std::move(owner));
      } else if (request.answer_is_apart_) {
        out_.raw(request.answer_.view());
      }
    }
    if (closed_ || !request.has_answer_) {
      record(request.api(), request.times_, request.times_.answered);
    } else {
      out_times_.push_back({request.api(), request.times_});
    }
    head_ = request.next_;
    if (!head_) tail_ = nullptr;
    pending_--;
    unpin(request);
  }
}

/// Forgets the requests that no handler has seen; the connection is closed.
void Connection::drop_unstarted() {
  Request* request = std::exchange(next_start_, nullptr);
  if (!request) return;
  if (request == head_) {
    head_ = tail_ = nullptr;
  } else {
    for (tail_ = head_; tail_->next_ != request;) tail_ = tail_->next_;
    tail_->next_ = nullptr;
  }
  while (request) {
    Request* next = request->next_;
    pending_--;
    request->release_frame();
    unpin(*request);
    request = next;
  }
}

/// Tells the requests that wait that nobody waits for them.
void Connection::abandon_waiting() {
  for (Request* r = head_; r && r->started_;) {
    if (r->answered_ || std::exchange(r->abandoned_, true)) {
      r = r->next_;
      continue;
    }
    if (auto callback = std::exchange(r->on_abandon_, nullptr)) {
      callback();
      r = head_;  // the list may have changed
    }
  }
}

void Connection::unpin(Request& request) {
  if (--request.pins_ == 0) home_.requests().give_back(&request);
}

// ------------------------------------------------------------------------------------------------
// writing

uint64_t Connection::unsent_bytes() const {
  return ready_.size() + out_.size() + (writing_ ? sending_.size() : 0);
}

void Connection::flush() {
  if (closed_ || writing_ || !take_output()) return;
  writing_ = true;
  io::spawn(write_loop());
}

/// Hands what is ready over to `sending_`; false when there is nothing.
bool Connection::take_output() {
  if (out_.size() == 0 && ready_.empty()) return false;
  std::swap(out_times_, sending_times_);
  if (ready_.empty() && out_.size() == out_.buffer_position()) {
    std::swap(out_, sending_buffer_);
    sending_.add_view(sending_buffer_.view());
  } else {
    sending_ = std::exchange(ready_, Chain());
    sending_.append(out_.take_chain());
  }
  return true;
}

io::Task<void> Connection::write_loop() {
  do {
    send_started_ = home_.loop().clock().now();
    home_.check_at(send_started_ + home_.limits().send_max);
    const uint64_t bytes = sending_.size();
    const Result<void> r = co_await socket_->write(sending_);
    if (r) home_.services().metrics.bytes_out.add(bytes);
    sending_.clear();
    if (sending_buffer_.capacity() > kOutputKeptMax) {
      sending_buffer_ = wire::Writer();
    } else {
      sending_buffer_.clear();
    }
    record_sent();
    if (closed_) break;
    if (!r) {
      close("");  // the peer is gone: nothing to say
      break;
    }
    last_active_ = home_.loop().clock().now();
  } while (take_output());
  writing_ = false;
  if (!closed_ && (stopped_ || next_start_ || input_ended_)) schedule_turn_end();
  maybe_finish();
}

void Connection::record_sent() {
  const MonoNs now = home_.loop().clock().precise();
  for (const Unsent& u : sending_times_) record(u.api, u.times, now);
  sending_times_.clear();
}

void Connection::record(wire::ApiKey key, const RequestTimes& times, MonoNs sent) {
  auto between = [](MonoNs a, MonoNs b) {
    return static_cast<uint64_t>(std::max<int64_t>(b - a, 0));
  };
  ServerMetrics::Api& api = home_.services().metrics.api(key);
  api.requests->add();
  api.queue->record(between(times.received, times.started));
  api.local->record(between(times.started, times.handled));
  api.remote->record(between(times.handled, times.answered));
  api.send->record(between(times.answered, sent));
  api.total->record(between(times.received, sent));
}

// ------------------------------------------------------------------------------------------------
// turn end, closing

void Connection::schedule_turn_end() {
  if (turn_end_due_ || finished_) return;
  turn_end_due_ = true;
  home_.loop().at_turn_end([this] { at_turn_end(); });
}

void Connection::at_turn_end() {
  turn_end_due_ = false;
  if (!closed_) {
    stamp_ = home_.loop().clock().precise();
    pump();
    flush();
  }
  if (stopped_ && (closed_ || below_half())) {
    if (!closed_ && partial_counted_ == 0 && !home_.may_take_frames()) {
      home_.wait_for_memory(*this);
    } else {
      stopped_ = false;
      if (gate_.waiter) std::exchange(gate_.waiter, {}).resume();
    }
  }
  if (input_ended_ && !closed_ && !head_ && !writing_ && unsent_bytes() == 0) close(close_reason_);
  maybe_finish();
}

void Connection::close_connection(std::string_view reason) {
  if (closed_) return;
  if (!std::exchange(input_ended_, true)) close_reason_ = reason;
  home_.services().metrics.requests_refused.add();
  drop_unstarted();
  abandon_waiting();
  // The reader may wait at the gate or in the socket: both end when the socket closes.
  schedule_turn_end();
}

void Connection::close(std::string_view reason) {
  if (std::exchange(closed_, true)) return;
  if (!reason.empty()) home_.log_closed(info_, reason);
  if (partial_counted_ != 0) uncount_frame(std::exchange(partial_counted_, 0));
  drop_unstarted();
  out_.clear();
  ready_.clear();
  socket_->close();
  abandon_waiting();
  schedule_turn_end();
}

MonoNs Connection::check_deadlines(MonoNs now) {
  const Limits& limits = home_.limits();
  if (closed_) return MonoNs(INT64_MAX);
  MonoNs next(INT64_MAX);
  if (writing_) {
    next = send_started_ + limits.send_max;
    if (now >= next) {
      home_.services().metrics.connections_slow_closed.add();
      close("it did not read its answers in time");
    }
  } else if (pending_ == 0 && limits.idle_max.value >= 0) {
    next = last_active_ + limits.idle_max;
    if (now >= next) {
      home_.services().metrics.connections_idle_closed.add();
      close("");
    }
  } else if (limits.idle_max.value >= 0) {
    next = now + limits.idle_max;
  }
  // Half a frame that never ends must not keep memory that others wait for.
  if (!closed_ && partial_counted_ != 0 && home_.others_wait_for_memory()) {
    const MonoNs stalled = last_active_ + limits.stall_max;
    if (now >= stalled) {
      close("it stopped in the middle of a frame");
    } else {
      next = std::min(next, stalled);
    }
  }
  return next;
}

void Connection::maybe_finish() {
  if (!closed_ || finished_ || reading_ || writing_ || pumping_ || turn_end_due_ ||
      handlers_ != 0 || head_ != nullptr)
    return;
  finished_ = true;
  home_.finished(*this);
}

}  // namespace odradek::server
