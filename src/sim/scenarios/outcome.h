// Outcome: what every scenario has come to; each adds its own counts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sim/broker.h"
#include "sim/history.h"
#include "sim/sim_io.h"

namespace odradek::sim {

struct Outcome {
  /// Nothing: all rules held.
  std::optional<std::string> failure;
  /// The node's last log lines, for a failure.
  std::vector<std::string> log;
  uint64_t trace_hash = 0;
  Interruptions interruptions;
  int64_t virtual_ms = 0;

  /// Takes it from where a scenario keeps it, at its end.
  void take(const History& history, const Lines& lines, const Simulation& sim,
            const Broker& broker) {
    failure = history.failure();
    if (failure) log = lines.kept();
    trace_hash = sim.trace_hash();
    interruptions = broker.interruptions();
    virtual_ms = sim.now().value / 1'000'000;
  }
};

}  // namespace odradek::sim
