// Log directories of brokers, as far as partitions are concerned: where replicas live, and what a
// failed directory costs.
//
//   AssignReplicasToDirs 0, and the offline directories of BrokerHeartbeat 1 (KIP-858).
#include <algorithm>

#include "machines/controller/apis.h"
#include "machines/controller/partition_change.h"
#include "wire/gen/broker_registration_change_record.h"

namespace odradek::machines::control {

namespace {

using metadata::Broker;
using wire::ErrorCode;

/// Whoever is alive but the broker that lost the replica.
MayLead others_than(const Context& context, BrokerId loser) {
  return [&image = context.image, loser](BrokerId candidate) {
    const Broker* broker = image.broker(candidate);
    return candidate != loser && broker != nullptr && broker->active();
  };
}

/// The replica of `id` in that partition is gone: out of the ISR, and somebody else leads.
void lose_replica(Context& context, const metadata::Topic& topic, PartitionChange& change,
                  const metadata::Partition& partition, BrokerId id) {
  change.isr(without(partition.isr, {id}));
  if (unclean_election_allowed(context, topic.name)) change.election(Election::kUnclean);
}

ErrorCode assign(Context& context, const Broker& broker, const metadata::Topic& topic,
                 int32_t index, const Uuid& directory) {
  const metadata::Partition* partition = topic.partition(index);
  if (partition == nullptr) return ErrorCode::kUnknownTopicOrPartition;
  if (!partition->is_replica(broker.id)) return ErrorCode::kNotLeaderOrFollower;
  const bool lost = !broker.has_online_dir(directory);
  PartitionChange change(context, topic, index, lost ? others_than(context, broker.id) : MayLead());
  change.directory(broker.id, directory);
  if (lost) lose_replica(context, topic, change, *partition, broker.id);
  if (auto record = change.build()) context.records.push_back(std::move(*record));
  return ErrorCode::kNone;
}

}  // namespace

wire::AssignReplicasToDirsResponse assign_replicas_to_dirs(
    Context& context, const wire::AssignReplicasToDirsRequest& request, int16_t) {
  wire::AssignReplicasToDirsResponse response;
  const BrokerId id(request.broker_id);
  const ErrorCode error =
      context.version().directories()
          ? check_broker_epoch(context.image, id, BrokerEpoch(request.broker_epoch))
          : ErrorCode::kUnsupportedVersion;
  response.error_code = wire_value(error);
  if (error != ErrorCode::kNone) return response;
  const Broker& broker = *context.image.broker(id);
  for (const auto& asked : request.directories) {
    auto& directory = response.directories.add(context.arena);
    directory.id = asked.id;
    for (const auto& asked_topic : asked.topics) {
      auto& out = directory.topics.add(context.arena);
      out.topic_id = asked_topic.topic_id;
      const metadata::Topic* topic = context.image.topic(asked_topic.topic_id);
      for (const auto& p : asked_topic.partitions) {
        auto& result = out.partitions.add(context.arena);
        result.partition_index = p.partition_index;
        result.error_code = wire_value(
            topic == nullptr ? ErrorCode::kUnknownTopicId
                             : assign(context, broker, *topic, p.partition_index, asked.id));
      }
    }
  }
  return response;
}

void directories_failed(Context& context, const Broker& broker, const Array<Uuid>& offline) {
  const auto is_offline = [&](const Uuid& d) {
    return std::find(offline.begin(), offline.end(), d) != offline.end();
  };
  wire::BrokerRegistrationChangeRecord record;
  for (const Uuid& directory : broker.log_dirs)
    if (!is_offline(directory)) record.log_dirs.add(context.arena, directory);
  if (record.log_dirs.size() == broker.log_dirs.size()) return;
  context.image.for_each_topic([&](const metadata::TopicPtr& topic) {
    for (size_t i = 0; i < topic->partitions.size(); i++) {
      const auto& partition = topic->partitions[i];
      if (!partition || !partition->in_isr(broker.id)) continue;
      if (!is_offline(partition->directory(broker.id))) continue;
      PartitionChange change(context, *topic, static_cast<int32_t>(i),
                             others_than(context, broker.id));
      lose_replica(context, *topic, change, *partition, broker.id);
      if (auto built = change.build()) context.records.push_back(std::move(*built));
    }
  });
  record.broker_id = broker.id.value;
  record.broker_epoch = broker.epoch.value;
  context.add(record, 2);
}

}  // namespace odradek::machines::control
