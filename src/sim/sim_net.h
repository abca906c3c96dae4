// The network between simulated machines. Private to sim.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sim/sim_io.h"
#include "sim/sim_loop.h"

namespace odradek::sim {

/// A connection: two ends, each with what has arrived and not been read, and what waits to be sent.
struct Connection {
  struct End {
    SimLoop* loop = nullptr;
    uint64_t incarnation = 0;
    ByteBuffer received;
    bool peer_finished = false;
    bool broken = false;
    bool closed = false;
    io::Completion<Result<size_t>>* reader = nullptr;
    MutableBytes into;
    io::Completion<Result<void>>* writer = nullptr;
    ByteBuffer outgoing;
    size_t sent = 0;
    uint64_t in_flight = 0;    // sent from here and not yet read by the peer
    int64_t last_arrival = 0;  // of what was sent to here
  };
  End ends[2];
};

struct Listening {
  SimLoop* loop;
  uint16_t port;
  bool shared;
  bool open = true;
  io::Net::OnAccept on_accept;
};

class SimNet {
 public:
  explicit SimNet(Simulation& sim) : sim_(sim) {}

  Result<std::unique_ptr<io::Listener>> listen(SimLoop& loop, const io::Endpoint& at, bool shared,
                                               io::Net::OnAccept on_accept);
  void connect(SimLoop& loop, const io::Endpoint& to,
               io::Completion<Result<std::unique_ptr<io::Socket>>>& done);
  void node_died(SimIo& node);

  void read(const std::shared_ptr<Connection>& c, int side, MutableBytes into,
            io::Completion<Result<size_t>>& done);
  void write(const std::shared_ptr<Connection>& c, int side, const Chain& chain,
             io::Completion<Result<void>>& done);
  void close(const std::shared_ptr<Connection>& c, int side);

 private:
  using ConnectDone = io::Completion<Result<std::unique_ptr<io::Socket>>>;

  void schedule(Connection::End& at, int64_t when, io::Callback run);
  int64_t arrival(Connection::End& at);
  SimIo* find(SimIo& from, const std::string& host);
  void arrive(SimLoop& client, SimIo& node, const io::Endpoint& to, ConnectDone& done);
  void pump(const std::shared_ptr<Connection>& c, int side);
  void try_read(const std::shared_ptr<Connection>& c, int side);
  void receive(const std::shared_ptr<Connection>& c, int side, ByteBuffer bytes);
  /// Lets the end's loop look at what has changed.
  void wake(const std::shared_ptr<Connection>& c, int side);
  void break_later(const std::shared_ptr<Connection>& c, int side);
  void break_now(const std::shared_ptr<Connection>& c, int side);

  Simulation& sim_;
  std::map<SimIo*, std::vector<std::shared_ptr<Listening>>> listening_;
  std::vector<std::weak_ptr<Connection>> connections_;
  uint16_t next_port_ = 32768;
};

}  // namespace odradek::sim
