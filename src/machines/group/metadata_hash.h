// The hash by which a consumer group knows that its topics have changed. It is stored with the
// group, so it must be Apache's to the bit: another one would cost every group a rebalance when its
// coordinator moves.
#pragma once

#include <cstdint>

#include "machines/group/consumer_group.h"
#include "metadata/image.h"

namespace odradek::machines::group {

/// Of those of `topics` that exist: their ids, partitions, and the racks of these. 0: none exists.
int64_t metadata_hash(const TopicNames& topics, const metadata::Image& image);

}  // namespace odradek::machines::group
