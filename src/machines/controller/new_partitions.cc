#include "machines/controller/new_partitions.h"

#include <algorithm>

#include "base/check.h"
#include "machines/controller/partition_change.h"
#include "wire/gen/partition_record.h"

namespace odradek::machines::control {

ApiError check_assignment(const Context& context, const std::vector<BrokerId>& replicas,
                          std::optional<size_t> replication_factor) {
  constexpr auto kCode = wire::ErrorCode::kInvalidReplicaAssignment;
  if (replicas.empty())
    return api_error(kCode, "The manual partition assignment includes an empty replica list.");
  std::vector<BrokerId> sorted = replicas;
  std::sort(sorted.begin(), sorted.end());
  for (size_t i = 0; i < sorted.size(); i++) {
    if (context.image.broker(sorted[i]) == nullptr)
      return api_error(kCode,
                       "The manual partition assignment includes broker {}, but no such broker is "
                       "registered.",
                       sorted[i].value);
    if (i > 0 && sorted[i] == sorted[i - 1])
      return api_error(kCode,
                       "The manual partition assignment includes the broker {} more than once.",
                       sorted[i].value);
  }
  if (replication_factor && sorted.size() != *replication_factor)
    return api_error(kCode,
                     "The manual partition assignment includes a partition with {} replica(s), but "
                     "this is not consistent with previous partitions, which have {} replica(s).",
                     sorted.size(), *replication_factor);
  return {};
}

std::vector<BrokerId> active_replicas(const Context& context,
                                      const std::vector<BrokerId>& replicas) {
  std::vector<BrokerId> active;
  for (BrokerId id : replicas) {
    const metadata::Broker* broker = context.image.broker(id);
    if (broker != nullptr && broker->active()) active.push_back(id);
  }
  return active;
}

void add_partition(Context& context, const Uuid& topic, int32_t index,
                   const std::vector<BrokerId>& replicas, const std::vector<BrokerId>& isr) {
  ODRADEK_CHECK(!isr.empty());
  wire::PartitionRecord record;
  record.partition_id = index;
  record.topic_id = topic;
  record.replicas = to_array(context.arena, replicas);
  record.isr = to_array(context.arena, isr);
  record.leader = isr[0].value;
  record.leader_epoch = 0;
  record.partition_epoch = 0;
  if (context.version().directories())
    for (BrokerId id : replicas)
      record.directories.add(context.arena, default_directory(context.image, id));
  context.add(record, context.version().partition_record());
}

}  // namespace odradek::machines::control
