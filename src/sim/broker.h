// Broker: the real node on one machine of a simulation, and what can happen to it: it is stopped,
// killed, loses its power, its disk fails or is full.
//
// Tells History (through ClientWorld) of power losses, and says while the disk misbehaves
// (`trouble`), for then any error code is an answer.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/logger.h"
#include "metadata/properties.h"
#include "node/node.h"
#include "sim/clients.h"
#include "sim/sim_io.h"

namespace odradek::sim {

/// Keeps the last lines, with the virtual time.
class Lines : public LogSink {
 public:
  /// `verbose`: also to standard error.
  Lines(Simulation& sim, bool verbose) : sim_(sim), verbose_(verbose) {}
  void write(Level level, std::string_view component, std::string_view line) override;
  /// Of the scenario itself.
  void say(std::string_view text) { write(Level::kInfo, "sim", text); }
  std::vector<std::string> kept() const { return {lines_.begin(), lines_.end()}; }
  /// A log directory has gone offline since the last call.
  bool take_directory_failed() { return std::exchange(directory_failed_, false); }

 private:
  Simulation& sim_;
  bool verbose_;
  bool directory_failed_ = false;
  std::deque<std::string> lines_;
};

/// What has happened to a broker so far.
struct Interruptions {
  int power_losses = 0;
  int kills = 0;
  int clean_stops = 0;
  int io_failures = 0;
  int full_disks = 0;
};

class Broker {
 public:
  static constexpr uint16_t kPort = 9092;
  /// How long a node may take to serve or to stop, in virtual time.
  static constexpr Millis kPatience{60'000};

  /// `over`: nothing is left to find out, whoever waits returns. `gone` is called when a node has
  /// just ended, in whatever way.
  Broker(
      ClientWorld& world, SimIo& machine, Lines& lines, std::function<bool()> over,
      std::function<void()> gone = [] {})
      : world_(world),
        sim_(world.sim),
        machine_(machine),
        lines_(lines),
        over_(std::move(over)),
        gone_(std::move(gone)),
        settings_(metadata::BrokerConfig::standalone_properties()) {}

  /// For the next start.
  metadata::Properties& settings() { return settings_; }
  const Interruptions& interruptions() const { return interruptions_; }

  /// A new node on the machine, which must be up. False, with the failure noted, if it does not
  /// serve.
  bool start();
  /// The same, but returns at once.
  void begin_start();
  void stop_cleanly();
  /// Without warning: the machine's power or the process only; now, or in the middle of what the
  /// node is doing.
  void cut();
  /// After some starts that are cut in their midst, maybe, a start.
  void start_with_interruptions();
  /// One kind of operation fails from some moment on, everywhere or in one directory (of which the
  /// path has `where` in it). Then the power goes: what is in memory and not on the disk would
  /// never get there.
  void fail_io(std::string where);
  /// The disk is full for a while. True if the node has ended over it and must be started again.
  bool fill_disk();
  /// One of these by chance, and a start where it takes one. Half of the failing disks fail at
  /// one of `topics` only. `gone` is called in any case: coordinators may begin anew.
  void interrupt(const std::vector<std::string>& topics);
  /// As when a process dies: no destructor runs. The memory is lost.
  void abandon() { (void)node_.release(); }

  /// The node has ended itself, or did not start. A failure, unless the disk misbehaves or
  /// `may_give_up`.
  bool gave_up() const { return gave_up_; }
  void allow_to_give_up() { may_give_up_ = true; }

 private:
  bool failed() const { return world_.history.failure().has_value(); }
  void on_fatal(const Error& e);
  void after_cut(bool power);

  ClientWorld& world_;
  Simulation& sim_;
  SimIo& machine_;
  Lines& lines_;
  std::function<bool()> over_;
  std::function<void()> gone_;
  metadata::Properties settings_;
  std::unique_ptr<node::Node> node_;
  bool serving_ = false;
  bool gave_up_ = false;
  bool may_give_up_ = false;
  Interruptions interruptions_;
};

}  // namespace odradek::sim
