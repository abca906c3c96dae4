// Scenario: consumer groups whose members and broker fail.
//
// Assembles the real node on a simulated machine, with producers, and with groups of members on a
// few other machines: of the classic and of the consumer protocol or both in one group, dynamic and
// static ones, eager and cooperative, with names and with expressions, which come, leave, crash,
// dawdle, change what they read and are cut off, while the broker is stopped, killed, loses its
// power, or its disk fails, is full or slow. GroupHistory holds what the members were told against
// the rules of groups (in groups of both protocols those of the consumer protocol), History what
// they read. In the end all faults cease: every partition that a living group reads must be
// consumed and committed to its end in a bounded time.
#pragma once

#include <cstdint>

#include "sim/group_history.h"
#include "sim/scenarios/outcome.h"

namespace odradek::sim {

struct GroupsOptions {
  uint64_t seed = 1;
  bool verbose = false;  // the node's log lines to standard error, with virtual times
};

struct GroupsOutcome : Outcome {
  GroupHistory::Counts counts;
  uint64_t members = 0;
  uint64_t crashes = 0;  // of members, and of machines with members
  uint64_t fenced = 0;
};

/// Deterministic: the same seed gives the same outcome.
GroupsOutcome run_groups(const GroupsOptions& options);

}  // namespace odradek::sim
