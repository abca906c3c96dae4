// Request: one frame of a client, from its arrival until its answer is encoded.
//
// A Request owns its frame (every decoded view points into it), an arena for decoded arrays and for
// what an answer is built from, and its place in the connection's order. It lives on the
// connection's loop; a handler that hops to another loop may read views and the arena there, and
// hops back before it calls anything here. Requests are pooled per loop: a handler that does not
// wait allocates nothing.
//
// A handler answers exactly once: `respond`, `respond_body`, `respond_nothing` or `close`.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "io/io.h"
#include "server/frame_buffer.h"
#include "wire/api_keys.h"
#include "wire/gen/header.h"
#include "wire/reader.h"
#include "wire/writer.h"

namespace odradek::server {

struct ApiEntry;
struct Services;
class Request;

enum class ListenerKind { kBroker, kController };

/// One entry of `listeners`, with the entry of `advertised.listeners` that belongs to it.
struct ListenerSpec {
  std::string name;  // as in the configuration, upper case: PLAINTEXT, CONTROLLER, EXTERNAL
  ListenerKind kind = ListenerKind::kBroker;
  io::Endpoint bind;
  io::Endpoint advertised;
};

/// What is known of the other end of a connection.
struct ConnectionInfo {
  uint64_t id = 0;
  const ListenerSpec* listener = nullptr;
  io::Endpoint peer;
  // As the client told in ApiVersions 3+; empty before. For log lines only.
  std::string software_name;
  std::string software_version;
};

/// What a Request tells the thing that it came from: a Connection, or a test.
class RequestOwner {
 public:
  virtual ~RequestOwner() = default;
  /// Where the answer's frame goes: straight into the connection's output when every earlier
  /// answer is there already.
  virtual wire::Writer& begin_answer(Request& request) = 0;
  /// The answer is encoded, or there is none to come.
  virtual void answered(Request& request) = 0;
  /// Requests behind this one may start.
  virtual void order_released(Request& request) = 0;
  /// The frame is not needed any more: `bytes` less are queued.
  virtual void frame_released(Request& request, size_t bytes) = 0;
  /// Sends the answers that are ready, then closes. Nothing more is read or started.
  virtual void close_connection(std::string_view reason) = 0;
  /// Closes at once; the output is worthless.
  virtual void abort_connection(std::string_view reason) = 0;
  /// For ApiVersions to note the client's name.
  virtual ConnectionInfo& info() = 0;
};

/// When each phase of a request ended. `received` is when its last byte was read.
struct RequestTimes {
  MonoNs received;
  MonoNs started;   // the handler was called: the queue phase ends
  MonoNs handled;   // the handler first waited, or ended: the local phase ends
  MonoNs answered;  // the answer is encoded: the wait (remote) phase ends
};

class Request {
 public:
  Request() = default;
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  // --- what came

  wire::ApiKey api() const { return static_cast<wire::ApiKey>(header_.request_api_key); }
  int16_t version() const { return header_.request_api_version; }
  int32_t correlation_id() const { return header_.correlation_id; }
  /// A view into the frame; empty when null.
  std::string_view client_id() const { return header_.client_id.value_or(std::string_view()); }
  /// The request's body, header excluded; empty after `release_frame`.
  ByteView body() const { return body_; }
  const ConnectionInfo& connection() const { return owner_->info(); }
  const ListenerSpec& listener() const { return *owner_->info().listener; }
  ConnectionInfo& mutable_connection() { return owner_->info(); }
  Services& services() { return *services_; }
  Arena& arena() { return arena_; }
  const RequestTimes& times() const { return times_; }

  /// Decodes the body. A malformed one is logged and closes the connection, as at Apache; then
  /// false is returned and the handler just ends. Bytes that follow a complete request are ignored,
  /// also as at Apache: librdkafka 2.x sends three of them with Metadata v9+ for all topics.
  template <class Message>
  bool decode(Message& message) {
    wire::Reader reader(body_, arena_);
    const Result<void> r = message.decode(reader, version());
    if (!r) malformed(r.error());
    return r.has_value();
  }

  // --- answering

  /// Encodes the answer in the request's version.
  template <class Response>
  void respond(const Response& response) {
    respond_as(response, version());
  }
  /// The same in another version (ApiVersions answers unknown versions in version 0).
  template <class Response>
  void respond_as(const Response& response, int16_t body_version) {
    wire::Writer& w = begin_response(body_version);
    response.encode(w, body_version);
    end_response(w);
  }
  /// An answer body that is encoded already, in the request's version (from the controller).
  void respond_body(ByteView body);
  /// There is no answer (Produce with acks=0).
  void respond_nothing();
  /// Gives up the connection once earlier answers are sent; `reason` is logged (rate limited).
  void close(std::string_view reason);
  bool is_answered() const { return answered_; }
  /// Holds memory that the answer's record pieces point to until the answer has been sent. Call it
  /// before `respond`.
  void keep(std::shared_ptr<const void> owner) { kept_.push_back(std::move(owner)); }

  // --- order and memory while waiting

  /// From here on the requests behind this one may start (Produce: once everything is appended).
  void release_order();
  /// Gives the frame back. Every view into it is dead from now on; the arena stays. It no longer
  /// counts against the queued bytes.
  void release_frame();
  size_t frame_bytes() const { return frame_bytes_; }
  /// The connection is gone: the answer will be dropped, waiting is of no use.
  bool is_abandoned() const { return abandoned_; }
  /// Called once, on this loop, when the connection goes while this request waits. Cleared by
  /// answering.
  void on_abandon(std::move_only_function<void()> callback) { on_abandon_ = std::move(callback); }

 private:
  friend class Connection;
  friend class RequestPool;
  friend class RequestTestOwner;

  void malformed(const Error& error);
  wire::Writer& begin_response(int16_t body_version);
  void end_response(wire::Writer& writer);
  void finish();
  /// Back to the state of a new one; keeps memory for the next use.
  void reset();

  RequestOwner* owner_ = nullptr;
  Services* services_ = nullptr;
  const ApiEntry* entry_ = nullptr;
  Request* next_ = nullptr;  // the connection's queue, or the pool
  FrameRef frame_;
  size_t frame_bytes_ = 0;
  ByteView body_;
  wire::RequestHeader header_;
  Arena arena_;
  wire::Writer answer_;  // used when an earlier answer is still missing
  wire::Writer::FrameMark mark_{};
  std::vector<std::shared_ptr<const void>> kept_;
  RequestTimes times_{};
  int pins_ = 0;  // by the queue, by its handler; 0: back to the pool
  std::move_only_function<void()> on_abandon_;
  bool has_answer_ = false;
  bool answer_is_apart_ = false;
  bool started_ = false;
  bool released_ = false;
  bool answered_ = false;
  bool abandoned_ = false;
};

}  // namespace odradek::server
