// A member of a classic group, as a consumer is one: it joins, leads if it is asked to, syncs,
// consumes, commits, sends heartbeats, and joins again; until it leaves, crashes or is fenced.
// Some dawdle, change what they subscribe to, or commit in the name of an old generation.
#pragma once

#include "sim/group_consumer.h"

namespace odradek::sim {

/// Until the member has ended. It is among `alive` already.
io::Task<void> run_classic_member(GroupWorld& world, io::Loop& loop, MemberPlan plan);

}  // namespace odradek::sim
