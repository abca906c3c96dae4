// CreatePartitions 0-3 and AlterPartition 2-3 (3: members with their broker epochs).
#include <set>

#include "machines/controller/apis.h"
#include "machines/controller/new_partitions.h"
#include "machines/controller/partition_change.h"
#include "machines/controller/placement.h"
#include "metadata/apply.h"
#include "wire/gen/partition_change_record.h"

namespace odradek::machines::control {

namespace {

using wire::ErrorCode;
using CreatePartitionsTopic = wire::CreatePartitionsRequest::CreatePartitionsTopic;
using AlterData = wire::AlterPartitionRequest::PartitionData;
using AlterResult = wire::AlterPartitionResponse::PartitionData;

// ---- CreatePartitions

ApiError add_assigned(Context& context, const metadata::Topic& topic,
                      const CreatePartitionsTopic& asked, int32_t first, size_t replicas_each) {
  for (size_t i = 0; i < asked.assignments->size(); i++) {
    const auto index = first + static_cast<int32_t>(i);
    const std::vector<BrokerId> replicas = to_ids((*asked.assignments)[i].broker_ids);
    if (ApiError e = check_assignment(context, replicas, replicas_each); e.failed()) return e;
    const std::vector<BrokerId> isr = active_replicas(context, replicas);
    if (isr.empty())
      return api_error(ErrorCode::kInvalidReplicaAssignment,
                       "All brokers specified in the manual partition assignment for partition {} "
                       "are fenced or in controlled shutdown.",
                       index);
    add_partition(context, topic.id, index, replicas, isr);
  }
  return {};
}

ApiError add_placed(Context& context, const metadata::Topic& topic, int32_t first, int32_t count,
                    size_t replicas_each) {
  auto placed = Placement(context).place(count, static_cast<int16_t>(replicas_each));
  if (!placed) return {ErrorCode::kInvalidReplicationFactor, placed.error().message};
  for (const std::vector<BrokerId>& replicas : *placed) {
    const std::vector<BrokerId> isr = active_replicas(context, replicas);
    if (isr.empty())
      return api_error(ErrorCode::kInvalidReplicationFactor,
                       "Unable to replicate the partition {} time(s): All brokers are currently "
                       "fenced or in controlled shutdown.",
                       replicas_each);
    add_partition(context, topic.id, first++, replicas, isr);
  }
  return {};
}

ApiError grow(Context& context, const CreatePartitionsTopic& asked) {
  const metadata::Topic* topic = context.image.topic(asked.name);
  if (topic == nullptr) return {ErrorCode::kUnknownTopicOrPartition, std::nullopt};
  const auto now = static_cast<int32_t>(topic->partitions.size());
  if (asked.count == now)
    return api_error(ErrorCode::kInvalidPartitions, "Topic already has {} partition(s).", now);
  if (asked.count < now)
    return api_error(ErrorCode::kInvalidPartitions,
                     "The topic {} currently has {} partition(s); {} would not be an increase.",
                     asked.name, now, asked.count);
  const metadata::Partition* first = topic->partition(0);
  if (first == nullptr || first->replicas.empty())
    return api_error(ErrorCode::kUnknownServerError,
                     "Invalid state: topic {} appears to have no partitions.", asked.name);
  const int32_t additional = asked.count - now;
  if (asked.assignments && asked.assignments->size() != static_cast<size_t>(additional))
    return api_error(ErrorCode::kInvalidReplicaAssignment,
                     "Attempted to add {} additional partition(s), but only {} assignment(s) were "
                     "specified.",
                     additional, asked.assignments->size());
  if (static_cast<size_t>(additional) > kRecordsMax) return too_many_records();
  const size_t replicas_each = first->replicas.size();
  if (asked.assignments) return add_assigned(context, *topic, asked, now, replicas_each);
  return add_placed(context, *topic, now, additional, replicas_each);
}

// ---- AlterPartition

struct Member {
  BrokerId id;
  int64_t epoch = -1;  // −1: not checked
};

std::vector<Member> members(const AlterData& data, int16_t version) {
  std::vector<Member> out;
  if (version >= 3) {
    for (const auto& m : data.new_isr_with_epochs)
      out.push_back({BrokerId(m.broker_id), m.broker_epoch});
  } else {
    for (int32_t id : data.new_isr) out.push_back({BrokerId(id)});
  }
  return out;
}

bool eligible(const metadata::Image& image, const Member& member) {
  const metadata::Broker* broker = image.broker(member.id);
  return broker != nullptr && broker->active() &&
         (member.epoch == -1 || broker->epoch.value == member.epoch);
}

ErrorCode check_isr(const metadata::Partition& partition, const AlterData& data,
                    const std::vector<Member>& isr) {
  std::set<BrokerId> seen;
  for (const Member& m : isr)
    if (!partition.is_replica(m.id) || !seen.insert(m.id).second) return ErrorCode::kInvalidRequest;
  if (!seen.contains(partition.leader)) return ErrorCode::kInvalidRequest;
  const auto recovery = static_cast<metadata::RecoveryState>(data.leader_recovery_state);
  if (recovery != metadata::RecoveryState::kRecovering &&
      recovery != metadata::RecoveryState::kRecovered)
    return ErrorCode::kInvalidRequest;
  if (recovery == metadata::RecoveryState::kRecovering) {
    if (isr.size() > 1 || partition.recovery == metadata::RecoveryState::kRecovered)
      return ErrorCode::kInvalidRequest;
  }
  return ErrorCode::kNone;
}

ErrorCode check_alter(const metadata::Image& image, BrokerId sender,
                      const metadata::Partition* partition, const AlterData& data,
                      const std::vector<Member>& isr) {
  if (partition == nullptr) return ErrorCode::kUnknownTopicOrPartition;
  // An asker that knows more than we do: we are not the controller any more.
  if (data.leader_epoch > partition->leader_epoch.value ||
      data.partition_epoch > partition->partition_epoch)
    return ErrorCode::kNotController;
  if (data.leader_epoch < partition->leader_epoch.value) return ErrorCode::kFencedLeaderEpoch;
  if (sender != partition->leader) return ErrorCode::kInvalidRequest;
  if (data.partition_epoch < partition->partition_epoch) return ErrorCode::kInvalidUpdateVersion;
  if (ErrorCode e = check_isr(*partition, data, isr); e != ErrorCode::kNone) return e;
  for (const Member& m : isr)
    if (!eligible(image, m)) return ErrorCode::kIneligibleReplica;
  return ErrorCode::kNone;
}

void answer(Context& context, const metadata::Partition& partition, AlterResult& result) {
  result.leader_id = partition.leader.value;
  result.leader_epoch = partition.leader_epoch.value;
  result.isr = to_array(context.arena, partition.isr);
  result.leader_recovery_state = static_cast<int8_t>(partition.recovery);
  result.partition_epoch = partition.partition_epoch;
}

void alter_one(Context& context, BrokerId sender, const metadata::Topic& topic,
               const AlterData& data, int16_t version, AlterResult& result) {
  const std::vector<Member> isr = members(data, version);
  const metadata::Partition* partition = topic.partition(data.partition_index);
  const ErrorCode error = check_alter(context.image, sender, partition, data, isr);
  result.error_code = wire_value(error);
  if (error != ErrorCode::kNone) return;

  std::vector<BrokerId> ids;
  for (const Member& m : isr) ids.push_back(m.id);
  PartitionChange change(context, topic, data.partition_index);
  change.isr(std::move(ids))
      .recovery(static_cast<metadata::RecoveryState>(data.leader_recovery_state));
  if (unclean_election_allowed(context, topic.name)) change.election(Election::kUnclean);
  auto record = change.build();
  if (!record) return answer(context, *partition, result);
  auto decoded = record->decode<wire::PartitionChangeRecord>(context.arena);
  ODRADEK_CHECK(decoded.has_value());
  context.records.push_back(std::move(*record));
  const metadata::Partition after = metadata::merge(*partition, *decoded);
  // The change has ended a reassignment, and with it the sender's leadership: both a record and an
  // error, so that it looks at the metadata before it asks again.
  if (after.leader != sender) {
    result.error_code = wire_value(ErrorCode::kNewLeaderElected);
    return;
  }
  answer(context, after, result);
}

}  // namespace

wire::CreatePartitionsResponse create_partitions(Context& context,
                                                 const wire::CreatePartitionsRequest& request,
                                                 int16_t) {
  wire::CreatePartitionsResponse response;
  std::set<std::string_view> names;
  std::set<std::string_view> twice;
  for (const auto& asked : request.topics)
    if (!names.insert(asked.name).second) twice.insert(asked.name);
  const auto add = [&](std::string_view name, const ApiError& error) {
    auto& result = response.results.add(context.arena);
    result.name = name;
    result.error_code = wire_value(error.code);
    result.error_message = context.keep(error.message);
  };
  for (std::string_view name : twice)
    add(name, api_error(ErrorCode::kInvalidRequest, "Duplicate topic name."));
  for (const auto& asked : request.topics) {
    if (twice.contains(asked.name)) continue;
    const size_t before = context.records.size();
    const ApiError error = grow(context, asked);
    if (error.failed()) context.records.resize(before);
    add(asked.name, error);
  }
  if (context.records.size() > kRecordsMax) {
    context.records.clear();
    response = {};
    for (std::string_view name : names) add(name, too_many_records());
  }
  if (request.validate_only) context.records.clear();
  return response;
}

wire::AlterPartitionResponse alter_partition(Context& context,
                                             const wire::AlterPartitionRequest& request,
                                             int16_t version) {
  wire::AlterPartitionResponse response;
  const BrokerId sender(request.broker_id);
  response.error_code =
      wire_value(check_broker_epoch(context.image, sender, BrokerEpoch(request.broker_epoch)));
  if (response.error_code != 0) return response;
  for (const auto& asked : request.topics) {
    auto& out = response.topics.add(context.arena);
    out.topic_id = asked.topic_id;
    const metadata::Topic* topic = context.image.topic(asked.topic_id);
    for (const AlterData& data : asked.partitions) {
      auto& result = out.partitions.add(context.arena);
      result.partition_index = data.partition_index;
      if (topic == nullptr) {
        result.error_code = wire_value(ErrorCode::kUnknownTopicId);
      } else {
        alter_one(context, sender, *topic, data, version, result);
      }
    }
  }
  return response;
}

}  // namespace odradek::machines::control
