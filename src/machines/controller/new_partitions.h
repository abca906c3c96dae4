// What CreateTopics and CreatePartitions share: assignments checked, partitions made into records.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "machines/controller/context.h"

namespace odradek::machines::control {

/// Checks replicas that a user chose: not empty, registered, no broker twice, as many as
/// `replication_factor` if that is known.
ApiError check_assignment(const Context& context, const std::vector<BrokerId>& replicas,
                          std::optional<size_t> replication_factor);

/// The replicas that are active: the ISR of a new partition.
std::vector<BrokerId> active_replicas(const Context& context,
                                      const std::vector<BrokerId>& replicas);

/// Adds the record of a new partition; `isr` must not be empty, its first member leads.
void add_partition(Context& context, const Uuid& topic, int32_t index,
                   const std::vector<BrokerId>& replicas, const std::vector<BrokerId>& isr);

}  // namespace odradek::machines::control
