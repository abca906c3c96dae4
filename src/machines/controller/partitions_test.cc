// AlterPartition, elections, reassignments.
#include "machines/controller/controller_testing.h"
#include "wire/gen/alter_partition.h"
#include "wire/gen/alter_partition_reassignments.h"
#include "wire/gen/elect_leaders.h"
#include "wire/gen/list_partition_reassignments.h"

namespace odradek::machines {
namespace {

using wire::ErrorCode;

// Three brokers, and a topic t whose one partition lies on 1, 2, 3.
struct ThreeBrokers : ::testing::Test {
  TestController c;

  ThreeBrokers() {
    for (int32_t id : {1, 2, 3, 4}) c.add_broker(id);
    wire::CreateTopicsRequest request;
    auto& topic = request.topics.add(c.arena);
    topic.name = "t";
    topic.num_partitions = -1;
    topic.replication_factor = -1;
    auto& assignment = topic.assignments.add(c.arena);
    for (int32_t id : {1, 2, 3}) assignment.broker_ids.add(c.arena, id);
    c.send<wire::CreateTopicsResponse>(request, 4);
  }
  const metadata::Partition& part() const { return c.partition("t"); }

  struct Alter {
    std::vector<int32_t> isr;
    int32_t sender = 1;
    int32_t leader_epoch_plus = 0;
    int32_t partition_epoch_plus = 0;
    int64_t member_epoch_plus = 0;
    int8_t recovery = 0;
  };
  ErrorCode alter(const Alter& a, int16_t version = 3) {
    wire::AlterPartitionRequest request;
    request.broker_id = a.sender;
    request.broker_epoch = c.image().broker(BrokerId(a.sender))->epoch.value;
    auto& topic = request.topics.add(c.arena);
    topic.topic_id = c.image().topic("t")->id;
    auto& p = topic.partitions.add(c.arena);
    p.leader_epoch = part().leader_epoch.value + a.leader_epoch_plus;
    p.partition_epoch = part().partition_epoch + a.partition_epoch_plus;
    p.leader_recovery_state = a.recovery;
    for (int32_t id : a.isr) {
      if (version == 2) {
        p.new_isr.add(c.arena, id);
        continue;
      }
      const auto* broker = c.image().broker(BrokerId(id));
      p.new_isr_with_epochs.add(c.arena) = {
          id, broker ? broker->epoch.value + a.member_epoch_plus : -1};
    }
    const auto response = c.send<wire::AlterPartitionResponse>(request, version);
    EXPECT_EQ(response.error_code, 0);
    return static_cast<ErrorCode>(response.topics[0].partitions[0].error_code);
  }
  std::string reassign(std::optional<std::vector<int32_t>> replicas) {
    wire::AlterPartitionReassignmentsRequest request;
    auto& topic = request.topics.add(c.arena);
    topic.name = "t";
    auto& p = topic.partitions.add(c.arena);
    p.replicas = std::nullopt;
    if (replicas) {
      p.replicas.emplace();
      for (int32_t id : *replicas) p.replicas->add(c.arena, id);
    }
    const auto response = c.send<wire::AlterPartitionReassignmentsResponse>(request, 1);
    return error_text(response.responses[0].partitions[0]);
  }
  std::string elect(int8_t type) {
    wire::ElectLeadersRequest request;
    request.election_type = type;
    request.topic_partitions.emplace();
    auto& topic = request.topic_partitions->add(c.arena);
    topic.topic = "t";
    topic.partitions.add(c.arena, 0);
    const auto response = c.send<wire::ElectLeadersResponse>(request, 2);
    return std::string(wire::name(static_cast<ErrorCode>(
        response.replica_election_results[0].partition_result[0].error_code)));
  }
};
using AlterPartition = ThreeBrokers;
using Reassignment = ThreeBrokers;
using Elections = ThreeBrokers;

TEST_F(AlterPartition, ShrinksAndGrows) {
  EXPECT_EQ(alter({.isr = {1, 2}}), ErrorCode::kNone);
  EXPECT_EQ(part().isr, ids({1, 2}));
  EXPECT_EQ(part().leader_epoch, LeaderEpoch(0)) << "a shrink bumps no leader epoch";
  EXPECT_EQ(part().partition_epoch, 1);
  EXPECT_EQ(alter({.isr = {1, 2, 3}}, 2), ErrorCode::kNone);
  EXPECT_EQ(part().isr, ids({1, 2, 3}));
  EXPECT_EQ(alter({.isr = {1, 2, 3}}), ErrorCode::kNone);
  EXPECT_TRUE(c.lines().empty()) << "as it is";
}

TEST_F(AlterPartition, Refusals) {
  EXPECT_EQ(alter({.isr = {1}, .leader_epoch_plus = 1}), ErrorCode::kNotController);
  EXPECT_EQ(alter({.isr = {1}, .partition_epoch_plus = 1}), ErrorCode::kNotController);
  EXPECT_EQ(alter({.isr = {1}, .leader_epoch_plus = -1}), ErrorCode::kFencedLeaderEpoch);
  EXPECT_EQ(alter({.isr = {1}, .sender = 2}), ErrorCode::kInvalidRequest);
  EXPECT_EQ(alter({.isr = {1}, .partition_epoch_plus = -1}), ErrorCode::kInvalidUpdateVersion);
  EXPECT_EQ(alter({.isr = {1, 4}}), ErrorCode::kInvalidRequest) << "no replica";
  EXPECT_EQ(alter({.isr = {1, 1}}), ErrorCode::kInvalidRequest);
  EXPECT_EQ(alter({.isr = {2, 3}}), ErrorCode::kInvalidRequest) << "without the leader";
  EXPECT_EQ(alter({.isr = {1}, .recovery = 1}), ErrorCode::kInvalidRequest);
  EXPECT_EQ(alter({.isr = {1, 2}, .member_epoch_plus = 1}), ErrorCode::kIneligibleReplica);
  c.fire("session/3");
  EXPECT_EQ(alter({.isr = {1, 2, 3}}), ErrorCode::kIneligibleReplica);
  EXPECT_EQ(part().isr, ids({1, 2}));
}

TEST_F(Elections, UncleanOnlyWhenAskedFor) {
  for (const char* id : {"3", "2", "1"}) c.fire(std::string("session/") + id);
  EXPECT_EQ(part().leader, kNoBroker);
  EXPECT_EQ(part().elr, ids({1})) << "the last one has everything";
  EXPECT_EQ(elect(1), "ELIGIBLE_LEADERS_NOT_AVAILABLE");
  c.heartbeat(3, c.image().broker(BrokerId(3))->epoch);
  EXPECT_EQ(part().leader, kNoBroker) << "3 may lack what was committed";
  EXPECT_EQ(elect(0), "PREFERRED_LEADER_NOT_AVAILABLE");
  EXPECT_EQ(elect(1), "NONE");
  EXPECT_EQ(part().leader, BrokerId(3));
  EXPECT_EQ(part().isr, ids({3}));
  EXPECT_EQ(part().recovery, metadata::RecoveryState::kRecovering);
  EXPECT_EQ(elect(1), "ELECTION_NOT_NEEDED");
}

TEST_F(Elections, ThePreferredLeaderComesBack) {
  EXPECT_EQ(elect(0), "ELECTION_NOT_NEEDED");
  EXPECT_EQ(elect(2), "INVALID_REQUEST") << "there is no such type";
  c.fire("session/1");
  EXPECT_EQ(part().leader, BrokerId(2));
  c.heartbeat(1, c.image().broker(BrokerId(1))->epoch);
  EXPECT_EQ(elect(0), "PREFERRED_LEADER_NOT_AVAILABLE") << "not in sync yet";
  EXPECT_EQ(alter({.isr = {2, 3, 1}, .sender = 2}), ErrorCode::kNone);
  c.fire("preferred-election");
  EXPECT_EQ(part().leader, BrokerId(1));
  EXPECT_EQ(c.timers(), (std::vector<TimerOrder>{{"preferred-election", Millis(300'000)}}));
  wire::ElectLeadersRequest all;
  all.topic_partitions = std::nullopt;
  const auto response = c.send<wire::ElectLeadersResponse>(all, 2);
  EXPECT_TRUE(response.replica_election_results[0].partition_result.empty());
}

TEST_F(Reassignment, MovesAReplica) {
  EXPECT_EQ(reassign({{4, 2, 3}}), "NONE");
  EXPECT_EQ(part().replicas, ids({4, 2, 3, 1}));
  EXPECT_EQ(part().adding, ids({4}));
  EXPECT_EQ(part().removing, ids({1}));
  EXPECT_EQ(part().leader, BrokerId(1));
  wire::ListPartitionReassignmentsRequest list;
  list.topics = std::nullopt;
  const auto listed = c.send<wire::ListPartitionReassignmentsResponse>(list, 0);
  ASSERT_EQ(listed.topics.size(), 1U);
  EXPECT_EQ(listed.topics[0].partitions[0].adding_replicas[0], 4);
  // The new replica is in sync: done, and the leader is one that stays.
  EXPECT_EQ(alter({.isr = {1, 2, 3, 4}}), ErrorCode::kNewLeaderElected);
  EXPECT_EQ(part().replicas, ids({4, 2, 3}));
  EXPECT_TRUE(part().adding.empty() && part().removing.empty());
  EXPECT_EQ(part().leader, BrokerId(4));
  EXPECT_EQ(part().directories.size(), 3U);
  EXPECT_EQ(part().directory(BrokerId(4)), test_uuid(104));
}

TEST_F(Reassignment, CanBeCancelled) {
  EXPECT_EQ(reassign(std::nullopt).substr(0, 26), "NO_REASSIGNMENT_IN_PROGRES");
  EXPECT_EQ(reassign({{4, 2, 3}}), "NONE");
  EXPECT_EQ(reassign(std::nullopt), "NONE");
  EXPECT_EQ(part().replicas, ids({2, 3, 1}));
  EXPECT_TRUE(part().adding.empty() && part().removing.empty());
  EXPECT_EQ(part().isr, ids({1, 2, 3}));
}

TEST_F(Reassignment, Refusals) {
  EXPECT_EQ(reassign({{}}).substr(0, 26), "INVALID_REPLICA_ASSIGNMENT");
  EXPECT_EQ(reassign({{9}}).substr(0, 26), "INVALID_REPLICA_ASSIGNMENT");
  EXPECT_EQ(reassign({{1, 2, 3}}), "NONE");
  EXPECT_TRUE(c.lines().empty()) << "as it is";
}

}  // namespace
}  // namespace odradek::machines
