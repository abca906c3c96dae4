// Groups that change from one protocol to the other while their members work.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "machines/group/embedded.h"
#include "machines/group/group_testing.h"

namespace odradek::machines::group {
namespace {

using ::testing::HasSubstr;

constexpr Uuid kTopic{1, 1};

std::vector<Protocol> of(std::string topic) { return {{"range", subscription({topic})}}; }

/// Version 1 of the subscription to t: the member has partitions 0 to 3.
std::vector<Protocol> having_all_of_t() {
  std::string has = subscription({"t"});
  has[1] = 1;
  has += std::string("\0\0\0\1\0\1t\0\0\0\4", 11);
  for (char i = 0; i < 4; i++) has += std::string("\0\0\0", 3) + i;
  return {{"range", std::move(has)}};
}

std::string assigned(const TestGroups& groups, std::set<int32_t> partitions) {
  return write_assignment({{kTopic, std::move(partitions)}}, subscription({"t"}), groups.image());
}

/// Two classic members with two partitions each.
std::vector<TestMember> classic_pair(TestGroups& groups) {
  std::vector<TestMember> members;
  for (int i = 0; i < 2; i++) members.push_back(enter(groups, "g", of("t")));
  groups.advance(6'000);
  std::vector<Sync::Assignment> assignments;
  for (size_t i = 0; i < members.size(); i++) {
    joined(groups, members[i]);
    const auto first = static_cast<int32_t>(2 * i);
    assignments.push_back({members[i].id, assigned(groups, {first, first + 1})});
  }
  for (size_t i = members.size(); i-- > 0;) {
    const bool leads = members[i].joined.leader == members[i].id;
    groups.send(sync_of("g", members[i], leads ? assignments : std::vector<Sync::Assignment>()));
  }
  EXPECT_EQ(groups.classic("g").state, ClassicState::kStable);
  return members;
}

ConsumerHeartbeat newcomer(std::string id = "new") {
  return {.group = "g",
          .member = std::move(id),
          .rebalance_timeout_ms = 60'000,
          .topics = std::vector<std::string>{"t"},
          .owned = Partitions(),
          .client_id = "client",
          .client_host = "/127.0.0.1"};
}

ErrorCode beat(TestGroups& groups, const TestMember& m, int32_t generation) {
  return groups
      .send<HeartbeatAnswer>(Heartbeat{.group = "g", .generation = generation, .member = m.id})
      .error;
}

/// Joins again and syncs; what it has then.
Partitions rejoin(TestGroups& groups, TestMember& m) {
  Join join = join_of("g", m.id, of("t"));
  m.joined = groups.send<JoinAnswer>(join);
  EXPECT_EQ(m.joined.error, ErrorCode::kNone);
  EXPECT_EQ(m.joined.leader, "");
  EXPECT_TRUE(m.joined.members.empty());
  const auto synced = groups.send<SyncAnswer>(sync_of("g", m));
  EXPECT_EQ(synced.error, ErrorCode::kNone);
  return read_assignment(synced.assignment, groups.image())->partitions;
}

TEST(Migration, AGroupWorksOnWhileItsMembersChangeTheirProtocol) {
  TestGroups groups;
  groups.set_topics({{"t", 6}});
  auto members = classic_pair(groups);
  const auto answer = groups.send<ConsumerHeartbeatAnswer>(newcomer());
  EXPECT_EQ(answer.error, ErrorCode::kNone);
  EXPECT_EQ(answer.epoch, 2);
  EXPECT_EQ(answer.assignment, (Partitions{{kTopic, {4, 5}}}));  // those that nobody had
  EXPECT_THAT(groups.lines()[0], HasSubstr("GroupMetadataKey {\"group\":\"g\"} null"));
  ASSERT_EQ(groups.consumer("g").members().size(), 3U);
  const ConsumerMember* a = groups.consumer("g").member(members[0].id);
  ASSERT_TRUE(a->classic);
  EXPECT_EQ(a->classic->session_timeout_ms, 10'000);
  EXPECT_EQ(without_epochs(a->assigned), (Partitions{{kTopic, {0, 1}}}));
  // The classic ones learn that they have to join again.
  EXPECT_EQ(beat(groups, members[0], 1), ErrorCode::kRebalanceInProgress);
  for (TestMember& m : members) EXPECT_EQ(rejoin(groups, m).at(kTopic).size(), 2U);
  EXPECT_EQ(beat(groups, members[0], 2), ErrorCode::kNone);
  EXPECT_EQ(beat(groups, members[0], 1), ErrorCode::kIllegalGeneration);
  EXPECT_EQ(groups.consumer("g").state(), "Stable");
  // They commit in the words of their protocol.
  const auto commit = [&](const std::string& id, int32_t generation) {
    return groups
        .send<CommitOffsetsAnswer>(
            CommitOffsets{.group = "g",
                          .generation = generation,
                          .member = id,
                          .version = 8,
                          .topics = {{"t", kTopic, {{.index = 0, .offset = 1}}}}})
        .error;
  };
  EXPECT_EQ(commit(members[0].id, 2), ErrorCode::kNone);
  EXPECT_EQ(commit(members[0].id, 3), ErrorCode::kIllegalGeneration);

  // The last of the new protocol leaves: it is a classic group again.
  groups.send(ConsumerHeartbeat{.group = "g", .member = "new", .epoch = -1});
  ASSERT_EQ(groups.state().find_consumer("g"), nullptr);
  EXPECT_EQ(groups.classic("g").state, ClassicState::kPreparingRebalance);
  EXPECT_EQ(groups.classic("g").generation, 2);
  EXPECT_EQ(groups.shadow().find("g")->classic->members.size(), 2U);
  for (TestMember& m : members) {
    groups.send<NoAnswer>(join_of("g", m.id, of("t")));
    m.join = groups.token();
  }
  for (TestMember& m : members) joined(groups, m);
  EXPECT_EQ(members[0].joined.generation, 3);
  EXPECT_FALSE(members[0].joined.leader.empty());
}

TEST(Migration, ANodeThatStopsRightAfterADowngradeAsksTheMembersAgain) {
  TestGroups groups;
  groups.set_topics({{"t", 6}});
  auto members = classic_pair(groups);
  groups.send<ConsumerHeartbeatAnswer>(newcomer());
  for (TestMember& m : members) rejoin(groups, m);
  groups.send(ConsumerHeartbeat{.group = "g", .member = "new", .epoch = -1});
  // Nobody has joined again, and what the newcomer had is nobody's.
  groups.restart();
  EXPECT_EQ(groups.classic("g").state, ClassicState::kPreparingRebalance);
  EXPECT_EQ(beat(groups, members[0], 2), ErrorCode::kRebalanceInProgress);
}

TEST(Migration, AGroupThatIsWholeIsLeftAloneByARestart) {
  TestGroups groups;
  groups.set_topics({{"t", 4}});
  const auto members = classic_pair(groups);
  groups.restart();
  EXPECT_EQ(groups.classic("g").state, ClassicState::kStable);
  EXPECT_EQ(beat(groups, members[0], 1), ErrorCode::kNone);
  groups.set_topics({{"t", 5}});
  groups.restart();
  EXPECT_EQ(groups.classic("g").state, ClassicState::kPreparingRebalance);
}

TEST(Migration, WhatACooperativeMemberHasYetToGiveBackIsNotGivenToOthers) {
  TestGroups groups;
  groups.set_topics({{"t", 4}});
  // It has partitions 0 to 3 when it joins, and is left two of them.
  TestMember member = enter(groups, "g", having_all_of_t());
  groups.advance(6'000);
  joined(groups, member);
  groups.send(sync_of("g", member, {{member.id, assigned(groups, {0, 1})}}));

  EXPECT_EQ(groups.send<ConsumerHeartbeatAnswer>(newcomer()).assignment, Partitions());
  EXPECT_EQ(groups.consumer("g").member(member.id)->state, MemberState::kUnrevoked);
  EXPECT_EQ(beat(groups, member, 1), ErrorCode::kRebalanceInProgress);
  EXPECT_EQ(rejoin(groups, member), (Partitions{{kTopic, {0, 1}}}));
  ConsumerHeartbeat again = newcomer();
  again.epoch = 2;
  EXPECT_EQ(groups.send<ConsumerHeartbeatAnswer>(again).assignment, (Partitions{{kTopic, {2, 3}}}));
}

TEST(StaticMembers, WhatOneHadToGiveBackIsNotLostWithIt) {
  TestGroups groups;
  groups.set_topics({{"t", 4}});
  const auto join_as = [](const char* instance, std::vector<Protocol> protocols = of("t")) {
    Join join = join_of("g", "", std::move(protocols));
    join.instance = instance;
    return join;
  };
  groups.send<NoAnswer>(join_as("one", having_all_of_t()));
  const Token one = groups.token();
  groups.send<NoAnswer>(join_as("two"));
  const Token two = groups.token();
  groups.advance(6'000);
  TestMember a{.joined = groups.answer_to<JoinAnswer>(one)};
  TestMember b{.joined = groups.answer_to<JoinAnswer>(two)};
  a.id = a.joined.member;
  b.id = b.joined.member;
  // A cooperative assignor (KIP-429): 2 and 3 are for b once a has given them back.
  groups.send(sync_of("g", b));
  groups.send(sync_of("g", a, {{a.id, assigned(groups, {0, 1})}, {b.id, assigned(groups, {})}}));
  ASSERT_EQ(groups.classic("g").state, ClassicState::kStable);
  // The process of b had nothing; that of a would have joined again, and its successor would not.
  EXPECT_EQ(groups.send<JoinAnswer>(join_as("two")).generation, 1);
  groups.send<NoAnswer>(join_as("one"));
  EXPECT_EQ(groups.classic("g").state, ClassicState::kPreparingRebalance);
}

TEST(Migration, WhoeverWaitsInTheClassicGroupIsTold) {
  TestGroups groups;
  groups.set_topics({{"t", 4}});
  auto members = classic_pair(groups);
  Join join = join_of("g", "", of("t"));
  join.id_required = false;
  groups.send<NoAnswer>(join);
  const Token waits = groups.token();
  groups.send<ConsumerHeartbeatAnswer>(newcomer());
  EXPECT_EQ(groups.answer_to<JoinAnswer>(waits).error, ErrorCode::kRebalanceInProgress);
  EXPECT_TRUE(groups.waiting().empty());
  EXPECT_EQ(groups.consumer("g").members().size(), 4U);
}

TEST(Migration, ThePolicyDecides) {
  for (const bool up : {false, true}) {
    for (const bool down : {false, true}) {
      TestGroups groups(Settings{.may_upgrade = up, .may_downgrade = down});
      groups.set_topics({{"t", 4}});
      auto members = classic_pair(groups);
      const auto answer = groups.send<ConsumerHeartbeatAnswer>(newcomer());
      if (!up) {
        EXPECT_EQ(answer.error, ErrorCode::kGroupIdNotFound);
        EXPECT_TRUE(groups.lines().empty());
        EXPECT_EQ(beat(groups, members[0], 1), ErrorCode::kNone);
        continue;
      }
      groups.send(ConsumerHeartbeat{.group = "g", .member = "new", .epoch = -1});
      EXPECT_EQ(groups.state().find_consumer("g") == nullptr, down);
    }
  }
}

TEST(Migration, DisabledKeepsClassicMembersOutOfNewGroups) {
  for (const bool down : {false, true}) {
    TestGroups groups(Settings{.may_upgrade = false, .may_downgrade = down});
    groups.set_topics({{"t", 4}});
    groups.send<ConsumerHeartbeatAnswer>(newcomer());
    EXPECT_EQ(groups.send<JoinAnswer>(join_of("g", "", of("t"))).error,
              down ? ErrorCode::kMemberIdRequired : ErrorCode::kInconsistentGroupProtocol);
  }
}

TEST(Migration, GroupsOfOthersAreNotTouched) {
  TestGroups groups;
  groups.set_topics({{"t", 4}});
  Join connect = join_of("g", "", {{"connect", "x"}});
  connect.protocol_type = "connect";
  connect.id_required = false;
  groups.send(connect);
  EXPECT_EQ(groups.send<ConsumerHeartbeatAnswer>(newcomer()).error, ErrorCode::kGroupIdNotFound);
  groups.advance(10'000);
  EXPECT_EQ(groups.send<ConsumerHeartbeatAnswer>(newcomer()).error, ErrorCode::kGroupIdNotFound);
}

TEST(Migration, EmptyGroupsChangeTheirKindWithTheNextMember) {
  TestGroups groups;
  groups.set_topics({{"t", 4}});
  auto members = classic_pair(groups);
  groups.send<CommitOffsetsAnswer>(
      CommitOffsets{.group = "g",
                    .generation = 1,
                    .member = members[0].id,
                    .version = 8,
                    .topics = {{"t", kTopic, {{.index = 0, .offset = 5}}}}});
  for (const TestMember& m : members)
    groups.send<LeaveAnswer>(Leave{.group = "g", .members = {{m.id}}});
  EXPECT_EQ(groups.send<ConsumerHeartbeatAnswer>(newcomer()).epoch, 2);
  groups.send(ConsumerHeartbeat{.group = "g", .member = "new", .epoch = -1});
  EXPECT_EQ(groups.consumer("g").state(), "Empty");
  Join join = join_of("g", "", of("t"));
  join.id_required = false;
  groups.send<NoAnswer>(join);
  EXPECT_EQ(groups.state().find_consumer("g"), nullptr);
  EXPECT_EQ(groups.shadow().find_consumer("g"), nullptr);
  const Token waits = groups.token();
  groups.advance(6'000);
  EXPECT_EQ(groups.answer_to<JoinAnswer>(waits).generation, 1);
  // Its offsets have seen it all.
  EXPECT_EQ(groups.state().find("g")->offset("t", 0)->offset, 5);
}

TEST(Migration, ClassicMembersOfANewGroupHaveTheirTimes) {
  TestGroups groups;
  groups.set_topics({{"t", 6}});
  auto members = classic_pair(groups);
  groups.send<ConsumerHeartbeatAnswer>(newcomer());
  // One is told to join again, and only sends heartbeats.
  for (int i = 0; i < 13; i++) {
    groups.advance(5'000);
    ConsumerHeartbeat c = newcomer();
    c.epoch = groups.consumer("g").member("new")->epoch;
    groups.send(c);
    if (groups.consumer("g").member(members[0].id) != nullptr)
      EXPECT_EQ(beat(groups, members[0], 1), ErrorCode::kRebalanceInProgress);
  }
  EXPECT_EQ(groups.consumer("g").members().size(), 1U);
}

TEST(Migration, ASetOfClassicMembersJoinsANewGroup) {
  TestGroups groups;
  groups.set_topics({{"t", 4}});
  groups.send<ConsumerHeartbeatAnswer>(newcomer());
  const auto first = groups.send<JoinAnswer>(join_of("g", "", of("t")));
  EXPECT_EQ(first.error, ErrorCode::kMemberIdRequired);
  groups.advance(1'000);
  TestMember m{first.member};
  EXPECT_EQ(rejoin(groups, m), Partitions());
  EXPECT_EQ(m.joined.protocol, "range");
  // The other one gives up half of it.
  ConsumerHeartbeat c{.group = "g", .member = "new", .epoch = 2};
  auto told = groups.send<ConsumerHeartbeatAnswer>(c);
  ASSERT_TRUE(told.assignment);
  EXPECT_EQ(beat(groups, m, 3), ErrorCode::kNone);  // not yet
  c.owned = *told.assignment;
  groups.send<ConsumerHeartbeatAnswer>(c);
  EXPECT_EQ(beat(groups, m, 3), ErrorCode::kRebalanceInProgress);
  EXPECT_EQ(rejoin(groups, m).at(kTopic).size(), 2U);
  // What is not of consumers cannot come in.
  Join other = join_of("g", m.id, {{"range", "nonsense"}});
  EXPECT_EQ(groups.send<JoinAnswer>(other).error, ErrorCode::kInconsistentGroupProtocol);
  other = join_of("g", "", of("t"));
  other.protocol_type = "connect";
  EXPECT_EQ(groups.send<JoinAnswer>(other).error, ErrorCode::kInconsistentGroupProtocol);
  EXPECT_EQ(groups.send<LeaveAnswer>(Leave{.group = "g", .members = {{m.id}}}).results.at(0),
            ErrorCode::kNone);
  EXPECT_EQ(groups.consumer("g").members().size(), 1U);
}

TEST(Migration, AStaticMemberChangesItsProtocolBothWays) {
  TestGroups groups;
  groups.set_topics({{"t", 4}});
  Join join = join_of("g", "", of("t"));
  join.instance = "one";
  groups.send<NoAnswer>(join);
  const Token token = groups.token();
  groups.advance(6'000);
  TestMember m;
  m.joined = groups.answer_to<JoinAnswer>(token);
  m.id = m.joined.member;
  groups.send(sync_of("g", m, {{m.id, assigned(groups, {0, 1, 2, 3})}}));
  ASSERT_EQ(groups.classic("g").state, ClassicState::kStable);
  ConsumerHeartbeat c = newcomer("new");
  c.instance = "one";
  const auto answer = groups.send<ConsumerHeartbeatAnswer>(c);
  EXPECT_EQ(answer.error, ErrorCode::kNone);
  EXPECT_EQ(answer.assignment, (Partitions{{kTopic, {0, 1, 2, 3}}}));
  EXPECT_EQ(groups.consumer("g").members().size(), 1U);
  // And back: nobody of the new protocol is left.
  const auto back = groups.send<JoinAnswer>(join);
  EXPECT_EQ(back.error, ErrorCode::kNone);
  EXPECT_EQ(groups.state().find_consumer("g"), nullptr);
  EXPECT_EQ(groups.classic("g").members.size(), 1U);
  m.id = back.member;
  m.joined = back;
  const auto synced = groups.send<SyncAnswer>(sync_of("g", m));
  EXPECT_EQ(synced.error, ErrorCode::kNone);
  EXPECT_EQ(read_assignment(synced.assignment, groups.image())->partitions,
            (Partitions{{kTopic, {0, 1, 2, 3}}}));
}

}  // namespace
}  // namespace odradek::machines::group
