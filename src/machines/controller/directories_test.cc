#include <gtest/gtest.h>

#include "machines/controller/controller_testing.h"
#include "metadata/image.h"
#include "wire/gen/assign_replicas_to_dirs.h"

namespace odradek::machines {
namespace {

using wire::ErrorCode;

const Uuid kFirst = test_uuid(201);
const Uuid kSecond = test_uuid(202);

/// One broker with two directories.
class Directories : public testing::Test {
 protected:
  explicit Directories(int16_t elr = 0) : c({}, elr) {
    add(1, {kFirst, kSecond});
    c.create("t");
    id = c.image().topic("t")->id;
  }
  void add(int32_t broker, std::vector<Uuid> dirs) {
    wire::BrokerRegistrationRequest request;
    request.broker_id = broker;
    request.cluster_id = "cluster";
    request.incarnation_id = test_uuid(static_cast<uint64_t>(++incarnation_));
    request.listeners.add(c.arena) = {"PLAINTEXT", "localhost", 9092, 0};
    for (const auto& f : metadata::supported_features())
      request.features.add(c.arena) = {f.name, f.min, f.max};
    for (const Uuid& d : dirs) request.log_dirs.add(c.arena, d);
    const auto response = c.send<wire::BrokerRegistrationResponse>(request, 4);
    ASSERT_EQ(response.error_code, 0);
    c.heartbeat(broker, BrokerEpoch(response.broker_epoch));
  }
  wire::AssignReplicasToDirsResponse assign(const Uuid& topic, int32_t index, const Uuid& dir,
                                            int64_t epoch_change = 0) {
    wire::AssignReplicasToDirsRequest request;
    request.broker_id = 1;
    request.broker_epoch = c.image().broker(BrokerId(1))->epoch.value + epoch_change;
    auto& d = request.directories.add(c.arena);
    d.id = dir;
    auto& t = d.topics.add(c.arena);
    t.topic_id = topic;
    t.partitions.add(c.arena).partition_index = index;
    return c.send<wire::AssignReplicasToDirsResponse>(request, 0);
  }
  ErrorCode code(const wire::AssignReplicasToDirsResponse& r) {
    return static_cast<ErrorCode>(r.directories[0].topics[0].partitions[0].error_code);
  }
  void heartbeat(std::vector<Uuid> offline) {
    wire::BrokerHeartbeatRequest request;
    request.broker_id = 1;
    request.broker_epoch = c.image().broker(BrokerId(1))->epoch.value;
    request.current_metadata_offset = 1'000'000;
    for (const Uuid& d : offline) request.offline_log_dirs.add(c.arena, d);
    ASSERT_EQ(c.send<wire::BrokerHeartbeatResponse>(request, 2).error_code, 0);
  }
  const metadata::Partition& partition() { return *c.image().topic(id)->partition(0); }

  TestController c;
  Uuid id;

 private:
  int incarnation_ = 500;
};

TEST_F(Directories, AreUnassignedUntilTheBrokerTells) {
  EXPECT_EQ(partition().directory(BrokerId(1)), kDirUnassigned);
  EXPECT_EQ(code(assign(id, 0, kSecond)), ErrorCode::kNone);
  EXPECT_EQ(c.lines(),
            (Lines{R"(PartitionChangeRecord v2 {"partitionId":0,"topicId":")" + id.to_string() +
                   R"(","directories":[")" + kSecond.to_string() + R"("]})"}));
  EXPECT_EQ(partition().directory(BrokerId(1)), kSecond);
  EXPECT_EQ(partition().leader_epoch, LeaderEpoch(0)) << "nobody else leads";
  assign(id, 0, kSecond);
  EXPECT_TRUE(c.lines().empty()) << "nothing new";
}

TEST_F(Directories, RefusesWhatIsNotThere) {
  EXPECT_EQ(code(assign(test_uuid(9), 0, kFirst)), ErrorCode::kUnknownTopicId);
  EXPECT_EQ(code(assign(id, 7, kFirst)), ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(static_cast<ErrorCode>(assign(id, 0, kFirst, 1).error_code),
            ErrorCode::kStaleBrokerEpoch);
  EXPECT_TRUE(c.lines().empty());
}

TEST_F(Directories, AFailedOneTakesTheLeader) {
  assign(id, 0, kSecond);
  heartbeat({kFirst});
  EXPECT_EQ(partition().leader, BrokerId(1)) << "it lives in the other one";
  EXPECT_EQ(c.image().broker(BrokerId(1))->log_dirs, std::vector<Uuid>{kSecond});
}

TEST_F(Directories, AReplicaInAFailedOneLeadsNoMore) {
  assign(id, 0, kFirst);
  heartbeat({kFirst});
  EXPECT_EQ(partition().leader, kNoBroker);
  EXPECT_EQ(partition().isr, std::vector<BrokerId>{BrokerId(1)}) << "the last one stays in the ISR";
  heartbeat({kFirst});
  EXPECT_TRUE(c.lines().empty()) << "told once";
  // The disk is replaced: the replica begins anew in a directory that is online.
  assign(id, 0, kSecond);
  EXPECT_EQ(partition().leader, BrokerId(1));
}

TEST_F(Directories, ALostReplicaLeadsNoMore) {
  assign(id, 0, kFirst);
  EXPECT_EQ(code(assign(id, 0, kDirLost)), ErrorCode::kNone);
  EXPECT_EQ(partition().leader, kNoBroker);
  EXPECT_EQ(partition().directory(BrokerId(1)), kDirLost);
}

TEST_F(Directories, LeaderComesBackWithTheDirectory) {
  assign(id, 0, kFirst);
  heartbeat({kFirst});
  ASSERT_EQ(partition().leader, kNoBroker);
  add(1, {kSecond});
  EXPECT_EQ(partition().leader, kNoBroker);
  add(1, {kFirst, kSecond});
  EXPECT_EQ(partition().leader, BrokerId(1));
}

}  // namespace
}  // namespace odradek::machines
