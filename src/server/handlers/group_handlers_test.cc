// Handlers of groups and offsets, through whole frames, over a group machine in memory.
#include <gtest/gtest.h>

#include <map>

#include "machines/group/group_machine.h"
#include "server/group_access.h"
#include "server/handlers/handlers.h"
#include "server/testing/small_image.h"
#include "server/testing/test_server.h"
#include "wire/gen/consumer_group_describe.h"
#include "wire/gen/consumer_group_heartbeat.h"
#include "wire/gen/delete_groups.h"
#include "wire/gen/describe_groups.h"
#include "wire/gen/heartbeat.h"
#include "wire/gen/join_group.h"
#include "wire/gen/leave_group.h"
#include "wire/gen/list_groups.h"
#include "wire/gen/offset_commit.h"
#include "wire/gen/offset_delete.h"
#include "wire/gen/offset_fetch.h"
#include "wire/gen/sync_group.h"
#include "wire/java_hash.h"

namespace odradek::server {
namespace {

using machines::GroupMachine;
using wire::ErrorCode;

int16_t code(ErrorCode e) { return wire::wire_value(e); }

/// A machine for each partition; everything is committed at once.
class MemoryCoordinators : public GroupCoordinators {
 public:
  explicit MemoryCoordinators(io::Loop& loop) : loop_(loop) {}

  void submit(int32_t partition, machines::group::Command command, Done done) override {
    asked.push_back(partition);
    if (holds) {
      held.push_back([this, partition, command = std::move(command),
                      done = std::move(done)]() mutable { done(run(partition, command).first); });
      return;
    }
    if (refuses != ErrorCode::kNone) return done(std::unexpected(refuses));
    machines::group::Token token = 0;
    if (auto* join = std::get_if<machines::group::Join>(&command)) token = join->token = ++last_;
    if (auto* sync = std::get_if<machines::group::Sync>(&command)) token = sync->token = ++last_;
    auto response = run(partition, command);
    if (std::holds_alternative<machines::group::NoAnswer>(response.first)) {
      waiting_.emplace(token, std::move(done));
    } else {
      done(std::move(response.first));
    }
    tell(response.second);
  }
  size_t waiting() const { return waiting_.size(); }

  std::vector<int32_t> asked;
  /// Answers wait in `held`, as for a sync.
  bool holds = false;
  std::vector<std::move_only_function<void()>> held;
  ErrorCode refuses = ErrorCode::kNone;

 private:
  using Messages = std::vector<machines::group::Message>;

  std::pair<machines::group::Response, Messages> run(int32_t partition,
                                                     const machines::group::Command& command) {
    GroupMachine& machine =
        machines_.try_emplace(partition, machines::group::Settings{}).first->second;
    auto decision = machine.decide(command, {loop_.clock().wall(), ++random_, Offset(0)});
    for (const auto& record : decision.records) machine.replay(Offset(0), record);
    for (const auto& timer : decision.timers) set(partition, timer);
    return {std::move(decision.response), std::move(decision.messages)};
  }
  void set(int32_t partition, const machines::TimerOrder& order) {
    auto& id = timers_[{partition, order.key}];
    loop_.timers().cancel(std::exchange(id, io::TimerId::kNone));
    if (!order.after) return;
    id = loop_.timers().start(*order.after, [this, partition, key = order.key] {
      tell(run(partition, machines::TimerFired{key}).second);
    });
  }
  void tell(Messages& messages) {
    for (auto& m : messages) {
      auto node = waiting_.extract(m.token);
      if (node.empty()) continue;
      node.mapped()(
          std::visit([](auto& a) { return machines::group::Response(std::move(a)); }, m.answer));
    }
  }
  void tell(Messages&& messages) { tell(messages); }

  io::Loop& loop_;
  std::map<int32_t, GroupMachine> machines_;
  std::map<machines::group::Token, Done> waiting_;
  std::map<std::pair<int32_t, std::string>, io::TimerId> timers_;
  machines::group::Token last_ = 0;
  uint64_t random_ = 0;
};

class GroupHandlers : public ::testing::Test {
 protected:
  GroupHandlers()
      : server_(dispatch_table()),
        image_(testing::small_image()),
        groups_(server_.node().loop(0)),
        client_(server_.connect()) {
    testing::add_topic(*image_, "t", 2, 1);
    testing::add_topic(*image_, "__consumer_offsets", 50, 2);
    server_.set_image(image_);
    server_.services().config = testing::small_config();
    server_.services().groups = {&groups_};
    server_.services().shards = {nullptr};  // one loop: it owns all
  }

  wire::OffsetCommitRequest commit(std::string_view group, int64_t offset) {
    wire::OffsetCommitRequest body;
    body.group_id = group;
    auto& topic = body.topics.add(arena_);
    topic.name = "t";
    topic.topic_id = Uuid{7, 1};
    for (int i : {0, 5}) {
      auto& p = topic.partitions.add(arena_);
      p.partition_index = i;
      p.committed_offset = offset;
    }
    return body;
  }
  wire::JoinGroupRequest join(std::string_view group, std::string_view member = "") {
    wire::JoinGroupRequest body;
    body.group_id = group;
    body.member_id = member;
    body.session_timeout_ms = 10'000;
    body.rebalance_timeout_ms = 20'000;
    body.protocol_type = "consumer";
    body.protocols.add(arena_) = {"range", as_bytes("subscription")};
    return body;
  }

  Arena arena_;
  testing::TestServer server_;
  std::shared_ptr<metadata::Image> image_;
  MemoryCoordinators groups_;
  testing::TestClient client_;
};

TEST_F(GroupHandlers, TheConsumerProtocolInEveryVersion) {
  wire::ConsumerGroupHeartbeatRequest body;
  body.group_id = "g";
  body.member_id = "m";
  body.rebalance_timeout_ms = 1'000;
  body.subscribed_topic_names.emplace().add(arena_, "t");
  body.topic_partitions.emplace();
  const auto beat = [&](int16_t v) {
    auto answer = client_.call<wire::ConsumerGroupHeartbeatResponse>(body, v);
    EXPECT_TRUE(answer);
    return *answer;
  };
  // The cluster has to have it.
  image_->features.erase("group.version");
  EXPECT_EQ(beat(1).error_code, code(ErrorCode::kUnsupportedVersion));
  image_->features["group.version"] = 1;
  for (int16_t v = 0; v <= 1; v++) {
    const auto answer = beat(v);
    EXPECT_EQ(answer.error_code, 0);
    EXPECT_EQ(answer.member_id, "m");
    EXPECT_EQ(answer.member_epoch, 2);
    EXPECT_EQ(answer.heartbeat_interval_ms, 5'000);
    EXPECT_TRUE(answer.assignment);
    wire::ConsumerGroupDescribeRequest describe;
    describe.group_ids.add(arena_, "g");
    describe.group_ids.add(arena_, "nobody");
    const auto told = client_.call<wire::ConsumerGroupDescribeResponse>(describe, v);
    ASSERT_TRUE(told);
    ASSERT_EQ(told->groups.size(), 2U);
    EXPECT_EQ(told->groups[0].group_state, "Stable");
    EXPECT_EQ(told->groups[0].assignor_name, "uniform");
    ASSERT_EQ(told->groups[0].members.size(), 1U);
    EXPECT_EQ(told->groups[0].members[0].member_type, v == 0 ? -1 : 1);
    EXPECT_EQ(told->groups[1].error_code, code(ErrorCode::kGroupIdNotFound));
  }
  body.member_id = "";  // before version 1 the coordinator makes one
  EXPECT_EQ(beat(1).error_code, code(ErrorCode::kInvalidRequest));
  EXPECT_EQ(beat(0).member_id->size(), 22U);
  body.member_id = "m";
  body.server_assignor = "mine";
  EXPECT_EQ(beat(1).error_code, code(ErrorCode::kUnsupportedAssignor));
  body.server_assignor.reset();
  body.member_epoch = -3;
  EXPECT_EQ(beat(1).error_code, code(ErrorCode::kInvalidRequest));
}

TEST_F(GroupHandlers, OffsetsInEveryVersion) {
  for (int16_t v = 2; v <= 10; v++) {
    auto committed = client_.call<wire::OffsetCommitResponse>(commit("g", v), v);
    ASSERT_TRUE(committed) << v;
    ASSERT_EQ(committed->topics.size(), 1U);
    EXPECT_EQ(committed->topics[0].partitions[0].error_code, 0) << v;
    EXPECT_EQ(committed->topics[0].partitions[1].error_code,
              code(ErrorCode::kUnknownTopicOrPartition));
  }
  for (int16_t v = 1; v < 8; v++) {
    wire::OffsetFetchRequest body;
    body.group_id = "g";
    auto& topic = body.topics.emplace().add(arena_);
    topic.name = "t";
    topic.partition_indexes.add(arena_, 0);
    topic.partition_indexes.add(arena_, 1);
    const auto told = client_.call<wire::OffsetFetchResponse>(body, v);
    ASSERT_TRUE(told) << v;
    EXPECT_EQ(told->topics[0].partitions[0].committed_offset, 10);
    EXPECT_EQ(told->topics[0].partitions[1].committed_offset, -1);
    EXPECT_EQ(told->topics[0].partitions[1].error_code, 0);
  }
  for (int16_t v = 8; v <= 10; v++) {
    wire::OffsetFetchRequest body;
    auto& all = body.groups.add(arena_);
    all.group_id = "g";
    all.topics.reset();
    auto& some = body.groups.add(arena_);
    some.group_id = "other";
    auto& topic = some.topics.emplace().add(arena_);
    topic.name = "t";
    topic.topic_id = Uuid{7, v == 10 ? 77U : 1U};
    topic.partition_indexes.add(arena_, 0);
    const auto told = client_.call<wire::OffsetFetchResponse>(body, v);
    ASSERT_TRUE(told) << v;
    ASSERT_EQ(told->groups.size(), 2U);
    EXPECT_EQ(told->groups[0].topics[0].partitions[0].committed_offset, 10);
    if (v == 10) EXPECT_EQ(told->groups[0].topics[0].topic_id, (Uuid{7, 1}));
    EXPECT_EQ(told->groups[1].topics[0].partitions[0].error_code,
              v == 10 ? code(ErrorCode::kUnknownTopicId) : 0);
  }
}

TEST_F(GroupHandlers, JoinAndSyncWaitForTheOthers) {
  auto first = client_.call<wire::JoinGroupResponse>(join("g"), 9);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->error_code, code(ErrorCode::kMemberIdRequired));
  EXPECT_FALSE(first->protocol_name);
  const std::string id(first->member_id);
  EXPECT_TRUE(id.starts_with("test-"));
  auto joined = client_.call<wire::JoinGroupResponse>(join("g", id), 9);  // the initial delay
  ASSERT_TRUE(joined);
  EXPECT_EQ(joined->error_code, 0);
  EXPECT_EQ(joined->generation_id, 1);
  EXPECT_EQ(joined->leader, id);
  EXPECT_EQ(joined->protocol_name, "range");
  ASSERT_EQ(joined->members.size(), 1U);
  EXPECT_EQ(as_text(joined->members[0].metadata), "subscription");

  wire::SyncGroupRequest sync;
  sync.group_id = "g";
  sync.generation_id = 1;
  sync.member_id = id;
  EXPECT_EQ(client_.call<wire::SyncGroupResponse>(sync, 5)->error_code,
            code(ErrorCode::kInconsistentGroupProtocol));  // says none
  sync.protocol_type = "consumer";
  sync.protocol_name = "range";
  sync.assignments.add(arena_) = {id, as_bytes("mine")};
  auto synced = client_.call<wire::SyncGroupResponse>(sync, 5);
  ASSERT_TRUE(synced);
  EXPECT_EQ(as_text(synced->assignment), "mine");
  EXPECT_EQ(synced->protocol_name, "range");

  wire::HeartbeatRequest beat;
  beat.group_id = "g";
  beat.generation_id = 1;
  beat.member_id = id;
  for (int16_t v = 0; v <= 4; v++)
    EXPECT_EQ(client_.call<wire::HeartbeatResponse>(beat, v)->error_code, 0) << v;

  wire::DescribeGroupsRequest describe;
  describe.groups.add(arena_, "g");
  describe.groups.add(arena_, "nobody");
  describe.include_authorized_operations = true;
  for (int16_t v = 0; v <= 6; v++) {
    const auto told = client_.call<wire::DescribeGroupsResponse>(describe, v);
    ASSERT_TRUE(told) << v;
    EXPECT_EQ(told->groups[0].group_state, "Stable");
    EXPECT_EQ(told->groups[0].members[0].member_id, id);
    EXPECT_EQ(told->groups[1].group_state, "Dead");
    EXPECT_EQ(told->groups[1].error_code, v >= 6 ? code(ErrorCode::kGroupIdNotFound) : 0);
  }
  wire::LeaveGroupRequest leave;
  leave.group_id = "g";
  leave.member_id = id;
  EXPECT_EQ(client_.call<wire::LeaveGroupResponse>(leave, 0)->error_code, 0);
  EXPECT_EQ(client_.call<wire::LeaveGroupResponse>(leave, 2)->error_code,
            code(ErrorCode::kUnknownMemberId));
  leave.member_id = "";
  leave.members.add(arena_) = {id, std::nullopt, std::nullopt};
  const auto left = client_.call<wire::LeaveGroupResponse>(leave, 5);
  EXPECT_EQ(left->error_code, 0);
  EXPECT_EQ(left->members[0].error_code, code(ErrorCode::kUnknownMemberId));
}

TEST_F(GroupHandlers, WhoGoesWhileItWaitsIsForgotten) {
  auto old = join("g");
  client_.send_request(old, 2);  // a member at once
  ASSERT_TRUE(server_.run_until([&] { return groups_.waiting() == 1; }));
  client_.close();
  testing::TestClient other = server_.connect();
  wire::ListGroupsRequest list;
  EXPECT_EQ(other.call<wire::ListGroupsResponse>(list, 5)->groups[0].group_state,
            "PreparingRebalance");
  // The answer comes when nobody is there to take it.
  ASSERT_TRUE(server_.run_until([&] { return groups_.waiting() == 0; }, Millis(10'000)));
  EXPECT_EQ(other.call<wire::ListGroupsResponse>(list, 5)->groups[0].group_state,
            "CompletingRebalance");
}

TEST_F(GroupHandlers, ListedAndDeleted) {
  for (std::string_view g : {"a", "b", "c"})
    client_.call<wire::OffsetCommitResponse>(commit(g, 1), 9);
  wire::ListGroupsRequest list;
  for (int16_t v = 0; v <= 5; v++)
    EXPECT_EQ(client_.call<wire::ListGroupsResponse>(list, v)->groups.size(), 3U) << v;
  list.states_filter.add(arena_, "stable");
  EXPECT_EQ(client_.call<wire::ListGroupsResponse>(list, 4)->groups.size(), 0U);

  wire::OffsetDeleteRequest forget;
  forget.group_id = "a";
  auto& topic = forget.topics.add(arena_);
  topic.name = "t";
  topic.partitions.add(arena_).partition_index = 7;
  topic.partitions.add(arena_).partition_index = 0;
  const auto forgot = client_.call<wire::OffsetDeleteResponse>(forget, 0);
  EXPECT_EQ(forgot->topics[0].partitions[0].error_code, code(ErrorCode::kUnknownTopicOrPartition));
  EXPECT_EQ(forgot->topics[0].partitions[1].error_code, 0);
  forget.group_id = "nobody";
  EXPECT_EQ(client_.call<wire::OffsetDeleteResponse>(forget, 0)->error_code,
            code(ErrorCode::kGroupIdNotFound));

  for (int16_t v = 0; v <= 2; v++) {
    wire::DeleteGroupsRequest remove;
    const std::string_view name = v == 0 ? "a" : v == 1 ? "b" : "c";
    for (std::string_view g : {name, std::string_view("nobody"), name})
      remove.groups_names.add(arena_, g);
    const auto answer = client_.call<wire::DeleteGroupsResponse>(remove, v);
    ASSERT_TRUE(answer);
    ASSERT_EQ(answer->results.size(), 2U);
    EXPECT_EQ(answer->results[0].error_code, 0);
    EXPECT_EQ(answer->results[1].error_code, code(ErrorCode::kGroupIdNotFound));
  }
  EXPECT_EQ(client_.call<wire::ListGroupsResponse>(wire::ListGroupsRequest(), 0)->groups.size(),
            0U);
}

TEST_F(GroupHandlers, WhatTheCoordinatorRefuses) {
  groups_.refuses = ErrorCode::kCoordinatorLoadInProgress;
  wire::HeartbeatRequest beat;
  beat.group_id = "g";
  EXPECT_EQ(client_.call<wire::HeartbeatResponse>(beat, 4)->error_code, 0);  // as at Apache
  EXPECT_EQ(client_.call<wire::JoinGroupResponse>(join("g"), 5)->error_code,
            code(ErrorCode::kCoordinatorLoadInProgress));
  EXPECT_EQ(client_.call<wire::OffsetCommitResponse>(commit("g", 1), 9)
                ->topics[0]
                .partitions[0]
                .error_code,
            code(ErrorCode::kCoordinatorLoadInProgress));
  EXPECT_EQ(client_.call<wire::ListGroupsResponse>(wire::ListGroupsRequest(), 5)->error_code,
            code(ErrorCode::kCoordinatorLoadInProgress));
  groups_.refuses = ErrorCode::kNotCoordinator;
  EXPECT_EQ(client_.call<wire::ListGroupsResponse>(wire::ListGroupsRequest(), 5)->error_code, 0);
  EXPECT_EQ(client_.call<wire::HeartbeatResponse>(beat, 4)->error_code,
            code(ErrorCode::kNotCoordinator));
  beat.group_id = "";
  EXPECT_EQ(client_.call<wire::HeartbeatResponse>(beat, 4)->error_code,
            code(ErrorCode::kInvalidGroupId));
}

TEST_F(GroupHandlers, WithoutTheTopicNobodyIsTheCoordinator) {
  server_.set_image(testing::small_image());
  wire::HeartbeatRequest beat;
  beat.group_id = "g";
  EXPECT_EQ(client_.call<wire::HeartbeatResponse>(beat, 4)->error_code,
            code(ErrorCode::kNotCoordinator));
  EXPECT_EQ(client_.call<wire::ListGroupsResponse>(wire::ListGroupsRequest(), 5)->groups.size(),
            0U);
  EXPECT_TRUE(groups_.asked.empty());
}

TEST_F(GroupHandlers, GroupsBelongToThePartitionOfTheirHash) {
  EXPECT_EQ(group_partition(*image_, "g"), 'g' % 50);
  EXPECT_EQ(group_partition(*image_, "console-consumer-12345"),
            wire::java_partition("console-consumer-12345", 50));
  // Its hash is the least number there is, which has no positive: it counts as 0.
  EXPECT_EQ(wire::java_hash("polygenelubricants"), INT32_MIN);
  EXPECT_EQ(group_partition(*image_, "polygenelubricants"), 0);
  client_.call<wire::OffsetCommitResponse>(commit("g", 1), 9);
  EXPECT_EQ(groups_.asked, std::vector<int32_t>{'g' % 50});
}

/// Otherwise a client with many commits in flight would pay a sync for each.
TEST_F(GroupHandlers, CommitsOverlapAndWhatFollowsWaits) {
  groups_.holds = true;
  std::vector<int32_t> sent;
  for (int i = 0; i < 3; i++) sent.push_back(client_.send_request(commit("g", i), 9));
  wire::OffsetFetchRequest fetch;
  fetch.groups.add(arena_).group_id = "g";
  fetch.groups.back().topics = std::nullopt;
  sent.push_back(client_.send_request(fetch, 9));
  server_.sim.run_for(Millis(100));
  ASSERT_EQ(groups_.asked.size(), 3u);
  groups_.holds = false;
  server_.services().loop.post([&] {
    for (auto& answer : groups_.held) answer();
  });
  for (const int32_t id : sent) EXPECT_EQ(client_.receive_id(), id);
  EXPECT_EQ(groups_.asked.size(), 4u);
}

}  // namespace
}  // namespace odradek::server
