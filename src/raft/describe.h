// DescribeQuorum, answered from the state of a driver.
#pragma once

#include <cstdint>

#include "base/arena.h"
#include "base/ids.h"
#include "raft/driver.h"
#include "wire/gen/describe_quorum.h"

namespace odradek::raft {

/// The answer to `request` (versions 0 to 2). Strings of it lie in `arena` or in the driver.
wire::DescribeQuorumResponse describe_quorum(const Driver& driver,
                                             const wire::DescribeQuorumRequest& request,
                                             int16_t version, WallMs now, Arena& arena);

}  // namespace odradek::raft
