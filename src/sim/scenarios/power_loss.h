// Scenario: one node, many clients, and power and disks that fail.
//
// Assembles the real node on a simulated machine. Producers (idempotent, plain acks=all, acks=1),
// consumers and an administrator work on it (topics that roll all the time, with limits, that are
// trimmed by DeleteRecords, that are deleted; checkpoints and snapshots of the metadata as often as
// chance wants) while the machine loses its power, is killed or stops cleanly, several times, also
// while it starts; while its disk (one of two, maybe) refuses to sync or write, or is full; and,
// with `rot`, while bits flip in what is stored. History holds what they were told against what
// they see; in the end all faults cease, everybody must get on, and every partition is read from
// the beginning.
#pragma once

#include <cstdint>

#include "sim/scenarios/outcome.h"

namespace odradek::sim {

struct ScenarioOptions {
  uint64_t seed = 1;
  /// False: as Apache's defaults, nothing waits for the disk. The checks must then find losses (the
  /// scenario's canary).
  bool synced = true;
  /// Bits of stored data flip, too.
  bool rot = false;
  bool verbose = false;  // the node's log lines to standard error, with virtual times
};

struct ScenarioOutcome : Outcome {
  uint64_t acked = 0;
  uint64_t observed = 0;
  /// Flipped bits have shown themselves as an error (a directory went offline, or the node did not
  /// start); the run has ended there.
  bool refused = false;
};

/// Deterministic: the same seed gives the same outcome.
ScenarioOutcome run_power_loss(const ScenarioOptions& options);

}  // namespace odradek::sim
