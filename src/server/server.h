// Server: the listeners of a node and the connections behind them.
//
// Loop 0 accepts and hands each connection to the next loop in turn, so that even two connections
// use two loops; SO_REUSEPORT would leave that to a hash, which with few connections often picks
// the same loop. A connection then stays on its loop for life.
//
//   Server server(io, limits, services);            // services[i] belongs to loop i
//   Result<void> r = server.listen(listeners);      // on loop 0; binds, does not accept requests
//   yet server.listeners();                             // with the real ports
//   server.stop_accepting(); server.close(done);
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/io.h"
#include "server/limits.h"
#include "server/request.h"
#include "server/services.h"

namespace odradek::server {

class LoopServer;

class Server {
 public:
  /// `services[i]` is that of loop i and outlives the server.
  Server(io::Io& io, Limits limits, std::span<Services* const> services);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Starts listening, on loop 0 (or before the loops run). kExists names the listener whose port
  /// is in use; nothing listens then. A port 0 is replaced by the real one in `listeners()`, and in
  /// the advertised endpoint if that has none.
  Result<void> listen(std::vector<ListenerSpec> listeners);
  const std::vector<std::unique_ptr<ListenerSpec>>& listeners() const { return specs_; }
  /// Closes the listeners of one kind (a stopping node serves its controller listener longer).
  void stop_accepting(ListenerKind kind);
  /// Closes all listeners and every connection, on loop 0; requests that wait are abandoned. `done`
  /// is called on loop 0 once no handler runs any more.
  void close(std::move_only_function<void()> done);
  /// Connections that are open, all loops.
  int64_t connection_count() const;

 private:
  struct Shared;

  void accepted(const ListenerSpec& listener, std::unique_ptr<io::Socket> socket);

  io::Io& io_;
  std::shared_ptr<Shared> shared_;
  std::vector<std::unique_ptr<LoopServer>> loops_;
  std::vector<std::unique_ptr<ListenerSpec>> specs_;
  std::vector<std::pair<ListenerKind, std::unique_ptr<io::Listener>>> listening_;
  uint64_t next_connection_ = 0;
};

}  // namespace odradek::server
