#include "sim/sim_net.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace odradek::sim {
namespace {

constexpr uint64_t kSegmentMax = 65536;

class SimSocket : public io::Socket {
 public:
  SimSocket(SimNet& net, std::shared_ptr<Connection> connection, int side, io::Endpoint peer)
      : net_(net), connection_(std::move(connection)), side_(side), peer_(std::move(peer)) {}
  ~SimSocket() override {
    if (connection_) net_.close(connection_, side_);
  }
  void start_read(MutableBytes into, io::Completion<Result<size_t>>& done) override {
    net_.read(connection_, side_, into, done);
  }
  void start_write(const Chain& chain, io::Completion<Result<void>>& done) override {
    net_.write(connection_, side_, chain, done);
  }
  void close() override { net_.close(connection_, side_); }
  const io::Endpoint& peer() const override { return peer_; }
  std::unique_ptr<io::Socket> move_to(io::Loop& loop) override {
    auto& end = connection_->ends[side_];
    ODRADEK_CHECK(end.reader == nullptr && end.writer == nullptr);
    auto& target = static_cast<SimLoop&>(loop);
    ODRADEK_CHECK(&target.node() == &end.loop->node());
    end.loop = &target;
    return std::make_unique<SimSocket>(net_, std::move(connection_), side_, peer_);
  }

 private:
  SimNet& net_;
  std::shared_ptr<Connection> connection_;
  int side_;
  io::Endpoint peer_;
};

class SimListener : public io::Listener {
 public:
  SimListener(std::shared_ptr<Listening> state, io::Endpoint local)
      : state_(std::move(state)), local_(std::move(local)) {}
  ~SimListener() override { close(); }
  const io::Endpoint& local() const override { return local_; }
  void close() override { state_->open = false; }

 private:
  std::shared_ptr<Listening> state_;
  io::Endpoint local_;
};

Error reset() { return {Errc::kClosed, "connection reset by peer"}; }
Error closed_here() { return {Errc::kClosed, "the socket was closed"}; }

/// The bytes of a chain; nothing if a file was shorter than its piece says.
std::optional<ByteBuffer> gather(const Chain& chain) {
  ByteBuffer all;
  for (const Piece& piece : chain.pieces()) {
    if (!piece.source) {
      all.insert(all.end(), piece.memory.begin(), piece.memory.end());
      continue;
    }
    auto* file = dynamic_cast<io::File*>(piece.source.get());
    ODRADEK_CHECK(file != nullptr);
    size_t at = all.size();
    all.resize(at + piece.length);
    auto n = file->read(piece.position, MutableBytes(all).subspan(at));
    if (!n || *n != piece.length) return std::nullopt;
  }
  return all;
}

}  // namespace

Result<std::unique_ptr<io::Listener>> SimNet::listen(SimLoop& loop, const io::Endpoint& at,
                                                     bool shared, io::Net::OnAccept on_accept) {
  if (!loop.node().up()) return fail(Errc::kClosed, "the machine is down");
  auto& all = listening_[&loop.node()];
  std::erase_if(all, [](auto& l) { return !l->open; });
  io::Endpoint local = at;
  auto taken = [&](uint16_t port) {
    return std::ranges::any_of(all,
                               [&](auto& l) { return l->port == port && !(shared && l->shared); });
  };
  if (local.port == 0) {
    do local.port = next_port_++;
    while (local.port == 0 || taken(local.port));
  } else if (taken(local.port)) {
    return fail(Errc::kExists, fmt::format("port {}: Address already in use", local.port));
  }
  auto state =
      std::make_shared<Listening>(Listening{&loop, local.port, shared, true, std::move(on_accept)});
  all.push_back(state);
  return std::make_unique<SimListener>(std::move(state), local);
}

SimIo* SimNet::find(SimIo& from, const std::string& host) {
  if (host.empty() || host == "localhost" || host == "127.0.0.1" || host == "::1") return &from;
  for (auto& node : sim_.nodes_) {
    if (node->host() == host) return node.get();
  }
  return nullptr;
}

void SimNet::connect(SimLoop& loop, const io::Endpoint& to, ConnectDone& done) {
  auto reply = [this, &loop, &done](Error error) {
    int64_t at = sim_.after_us(sim_.options_.latency_us_min, sim_.options_.latency_us_max);
    sim_.schedule(loop.node(), loop.index(), at,
                  [&done, error] { done.complete(std::unexpected(error)); });
  };
  SimIo* node = find(loop.node(), to.host);
  if (node == nullptr) return reply({Errc::kNotFound, fmt::format("{}: unknown host", to.host)});
  bool refuse = sim_.options_.refuse_one_in != 0 && sim_.rng_.one_in(sim_.options_.refuse_one_in);
  if (!node->up() || refuse) {
    return reply({Errc::kIo, fmt::format("{}:{}: Connection refused", to.host, to.port)});
  }
  // The journey to the other machine is an event of the client: it survives the server's death.
  int64_t at = sim_.after_us(sim_.options_.latency_us_min, sim_.options_.latency_us_max);
  sim_.schedule(loop.node(), -1, at,
                [this, &loop, node, to, &done] { arrive(loop, *node, to, done); });
}

void SimNet::arrive(SimLoop& client, SimIo& node, const io::Endpoint& to, ConnectDone& done) {
  std::vector<std::shared_ptr<Listening>> candidates;
  for (auto& l : listening_[&node]) {
    if (l->open && l->port == to.port) candidates.push_back(l);
  }
  int64_t back = sim_.after_us(sim_.options_.latency_us_min, sim_.options_.latency_us_max);
  if (!node.up() || candidates.empty()) {
    sim_.schedule(client.node(), client.index(), back, [&done, to] {
      done.complete(fail(Errc::kIo, fmt::format("{}:{}: Connection refused", to.host, to.port)));
    });
    return;
  }
  auto listening = candidates[sim_.rng_.below(candidates.size())];
  auto connection = std::make_shared<Connection>();
  connection->ends[0].loop = &client;
  connection->ends[0].incarnation = client.node().incarnation_;
  connection->ends[1].loop = listening->loop;
  connection->ends[1].incarnation = node.incarnation_;
  std::erase_if(connections_, [](auto& c) { return c.expired(); });
  connections_.push_back(connection);
  io::Endpoint client_address{client.node().host(), next_port_++};
  sim_.schedule(node, listening->loop->index(), sim_.after_us(0, 100),
                [this, listening, connection, client_address] {
                  auto socket = std::make_unique<SimSocket>(*this, connection, 1, client_address);
                  if (listening->open) listening->on_accept(std::move(socket));
                });
  sim_.schedule(client.node(), client.index(), back, [this, connection, to, &done] {
    done.complete(std::make_unique<SimSocket>(*this, connection, 0, to));
  });
}

void SimNet::node_died(SimIo& node) {
  listening_[&node].clear();
  for (auto& weak : connections_) {
    auto c = weak.lock();
    if (!c) continue;
    for (int side = 0; side < 2; side++) {
      if (&c->ends[side].loop->node() != &node) continue;
      auto& end = c->ends[side];
      end.closed = true;
      node.drop([c, reader = std::exchange(end.reader, nullptr),
                 writer = std::exchange(end.writer, nullptr)] {});
      break_later(c, 1 - side);
    }
  }
}

/// An event of the end's machine, outside of its loops: they see it when they read or write.
void SimNet::schedule(Connection::End& at, int64_t when, io::Callback run) {
  if (at.incarnation != at.loop->node().incarnation_) return;
  sim_.schedule(at.loop->node(), -1, when, std::move(run));
}

/// When something that is sent to this end now gets there: never before what was sent earlier.
int64_t SimNet::arrival(Connection::End& at) {
  int64_t t = sim_.after_us(sim_.options_.latency_us_min, sim_.options_.latency_us_max);
  at.last_arrival = std::max(at.last_arrival, t);
  return at.last_arrival;
}

void SimNet::read(const std::shared_ptr<Connection>& c, int side, MutableBytes into,
                  io::Completion<Result<size_t>>& done) {
  auto& end = c->ends[side];
  ODRADEK_CHECK(end.reader == nullptr && !into.empty());
  end.reader = &done;
  end.into = into;
  if (end.closed || sim_.rng_.one_in(4)) {
    schedule(end, sim_.after_us(0, 20), [this, c, side] { wake(c, side); });
  } else {
    try_read(c, side);
  }
}

void SimNet::try_read(const std::shared_ptr<Connection>& c, int side) {
  auto& end = c->ends[side];
  if (end.reader == nullptr) return;
  Result<size_t> result = size_t{0};
  if (end.closed) {
    result = std::unexpected(closed_here());
  } else if (end.broken) {
    result = std::unexpected(reset());
  } else if (!end.received.empty()) {
    uint64_t most = std::min(end.into.size(), end.received.size());
    uint64_t n = sim_.rng_.one_in(3) ? 1 + sim_.rng_.below(most) : most;
    auto last = end.received.begin() + static_cast<std::ptrdiff_t>(n);
    std::copy(end.received.begin(), last, end.into.begin());
    end.received.erase(end.received.begin(), last);
    result = n;
    auto& peer = c->ends[1 - side];
    peer.in_flight -= n;
    if (peer.writer != nullptr) {
      schedule(peer, arrival(peer), [this, c, side] { wake(c, 1 - side); });
    }
  } else if (!end.peer_finished) {
    return;
  }
  std::exchange(end.reader, nullptr)->complete(std::move(result));
}

void SimNet::receive(const std::shared_ptr<Connection>& c, int side, ByteBuffer bytes) {
  auto& end = c->ends[side];
  if (end.closed) return break_later(c, 1 - side);
  end.received.insert(end.received.end(), bytes.begin(), bytes.end());
  wake(c, side);
}

void SimNet::wake(const std::shared_ptr<Connection>& c, int side) {
  auto& end = c->ends[side];
  if (end.incarnation != end.loop->node().incarnation_) return;
  if (end.reader == nullptr && end.writer == nullptr) return;
  end.loop->deliver([this, c, side] {
    try_read(c, side);
    pump(c, side);
  });
}

void SimNet::write(const std::shared_ptr<Connection>& c, int side, const Chain& chain,
                   io::Completion<Result<void>>& done) {
  auto& end = c->ends[side];
  ODRADEK_CHECK(end.writer == nullptr);
  end.writer = &done;
  end.sent = 0;
  end.outgoing.clear();
  if (!end.closed && !end.broken) {
    if (auto bytes = gather(chain)) {
      end.outgoing = std::move(*bytes);
      sim_.mix(end.outgoing);
    } else {
      break_later(c, 1 - side);
      end.broken = true;
    }
  }
  if (sim_.rng_.one_in(4)) {
    schedule(end, sim_.after_us(0, 20), [this, c, side] { wake(c, side); });
  } else {
    pump(c, side);
  }
}

void SimNet::pump(const std::shared_ptr<Connection>& c, int side) {
  auto& end = c->ends[side];
  auto& peer = c->ends[1 - side];
  if (end.writer == nullptr) return;
  Result<void> result;
  if (end.closed || end.broken) {
    result = std::unexpected(end.closed ? closed_here() : reset());
  } else {
    const SimOptions& options = sim_.options_;
    while (end.sent < end.outgoing.size() && end.in_flight < options.window_bytes) {
      uint64_t most = std::min(
          {end.outgoing.size() - end.sent, options.window_bytes - end.in_flight, kSegmentMax});
      uint64_t n = sim_.rng_.one_in(2) ? most : 1 + sim_.rng_.below(most);
      auto from = end.outgoing.begin() + static_cast<std::ptrdiff_t>(end.sent);
      ByteBuffer bytes(from, from + static_cast<std::ptrdiff_t>(n));
      end.sent += n;
      end.in_flight += n;
      peer.last_arrival = arrival(peer) + static_cast<int64_t>(n) * 1000 / options.bytes_per_us;
      schedule(peer, peer.last_arrival, [this, c, side, bytes = std::move(bytes)]() mutable {
        receive(c, 1 - side, std::move(bytes));
      });
    }
    if (end.sent < end.outgoing.size()) return;
    if (options.reset_one_in != 0 && sim_.rng_.one_in(options.reset_one_in)) {
      break_later(c, 0);
      break_later(c, 1);
    }
  }
  std::exchange(end.writer, nullptr)->complete(std::move(result));
}

void SimNet::break_later(const std::shared_ptr<Connection>& c, int side) {
  // A reset may overtake bytes that are under way.
  auto& end = c->ends[side];
  int64_t at = sim_.rng_.one_in(2)
                   ? arrival(end)
                   : sim_.after_us(sim_.options_.latency_us_min, sim_.options_.latency_us_max);
  schedule(end, at, [this, c, side] { break_now(c, side); });
}

void SimNet::break_now(const std::shared_ptr<Connection>& c, int side) {
  auto& end = c->ends[side];
  if (end.closed || end.broken) return;
  end.broken = true;
  end.received.clear();
  wake(c, side);
}

void SimNet::close(const std::shared_ptr<Connection>& c, int side) {
  auto& end = c->ends[side];
  if (end.closed) return;
  end.closed = true;
  bool lost = !end.received.empty() || end.writer != nullptr;
  end.received.clear();
  if (end.reader != nullptr || end.writer != nullptr) {
    schedule(end, sim_.after_us(0, 20), [this, c, side] { wake(c, side); });
  }
  if (end.broken) return;
  if (lost) return break_later(c, 1 - side);
  auto& peer = c->ends[1 - side];
  schedule(peer, arrival(peer), [this, c, side] {
    c->ends[1 - side].peer_finished = true;
    wake(c, 1 - side);
  });
}

}  // namespace odradek::sim
