#include <gtest/gtest.h>

#include "machines/group/group_testing.h"

namespace odradek::machines::group {
namespace {

HeartbeatAnswer beat(TestGroups& groups, const TestMember& member, int32_t generation) {
  return groups.send<HeartbeatAnswer>(
      Heartbeat{.group = "g", .generation = generation, .member = member.id});
}

TEST(ClassicGroups, ANewMemberIsGivenItsId) {
  TestGroups groups;
  const auto answer = groups.send<JoinAnswer>(join_of("g"));
  EXPECT_EQ(answer.error, ErrorCode::kMemberIdRequired);
  EXPECT_TRUE(answer.member.starts_with("client-"));
  EXPECT_EQ(answer.member.size(), std::string("client-").size() + 36);
  // The group is there from now on.
  EXPECT_EQ(groups.lines(),
            Lines{"GroupMetadataKey {\"group\":\"g\"} GroupMetadataValue v3 {\"protocolType\":\"\","
                  "\"generation\":0,\"protocol\":null,\"leader\":null,"
                  "\"currentStateTimestamp\":1000000,\"members\":[]}"});
  // Before version 4 it is a member at once.
  Join old = join_of("h");
  old.id_required = false;
  groups.send<NoAnswer>(old);
  const Token token = groups.token();
  groups.advance(3'000);
  EXPECT_EQ(groups.answer_to<JoinAnswer>(token).generation, 1);
  // A member of a group that does not exist.
  EXPECT_EQ(groups.send<JoinAnswer>(join_of("nobody", "m")).error, ErrorCode::kUnknownMemberId);
}

TEST(ClassicGroups, AnIdThatWasHandedOutIsNoStaticMembers) {
  TestGroups groups;
  Join join = join_of("g", groups.send<JoinAnswer>(join_of("g")).member);
  join.instance = "i";
  EXPECT_EQ(groups.send<JoinAnswer>(join), JoinAnswer{.error = ErrorCode::kUnknownServerError});
}

TEST(ClassicGroups, TheFirstRebalanceWaitsForOthers) {
  TestGroups groups;
  TestMember a = enter(groups, "g");
  groups.advance(2'000);
  TestMember b = enter(groups, "g");  // within the delay: it is extended once more
  groups.advance(3'000);
  EXPECT_FALSE(groups.answered(a.join));
  groups.advance(1'000);
  joined(groups, a);
  joined(groups, b);
  EXPECT_EQ(a.joined.generation, 1);
  EXPECT_EQ(a.joined.leader, a.id);
  EXPECT_EQ(a.joined.protocol, "range");
  EXPECT_EQ(a.joined.members.size(), 2U);
  EXPECT_TRUE(b.joined.members.empty());  // for the leader only
}

TEST(ClassicGroups, TheInitialDelayEndsWithTheRebalanceTimeout) {
  TestGroups groups;
  TestMember a = enter(groups, "g");
  for (int i = 0; i < 24; i++) {
    groups.advance(2'500);
    if (!groups.answered(a.join)) enter(groups, "g");
  }
  joined(groups, a);
}

TEST(ClassicGroups, TheLeaderAssignsAndEverybodyIsTold) {
  TestGroups groups;
  TestMember a = enter(groups, "g");
  TestMember b = enter(groups, "g");
  groups.advance(10'000);
  joined(groups, a);
  joined(groups, b);
  groups.send<NoAnswer>(sync_of("g", b));
  const Token waits = groups.token();
  EXPECT_EQ(beat(groups, b, 1).error, ErrorCode::kNone);
  EXPECT_TRUE(groups.lines().empty());
  groups.send<NoAnswer>(sync_of("g", a, {{a.id, "for a"}, {b.id, "for b"}}));
  EXPECT_EQ(groups.answer_to<SyncAnswer>(groups.token()).assignment, "for a");
  const auto told = groups.answer_to<SyncAnswer>(waits);
  EXPECT_EQ(told.assignment, "for b");
  EXPECT_EQ(told.protocol, "range");
  EXPECT_EQ(told.protocol_type, "consumer");
  ASSERT_EQ(groups.lines().size(), 1U);
  EXPECT_NE(groups.lines()[0].find("\"generation\":1"), std::string::npos);
  EXPECT_NE(groups.lines()[0].find(b.id), std::string::npos);
  // Once more: it is told again.
  EXPECT_EQ(groups.send<SyncAnswer>(sync_of("g", b)).assignment, "for b");

  Sync wrong = sync_of("g", b);
  wrong.generation = 2;
  EXPECT_EQ(groups.send<SyncAnswer>(wrong).error, ErrorCode::kIllegalGeneration);
  wrong = sync_of("g", b);
  wrong.protocol = "roundrobin";
  EXPECT_EQ(groups.send<SyncAnswer>(wrong).error, ErrorCode::kInconsistentGroupProtocol);
  wrong = sync_of("g", b);
  wrong.member = "nobody";
  EXPECT_EQ(groups.send<SyncAnswer>(wrong).error, ErrorCode::kUnknownMemberId);
  wrong.group = "nobody";
  EXPECT_EQ(groups.send<SyncAnswer>(wrong).error, ErrorCode::kUnknownMemberId);
}

TEST(ClassicGroups, AnotherMemberMakesAllJoinAgain) {
  TestGroups groups;
  auto members = stable(groups, "g", 2);
  TestMember c = enter(groups, "g");
  EXPECT_EQ(beat(groups, members[0], 1).error, ErrorCode::kRebalanceInProgress);
  EXPECT_FALSE(groups.answered(c.join));
  for (TestMember& m : members) {
    groups.send<NoAnswer>(join_of("g", m.id));
    m.join = groups.token();
  }
  joined(groups, members[0]);  // all have joined: at once
  joined(groups, members[1]);
  joined(groups, c);
  EXPECT_EQ(c.joined.generation, 2);
  EXPECT_EQ(c.joined.leader, members[0].id);
  EXPECT_EQ(members[0].joined.members.size(), 3U);
}

TEST(ClassicGroups, WhoDoesNotJoinAgainIsOut) {
  TestGroups groups;
  auto members = stable(groups, "g", 3);
  TestMember d = enter(groups, "g");
  groups.send<NoAnswer>(join_of("g", members[2].id));
  members[2].join = groups.token();
  for (int i = 0; i < 6; i++) {  // alive, but it never joins
    groups.advance(9'000);
    beat(groups, members[1], 1);
  }
  EXPECT_FALSE(groups.answered(d.join));
  groups.advance(6'000);
  joined(groups, d);
  joined(groups, members[2]);
  EXPECT_EQ(groups.classic("g").members.size(), 2U);
  EXPECT_EQ(beat(groups, members[1], 2).error, ErrorCode::kUnknownMemberId);
}

TEST(ClassicGroups, ASessionThatEndsMakesTheOthersRebalance) {
  TestGroups groups;
  auto members = stable(groups, "g", 2);
  groups.advance(9'000);
  EXPECT_EQ(beat(groups, members[1], 1).error, ErrorCode::kNone);
  groups.advance(1'500);
  EXPECT_EQ(beat(groups, members[1], 1).error, ErrorCode::kRebalanceInProgress);
  groups.send<NoAnswer>(join_of("g", members[1].id));
  const auto answer = groups.answer_to<JoinAnswer>(groups.token());
  EXPECT_EQ(answer.generation, 2);
  EXPECT_EQ(answer.leader, members[1].id);
}

TEST(ClassicGroups, TheLastOneLeavesAnEmptyGroup) {
  TestGroups groups;
  auto members = stable(groups, "g", 1);
  groups.advance(10'000);
  EXPECT_EQ(groups.classic("g").state, ClassicState::kEmpty);
  EXPECT_EQ(groups.classic("g").generation, 2);
  ASSERT_EQ(groups.lines().size(), 1U);
  EXPECT_NE(groups.lines()[0].find("\"protocolType\":\"consumer\",\"generation\":2,"
                                   "\"protocol\":null,\"leader\":null"),
            std::string::npos);
  EXPECT_EQ(groups.timer_count(), 1U);  // the search for old offsets
  // It can be deleted now.
  EXPECT_EQ(groups.send<DeleteGroupsAnswer>(DeleteGroups{{"g", "nobody"}}).results,
            (std::vector{ErrorCode::kNone, ErrorCode::kGroupIdNotFound}));
  EXPECT_EQ(groups.lines(), Lines{"GroupMetadataKey {\"group\":\"g\"} null"});
}

TEST(ClassicGroups, LeavingIsFasterThanDying) {
  TestGroups groups;
  auto members = stable(groups, "g", 3);
  auto answer = groups.send<LeaveAnswer>(
      Leave{.group = "g", .members = {{members[0].id}, {"nobody"}, {"", "no instance"}}});
  EXPECT_EQ(answer.results, (std::vector{ErrorCode::kNone, ErrorCode::kUnknownMemberId,
                                         ErrorCode::kUnknownMemberId}));
  EXPECT_EQ(groups.classic("g").state, ClassicState::kPreparingRebalance);
  for (int i : {1, 2}) {
    groups.send<NoAnswer>(join_of("g", members[static_cast<size_t>(i)].id));
    members[static_cast<size_t>(i)].join = groups.token();
  }
  joined(groups, members[1]);
  EXPECT_EQ(groups.send<DeleteGroupsAnswer>(DeleteGroups{{"g"}}).results,
            std::vector{ErrorCode::kNonEmptyGroup});
  answer = groups.send<LeaveAnswer>(Leave{.group = "other", .members = {{"x"}}});
  EXPECT_EQ(answer.results, std::vector{ErrorCode::kUnknownMemberId});
}

TEST(ClassicGroups, ANewMemberThatLeavesIsToldSo) {
  TestGroups groups;
  TestMember a = enter(groups, "g");
  groups.send(Leave{.group = "g", .members = {{a.id}}});
  EXPECT_EQ(groups.answer_to<JoinAnswer>(a.join).error, ErrorCode::kUnknownMemberId);
  groups.advance(10'000);
  EXPECT_EQ(groups.classic("g").state, ClassicState::kEmpty);
}

TEST(ClassicGroups, MostVotesDecide) {
  TestGroups groups;
  const std::vector<Protocol> sticky_first{{"sticky", "s"}, {"range", "r"}};
  const std::vector<Protocol> range_first{{"range", "r"}, {"sticky", "s"}, {"mine", "m"}};
  TestMember a = enter(groups, "g", sticky_first);
  enter(groups, "g", range_first);
  enter(groups, "g", range_first);
  groups.advance(6'000);
  joined(groups, a);
  EXPECT_EQ(a.joined.protocol, "range");
  EXPECT_EQ(a.joined.members[0].metadata, "r");
  // Nothing in common.
  EXPECT_EQ(groups.send<JoinAnswer>(join_of("g", "", {{"mine", "m"}})).error,
            ErrorCode::kInconsistentGroupProtocol);
  Join other = join_of("g");
  other.protocol_type = "connect";
  EXPECT_EQ(groups.send<JoinAnswer>(other).error, ErrorCode::kInconsistentGroupProtocol);
  EXPECT_EQ(groups.send<JoinAnswer>(join_of("new", "", {})).error,
            ErrorCode::kInconsistentGroupProtocol);
}

TEST(ClassicGroups, ALostAnswerIsGivenAgain) {
  TestGroups groups;
  TestMember a = enter(groups, "g");
  TestMember b = enter(groups, "g");
  groups.advance(6'000);
  joined(groups, a);
  joined(groups, b);
  // The same join while the group completes, and later of a follower: nothing begins.
  EXPECT_EQ(groups.send<JoinAnswer>(join_of("g", a.id)), a.joined);
  groups.send(sync_of("g", b));
  groups.send(sync_of("g", a, {{a.id, "1"}, {b.id, "2"}}));
  EXPECT_EQ(groups.send<JoinAnswer>(join_of("g", b.id)), b.joined);
  EXPECT_EQ(groups.classic("g").state, ClassicState::kStable);
  // The leader may have seen more partitions.
  groups.send<NoAnswer>(join_of("g", a.id));
  EXPECT_EQ(groups.classic("g").state, ClassicState::kPreparingRebalance);
}

TEST(ClassicGroups, WhoDoesNotAskForItsAssignmentIsOut) {
  TestGroups groups;
  TestMember a = enter(groups, "g");
  TestMember b = enter(groups, "g");
  groups.advance(10'000);
  joined(groups, a);
  joined(groups, b);
  groups.send<NoAnswer>(sync_of("g", a, {{a.id, "1"}, {b.id, "2"}}));
  for (int i = 0; i < 12; i++) {
    groups.advance(5'000);
    beat(groups, a, 1);
    beat(groups, b, 1);
  }
  EXPECT_EQ(groups.classic("g").member(b.id), nullptr);
  EXPECT_EQ(beat(groups, a, 1).error, ErrorCode::kRebalanceInProgress);
}

TEST(ClassicGroups, ACommitDuringCompletionIsRefused) {
  TestGroups groups;
  TestMember a = enter(groups, "g");
  groups.advance(10'000);
  joined(groups, a);
  CommitOffsets c{.group = "g",
                  .generation = 1,
                  .member = a.id,
                  .version = 9,
                  .topics = {{.name = "t", .partitions = {{.offset = 1}}}}};
  EXPECT_EQ(groups.send<CommitOffsetsAnswer>(c).error, ErrorCode::kRebalanceInProgress);
}

// ---- static members

Join static_join(const std::string& instance, std::string member = "",
                 std::vector<Protocol> protocols = {{"range", "r"}}) {
  Join join = join_of("g", std::move(member), std::move(protocols));
  join.instance = instance;
  join.skips_assignment = true;
  return join;
}

TEST(StaticMembers, ComeBackWithoutARebalance) {
  TestGroups groups;
  groups.send<NoAnswer>(static_join("one"));
  const Token one = groups.token();
  groups.send<NoAnswer>(static_join("two"));
  const Token two = groups.token();
  groups.advance(10'000);
  TestMember a{.id = groups.answer_to<JoinAnswer>(one).member,
               .joined = groups.answer_to<JoinAnswer>(one)};
  TestMember b{.id = groups.answer_to<JoinAnswer>(two).member,
               .joined = groups.answer_to<JoinAnswer>(two)};
  EXPECT_TRUE(a.id.starts_with("one-"));
  groups.send(sync_of("g", b));
  groups.send(sync_of("g", a, {{a.id, "1"}, {b.id, "2"}}));

  // The leader's process starts again.
  const auto again = groups.send<JoinAnswer>(static_join("one"));
  EXPECT_EQ(again.error, ErrorCode::kNone);
  EXPECT_EQ(again.generation, 1);
  EXPECT_NE(again.member, a.id);
  EXPECT_EQ(again.leader, again.member);
  EXPECT_TRUE(again.skip_assignment);
  EXPECT_EQ(again.members.size(), 2U);
  ASSERT_EQ(groups.lines().size(), 1U);  // others must know the id
  EXPECT_NE(groups.lines()[0].find(again.member), std::string::npos);
  a.joined = again;
  const std::string old = std::exchange(a.id, again.member);
  EXPECT_EQ(groups.send<SyncAnswer>(sync_of("g", a)).assignment, "1");
  // The old process, if it is still there.
  Heartbeat fenced{.group = "g", .generation = 1, .member = old, .instance = "one"};
  EXPECT_EQ(groups.send<HeartbeatAnswer>(fenced).error, ErrorCode::kFencedInstanceId);
  fenced.instance.reset();
  EXPECT_EQ(groups.send<HeartbeatAnswer>(fenced).error, ErrorCode::kUnknownMemberId);

  // Clients that cannot skip are told another leader, so that they do not assign anew.
  Join plain = static_join("one");
  plain.skips_assignment = false;
  const auto told = groups.send<JoinAnswer>(plain);
  EXPECT_EQ(told.leader, a.id);
  EXPECT_NE(told.member, a.id);
  EXPECT_TRUE(told.members.empty());

  groups.restart();
  EXPECT_EQ(groups.classic("g").statics.at("one"), told.member);
  // An operator removes it by its name.
  EXPECT_EQ(groups.send<LeaveAnswer>(Leave{.group = "g", .members = {{"", "one"}}}).results,
            std::vector{ErrorCode::kNone});
  EXPECT_EQ(groups.classic("g").members.size(), 1U);
}

TEST(StaticMembers, AnotherProcessOfTheNameIsFencedWhileItJoins) {
  TestGroups groups;
  groups.send<NoAnswer>(static_join("one"));
  const Token first = groups.token();
  groups.send<NoAnswer>(static_join("one"));
  const Token second = groups.token();
  EXPECT_EQ(groups.answer_to<JoinAnswer>(first).error, ErrorCode::kFencedInstanceId);
  groups.advance(10'000);
  EXPECT_EQ(groups.answer_to<JoinAnswer>(second).error, ErrorCode::kNone);
  EXPECT_EQ(groups.classic("g").members.size(), 1U);
}

TEST(StaticMembers, StayWhenTheyDoNotJoinInTime) {
  TestGroups groups;
  Join slow = static_join("one");
  slow.session_timeout_ms = 600'000;
  groups.send<NoAnswer>(slow);
  const Token one = groups.token();
  groups.advance(3'000);
  TestMember a{.id = groups.answer_to<JoinAnswer>(one).member,
               .joined = groups.answer_to<JoinAnswer>(one)};
  groups.send(sync_of("g", a, {{a.id, "1"}}));
  TestMember b = enter(groups, "g");
  groups.advance(60'000);  // a does not join: b leads, a keeps its place
  joined(groups, b);
  EXPECT_EQ(b.joined.leader, b.id);
  EXPECT_EQ(b.joined.members.size(), 2U);
}

// ---- limits

TEST(ClassicGroups, HaveALargestSize) {
  TestGroups groups(Settings{.max_size = 2});
  auto members = stable(groups, "g", 2);
  EXPECT_EQ(groups.send<JoinAnswer>(join_of("g")).error, ErrorCode::kGroupMaxSizeReached);
  groups.send<NoAnswer>(join_of("g", members[0].id));  // known: may come back
}

TEST(ClassicGroups, AnAssignmentThatIsTooLargeReachesNobody) {
  TestGroups groups(Settings{.batch_bytes_max = 1'000});
  TestMember a = enter(groups, "g");
  groups.advance(10'000);
  joined(groups, a);
  groups.send<NoAnswer>(sync_of("g", a, {{a.id, std::string(2'000, 'x')}}));
  EXPECT_EQ(groups.answer_to<SyncAnswer>(groups.token()).error, ErrorCode::kUnknownServerError);
  EXPECT_EQ(groups.classic("g").state, ClassicState::kPreparingRebalance);
  EXPECT_TRUE(groups.lines().empty());
}

// ---- restarts, listings

TEST(ClassicGroups, SurviveARestart) {
  TestGroups groups;
  auto members = stable(groups, "g", 3);
  groups.advance(5'000);
  groups.restart();
  EXPECT_EQ(groups.classic("g").state, ClassicState::kStable);
  EXPECT_EQ(groups.classic("g").leader, members[0].joined.leader);
  for (const TestMember& m : members) EXPECT_EQ(beat(groups, m, 1).error, ErrorCode::kNone);
  EXPECT_EQ(groups.send<SyncAnswer>(sync_of("g", members[1])).assignment, "a1");
  groups.advance(9'000);
  EXPECT_EQ(groups.classic("g").members.size(), 3U);  // sessions began anew
  groups.advance(2'000);
  EXPECT_EQ(groups.classic("g").state, ClassicState::kEmpty);
}

TEST(ClassicGroups, AreDescribedAndListed) {
  TestGroups groups;
  stable(groups, "g", 1);
  groups.send(CommitOffsets{
      .group = "simple", .version = 9, .topics = {{.name = "t", .partitions = {{.offset = 1}}}}});
  const auto described = groups.send<DescribeAnswer>(Describe{{"g", "simple", "nobody"}});
  ASSERT_EQ(described.groups.size(), 3U);
  EXPECT_EQ(described.groups[0].state, "Stable");
  EXPECT_EQ(described.groups[0].protocol, "range");
  ASSERT_EQ(described.groups[0].members.size(), 1U);
  EXPECT_EQ(described.groups[0].members[0].metadata, "r");
  EXPECT_EQ(described.groups[0].members[0].assignment, "a0");
  EXPECT_EQ(described.groups[0].members[0].client_host, "/127.0.0.1");
  EXPECT_EQ(described.groups[1].state, "Empty");
  EXPECT_FALSE(described.groups[2].found);
  EXPECT_EQ(described.groups[2].state, "Dead");

  const auto ids = [&](List list) {
    std::vector<std::string> out;
    for (const auto& g : groups.send<ListAnswer>(std::move(list)).groups) out.push_back(g.id);
    return out;
  };
  using Ids = std::vector<std::string>;
  EXPECT_EQ(ids({}), (Ids{"g", "simple"}));
  EXPECT_EQ(ids({.states = {" stable "}}), Ids{"g"});
  EXPECT_EQ(ids({.states = {"EMPTY", "Stable"}}), (Ids{"g", "simple"}));
  EXPECT_EQ(ids({.states = {"nonsense"}}), Ids{});
  EXPECT_EQ(ids({.types = {"Classic"}}), (Ids{"g", "simple"}));
  EXPECT_EQ(ids({.types = {"consumer"}}), Ids{});
}

}  // namespace
}  // namespace odradek::machines::group
