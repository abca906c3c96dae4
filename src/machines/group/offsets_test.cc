#include <gtest/gtest.h>

#include "machines/group/group_testing.h"

namespace odradek::machines::group {
namespace {

constexpr Uuid kTopic{1, 2};

CommitOffsets commit(std::string group, int64_t offset, std::string topic = "t",
                     int32_t partition = 0) {
  return {.group = std::move(group),
          .version = 10,
          .topics = {{.name = std::move(topic),
                      .id = kTopic,
                      .partitions = {{.index = partition, .offset = offset, .metadata = "m"}}}}};
}

FetchOffsetsAnswer::Partition fetch_one(TestGroups& groups, std::string group, Uuid id = kTopic,
                                        bool require_stable = false) {
  auto answer = groups.send<FetchOffsetsAnswer>(
      FetchOffsets{.group = std::move(group),
                   .topics = {{FetchOffsets::Topic{.name = "t", .id = id, .partitions = {0}}}},
                   .require_stable = require_stable});
  return answer.topics.at(0).partitions.at(0);
}

TEST(GroupOffsets, ACommitIsOneRecordAsApacheWritesIt) {
  TestGroups groups;
  const auto answer = groups.send<CommitOffsetsAnswer>(commit("g", 42));
  EXPECT_EQ(answer.error, ErrorCode::kNone);
  EXPECT_EQ(answer.results, std::vector{ErrorCode::kNone});
  EXPECT_EQ(groups.lines(),
            Lines{"OffsetCommitKey {\"group\":\"g\",\"topic\":\"t\",\"partition\":0} "
                  "OffsetCommitValue v4 {\"offset\":42,\"leaderEpoch\":-1,\"metadata\":\"m\","
                  "\"commitTimestamp\":1000000,\"topicId\":\"AAAAAAAAAAEAAAAAAAAAAg\"}"});
  const auto told = fetch_one(groups, "g");
  EXPECT_EQ(told.offset, 42);
  EXPECT_EQ(told.metadata, "m");
  // A topic of that name with another id is another topic.
  EXPECT_EQ(fetch_one(groups, "g", Uuid{3, 4}).offset, -1);
  EXPECT_EQ(fetch_one(groups, "nobody").offset, -1);
}

TEST(GroupOffsets, ARetentionOfItsOwnIsWrittenInTheOldVersion) {
  TestGroups groups;
  CommitOffsets c = commit("g", 1);
  c.retention_ms = 5'000;
  groups.send(c);
  ASSERT_EQ(groups.lines().size(), 1U);
  EXPECT_NE(groups.lines()[0].find("OffsetCommitValue v1"), std::string::npos);
  EXPECT_NE(groups.lines()[0].find("\"expireTimestamp\":1005000"), std::string::npos);
  groups.advance(600'000);  // the check
  EXPECT_EQ(groups.state().find("g"), nullptr);
}

TEST(GroupOffsets, WhoMayCommit) {
  TestGroups groups;
  const auto error = [&](CommitOffsets c) { return groups.send<CommitOffsetsAnswer>(c).error; };
  CommitOffsets c = commit("g", 1);
  c.generation = 3;
  EXPECT_EQ(error(c), ErrorCode::kGroupIdNotFound);
  c.version = 8;
  EXPECT_EQ(error(c), ErrorCode::kIllegalGeneration);

  auto members = stable(groups, "g", 2);
  EXPECT_EQ(error(commit("g", 1)), ErrorCode::kUnknownMemberId);  // no member, but there are some
  c = commit("g", 1);
  c.member = members[0].id;
  c.generation = 1;
  EXPECT_EQ(error(c), ErrorCode::kNone);
  c.generation = 2;
  EXPECT_EQ(error(c), ErrorCode::kIllegalGeneration);
  c.member = "nobody";
  EXPECT_EQ(error(c), ErrorCode::kUnknownMemberId);
  c.member = members[0].id;
  c.instance = "i";
  EXPECT_EQ(error(c), ErrorCode::kUnknownMemberId);
}

TEST(GroupOffsets, MetadataHasALimit) {
  TestGroups groups(Settings{.metadata_max_bytes = 3});
  CommitOffsets c = commit("g", 1);
  c.topics[0].partitions[0].metadata = "\xC3\xA4\xC3\xA4\xC3\xA4";  // three characters
  EXPECT_EQ(groups.send<CommitOffsetsAnswer>(c).results, std::vector{ErrorCode::kNone});
  c.topics[0].partitions[0].metadata = "four";
  EXPECT_EQ(groups.send<CommitOffsetsAnswer>(c).results,
            std::vector{ErrorCode::kOffsetMetadataTooLarge});
  EXPECT_TRUE(groups.lines().empty());
}

TEST(GroupOffsets, ACommitOfAMemberKeepsItsSession) {
  TestGroups groups;
  auto members = stable(groups, "g", 1);
  for (int i = 0; i < 10; i++) {
    groups.advance(6'000);
    CommitOffsets c = commit("g", i);
    c.member = members[0].id;
    c.generation = 1;
    EXPECT_EQ(groups.send<CommitOffsetsAnswer>(c).error, ErrorCode::kNone);
  }
  EXPECT_EQ(groups.classic("g").members.size(), 1U);
}

TEST(GroupOffsets, DeletionSparesWhatIsSubscribed) {
  TestGroups groups;
  const auto remove = [&](std::string topic) {
    return groups.send<DeleteOffsetsAnswer>(
        DeleteOffsets{.group = "g", .topics = {{std::move(topic), {0}}}});
  };
  EXPECT_EQ(remove("t").error, ErrorCode::kGroupIdNotFound);
  groups.send(commit("g", 1));
  groups.send(commit("g", 1, "read"));
  EXPECT_EQ(remove("t").results, std::vector{ErrorCode::kNone});
  EXPECT_EQ(groups.lines(),
            Lines{"OffsetCommitKey {\"group\":\"g\",\"topic\":\"t\",\"partition\":0} null"});
  EXPECT_EQ(remove("t").results, std::vector{ErrorCode::kNone});
  EXPECT_TRUE(groups.lines().empty());  // there is none
  stable(groups, "g", 1, {{"range", subscription({"read"})}});
  EXPECT_EQ(remove("read").results, std::vector{ErrorCode::kGroupSubscribedToTopic});
  EXPECT_EQ(remove("t").results, std::vector{ErrorCode::kNone});
}

TEST(GroupOffsets, OldOnesGoAndThenTheGroup) {
  TestGroups groups(Settings{.offsets_retention = Millis(2'000'000)});
  groups.send(commit("simple", 1));
  groups.advance(1'500'000);
  groups.send(commit("simple", 2, "u"));
  groups.advance(900'000);
  EXPECT_EQ(groups.state().find("simple")->offset("t", 0), nullptr);
  EXPECT_NE(groups.state().find("simple")->offset("u", 0), nullptr);
  groups.advance(2'000'000);
  EXPECT_EQ(groups.state().find("simple"), nullptr);
  EXPECT_EQ(groups.shadow().find("simple"), nullptr);
  EXPECT_EQ(groups.timer_count(), 0U);  // nothing is left to look after
}

TEST(GroupOffsets, ThoseOfAGroupWithMembersStayWhileItReadsThem) {
  TestGroups groups(Settings{.offsets_retention = Millis(1'000)});
  auto members = stable(groups, "g", 1, {{"range", subscription({"t"})}});
  for (const char* topic : {"t", "other"}) {
    CommitOffsets c = commit("g", 7, topic);
    c.member = members[0].id;
    c.generation = 1;
    groups.send(c);
  }
  for (int i = 0; i < 80; i++) {
    groups.advance(9'000);
    groups.send(Heartbeat{.group = "g", .generation = 1, .member = members[0].id});
  }
  EXPECT_NE(groups.state().find("g")->offset("t", 0), nullptr);
  EXPECT_EQ(groups.state().find("g")->offset("other", 0), nullptr);
}

TEST(GroupOffsets, DeletedTopicsTakeThemAlong) {
  TestGroups groups;
  groups.send(commit("a", 1));
  groups.send(commit("b", 1));
  groups.send(commit("b", 1, "kept"));
  EXPECT_FALSE(groups.send<TopicsDeletedAnswer>(TopicsDeleted{{{"t", Uuid{9, 9}}}}).more);
  EXPECT_TRUE(groups.lines().empty());  // another topic of this name
  groups.send(TopicsDeleted{{{"t", kTopic}}});
  EXPECT_EQ(groups.lines().size(), 2U);
  EXPECT_EQ(fetch_one(groups, "a").offset, -1);
  EXPECT_NE(groups.state().find("b")->offset("kept", 0), nullptr);
}

TEST(GroupOffsets, MoreThanABatchGoesInSteps) {
  TestGroups groups;
  for (int g = 0; g < 20; g++) {
    CommitOffsets c = commit(fmt::format("group-{}", g), 1);
    for (int p = 1; p < 1'000; p++) c.topics[0].partitions.push_back({.index = p, .offset = 5});
    groups.send(c);
  }
  int steps = 1;
  while (groups.send<TopicsDeletedAnswer>(TopicsDeleted{{{"t", kTopic}}}).more) steps++;
  EXPECT_GT(steps, 2);
  for (const auto& [id, group] : groups.state().groups()) EXPECT_TRUE(group.offsets.empty()) << id;
}

TEST(GroupOffsets, TransactionsSettleThem) {
  TestGroups groups;
  groups.send(commit("g", 1));
  Record pending = groups.log().back();
  std::get<Stored>(pending.body).producer = ProducerId(7);
  groups.store(pending);
  EXPECT_EQ(fetch_one(groups, "g").offset, 1);
  EXPECT_EQ(fetch_one(groups, "g", kTopic, true).error, ErrorCode::kUnstableOffsetCommit);
  groups.store(Record::marker(ProducerId(8), true));  // somebody else's
  EXPECT_EQ(fetch_one(groups, "g", kTopic, true).error, ErrorCode::kUnstableOffsetCommit);
  groups.store(Record::marker(ProducerId(7), false));
  EXPECT_EQ(fetch_one(groups, "g", kTopic, true).error, ErrorCode::kNone);

  groups.store(pending);
  groups.send(commit("g", 5));  // later than the pending one: it stays
  groups.store(Record::marker(ProducerId(7), true));
  EXPECT_EQ(fetch_one(groups, "g", kTopic, true).offset, 5);
  groups.store(pending);
  groups.store(Record::marker(ProducerId(7), true));
  EXPECT_EQ(fetch_one(groups, "g", kTopic, true).offset, 1);
}

TEST(GroupOffsets, CommitsOfATransaction) {
  TestGroups groups;
  groups.send(commit("g", 1));
  CommitOffsets c = commit("g", 7);
  c.transaction = {ProducerId(5), ProducerEpoch(2)};
  EXPECT_EQ(groups.send<CommitOffsetsAnswer>(c).error, ErrorCode::kNone);
  const Stored& stored = groups.log().back().stored();
  EXPECT_EQ(stored.producer, ProducerId(5));
  EXPECT_EQ(stored.epoch, ProducerEpoch(2));
  EXPECT_TRUE(groups.log().back().apart());
  EXPECT_FALSE(groups.log().front().apart());
  EXPECT_EQ(fetch_one(groups, "g").offset, 1);
  EXPECT_EQ(fetch_one(groups, "g", kTopic, true).error, ErrorCode::kUnstableOffsetCommit);
  groups.send(EndTransaction{ProducerId(5), ProducerEpoch(3), false, 4, 2});
  EXPECT_EQ(groups.lines(), Lines({"producer 5 aborts"}));
  EXPECT_EQ(*groups.log().back().ending(), (Marker{ProducerId(5), false, ProducerEpoch(3), 4, 2}));
  EXPECT_EQ(fetch_one(groups, "g", kTopic, true).offset, 1);
  groups.send(c);
  groups.send(EndTransaction{ProducerId(5), ProducerEpoch(3), true, 4, 2});
  EXPECT_EQ(fetch_one(groups, "g", kTopic, true).offset, 7);
}

// Older producers do not say for which member they commit; who does must be a member.
TEST(GroupOffsets, WhoMayCommitInATransaction) {
  TestGroups groups;
  CommitOffsets c = commit("g", 7);
  c.transaction = {ProducerId(5), ProducerEpoch(0)};
  c.generation = 1;
  EXPECT_EQ(groups.send<CommitOffsetsAnswer>(c).error, ErrorCode::kIllegalGeneration);
  const auto members = stable(groups, "g", 1);
  c.generation = -1;
  EXPECT_EQ(groups.send<CommitOffsetsAnswer>(c).error, ErrorCode::kNone);
  c.member = "nobody";
  EXPECT_EQ(groups.send<CommitOffsetsAnswer>(c).error, ErrorCode::kUnknownMemberId);
  c.member = members[0].id;
  EXPECT_EQ(groups.send<CommitOffsetsAnswer>(c).error, ErrorCode::kIllegalGeneration);
  c.generation = members[0].joined.generation;
  EXPECT_EQ(groups.send<CommitOffsetsAnswer>(c).error, ErrorCode::kNone);
}

TEST(GroupOffsets, WhatCannotBeReadIsLeftOut) {
  State state;
  const auto feed = [&](std::string key, std::optional<std::string> value) {
    state.replay(Offset(0), Record{Stored{std::move(key), std::move(value)}});
  };
  feed("", std::nullopt);
  feed(std::string("\0", 1), std::nullopt);
  feed(std::string("\0\1\0\1g", 5), std::nullopt);  // a key that is cut
  EXPECT_EQ(state.unreadable(), 3U);
  TestGroups groups;
  groups.send(commit("g", 1));
  Stored s = groups.log()[0].stored();
  feed(s.key, std::string("\0\x63", 2));  // version 99
  feed(s.key, s.value->substr(0, 9));
  feed(std::string("\0\x7F", 2), "x");  // a type of the future
  EXPECT_EQ(state.unreadable(), 6U);
  EXPECT_NE(state.problem().find("127"), std::string::npos);
  EXPECT_TRUE(state.groups().empty());
}

}  // namespace
}  // namespace odradek::machines::group
