#include "raft/describe.h"

#include "wire/errors.h"

namespace odradek::raft {

namespace {

using Response = wire::DescribeQuorumResponse;

void describe_leader(const Driver& driver, int16_t version, WallMs now, Arena& arena,
                     Response::PartitionData& partition) {
  const Step& step = driver.step();
  partition.leader_id = step.leader().value;
  partition.leader_epoch = step.epoch().value;
  partition.high_watermark = driver.committed().value;
  for (const Voter& voter : step.voters().voters) {
    auto& state = partition.current_voters.add(arena);
    state.replica_id = voter.id.value;
    if (version >= 2) state.replica_directory_id = voter.directory;
    state.log_end_offset = driver.end().value;
    // The leader is always caught up with itself.
    state.last_fetch_timestamp = now.value;
    state.last_caught_up_timestamp = now.value;
  }
}

}  // namespace

Response describe_quorum(const Driver& driver, const wire::DescribeQuorumRequest& request,
                         int16_t version, WallMs now, Arena& arena) {
  using wire::ErrorCode;
  Response response;
  const bool one_partition = request.topics.size() == 1 &&
                             request.topics[0].topic_name == kMetadataTopic &&
                             request.topics[0].partitions.size() == 1 &&
                             request.topics[0].partitions[0].partition_index == 0;
  if (!one_partition) {
    for (const auto& asked : request.topics) {
      auto& t = response.topics.add(arena);
      t.topic_name = asked.topic_name;
      for (const auto& p : asked.partitions) {
        auto& partition = t.partitions.add(arena);
        partition.partition_index = p.partition_index;
        partition.error_code = wire_value(ErrorCode::kUnknownTopicOrPartition);
        partition.error_message = message(ErrorCode::kUnknownTopicOrPartition);
      }
    }
    return response;
  }
  auto& topic = response.topics.add(arena);
  topic.topic_name = kMetadataTopic;
  auto& partition = topic.partitions.add(arena);
  if (driver.step().role() != Role::kLeader) {
    partition.error_code = wire_value(ErrorCode::kNotLeaderOrFollower);
    partition.error_message = message(ErrorCode::kNotLeaderOrFollower);
    return response;
  }
  describe_leader(driver, version, now, arena, partition);
  if (version < 2) return response;
  for (const Voter& voter : driver.step().voters().voters) {
    auto& node = response.nodes.add(arena);
    node.node_id = voter.id.value;
    for (const VoterEndpoint& endpoint : voter.endpoints) {
      auto& listener = node.listeners.add(arena);
      listener.name = endpoint.name;
      listener.host = endpoint.host;
      listener.port = endpoint.port;
    }
  }
  return response;
}

}  // namespace odradek::raft
