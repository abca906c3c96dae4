#include "machines/controller/controller_testing.h"
#include "wire/gen/allocate_producer_ids.h"
#include "wire/gen/controller_registration.h"
#include "wire/gen/unregister_broker.h"

namespace odradek::machines {
namespace {

using wire::ErrorCode;

TEST(BrokerRegistration, TheEpochIsTheOffsetOfItsFirstRecord) {
  TestController c;
  const Offset at = c.next();
  const BrokerEpoch epoch = c.register_broker(1, test_uuid(1));
  EXPECT_EQ(epoch.value, at.value);
  ASSERT_EQ(c.lines().size(), 1U);
  EXPECT_TRUE(c.lines()[0].starts_with("RegisterBrokerRecord v4 {\"brokerId\":1")) << c.lines()[0];
  EXPECT_TRUE(c.image().broker(BrokerId(1))->fenced);
  // The same incarnation again keeps its epoch and its state.
  c.heartbeat(1, epoch);
  EXPECT_EQ(c.register_broker(1, test_uuid(1)), epoch);
  EXPECT_FALSE(c.image().broker(BrokerId(1))->fenced);
}

TEST(BrokerRegistration, Refusals) {
  TestController c;
  c.add_broker(1);
  c.add_broker(2);
  c.register_broker(2, test_uuid(22));
  EXPECT_EQ(c.last_error, ErrorCode::kDuplicateBrokerRegistration);
  c.fire("session/2");
  c.register_broker(2, test_uuid(22));
  EXPECT_EQ(c.last_error, ErrorCode::kNone) << "its session has ended";
  // This controller's own node knows that its former incarnation is dead.
  c.register_broker(1, test_uuid(11));
  EXPECT_EQ(c.last_error, ErrorCode::kNone);

  wire::BrokerRegistrationRequest request;
  request.broker_id = 3;
  request.cluster_id = "another";
  request.rack = std::nullopt;
  const auto send = [&] {
    return static_cast<ErrorCode>(c.send<wire::BrokerRegistrationResponse>(request, 4).error_code);
  };
  EXPECT_EQ(send(), ErrorCode::kInconsistentClusterId);
  request.cluster_id = "cluster";
  EXPECT_EQ(send(), ErrorCode::kInvalidRegistration) << "no directory";
  request.log_dirs.add(c.arena, test_uuid(101));
  EXPECT_EQ(send(), ErrorCode::kInvalidRegistration) << "broker 1's directory";
  request.log_dirs[0] = kDirLost;
  EXPECT_EQ(send(), ErrorCode::kInvalidRegistration) << "a reserved id";
  request.log_dirs[0] = test_uuid(103);
  EXPECT_EQ(send(), ErrorCode::kUnsupportedVersion) << "no metadata.version";
  request.features.add(c.arena) = {"metadata.version", 7, 30};
  EXPECT_EQ(send(), ErrorCode::kUnsupportedVersion) << "group.version 1 is finalized";
  for (std::string_view f :
       {"group.version", "eligible.leader.replicas.version", "share.version", "streams.version"})
    request.features.add(c.arena) = {f, 0, 1};
  request.features.add(c.arena) = {"transaction.version", 0, 2};
  EXPECT_EQ(send(), ErrorCode::kNone);
  EXPECT_TRUE(c.image().broker(BrokerId(3)) != nullptr);
}

TEST(BrokerHeartbeat, UnfencesOnceItHasCaughtUp) {
  TestController c;
  const BrokerEpoch epoch = c.register_broker(1, test_uuid(1));
  wire::BrokerHeartbeatRequest request;
  request.broker_id = 1;
  request.broker_epoch = epoch.value;
  request.current_metadata_offset = epoch.value - 1;
  auto r = c.send<wire::BrokerHeartbeatResponse>(request, 0);
  EXPECT_FALSE(r.is_caught_up);
  EXPECT_TRUE(r.is_fenced);
  request.current_metadata_offset = epoch.value;
  request.want_fence = true;
  r = c.send<wire::BrokerHeartbeatResponse>(request, 1);
  EXPECT_TRUE(r.is_caught_up);
  EXPECT_TRUE(r.is_fenced);
  EXPECT_EQ(c.timers(), (std::vector<TimerOrder>{{"session/1", std::nullopt}}));
  request.want_fence = false;
  request.cordoned_log_dirs.emplace();
  r = c.send<wire::BrokerHeartbeatResponse>(request, 2);
  EXPECT_FALSE(r.is_fenced);
  const std::string who = R"({"brokerId":1,"brokerEpoch":)" + std::to_string(epoch.value);
  EXPECT_EQ(c.lines(),
            (Lines{"BrokerRegistrationChangeRecord v0 " + who + R"(,"fenced":-1})",
                   "BrokerRegistrationChangeRecord v3 " + who + R"(,"cordonedLogDirs":[]})"}));
  EXPECT_TRUE(c.timers().empty()) << "the controller's own process cannot miss its heartbeats";
  r = c.send<wire::BrokerHeartbeatResponse>(request, 2);
  EXPECT_TRUE(c.lines().empty()) << "nothing new";
  request.broker_epoch++;
  EXPECT_EQ(c.send<wire::BrokerHeartbeatResponse>(request, 2).error_code,
            wire_value(ErrorCode::kStaleBrokerEpoch));
}

TEST(BrokerHeartbeat, AControlledShutdownOfALoneBroker) {
  TestController c;
  c.add_broker(1);
  c.create("t");
  const BrokerEpoch epoch = c.image().broker(BrokerId(1))->epoch;
  const std::string id = c.image().topic("t")->id.to_string();
  const std::string who = R"({"brokerId":1,"brokerEpoch":)" + std::to_string(epoch.value);
  auto r = c.heartbeat(1, epoch, false, true);
  EXPECT_FALSE(r.should_shut_down);
  // As Apache Kafka 4.3.1 writes them.
  EXPECT_EQ(
      c.lines(),
      (Lines{"BrokerRegistrationChangeRecord v1 " + who + R"(,"inControlledShutdown":1})",
             R"(PartitionChangeRecord v2 {"partitionId":0,"topicId":")" + id +
                 R"(","isr":[],"leader":-1,"eligibleLeaderReplicas":[1],"lastKnownElr":[1]})"}));
  r = c.heartbeat(1, epoch, false, true);
  EXPECT_TRUE(r.should_shut_down);
  EXPECT_TRUE(r.is_fenced);
  EXPECT_EQ(c.lines(), (Lines{"BrokerRegistrationChangeRecord v0 " + who + R"(,"fenced":1})"}));

  // It comes back: nothing was lost, so nothing is to be recovered.
  const BrokerEpoch next = c.register_broker(1, test_uuid(2), epoch.value);
  EXPECT_EQ(c.lines().size(), 1U);
  c.heartbeat(1, next);
  EXPECT_EQ(c.lines()[1],
            R"(PartitionChangeRecord v2 {"partitionId":0,"topicId":")" + id +
                R"(","isr":[1],"leader":1,"eligibleLeaderReplicas":[],"lastKnownElr":[]})");
  const auto& p = c.partition("t");
  EXPECT_EQ(p.recovery, metadata::RecoveryState::kRecovered);
  EXPECT_EQ(p.leader_epoch, LeaderEpoch(2));
  EXPECT_EQ(p.partition_epoch, 2);
}

TEST(BrokerHeartbeat, ALoneBrokerAfterACrash) {
  TestController c;
  c.add_broker(1);
  c.create("t");
  const BrokerEpoch epoch = c.register_broker(1, test_uuid(2), -1);
  EXPECT_EQ(c.lines().size(), 2U);
  EXPECT_EQ(c.partition("t").leader, kNoBroker);
  EXPECT_TRUE(c.partition("t").elr.empty()) << "what it had not synced may be gone";
  EXPECT_EQ(c.partition("t").last_known_elr, ids({1}));
  c.heartbeat(1, epoch);
  EXPECT_EQ(c.partition("t").leader, BrokerId(1));
  EXPECT_EQ(c.partition("t").isr, ids({1}));
  EXPECT_EQ(c.partition("t").recovery, metadata::RecoveryState::kRecovering);
}

// As Apache Kafka 4.3.1 writes them after a kill -9: its controller does not know that the broker
// is dead and waits for the session.
TEST(BrokerHeartbeat, ABrokerThatCrashedAndComesBackAfterItsSession) {
  TestController c;
  c.add_broker(2);
  c.create("t");
  const auto change = [&](std::string_view what) {
    return R"(PartitionChangeRecord v2 {"partitionId":0,"topicId":")" +
           c.image().topic("t")->id.to_string() + "\"," + std::string(what) + "}";
  };
  c.fire("session/2");
  EXPECT_EQ(c.lines()[0],
            change(R"("isr":[],"leader":-1,"eligibleLeaderReplicas":[2],"lastKnownElr":[2])"));
  const BrokerEpoch epoch = c.register_broker(2, test_uuid(22), -1);
  ASSERT_EQ(c.lines().size(), 2U);
  EXPECT_EQ(c.lines()[0], change(R"("eligibleLeaderReplicas":[])"));
  c.heartbeat(2, epoch);
  EXPECT_EQ(c.lines()[1],
            change(R"("isr":[2],"leader":2,"leaderRecoveryState":1,"lastKnownElr":[])"));
}

TEST(BrokerHeartbeat, WithoutElrTheLastMemberStaysInTheIsr) {
  TestController c({}, 0);
  c.add_broker(1);
  c.create("t");
  const BrokerEpoch epoch = c.register_broker(1, test_uuid(2), -1);
  EXPECT_EQ(c.partition("t").leader, kNoBroker);
  EXPECT_EQ(c.partition("t").isr, ids({1}));
  c.heartbeat(1, epoch);
  EXPECT_EQ(c.partition("t").leader, BrokerId(1));
  EXPECT_EQ(c.partition("t").recovery, metadata::RecoveryState::kRecovered);
}

TEST(BrokerSessions, AnExpiredBrokerLeavesItsIsrsBeforeItIsFenced) {
  TestController c;
  for (int32_t id : {1, 2, 3}) c.add_broker(id);
  EXPECT_EQ(c.timers(), (std::vector<TimerOrder>{{"session/3", Millis(9000)}}));
  c.create("t", 1, 3);
  const BrokerId leader = c.partition("t").leader;
  c.fire("session/" + std::to_string(leader.value));
  ASSERT_EQ(c.lines().size(), 2U);
  EXPECT_TRUE(c.lines()[0].starts_with("PartitionChangeRecord"));
  EXPECT_TRUE(c.lines()[1].ends_with("\"fenced\":1}"));
  EXPECT_NE(c.partition("t").leader, leader);
  EXPECT_EQ(c.partition("t").isr.size(), 2U);
  EXPECT_EQ(c.partition("t").leader_epoch, LeaderEpoch(1));
  c.fire("session/" + std::to_string(leader.value));
  EXPECT_TRUE(c.lines().empty()) << "it is fenced already";
  c.fire("session/77");
  EXPECT_TRUE(c.lines().empty());
}

TEST(BrokerHeartbeat, AFailedDirectory) {
  TestController c;
  c.add_broker(1);
  c.add_broker(2);
  c.create("t", 1, 2);
  wire::BrokerHeartbeatRequest request;
  request.broker_id = 2;
  request.broker_epoch = c.image().broker(BrokerId(2))->epoch.value;
  request.current_metadata_offset = 1000;
  request.offline_log_dirs.add(c.arena, test_uuid(102));
  c.send<wire::BrokerHeartbeatResponse>(request, 1);
  EXPECT_EQ(c.partition("t").isr, ids({1}));
  EXPECT_EQ(c.partition("t").leader, BrokerId(1));
}

TEST(UnregisterBroker, TakesItOutOfEverything) {
  TestController c;
  c.add_broker(1);
  c.add_broker(2);
  c.create("t", 1, 2);
  wire::UnregisterBrokerRequest request;
  request.broker_id = 2;
  EXPECT_EQ(error_text(c.send<wire::UnregisterBrokerResponse>(request, 0)), "NONE");
  EXPECT_EQ(c.partition("t").isr, ids({1}));
  EXPECT_EQ(c.image().broker(BrokerId(2)), nullptr);
  EXPECT_EQ(error_text(c.send<wire::UnregisterBrokerResponse>(request, 0)),
            "BROKER_ID_NOT_REGISTERED: Broker ID 2 is not currently registered");
}

TEST(ControllerRegistration, IsStored) {
  TestController c;
  wire::ControllerRegistrationRequest request;
  request.controller_id = 1;
  request.incarnation_id = test_uuid(5);
  request.listeners.add(c.arena) = {"CONTROLLER", "localhost", 9093, 0};
  request.features.add(c.arena) = {"metadata.version", 7, 30};
  EXPECT_EQ(error_text(c.send<wire::ControllerRegistrationResponse>(request, 0)), "NONE");
  ASSERT_NE(c.image().controller(BrokerId(1)), nullptr);
  EXPECT_EQ(c.image().controller(BrokerId(1))->endpoints[0].port, 9093);
}

TEST(AllocateProducerIds, BlocksOfAThousand) {
  TestController c;
  c.add_broker(1);
  wire::AllocateProducerIdsRequest request;
  request.broker_id = 1;
  request.broker_epoch = c.image().broker(BrokerId(1))->epoch.value;
  EXPECT_EQ(c.send<wire::AllocateProducerIdsResponse>(request, 0).producer_id_start, 0);
  const auto second = c.send<wire::AllocateProducerIdsResponse>(request, 0);
  EXPECT_EQ(second.producer_id_start, 1000);
  EXPECT_EQ(second.producer_id_len, 1000);
  request.broker_epoch = 0;
  EXPECT_EQ(c.send<wire::AllocateProducerIdsResponse>(request, 0).error_code,
            wire_value(ErrorCode::kStaleBrokerEpoch));
}

}  // namespace
}  // namespace odradek::machines
