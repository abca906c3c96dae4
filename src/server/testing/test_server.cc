#include "server/testing/test_server.h"

#include <algorithm>

#include "base/check.h"

namespace odradek::server::testing {

bool KeptLines::has(std::string_view text) const {
  return std::ranges::any_of(lines, [&](const std::string& l) { return l.contains(text); });
}

void FakeController::send(wire::ApiKey api, int16_t version, ByteBuffer body, Done done) {
  asked.push_back({api, version, std::move(body)});
  if (!on_ask) {
    waiting.push_back(std::move(done));
  } else {
    done(on_ask(asked.back()));
  }
}

TestClient::TestClient(TestServer& server, std::unique_ptr<io::Socket> socket) {
  server_ = &server;
  state_ = std::make_shared<State>();
  state_->socket = std::move(socket);
  io::spawn(read_all(state_));
}

TestClient::~TestClient() {
  if (state_) close();
}

io::Task<void> TestClient::read_all(std::shared_ptr<State> state) {
  ByteBuffer buffer(4096);
  while (state->reading) {
    const Result<size_t> n = co_await state->socket->read(buffer);
    if (!n || *n == 0) break;
    state->received.insert(state->received.end(), buffer.begin(),
                           buffer.begin() + static_cast<std::ptrdiff_t>(*n));
  }
  if (state->reading) state->closed = true;
}

io::Task<void> TestClient::write_all(std::shared_ptr<State> state) {
  while (!state->outgoing.empty()) {
    Chain chain;
    chain.add(std::move(state->outgoing.front()));
    state->outgoing.pop_front();
    if (!co_await state->socket->write(chain)) break;
  }
  state->writing = false;
}

void TestClient::send(ByteBuffer bytes) {
  state_->outgoing.push_back(std::move(bytes));
  if (std::exchange(state_->writing, true)) return;
  io::spawn(write_all(state_));
}

bool TestClient::has_frame() const {
  const ByteBuffer& r = state_->received;
  return r.size() >= 4 && r.size() - 4 >= static_cast<size_t>(load_be<int32_t>(r.data()));
}

std::optional<ByteBuffer> TestClient::receive(Millis limit) {
  server_->run_until([&] { return has_frame() || state_->closed; }, limit);
  if (!has_frame()) return std::nullopt;
  ByteBuffer& r = state_->received;
  const auto end = r.begin() + 4 + load_be<int32_t>(r.data());
  ByteBuffer frame(r.begin() + 4, end);
  r.erase(r.begin(), end);
  return frame;
}

int32_t TestClient::receive_id(Millis limit) {
  const std::optional<ByteBuffer> frame = receive(limit);
  return frame ? load_be<int32_t>(frame->data()) : -1;
}

bool TestClient::closed_by_server(Millis limit) {
  return server_->run_until([&] { return state_->closed; }, limit);
}

void TestClient::close() { state_->socket->close(); }

TestServer::TestServer(const DispatchTable& table, Limits limits, int loops, uint64_t seed)
    : sim(seed), node_(sim.add_node("broker", loops)), client_node_(sim.add_node("client", 1)) {
  std::vector<Services*> all;
  for (int i = 0; i < loops; i++) {
    sets_.push_back(std::make_unique<MetricSet>());
    metrics_.push_back(std::make_unique<ServerMetrics>(*sets_.back(), table));
    services_.push_back(std::make_unique<Services>(Services{
        .loop = node_.loop(i),
        .dispatch = table,
        .controller = controller,
        .metrics = *metrics_.back(),
        .logger = Logger(&lines, "server"),
        .cluster_id = "kZ8NYYXcQdWcCjzG4B1Q1w",
        .image = std::make_shared<const metadata::Image>(),
    }));
    all.push_back(services_.back().get());
  }
  server_ = std::make_unique<Server>(node_, std::move(limits), all);
  const auto r = server_->listen(
      {ListenerSpec{"PLAINTEXT", ListenerKind::kBroker, {"", 9092}, {"broker", 9092}},
       ListenerSpec{"CONTROLLER", ListenerKind::kController, {"", 9093}, {"broker", 9093}}});
  ODRADEK_CHECK(r);
}

TestServer::~TestServer() {
  if (!closed_) ODRADEK_CHECK(close());
}

bool TestServer::close() {
  closed_ = true;
  bool done = false;
  node_.loop(0).post([&] { server_->close([&] { done = true; }); });
  return run_until([&] { return done; }, Millis(60'000));
}

void TestServer::set_image(metadata::ImagePtr image) {
  for (auto& s : services_) s->image = image;
}

TestClient TestServer::connect(ListenerKind kind) {
  const uint16_t port = kind == ListenerKind::kBroker ? 9092 : 9093;
  io::Completion<Result<std::unique_ptr<io::Socket>>> done;
  client_node_.loop(0).net().start_connect({"broker", port}, done);
  ODRADEK_CHECK(run_until([&] { return done.done(); }));
  Result<std::unique_ptr<io::Socket>> socket = done.await_resume();
  ODRADEK_CHECK(socket);
  return TestClient(*this, std::move(*socket));
}

}  // namespace odradek::server::testing
