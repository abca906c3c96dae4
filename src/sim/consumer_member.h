// A member of a consumer group of KIP-848: it says with heartbeats what it has, and the group says
// what it should have. It gives back what it is not to have any more before others get it; until it
// leaves, crashes or is fenced.
#pragma once

#include "sim/group_consumer.h"

namespace odradek::sim {

/// Until the member has ended. It is among `alive` already.
io::Task<void> run_consumer_member(GroupWorld& world, io::Loop& loop, MemberPlan plan);

}  // namespace odradek::sim
