#include "server/server.h"

#include <fmt/format.h>

#include <atomic>
#include <map>
#include <utility>

#include "base/check.h"
#include "server/loop_server.h"
#include "server/server_metrics.h"

namespace odradek::server {

/// How many connections there are, by host. Belongs to loop 0, where connections are accepted; the
/// other loops post to it when one ends.
struct Server::Shared {
  explicit Shared(const Limits& l) : limits(l) {}

  const Limits limits;
  std::atomic<int64_t> total = 0;  // written on loop 0, read anywhere
  std::map<std::string, int64_t, std::less<>> by_host;
  LineLimiter lines;

  int64_t host_max(const std::string& host) const {
    auto it = limits.per_ip_overrides.find(host);
    return it == limits.per_ip_overrides.end() ? limits.connections_per_ip_max : it->second;
  }
  /// Counts one more connection; the name of the limit that forbids it, or null.
  const char* admit(const std::string& host) {
    if (total >= limits.connections_max) return "max.connections";
    auto it = by_host.find(host);
    if ((it == by_host.end() ? 0 : it->second) >= host_max(host)) return "max.connections.per.ip";
    by_host[host]++;
    total++;
    return nullptr;
  }
  void ended(const std::string& host) {
    auto it = by_host.find(host);
    ODRADEK_CHECK(it != by_host.end() && total > 0);
    if (--it->second == 0) by_host.erase(it);
    total--;
  }
};

Server::Server(io::Io& io, Limits limits, std::span<Services* const> services)
    : io_(io), shared_(std::make_shared<Shared>(limits)) {
  ODRADEK_CHECK(static_cast<int>(services.size()) == io.loop_count());
  io::Loop& home = io.loop(0);
  for (Services* s : services) {
    const bool is_home = &s->loop == &home;
    loops_.push_back(std::make_unique<LoopServer>(
        *s, limits, [shared = shared_, &home, is_home](const std::string& host) {
          if (is_home) return shared->ended(host);
          home.post([shared, host] { shared->ended(host); });
        }));
  }
}

Server::~Server() = default;

Result<void> Server::listen(std::vector<ListenerSpec> listeners) {
  for (ListenerSpec& given : listeners) {
    specs_.push_back(std::make_unique<ListenerSpec>(std::move(given)));
    ListenerSpec& spec = *specs_.back();
    auto listener = io_.loop(0).net().listen(
        spec.bind, false,
        [this, &spec](std::unique_ptr<io::Socket> s) { accepted(spec, std::move(s)); });
    if (!listener) {
      listening_.clear();
      return fail(listener.error().kind,
                  fmt::format("listener {}://{}:{}: {}", spec.name, spec.bind.host, spec.bind.port,
                              listener.error().message));
    }
    spec.bind.port = (*listener)->local().port;
    if (spec.advertised.port == 0) spec.advertised.port = spec.bind.port;
    listening_.emplace_back(spec.kind, std::move(*listener));
  }
  return {};
}

void Server::accepted(const ListenerSpec& listener, std::unique_ptr<io::Socket> socket) {
  const std::string& host = socket->peer().host;
  Services& here = loops_[0]->services();
  if (const char* limit = shared_->admit(host)) {
    here.metrics.connections_refused.add();
    uint64_t suppressed = 0;
    if (shared_->lines.allow(here.loop.clock().now(), suppressed))
      here.logger.warn("refused a connection from {}: {} is reached ({} more lines like this)",
                       host, limit, suppressed);
    return;
  }
  const uint64_t id = next_connection_++;
  LoopServer& target = *loops_[id % loops_.size()];
  if (&target == loops_[0].get()) return target.add(listener, std::move(socket), id);
  target.loop().post([&target, &listener, id, moved = socket->move_to(target.loop())]() mutable {
    target.add(listener, std::move(moved), id);
  });
}

void Server::stop_accepting(ListenerKind kind) {
  std::erase_if(listening_, [kind](auto& entry) { return entry.first == kind; });
}

void Server::close(std::move_only_function<void()> done) {
  listening_.clear();
  auto left = std::make_shared<size_t>(loops_.size());
  auto all_done = std::make_shared<std::move_only_function<void()>>(std::move(done));
  io::Loop& home = io_.loop(0);
  for (auto& loop_server : loops_) {
    LoopServer& target = *loop_server;
    target.loop().post([&target, &home, left, all_done] {
      target.close([&home, left, all_done] {
        home.post([left, all_done] {
          if (--*left == 0) (*all_done)();
        });
      });
    });
  }
}

int64_t Server::connection_count() const { return shared_->total; }

}  // namespace odradek::server
