// Which loop owns a partition: fixed for life, the same on every loop.
#pragma once

#include "base/ids.h"
#include "base/uuid.h"

namespace odradek::replica {

/// Index of the owning loop, in [0, loops). Neighbouring partitions of a topic get neighbouring
/// loops, so that a topic with as many partitions as loops uses them all.
inline int owner_loop(const Uuid& topic_id, PartitionIndex index, int loops) {
  if (loops == 1) return 0;
  const uint64_t start = (topic_id.high ^ topic_id.low) * 0x9E3779B97F4A7C15ULL >> 32;
  return static_cast<int>((start + static_cast<uint32_t>(index.value)) %
                          static_cast<uint64_t>(loops));
}

}  // namespace odradek::replica
