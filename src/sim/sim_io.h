// Simulation and SimIo: the seam of `io` for any number of machines in one thread, in virtual time,
// from one seed.
//
//   sim::Simulation sim(seed);
//   sim::SimIo& node = sim.add_node("node1", /*loops=*/2);
//   node.loop(0).post([&] { ... });
//   bool ok = sim.run_until([&] { return answered; }, Millis(5'000));   // virtual milliseconds
//
// Everything that takes time is an event in one queue, ordered by time, then by the order of
// scheduling. Chance decides how long things take (posts, timers, packets, syncs, file work, turns
// of a loop), so events of different loops, sockets and threads meet in any order, while posts of
// one thread to one loop and bytes of one connection keep theirs. What becomes due while a loop is
// busy runs together in its next turn. The same seed and the same calls give the same run:
// `trace_hash` proves it.
//
// A machine can be killed (its files stay as they are) or lose its power (see MemoryDisk), and be
// started again. Until then nothing that belonged to it runs: its events, timers, sockets and
// listeners are gone, its peers see a reset, calls on its loops do nothing. The order for a test:
// `power_loss()`, destroy the objects that ran on it, `restart()`, build new ones. Coroutines that
// were waiting on it never resume and leak.
//
// Calls from outside the simulation (a test's body) onto loops are allowed. Destroy what uses a
// SimIo before the Simulation.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/io.h"
#include "sim/memory_disk.h"
#include "sim/rng.h"

namespace odradek::sim {

class SimIo;
class SimLoop;
class SimNet;

/// How the network and the machines behave. All times in virtual microseconds. May be changed while
/// running.
struct SimOptions {
  int64_t latency_us_min = 20;
  int64_t latency_us_max = 400;
  int64_t bytes_per_us = 1000;     // of one direction of a connection
  uint64_t window_bytes = 262144;  // sent and not yet read; beyond it a write waits
  uint64_t refuse_one_in = 0;      // connects that are refused; 0: none
  uint64_t reset_one_in = 0;       // writes after which the connection breaks; 0: none
  int64_t sync_us_min = 100;
  int64_t sync_us_max = 3'000;
  int64_t turn_us_max = 40;  // how long a loop is busy with one turn
};

class Simulation {
 public:
  explicit Simulation(uint64_t seed, SimOptions options = {});
  ~Simulation();
  Simulation(const Simulation&) = delete;
  Simulation& operator=(const Simulation&) = delete;

  /// A machine with its own disk. `host` is its name in Endpoints; on the machine itself
  /// "localhost", "127.0.0.1" and "" mean it too. Lives as long as the simulation.
  SimIo& add_node(const std::string& host, int loops);

  /// Runs events until `done` holds (asked after every event) or `limit` has passed. Answers
  /// whether it held.
  bool run_until(const std::function<bool()>& done, Millis limit);
  void run_for(Millis time);

  MonoNs now() const { return MonoNs(now_); }
  /// For choices of the test itself.
  Rng& rng() { return rng_; }
  SimOptions& options() { return options_; }
  /// A digest of every event so far and of every byte sent.
  uint64_t trace_hash() const { return trace_; }

 private:
  friend class SimIo;
  friend class SimLoop;
  friend class SimNet;
  friend class SimSyncQueue;
  struct Event {
    SimIo* node;
    int loop;  // −1: runs by itself, not in a loop's turn
    io::Callback run;
  };

  void schedule(SimIo& node, int loop, int64_t at_ns, io::Callback run);
  int64_t after_us(int64_t low, int64_t high) {
    return now_ + rng_.between(low * 1000, high * 1000);
  }
  void step();
  void mix(uint64_t value);
  void mix(ByteView bytes);

  SimOptions options_;
  Rng rng_;
  int64_t now_ = 1'000'000'000;
  uint64_t next_sequence_ = 0;
  uint64_t trace_ = 0;
  const void* running_ = nullptr;  // the thread, in a sense, that runs now
  std::map<std::pair<int64_t, uint64_t>, Event> events_;
  std::unique_ptr<SimNet> net_;
  std::vector<std::unique_ptr<SimIo>> nodes_;
};

/// One machine of a simulation.
class SimIo : public io::Io {
 public:
  SimIo(Simulation& sim, std::string host, int loops);
  ~SimIo() override;

  MemoryDisk& disk() override { return disk_; }
  int loop_count() const override { return static_cast<int>(loops_.size()); }
  io::Loop& loop(int index) override;
  std::unique_ptr<io::SyncQueue> make_sync_queue(const std::string& name,
                                                 std::shared_ptr<io::WriteAhead> ahead) override;
  void background(io::Callback work, io::Loop& reply_to, io::Callback done) override;

  const std::string& host() const { return host_; }
  bool up() const { return up_; }
  /// kill -9.
  void kill();
  /// The machine stops at once, and its disk forgets what was not durable.
  void power_loss();
  /// kill or power_loss in the middle of a turn: just before the n-th change of the disk from now.
  /// The code that runs goes on to its next wait, but nothing it does has an effect.
  void kill_after(uint64_t disk_changes);
  void power_loss_after(uint64_t disk_changes);
  /// After kill or power_loss: loops run again. The disk's content is as it was left.
  void restart();

 private:
  friend class Simulation;
  friend class SimLoop;
  friend class SimNet;
  friend class SimSyncQueue;

  /// Takes what a dead machine will never run.
  void drop(io::Callback callback) { dropped_.push_back(std::move(callback)); }
  void free_dropped();

  Simulation& sim_;
  std::string host_;
  int id_;
  bool up_ = true;
  uint64_t incarnation_ = 0;
  MemoryDisk disk_;
  std::vector<std::unique_ptr<SimLoop>> loops_;
  std::vector<io::Callback> dropped_;  // until restart: the code that runs may still use it
};

}  // namespace odradek::sim
