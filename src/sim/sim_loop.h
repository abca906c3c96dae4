// The loop of a simulated machine. Private to sim.
#pragma once

#include <unordered_map>

#include "sim/sim_io.h"

namespace odradek::sim {

class SimLoop : public io::Loop, io::Clock, io::Timers, io::Net, io::Random {
 public:
  SimLoop(SimIo& node, int index);

  int index() const override { return index_; }
  io::Clock& clock() override { return *this; }
  io::Timers& timers() override { return *this; }
  io::Net& net() override { return *this; }
  io::Random& random() override { return *this; }
  void post(io::Callback callback) override;
  void at_turn_end(io::Callback callback) override;
  void release_memory() override { releases_++; }
  /// How often it was called.
  int releases() const { return releases_; }

  WallMs wall() const override;
  MonoNs now() const override;
  MonoNs precise() const override { return now(); }
  io::TimerId start(Millis delay, io::Callback callback) override;
  void cancel(io::TimerId id) override;
  uint64_t next() override { return rng_.next(); }
  Result<std::unique_ptr<io::Listener>> listen(const io::Endpoint& at, bool shared_port,
                                               OnAccept on_accept) override;
  void start_connect(const io::Endpoint& to,
                     io::Completion<Result<std::unique_ptr<io::Socket>>>& done) override;

  /// Takes what is due; runs it at once if the loop is free, else in its next turn.
  void deliver(io::Callback callback);
  /// Drops everything: the machine has stopped.
  void clear();
  SimIo& node() { return node_; }

 private:
  void turn();

  SimIo& node_;
  Simulation& sim_;
  int index_;
  Rng rng_;
  std::vector<io::Callback> inbox_;
  std::vector<io::Callback> turn_end_;
  int64_t busy_until_ = 0;
  int releases_ = 0;
  bool turn_scheduled_ = false;
  uint64_t next_timer_ = 1;
  std::unordered_map<uint64_t, io::Callback> timers_;
  std::map<const void*, int64_t> last_arrival_;  // of posts, per sending thread
};

}  // namespace odradek::sim
