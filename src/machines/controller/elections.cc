// Elections: ElectLeaders 0-2 (1 election type and top-level error), and the periodic ones.
#include "machines/controller/apis.h"
#include "machines/controller/partition_change.h"

namespace odradek::machines::control {

namespace {

using metadata::BrokerKey;
using wire::ErrorCode;

constexpr int8_t kPreferredType = 0;
constexpr int8_t kUncleanType = 1;
constexpr size_t kElectionsMax = 1000;  // of one run of a periodic election
constexpr Millis kAgainSoon{1};

bool has_preferred_leader(const metadata::Partition& partition) {
  return !partition.replicas.empty() && partition.leader == partition.replicas[0];
}

ApiError elect_one(Context& context, const metadata::Topic* topic, std::string_view name,
                   int32_t index, Election election) {
  if (topic == nullptr)
    return api_error(ErrorCode::kUnknownTopicOrPartition, "No such topic as {}", name);
  const metadata::Partition* partition = topic->partition(index);
  if (partition == nullptr)
    return api_error(ErrorCode::kUnknownTopicOrPartition, "No such partition as {}-{}", name,
                     index);
  const bool needed = election == Election::kPreferred ? !has_preferred_leader(*partition)
                                                       : !partition->has_leader();
  if (!needed) return api_error(ErrorCode::kElectionNotNeeded);
  auto record = PartitionChange(context, *topic, index).election(election).build();
  if (!record)
    return api_error(election == Election::kPreferred ? ErrorCode::kPreferredLeaderNotAvailable
                                                      : ErrorCode::kEligibleLeadersNotAvailable);
  context.records.push_back(std::move(*record));
  return {};
}

void fill(Context& context, wire::ElectLeadersResponse::PartitionResult& result, int32_t index,
          const ApiError& error) {
  result.partition_id = index;
  result.error_code = wire_value(error.code);
  result.error_message = context.keep(error.message);
}

void refuse_all(Context& context, const wire::ElectLeadersRequest& request,
                wire::ElectLeadersResponse& response) {
  if (!request.topic_partitions) return;
  for (const auto& topic : *request.topic_partitions) {
    auto& result = response.replica_election_results.add(context.arena);
    result.topic = topic.topic;
    for (int32_t index : topic.partitions)
      fill(context, result.partition_result.add(context.arena), index,
           api_error(ErrorCode::kInvalidRequest));
  }
}

void elect_everywhere(Context& context, Election election, wire::ElectLeadersResponse& response) {
  context.image.for_each_topic([&](const metadata::TopicPtr& topic) {
    auto& result = response.replica_election_results.add(context.arena);
    result.topic = topic->name;
    for (size_t i = 0; i < topic->partitions.size(); i++) {
      const auto index = static_cast<int32_t>(i);
      const ApiError error = elect_one(context, topic.get(), topic->name, index, election);
      // Partitions that are as they should be are left out of this answer.
      if (error.code == ErrorCode::kElectionNotNeeded) continue;
      fill(context, result.partition_result.add(context.arena), index, error);
    }
  });
}

}  // namespace

wire::ElectLeadersResponse elect_leaders(Context& context, const wire::ElectLeadersRequest& request,
                                         int16_t version) {
  wire::ElectLeadersResponse response;
  const int8_t type = version >= 1 ? request.election_type : kPreferredType;
  if (type != kPreferredType && type != kUncleanType) {
    response.error_code = wire_value(ErrorCode::kInvalidRequest);
    refuse_all(context, request, response);
    return response;
  }
  const Election election = type == kPreferredType ? Election::kPreferred : Election::kUnclean;
  if (!request.topic_partitions) {
    elect_everywhere(context, election, response);
  } else {
    for (const auto& asked : *request.topic_partitions) {
      auto& result = response.replica_election_results.add(context.arena);
      result.topic = asked.topic;
      const metadata::Topic* topic = context.image.topic(asked.topic);
      for (int32_t index : asked.partitions)
        fill(context, result.partition_result.add(context.arena), index,
             elect_one(context, topic, asked.topic, index, election));
    }
  }
  if (context.records.size() > kRecordsMax) {
    context.records.clear();
    response = {};
    response.error_code = version >= 1 ? wire_value(ErrorCode::kPolicyViolation) : int16_t{0};
  }
  return response;
}

void arm_elections(Context& context) {
  const auto& config = *context.settings.config;
  if (config.boolean(BrokerKey::kAutoLeaderRebalanceEnable)) {
    const int64_t seconds = config.int64(BrokerKey::kLeaderImbalanceCheckIntervalSeconds);
    context.timers.push_back({std::string(kPreferredElection), Millis(seconds * 1000)});
  }
  context.timers.push_back(
      {std::string(kUncleanElection), config.millis(BrokerKey::kUncleanLeaderElectionIntervalMs)});
}

void on_election_timer(Context& context, std::string_view key) {
  const bool preferred = key == kPreferredElection;
  context.image.for_each_topic([&](const metadata::TopicPtr& topic) {
    if (!preferred && !unclean_election_allowed(context, topic->name)) return;
    for (size_t i = 0; i < topic->partitions.size(); i++) {
      if (context.records.size() >= kElectionsMax) return;
      elect_one(context, topic.get(), topic->name, static_cast<int32_t>(i),
                preferred ? Election::kPreferred : Election::kUnclean);
    }
  });
  if (context.records.size() >= kElectionsMax) {
    context.timers.push_back({std::string(key), kAgainSoon});
    return;
  }
  const auto& config = *context.settings.config;
  const Millis after =
      preferred ? Millis(config.int64(BrokerKey::kLeaderImbalanceCheckIntervalSeconds) * 1000)
                : config.millis(BrokerKey::kUncleanLeaderElectionIntervalMs);
  context.timers.push_back({std::string(key), after});
}

}  // namespace odradek::machines::control
