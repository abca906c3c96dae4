// Groups of the consumer protocol: join, reconcile, leave, time out; what is stored of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "machines/group/group_testing.h"

namespace odradek::machines::group {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr Uuid kTopic{1, 1};
constexpr Uuid kOther{1, 2};

ConsumerHeartbeat joining(std::string member, std::vector<std::string> topics = {"t"}) {
  return {.group = "g",
          .member = std::move(member),
          .rebalance_timeout_ms = 60'000,
          .topics = std::move(topics),
          .owned = Partitions(),
          .client_id = "client",
          .client_host = "/127.0.0.1"};
}

/// A consumer as the coordinator meets it: it holds what it was told, and gives up what it shall.
struct Client {
  std::string id;
  int32_t epoch = 0;
  Partitions has{};
  std::optional<std::string> instance{};
  std::vector<std::string> topics{"t"};
  bool told_all = false;

  ConsumerHeartbeatAnswer join(TestGroups& groups) {
    epoch = 0;
    has.clear();
    ConsumerHeartbeat c = joining(id, topics);
    c.instance = instance;
    return take(groups.send<ConsumerHeartbeatAnswer>(c));
  }
  ConsumerHeartbeatAnswer beat(TestGroups& groups) {
    ConsumerHeartbeat c{.group = "g", .member = id, .epoch = epoch, .instance = instance};
    c.client_id = "client";
    c.client_host = "/127.0.0.1";
    if (told_all) c.owned = has;
    told_all = false;
    return take(groups.send<ConsumerHeartbeatAnswer>(c));
  }
  ConsumerHeartbeatAnswer leave(TestGroups& groups, int32_t leave_epoch = -1) {
    return groups.send<ConsumerHeartbeatAnswer>(
        ConsumerHeartbeat{.group = "g", .member = id, .epoch = leave_epoch, .instance = instance});
  }
  ConsumerHeartbeatAnswer take(ConsumerHeartbeatAnswer answer) {
    if (answer.error != ErrorCode::kNone) return answer;
    epoch = answer.epoch;
    if (answer.assignment) {
      told_all = has != *answer.assignment;
      has = *answer.assignment;
    }
    return answer;
  }
  size_t count() const {
    size_t n = 0;
    for (const auto& [topic, partitions] : has) n += partitions.size();
    return n;
  }
};

/// Everybody's heartbeats until nothing moves; intervals pass.
void settle(TestGroups& groups, const std::vector<Client*>& clients) {
  for (int i = 0; i < 6; i++) {
    groups.advance(1'000);
    for (Client* c : clients) EXPECT_EQ(c->beat(groups).error, ErrorCode::kNone) << c->id;
  }
}

TEST(ConsumerGroups, TheFirstMemberGetsEverythingAndIsStoredAsApacheDoes) {
  TestGroups groups;
  groups.set_topics({{"t", 3}, {"u", 1}});
  Client a{"a"};
  const auto answer = a.join(groups);
  EXPECT_EQ(answer.error, ErrorCode::kNone);
  EXPECT_EQ(answer.member, "a");
  EXPECT_EQ(answer.epoch, 2);
  EXPECT_EQ(answer.interval_ms, 5'000);
  EXPECT_EQ(answer.assignment, (Partitions{{kTopic, {0, 1, 2}}}));
  ASSERT_EQ(groups.lines().size(), 5U);
  EXPECT_THAT(groups.lines()[0],
              HasSubstr("ConsumerGroupMemberMetadataKey {\"groupId\":\"g\",\"memberId\":\"a\"} "
                        "ConsumerGroupMemberMetadataValue v0 {\"instanceId\":null,\"rackId\":null,"
                        "\"clientId\":\"client\",\"clientHost\":\"/127.0.0.1\","
                        "\"subscribedTopicNames\":[\"t\"],\"subscribedTopicRegex\":\"\","
                        "\"rebalanceTimeoutMs\":60000,\"serverAssignor\":null,"
                        "\"classicMemberMetadata\":null}"));
  EXPECT_THAT(groups.lines()[1], HasSubstr("ConsumerGroupMetadataValue v0 {\"epoch\":2,"));
  EXPECT_THAT(groups.lines()[2], HasSubstr("ConsumerGroupTargetAssignmentMemberValue v0"));
  EXPECT_THAT(groups.lines()[3], HasSubstr("ConsumerGroupTargetAssignmentMetadataValue v0 "
                                           "{\"assignmentEpoch\":2,\"assignmentTimestamp\":"));
  EXPECT_THAT(groups.lines()[4],
              HasSubstr("ConsumerGroupCurrentMemberAssignmentValue v0 {\"memberEpoch\":2,"
                        "\"previousMemberEpoch\":0,\"state\":0,"));
  EXPECT_THAT(groups.lines()[4], HasSubstr("\"assignmentEpochs\":[2,2,2]"));
  EXPECT_EQ(groups.consumer("g").state(), "Stable");
  // Nothing to say, nothing to store.
  EXPECT_EQ(a.beat(groups).assignment, std::nullopt);
  EXPECT_TRUE(groups.lines().empty());
}

TEST(ConsumerGroups, AnotherMemberGetsWhatTheFirstGivesUp) {
  TestGroups groups;
  groups.set_topics({{"t", 4}});
  Client a{"a"};
  Client b{"b"};
  a.join(groups);
  groups.advance(2'000);
  const auto joined = b.join(groups);
  EXPECT_EQ(joined.epoch, 3);
  EXPECT_EQ(joined.assignment, Partitions());  // they are not free yet
  EXPECT_EQ(groups.consumer("g").state(), "Reconciling");
  // It keeps its epoch until it has given them up.
  const auto told = a.beat(groups);
  EXPECT_EQ(told.epoch, 2);
  EXPECT_EQ(a.count(), 2U);
  EXPECT_EQ(groups.consumer("g").member("a")->state, MemberState::kUnrevoked);
  EXPECT_EQ(b.beat(groups).assignment, std::nullopt);
  EXPECT_EQ(a.beat(groups).epoch, 3);
  EXPECT_EQ(groups.consumer("g").member("a")->state, MemberState::kStable);
  b.beat(groups);
  EXPECT_EQ(b.count(), 2U);
  EXPECT_EQ(groups.consumer("g").state(), "Stable");
}

TEST(ConsumerGroups, TargetsAreComputedNoMoreOftenThanTheInterval) {
  TestGroups groups;
  groups.set_topics({{"t", 4}});
  Client a{"a"};
  Client b{"b"};
  a.join(groups);
  groups.advance(500);
  EXPECT_EQ(b.join(groups).epoch, 2);  // of the target that there is
  EXPECT_EQ(groups.consumer("g").state(), "Assigning");
  groups.advance(499);
  b.beat(groups);
  EXPECT_EQ(groups.consumer("g").assignment_epoch, 2);
  groups.advance(1);
  EXPECT_EQ(b.beat(groups).epoch, 3);
}

TEST(ConsumerGroups, WhoDoesNotGiveUpInTimeIsPutOut) {
  TestGroups groups;
  groups.set_topics({{"t", 4}});
  Client a{"a"};
  Client b{"b"};
  a.join(groups);
  groups.advance(2'000);
  b.join(groups);
  a.beat(groups);
  a.told_all = false;
  for (int i = 0; i < 30; i++) {
    groups.advance(2'000);
    b.beat(groups);
    ConsumerHeartbeat c{.group = "g", .member = "a", .epoch = a.epoch};
    c.client_id = "client";
    c.client_host = "/127.0.0.1";
    groups.send(c);
  }
  EXPECT_EQ(groups.consumer("g").member("a"), nullptr);
  b.beat(groups);
  EXPECT_EQ(b.count(), 4U);
  EXPECT_EQ(a.beat(groups).error, ErrorCode::kUnknownMemberId);
}

TEST(ConsumerGroups, SessionsEndAndMembersLeave) {
  TestGroups groups;
  groups.set_topics({{"t", 4}});
  Client a{"a"};
  Client b{"b"};
  a.join(groups);
  groups.advance(1'000);
  b.join(groups);
  settle(groups, {&a, &b});
  for (int i = 0; i < 12; i++) {  // only b is heard of
    groups.advance(4'000);
    b.beat(groups);
  }
  EXPECT_EQ(groups.consumer("g").member("a"), nullptr);
  settle(groups, {&b});
  EXPECT_EQ(b.count(), 4U);
  EXPECT_EQ(b.leave(groups).epoch, -1);
  EXPECT_THAT(groups.lines()[0], HasSubstr("ConsumerGroupCurrentMemberAssignmentKey"));
  EXPECT_THAT(groups.lines()[1], HasSubstr("ConsumerGroupTargetAssignmentMemberKey"));
  EXPECT_THAT(groups.lines()[2], HasSubstr("ConsumerGroupMemberMetadataKey"));
  EXPECT_EQ(groups.consumer("g").state(), "Empty");
  EXPECT_EQ(groups.timer_count(), 1U);  // old offsets are looked for
  EXPECT_EQ(b.leave(groups).error, ErrorCode::kUnknownMemberId);
}

TEST(ConsumerGroups, EpochsFence) {
  TestGroups groups;
  groups.set_topics({{"t", 4}});
  Client a{"a"};
  EXPECT_EQ(
      groups
          .send<ConsumerHeartbeatAnswer>(ConsumerHeartbeat{.group = "g", .member = "a", .epoch = 1})
          .error,
      ErrorCode::kGroupIdNotFound);
  a.join(groups);
  a.epoch = 3;
  EXPECT_EQ(a.beat(groups).error, ErrorCode::kFencedMemberEpoch);
  EXPECT_TRUE(groups.lines().empty());
  a.epoch = 2;
  // The last answer was lost.
  Client b{"b"};
  groups.advance(1'000);
  b.join(groups);
  settle(groups, {&a, &b});
  a.epoch = 2;
  EXPECT_EQ(a.beat(groups).error, ErrorCode::kFencedMemberEpoch);  // it does not say what it holds
  ConsumerHeartbeat late{.group = "g", .member = "a", .epoch = 2, .owned = a.has};
  EXPECT_EQ(groups.send<ConsumerHeartbeatAnswer>(late).epoch, 3);
  late.owned = Partitions{{kTopic, {0, 1, 2, 3}}};
  EXPECT_EQ(groups.send<ConsumerHeartbeatAnswer>(late).error, ErrorCode::kFencedMemberEpoch);
}

TEST(ConsumerGroups, AStaticMemberMayGoAndComeBack) {
  TestGroups groups;
  groups.set_topics({{"t", 4}});
  Client a{"a", 0, {}, "one"};
  Client b{"b", 0, {}, "two"};
  a.join(groups);
  groups.advance(1'000);
  b.join(groups);
  settle(groups, {&a, &b});
  const Partitions had = a.has;
  // Nobody else may have its name while it is there.
  Client other{"c", 0, {}, "one"};
  EXPECT_EQ(other.join(groups).error, ErrorCode::kUnreleasedInstanceId);
  EXPECT_EQ(a.leave(groups, -2).epoch, -2);
  EXPECT_EQ(groups.consumer("g").member("a")->epoch, -2);
  for (const auto& [index, epoch] : groups.consumer("g").member("a")->assigned.at(kTopic))
    EXPECT_EQ(epoch, 0) << index;
  const int32_t epoch = groups.consumer("g").epoch;
  const auto back = other.join(groups);
  EXPECT_EQ(back.error, ErrorCode::kNone);
  EXPECT_EQ(back.assignment, had);
  EXPECT_EQ(groups.consumer("g").epoch, epoch);  // the others did not notice
  EXPECT_EQ(a.beat(groups).error, ErrorCode::kFencedInstanceId);
  // It does not come back.
  other.leave(groups, -2);
  for (int i = 0; i < 12; i++) {
    groups.advance(4'000);
    b.beat(groups);
  }
  EXPECT_EQ(groups.consumer("g").members().size(), 1U);
  settle(groups, {&b});
  EXPECT_EQ(b.count(), 4U);
}

TEST(ConsumerGroups, ChangesOfTopicsMoveTheGroup) {
  TestGroups groups;
  groups.set_topics({{"t", 2}});
  Client a{"a"};
  a.join(groups);
  groups.advance(2'000);
  groups.set_topics({{"t", 2}, {"u", 5}});  // none of its business
  a.beat(groups);
  EXPECT_EQ(groups.consumer("g").epoch, 2);
  groups.set_topics({{"t", 3}});
  a.beat(groups);
  EXPECT_EQ(groups.consumer("g").epoch, 3);
  EXPECT_EQ(a.has, (Partitions{{kTopic, {0, 1, 2}}}));
  groups.advance(2'000);
  groups.set_topics({});
  a.beat(groups);
  a.beat(groups);
  EXPECT_EQ(a.has, Partitions());
  EXPECT_EQ(groups.consumer("g").metadata_hash, 0);
}

TEST(ConsumerGroups, TheMetadataHashIsApaches) {
  TestGroups groups;
  groups.set_topics({{"t", 2}});
  Client a{"a"};
  a.join(groups);
  const int64_t hash = groups.consumer("g").metadata_hash;
  // Another coordinator that reads it need not move anybody.
  groups.restart();
  a.beat(groups);
  EXPECT_EQ(groups.consumer("g").metadata_hash, hash);
  EXPECT_EQ(groups.consumer("g").epoch, 2);
}

TEST(ConsumerGroups, SubscriptionsChange) {
  TestGroups groups;
  groups.set_topics({{"t", 2}, {"u", 2}});
  Client a{"a"};
  a.join(groups);
  groups.advance(1'000);
  ConsumerHeartbeat c{
      .group = "g", .member = "a", .epoch = 2, .topics = std::vector<std::string>{"u"}};
  const auto answer = groups.send<ConsumerHeartbeatAnswer>(c);
  EXPECT_EQ(answer.assignment, Partitions());  // first it gives up the other topic
  EXPECT_EQ(groups.consumer("g").epoch, 3);
  c = {.group = "g", .member = "a", .epoch = 2, .owned = Partitions()};
  EXPECT_EQ(groups.send<ConsumerHeartbeatAnswer>(c).assignment, (Partitions{{kOther, {0, 1}}}));
}

TEST(ConsumerGroups, ExpressionsMatchWholeNames) {
  TestGroups groups;
  groups.set_topics({{"ta", 1}, {"tb", 1}, {"xta", 1}});
  ConsumerHeartbeat c = joining("a");
  c.topics.reset();
  c.regex = "t.*";
  const auto answer = groups.send<ConsumerHeartbeatAnswer>(c);
  EXPECT_EQ(answer.assignment, (Partitions{{Uuid{1, 1}, {0}}, {Uuid{1, 2}, {0}}}));
  EXPECT_THAT(groups.lines()[1], HasSubstr("ConsumerGroupRegularExpressionValue v0 "
                                           "{\"topics\":[\"ta\",\"tb\"],"));
  // A new topic is found, but not at once.
  ConsumerHeartbeat beat{.group = "g", .member = "a", .epoch = 2};
  beat.client_id = "client";
  beat.client_host = "/127.0.0.1";
  groups.set_topics({{"ta", 1}, {"tb", 1}, {"xta", 1}, {"tc", 1}});
  groups.advance(9'000);
  EXPECT_EQ(groups.send<ConsumerHeartbeatAnswer>(beat).assignment, std::nullopt);
  groups.advance(2'000);
  const auto later = groups.send<ConsumerHeartbeatAnswer>(beat);
  ASSERT_TRUE(later.assignment);
  EXPECT_EQ(later.assignment->size(), 3U);
  // What Apache's library refuses.
  for (const char* bad : {"(", "a(?=b)", "(a)\\1", "\\C", "[z-a]", "a**"}) {
    ConsumerHeartbeat d = joining("b");
    d.topics.reset();
    d.regex = bad;
    EXPECT_EQ(groups.send<ConsumerHeartbeatAnswer>(d).error, ErrorCode::kInvalidRegularExpression)
        << bad;
    EXPECT_TRUE(groups.lines().empty());
  }
  groups.send(ConsumerHeartbeat{.group = "g", .member = "a", .epoch = -1});
  EXPECT_TRUE(groups.consumer("g").regexes.empty());
}

TEST(ConsumerGroups, CommitsGoByTheEpoch) {
  TestGroups groups;
  groups.set_topics({{"t", 4}});
  Client a{"a"};
  Client b{"b"};
  a.join(groups);
  groups.advance(1'000);
  b.join(groups);
  settle(groups, {&a, &b});
  const auto commit = [&](const std::string& member, int32_t epoch, int32_t partition,
                          int16_t version = 9) {
    const auto answer = groups.send<CommitOffsetsAnswer>(
        CommitOffsets{.group = "g",
                      .generation = epoch,
                      .member = member,
                      .version = version,
                      .topics = {{"t", kTopic, {{.index = partition, .offset = 7}}}}});
    return answer.error != ErrorCode::kNone ? answer.error : answer.results.at(0);
  };
  const int32_t kept = *a.has[kTopic].begin();
  const int32_t moved = *b.has[kTopic].begin();
  EXPECT_EQ(commit("a", 3, kept), ErrorCode::kNone);
  EXPECT_EQ(commit("a", 2, kept), ErrorCode::kNone);  // it has had it since epoch 2
  EXPECT_EQ(commit("b", 2, moved), ErrorCode::kStaleMemberEpoch);
  EXPECT_EQ(commit("a", 2, moved), ErrorCode::kStaleMemberEpoch);
  EXPECT_EQ(commit("a", 4, kept), ErrorCode::kStaleMemberEpoch);
  EXPECT_EQ(commit("c", 3, kept), ErrorCode::kUnknownMemberId);
  CommitOffsets stale{.group = "g",
                      .generation = 2,
                      .member = "b",
                      .topics = {{"t", kTopic, {{.index = moved, .offset = 7}}}},
                      .transaction = {{ProducerId(1), ProducerEpoch(0)}}};
  const auto told = groups.send<CommitOffsetsAnswer>(stale);
  EXPECT_EQ(told.error != ErrorCode::kNone ? told.error : told.results.at(0),
            ErrorCode::kIllegalGeneration);
  EXPECT_EQ(commit("a", 3, kept, 8), ErrorCode::kUnsupportedVersion);
  const auto fetch = [&](std::optional<std::string> member, int32_t epoch) {
    FetchOffsets f{.group = "g", .member = std::move(member), .epoch = epoch};
    return groups.send<FetchOffsetsAnswer>(f).error;
  };
  EXPECT_EQ(fetch(std::nullopt, -1), ErrorCode::kNone);
  EXPECT_EQ(fetch("a", 3), ErrorCode::kNone);
  EXPECT_EQ(fetch("a", 2), ErrorCode::kStaleMemberEpoch);
  EXPECT_EQ(fetch("c", 1), ErrorCode::kUnknownMemberId);
  // Topics that it reads keep their offsets; the others lose them.
  EXPECT_EQ(groups.send<DeleteOffsetsAnswer>(DeleteOffsets{.group = "g", .topics = {{"t", {kept}}}})
                .results.at(0),
            ErrorCode::kGroupSubscribedToTopic);
  EXPECT_EQ(groups.send<DeleteGroupsAnswer>(DeleteGroups{{"g"}}).results.at(0),
            ErrorCode::kNonEmptyGroup);
  a.leave(groups);
  b.leave(groups);
  EXPECT_EQ(groups.send<DeleteGroupsAnswer>(DeleteGroups{{"g"}}).results.at(0), ErrorCode::kNone);
  EXPECT_EQ(groups.state().find("g"), nullptr);
  EXPECT_EQ(groups.shadow().find("g"), nullptr);
}

TEST(ConsumerGroups, TheyAreListedAndDescribed) {
  TestGroups groups;
  groups.set_topics({{"t", 2}});
  Client a{"a"};
  a.join(groups);
  const auto listed = groups.send<ListAnswer>(List{.types = {"Consumer"}});
  ASSERT_EQ(listed.groups.size(), 1U);
  EXPECT_EQ(listed.groups[0].type, "consumer");
  EXPECT_EQ(listed.groups[0].state, "Stable");
  EXPECT_EQ(listed.groups[0].protocol_type, "consumer");
  EXPECT_TRUE(groups.send<ListAnswer>(List{.types = {"classic"}}).groups.empty());
  const auto described =
      groups.send<DescribeConsumersAnswer>(DescribeConsumers{{"g", "nobody"}}).groups;
  EXPECT_TRUE(described[0].found);
  EXPECT_EQ(described[0].assignor, "uniform");
  EXPECT_EQ(described[0].members.at(0).assigned, (Partitions{{kTopic, {0, 1}}}));
  EXPECT_EQ(described[0].members.at(0).target, (Partitions{{kTopic, {0, 1}}}));
  EXPECT_FALSE(described[1].found);
  // To those who know only the classic kind there is no such group.
  const auto classic = groups.send<DescribeAnswer>(Describe{{"g"}}).groups.at(0);
  EXPECT_FALSE(classic.found);
  EXPECT_EQ(classic.state, "Dead");
}

TEST(ConsumerGroups, ARestartForgetsNothingButSessions) {
  TestGroups groups;
  groups.set_topics({{"t", 4}});
  Client a{"a"};
  Client b{"b"};
  a.join(groups);
  groups.advance(1'000);
  b.join(groups);
  a.beat(groups);  // has yet to give up two
  const std::string before = groups.consumer("g").to_line();
  groups.restart();
  EXPECT_EQ(groups.consumer("g").to_line(), before);
  EXPECT_TRUE(groups.has_timer(session_timer("g", "a")));
  EXPECT_TRUE(groups.has_timer(rebalance_timer("g", "a")));
  settle(groups, {&a, &b});
  EXPECT_EQ(a.count(), 2U);
  EXPECT_EQ(b.count(), 2U);
}

TEST(ConsumerGroups, SettingsOfTheirOwnStayWithinTheBrokersBounds) {
  TestGroups groups(Settings{.consumer_session_timeout_ms = {45'000, 45'000, 60'000},
                             .consumer_heartbeat_interval_ms = {5'000, 300, 1'500}});
  groups.set_topics({{"t", 4}});
  Client a{"a"};
  EXPECT_EQ(a.join(groups).interval_ms, 5'000);  // the broker's
  for (const auto& [own, meant] : {std::pair("50", 300), {"700", 700}, {"5000", 1'500}}) {
    groups.set_config("g", metadata::GroupKey::kConsumerHeartbeatIntervalMs, own);
    EXPECT_EQ(a.beat(groups).interval_ms, meant);
  }
  groups.set_config("g", metadata::GroupKey::kConsumerSessionTimeoutMs, "600");
  a.beat(groups);
  groups.advance(44'000);
  EXPECT_EQ(a.beat(groups).error, ErrorCode::kNone);
  groups.advance(46'000);
  EXPECT_EQ(groups.consumer("g").members().size(), 0U);
}

TEST(ConsumerGroups, TheirSizeIsLimited) {
  TestGroups groups(Settings{.consumer_max_size = 1});
  groups.set_topics({{"t", 4}});
  Client a{"a"};
  Client b{"b"};
  a.join(groups);
  EXPECT_EQ(b.join(groups).error, ErrorCode::kGroupMaxSizeReached);
  EXPECT_EQ(a.join(groups).error, ErrorCode::kNone);
}

}  // namespace
}  // namespace odradek::machines::group
