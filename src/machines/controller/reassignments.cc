// AlterPartitionReassignments 0-1 (1: AllowReplicationFactorChange) and ListPartitionReassignments
// 0. A reassignment ends by an AlterPartition that brings the new replicas into the ISR
// (partition_change.h).
#include <algorithm>

#include "machines/controller/apis.h"
#include "machines/controller/new_partitions.h"
#include "machines/controller/partition_change.h"

namespace odradek::machines::control {

namespace {

using wire::ErrorCode;
using Asked = wire::AlterPartitionReassignmentsRequest::ReassignablePartition;

// Back to the replicas before the reassignment.
ApiError cancel(Context& context, const metadata::Topic& topic, int32_t index) {
  const metadata::Partition& partition = *topic.partition(index);
  if (!partition.reassigning()) return api_error(ErrorCode::kNoReassignmentInProgress);
  std::vector<BrokerId> replicas = without(partition.replicas, partition.adding);
  std::vector<BrokerId> isr = without(partition.isr, partition.adding);
  if (isr.empty()) {
    // None of the old replicas is in sync: going back would lose data.
    if (!unclean_election_allowed(context, topic.name))
      return api_error(ErrorCode::kInvalidReplicaAssignment,
                       "Unable to revert partition assignment for {}:{} because it would require "
                       "an unclean leader election.",
                       topic.name, index);
    isr = {replicas[0]};
  }
  PartitionChange change(context, topic, index);
  change.isr(std::move(isr)).replicas(std::move(replicas)).reassignment({}, {});
  if (unclean_election_allowed(context, topic.name)) change.election(Election::kUnclean);
  if (auto record = change.build()) context.records.push_back(std::move(*record));
  return {};
}

ApiError change(Context& context, const metadata::Topic& topic, int32_t index,
                const std::vector<BrokerId>& target, bool may_change_factor) {
  const metadata::Partition& partition = *topic.partition(index);
  if (ApiError e = check_assignment(context, target, std::nullopt); e.failed()) return e;
  const std::vector<BrokerId> original = without(partition.replicas, partition.adding);
  if (!may_change_factor && target.size() != original.size())
    return api_error(ErrorCode::kInvalidReplicationFactor,
                     "The replication factor is changed from {} to {}", original.size(),
                     target.size());
  std::vector<BrokerId> adding = without(target, original);
  std::vector<BrokerId> removing = without(original, target);
  std::sort(adding.begin(), adding.end());
  std::sort(removing.begin(), removing.end());
  std::vector<BrokerId> replicas = target;
  replicas.insert(replicas.end(), removing.begin(), removing.end());
  PartitionChange builder(context, topic, index);
  builder.replicas(std::move(replicas)).reassignment(std::move(adding), std::move(removing));
  if (auto record = builder.build()) context.records.push_back(std::move(*record));
  return {};
}

ApiError alter_one(Context& context, std::string_view name, const Asked& asked,
                   bool may_change_factor) {
  const metadata::Topic* topic = context.image.topic(name);
  if (topic == nullptr)
    return api_error(ErrorCode::kUnknownTopicOrPartition, "Unable to find a topic named {}.", name);
  if (topic->partition(asked.partition_index) == nullptr)
    return api_error(ErrorCode::kUnknownTopicOrPartition, "Unable to find partition {}:{}.", name,
                     asked.partition_index);
  if (!asked.replicas) return cancel(context, *topic, asked.partition_index);
  return change(context, *topic, asked.partition_index, to_ids(*asked.replicas), may_change_factor);
}

}  // namespace

wire::AlterPartitionReassignmentsResponse alter_reassignments(
    Context& context, const wire::AlterPartitionReassignmentsRequest& request, int16_t version) {
  wire::AlterPartitionReassignmentsResponse response;
  response.error_message = std::nullopt;
  const bool may_change_factor = version < 1 || request.allow_replication_factor_change;
  response.allow_replication_factor_change = may_change_factor;
  for (const auto& asked : request.topics) {
    auto& out = response.responses.add(context.arena);
    out.name = asked.name;
    for (const Asked& partition : asked.partitions) {
      const ApiError error = alter_one(context, asked.name, partition, may_change_factor);
      auto& result = out.partitions.add(context.arena);
      result.partition_index = partition.partition_index;
      result.error_code = wire_value(error.code);
      result.error_message = context.keep(error.message);
    }
  }
  if (context.records.size() > kRecordsMax) {
    context.records.clear();
    response.responses = {};
    response.error_code = wire_value(ErrorCode::kPolicyViolation);
    response.error_message = context.keep(too_many_records().message);
  }
  return response;
}

wire::ListPartitionReassignmentsResponse list_reassignments(
    Context& context, const wire::ListPartitionReassignmentsRequest& request, int16_t) {
  wire::ListPartitionReassignmentsResponse response;
  response.error_message = std::nullopt;
  const auto list = [&](const metadata::Topic& topic, auto&& wanted) {
    wire::ListPartitionReassignmentsResponse::OngoingTopicReassignment out;
    out.name = topic.name;
    for (size_t i = 0; i < topic.partitions.size(); i++) {
      const auto index = static_cast<int32_t>(i);
      const metadata::Partition* partition = topic.partition(index);
      if (partition == nullptr || !partition->reassigning() || !wanted(index)) continue;
      auto& p = out.partitions.add(context.arena);
      p.partition_index = index;
      p.replicas = to_array(context.arena, partition->replicas);
      p.adding_replicas = to_array(context.arena, partition->adding);
      p.removing_replicas = to_array(context.arena, partition->removing);
    }
    if (!out.partitions.empty()) response.topics.add(context.arena, out);
  };
  if (!request.topics) {
    context.image.for_each_topic(
        [&](const metadata::TopicPtr& topic) { list(*topic, [](int32_t) { return true; }); });
    return response;
  }
  for (const auto& asked : *request.topics) {
    const metadata::Topic* topic = context.image.topic(asked.name);
    if (topic == nullptr) continue;
    list(*topic, [&](int32_t index) {
      return std::find(asked.partition_indexes.begin(), asked.partition_indexes.end(), index) !=
             asked.partition_indexes.end();
    });
  }
  return response;
}

}  // namespace odradek::machines::control
