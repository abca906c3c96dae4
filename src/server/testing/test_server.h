// A server in a simulation, with clients: what tests of connections and handlers stand on.
//
//   TestServer server(table);                      // or dispatch_table()
//   server.set_image(...); server.services().config = ...;
//   TestClient client = server.connect();
//   auto answer = client.call<wire::MetadataResponse>(request, 13);
//   EXPECT_EQ(answer->brokers.size(), 1);
//
// Everything runs in virtual time from one seed; `run` and the client's calls advance it.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/logger.h"
#include "base/metrics.h"
#include "metadata/image.h"
#include "server/dispatch.h"
#include "server/limits.h"
#include "server/server.h"
#include "server/server_metrics.h"
#include "server/services.h"
#include "sim/sim_io.h"
#include "wire/frame.h"

namespace odradek::server::testing {

/// Keeps the lines of warnings and errors.
class KeptLines : public LogSink {
 public:
  void write(Level level, std::string_view, std::string_view line) override {
    if (level >= Level::kWarn) lines.emplace_back(line);
  }
  bool has(std::string_view text) const;
  std::vector<std::string> lines;
};

/// The controller's door: keeps what was asked, answers what the test says, or nothing.
class FakeController : public wire::ToController {
 public:
  struct Asked {
    wire::ApiKey api;
    int16_t version;
    ByteBuffer body;
  };
  void send(wire::ApiKey api, int16_t version, ByteBuffer body, Done done) override;

  std::vector<Asked> asked;
  /// Called for each request, before its answer is given; may change the image.
  std::function<Result<ByteBuffer>(const Asked&)> on_ask;
  /// Kept while `on_ask` is not set.
  std::deque<Done> waiting;
};

class TestServer;

/// One connection to a TestServer, from another machine of the simulation.
class TestClient {
 public:
  TestClient(TestServer& server, std::unique_ptr<io::Socket> socket);
  TestClient(TestClient&&) = default;
  ~TestClient();

  /// Sends bytes as they are.
  void send(ByteBuffer bytes);
  /// Sends a whole frame; returns its correlation id.
  template <class Request>
  int32_t send_request(const Request& body, int16_t version) {
    const int32_t id = next_id_++;
    wire::Writer w;
    wire::encode_request_frame(w, body, version, id, "test");
    send(w.take());
    return id;
  }
  /// The next frame without its size; none if the server closes first, or `limit` passes.
  std::optional<ByteBuffer> receive(Millis limit = Millis(30'000));
  /// Correlation id of the next answer; −1: none came.
  int32_t receive_id(Millis limit = Millis(30'000));
  /// Sends and decodes the answer. Views in it live until the next call.
  template <class Response, class Request>
  std::optional<Response> call(const Request& body, int16_t version) {
    return call_as<Response>(body, version, version);
  }
  template <class Response, class Request>
  std::optional<Response> call_as(const Request& body, int16_t version, int16_t answer_version) {
    const int32_t id = send_request(body, version);
    std::optional<ByteBuffer> frame = receive();
    if (!frame) return std::nullopt;
    state_->last = std::move(*frame);
    state_->arena.reset();
    wire::Reader reader(state_->last, state_->arena);
    wire::ResponseHeader header;
    Response response;
    if (!wire::decode_response_header(reader, header, static_cast<wire::ApiKey>(Response::kApiKey),
                                      answer_version) ||
        !response.decode(reader, answer_version) || !reader.expect_end("answer", answer_version) ||
        header.correlation_id != id)
      return std::nullopt;
    return response;
  }
  /// Whether the server closed the connection within `limit`. Answers that come before stay
  /// readable.
  bool closed_by_server(Millis limit = Millis(30'000));
  /// Stops reading, as a client that hangs does.
  void stop_reading() { state_->reading = false; }
  void close();
  Arena& arena() { return state_->arena; }

 private:
  friend class TestServer;
  struct State {
    std::unique_ptr<io::Socket> socket;
    ByteBuffer received;
    std::deque<ByteBuffer> outgoing;
    bool reading = true;
    bool writing = false;
    bool closed = false;
    ByteBuffer last;
    Arena arena;
  };
  static io::Task<void> read_all(std::shared_ptr<State> state);
  static io::Task<void> write_all(std::shared_ptr<State> state);
  bool has_frame() const;

  TestServer* server_ = nullptr;
  std::shared_ptr<State> state_;
  int32_t next_id_ = 1;
};

class TestServer {
 public:
  explicit TestServer(const DispatchTable& table, Limits limits = {}, int loops = 1,
                      uint64_t seed = 1);
  ~TestServer();

  /// A new connection to the listener of that kind ("PLAINTEXT" and "CONTROLLER").
  TestClient connect(ListenerKind kind = ListenerKind::kBroker);
  /// Closes everything; false if that did not end within a virtual minute.
  bool close();
  /// For a test that has closed the server itself.
  void mark_closed() { closed_ = true; }
  bool run_until(const std::function<bool()>& done, Millis limit = Millis(30'000)) {
    return sim.run_until(done, limit);
  }
  Services& services(int loop = 0) { return *services_[static_cast<size_t>(loop)]; }
  MetricSet& metric_set(int loop = 0) { return *sets_[static_cast<size_t>(loop)]; }
  ServerMetrics& metrics(int loop = 0) { return services(loop).metrics; }
  void set_image(metadata::ImagePtr image);
  Server& server() { return *server_; }
  /// The machine it runs on.
  sim::SimIo& node() { return node_; }

  sim::Simulation sim;
  KeptLines lines;
  FakeController controller;

 private:
  friend class TestClient;
  sim::SimIo& node_;
  sim::SimIo& client_node_;
  std::vector<std::unique_ptr<MetricSet>> sets_;
  std::vector<std::unique_ptr<ServerMetrics>> metrics_;
  std::vector<std::unique_ptr<Services>> services_;
  std::unique_ptr<Server> server_;
  bool closed_ = false;
};

}  // namespace odradek::server::testing
