// Group coordinators over real partitions of a simulated node.
#include "node/group_host.h"

#include <gtest/gtest.h>

#include <map>

#include "machines/group/draft.h"
#include "node/group_survey.h"
#include "replica/testing/replica_fixture.h"

namespace odradek::node {
namespace {

using machines::group::CommitOffsets;
using machines::group::CommitOffsetsAnswer;
using machines::group::FetchOffsets;
using machines::group::FetchOffsetsAnswer;
using machines::group::Join;
using machines::group::JoinAnswer;
using machines::group::Record;
using wire::ErrorCode;

/// Keeps warnings and errors.
class Lines : public LogSink {
 public:
  void write(Level level, std::string_view, std::string_view line) override {
    if (level >= Level::kInfo) lines.emplace_back(line);
  }
  bool has(std::string_view text) const {
    return std::ranges::any_of(lines, [&](const std::string& l) { return l.contains(text); });
  }
  std::vector<std::string> lines;
};

class GroupHostTest : public replica::ReplicaFixture {
 protected:
  GroupHostTest() { host_loop(); }
  ~GroupHostTest() override { host.reset(); }

  void host_loop() {
    metadata::Properties properties = metadata::BrokerConfig::standalone_properties();
    auto loaded = metadata::BrokerConfig::load(std::move(properties));
    EXPECT_TRUE(loaded);
    config = loaded->config;
    host = std::make_unique<GroupHost>(shard(), config, Logger(&lines, "groups"));
  }
  void topic() {
    offsets = create_topic("__consumer_offsets", 2, {{"cleanup.policy", "compact"}});
    sim.run_for(Millis(5));
  }
  /// As after kill -9.
  void restart() {
    host.reset();
    stop();
    node.disk().process_died();
    start();
    host_loop();
    load();
  }

  static CommitOffsets commit(std::string group, int64_t offset) {
    return {.group = std::move(group),
            .version = 9,
            .topics = {{.name = "t", .partitions = {{.index = 0, .offset = offset}}}}};
  }
  /// In this turn; the answer goes to `results[n]`.
  void submit(size_t n, machines::group::Command command, int32_t partition = 0) {
    host->submit(partition, std::move(command),
                 [this, n](server::GroupResult r) { results[n] = std::move(r); });
  }
  server::GroupResult ask(machines::group::Command command, int32_t partition = 0) {
    const size_t n = 1'000 + results.size();
    on_loop([&] { submit(n, command, partition); });
    EXPECT_TRUE(sim.run_until([&] { return results.contains(n); }, Millis(60'000)));
    return results[n];
  }
  ErrorCode error_of(const server::GroupResult& r) { return r ? ErrorCode::kNone : r.error(); }
  int64_t offset_of(std::string group, int32_t partition = 0) {
    const auto r =
        ask(FetchOffsets{.group = std::move(group), .topics = {{{.name = "t", .partitions = {0}}}}},
            partition);
    if (!r) return -1'000 - static_cast<int64_t>(r.error());
    return std::get<FetchOffsetsAnswer>(*r).topics[0].partitions[0].offset;
  }
  Join join(std::string group) {
    return {.group = std::move(group),
            .client_id = "c",
            .session_timeout_ms = 10'000,
            .rebalance_timeout_ms = 10'000,
            .protocol_type = "consumer",
            .protocols = {{"range", "x"}}};
  }

  /// The host sees the image as it is, as if all of it were new.
  void follow_image() {
    auto delta = std::make_shared<metadata::Delta>();
    delta->before = std::make_shared<metadata::Image>();
    delta->after = image;
    image->for_each_topic(
        [&](const metadata::TopicPtr& t) { delta->topics[t->id] = {nullptr, t}; });
    on_loop([&] { host->follow({image, delta}, config); });
  }

  Lines lines;
  metadata::BrokerConfigPtr config;
  std::unique_ptr<GroupHost> host;
  Uuid offsets;
  std::map<size_t, server::GroupResult> results;
};

TEST_F(GroupHostTest, CommitsOfATurnShareAnAppendAndAnswerAfterTheSync) {
  topic();
  ask(commit("first", 1));  // the files are new
  sim.run_for(Millis(10));
  results.clear();
  const uint64_t syncs = node.disk().counts().syncs;
  on_loop([&] {
    for (size_t i = 0; i < 20; i++) submit(i, commit("g" + std::to_string(i), 7));
    EXPECT_TRUE(results.empty());
  });
  EXPECT_TRUE(results.empty());  // appended, but not durable
  ASSERT_TRUE(sim.run_until([&] { return results.size() == 20; }, Millis(1'000)));
  for (const auto& [n, r] : results) EXPECT_EQ(error_of(r), ErrorCode::kNone);
  EXPECT_EQ(node.disk().counts().syncs, syncs + 1);
  EXPECT_EQ(partition(offsets).log_end(), Offset(21));
  EXPECT_EQ(offset_of("g3"), 7);
  EXPECT_EQ(error_of(ask(commit("g", 1), 9)), ErrorCode::kNotCoordinator);
}

TEST_F(GroupHostTest, WhatWasAnsweredSurvivesAPowerLoss) {
  topic();
  ask(commit("g", 41));
  ask(commit("g", 42));
  host.reset();
  stop();
  node.power_loss();
  node.restart();
  start();
  host_loop();
  load();
  ASSERT_TRUE(sim.run_until([&] { return offset_of("g") >= -1; }, Millis(1'000)));
  EXPECT_EQ(offset_of("g"), 42);
}

TEST_F(GroupHostTest, LoadingTakesTurnsAndIsToldMeanwhile) {
  topic();
  for (int i = 0; i < 30; i++) {
    CommitOffsets c = commit("g" + std::to_string(i), i);
    for (int p = 1; p < 1'000; p++)
      c.topics[0].partitions.push_back({.index = p, .metadata = std::string(20, 'x')});
    ask(c);
  }
  EXPECT_GT(partition(offsets).log().size(), 4 * LogLoader::kStep);
  restart();
  EXPECT_EQ(error_of(ask(commit("g1", 1))), ErrorCode::kCoordinatorLoadInProgress);
  ASSERT_TRUE(sim.run_until([&] { return offset_of("g29") == 29; }, Millis(60'000)));
  EXPECT_TRUE(lines.lines.empty());
}

TEST_F(GroupHostTest, AFailedAppendLoadsTheMachineAnew) {
  topic();
  ask(commit("g", 1));
  submit(1, join("waits"));
  sim.run_for(Millis(100));
  EXPECT_FALSE(results.contains(1));
  node.disk().set_fault([](sim::DiskOp op, const std::string& path) -> std::optional<Error> {
    if (op != sim::DiskOp::kWrite || !path.contains("__consumer_offsets-0")) return std::nullopt;
    return Error{Errc::kNoSpace, "full"};
  });
  on_loop([&] {
    submit(2, commit("g", 2));
    submit(3, FetchOffsets{.group = "g"});
  });
  sim.run_for(Millis(10));
  // Nobody is told what is in no log; whoever waits asks anew.
  EXPECT_EQ(error_of(results.at(1)), ErrorCode::kNotCoordinator);
  EXPECT_EQ(error_of(results.at(2)), ErrorCode::kNotCoordinator);
  EXPECT_EQ(error_of(results.at(3)), ErrorCode::kNotCoordinator);
  EXPECT_TRUE(lines.has("begins anew"));
  node.disk().set_fault(nullptr);
  EXPECT_EQ(error_of(ask(commit("g", 3))), ErrorCode::kCoordinatorLoadInProgress);
  ASSERT_TRUE(sim.run_until([&] { return offset_of("g") >= -1; }, Millis(1'000)));
  EXPECT_EQ(offset_of("g"), 1);
  EXPECT_EQ(error_of(ask(commit("g", 3))), ErrorCode::kNone);
  EXPECT_EQ(offset_of("g"), 3);
}

TEST_F(GroupHostTest, AJoinIsAnsweredWhenTheTimeHasCome) {
  topic();
  submit(1, join("g"));
  sim.run_for(Millis(2'900));
  EXPECT_FALSE(results.contains(1));
  sim.run_for(Millis(200));
  ASSERT_TRUE(results.contains(1));
  EXPECT_EQ(std::get<JoinAnswer>(*results[1]).generation, 1);
}

TEST_F(GroupHostTest, WhoeverWaitsIsToldWhenAnotherLeads) {
  topic();
  submit(1, join("g"));
  ask(commit("h", 5), 1);
  set_leader(offsets, BrokerId(2));  // of partition 0
  EXPECT_EQ(error_of(results.at(1)), ErrorCode::kNotCoordinator);
  EXPECT_EQ(error_of(ask(commit("g", 1))), ErrorCode::kNotCoordinator);
  EXPECT_EQ(offset_of("h", 1), 5);
  set_leader(offsets, kNode);
  sim.run_for(Millis(10));
  EXPECT_EQ(error_of(ask(commit("g", 1))), ErrorCode::kNone);
  delete_topic(offsets);
  EXPECT_EQ(error_of(ask(commit("h", 1), 1)), ErrorCode::kNotCoordinator);
}

TEST_F(GroupHostTest, OffsetsGoWithTheirTopic) {
  topic();
  const Uuid t = create_topic("t");
  ask(commit("g", 5));
  const auto follow = [&] {
    const auto before = image;
    record(wire::RemoveTopicRecord{.topic_id = t}, 0);
    const metadata::Publication p = build();
    publish(p);
    on_loop([&] { host->follow(p, config); });
  };
  // While the coordinator loads, the deletion waits for it.
  restart();
  follow();
  ASSERT_TRUE(sim.run_until([&] { return offset_of("g") == -1; }, Millis(1'000)));
  EXPECT_EQ(partition(offsets).log_end(), Offset(2));
}

TEST_F(GroupHostTest, ConsumersGetPartitionsOfTopicsThatCome) {
  using machines::group::ConsumerHeartbeat;
  using machines::group::ConsumerHeartbeatAnswer;
  using machines::group::Partitions;
  topic();
  follow_image();
  ConsumerHeartbeat c{.group = "g",
                      .member = "m",
                      .rebalance_timeout_ms = 10'000,
                      .topics = std::vector<std::string>{"t"},
                      .owned = Partitions()};
  const auto beat = [&] { return std::get<ConsumerHeartbeatAnswer>(*ask(c)); };
  EXPECT_EQ(beat().assignment, Partitions());
  c.epoch = 2;
  const Uuid t = create_topic("t", 2);
  follow_image();
  sim.run_for(Millis(2'000));
  auto answer = beat();
  EXPECT_EQ(answer.epoch, 3);
  EXPECT_EQ(answer.assignment, (Partitions{{t, {0, 1}}}));
  // After a restart it is where it was, and has nothing to do.
  restart();
  follow_image();
  c = {.group = "g", .member = "m", .epoch = 3};
  ASSERT_TRUE(sim.run_until([&] { return error_of(ask(c)) == ErrorCode::kNone; }, Millis(1'000)));
  answer = beat();
  EXPECT_EQ(answer.error, ErrorCode::kNone);
  EXPECT_EQ(answer.epoch, 3);
  EXPECT_EQ(answer.assignment, std::nullopt);
}

TEST_F(GroupHostTest, RecordsThatCannotBeReadAreLeftOut) {
  topic();
  ask(commit("g", 5));
  on_loop([&] {
    wire::BatchBuilder builder({.base_offset = partition(offsets).log_end()});
    builder.add(WallMs(1), std::nullopt, as_bytes("no key"));
    builder.add(WallMs(1), as_bytes("x"), as_bytes("y"));
    builder.add(WallMs(1), as_bytes(std::string_view("\0\x63", 2)), as_bytes("y"));
    ByteBuffer batch = *builder.build();
    EXPECT_EQ(partition(offsets).append_own(batch, WallMs(1)).error, ErrorCode::kNone);
  });
  ask(commit("g", 6));
  restart();
  ASSERT_TRUE(sim.run_until([&] { return offset_of("g") >= -1; }, Millis(1'000)));
  EXPECT_EQ(offset_of("g"), 6);
  EXPECT_TRUE(lines.has("offset 1 has no key"));
  EXPECT_TRUE(lines.has("offset 2 is left out"));
  EXPECT_TRUE(lines.has("record type 99"));
}

TEST_F(GroupHostTest, ASurveyComesInStepsAndHasALimit) {
  topic();
  for (int i = 0; i < 20; i++) {
    CommitOffsets c = commit("g" + std::to_string(i), i);
    c.topics[0].partitions.push_back({.index = 1, .offset = 7});
    ask(c, i % 2);
  }
  GroupSurvey survey;
  on_loop([&] {
    SurveyCursor cursor;
    int steps = 1;
    while (host->survey(cursor, survey, 30, 8)) steps++;
    EXPECT_GT(steps, 5);
  });
  EXPECT_EQ(survey.groups.size(), 15u);
  EXPECT_EQ(survey.offsets.size(), 30u);
  EXPECT_EQ(survey.omitted, 10u);
  EXPECT_EQ(survey.states["Empty"], 20u);
  EXPECT_EQ(survey.offsets[1].committed, Offset(7));
  EXPECT_EQ(survey.groups[survey.offsets[1].group].id, "g0");
}

TEST_F(GroupHostTest, ASurveyNamesThoseWhoAreLate) {
  topic();
  on_loop([&] { submit(1, join("g")); });
  sim.run_for(Millis(4'000));  // the initial delay, and then it has to assign
  GroupSurvey survey;
  const auto ask_again = [&] {
    on_loop([&] {
      survey = {};
      SurveyCursor cursor;
      while (host->survey(cursor, survey, 10, 10)) {
      }
    });
  };
  ask_again();
  ASSERT_EQ(survey.groups.size(), 1u);
  ASSERT_EQ(survey.groups[0].late.size(), 1u);
  const LateMember& late = survey.groups[0].late[0];
  EXPECT_EQ(late.member.what, machines::group::Awaited::For::kSync);
  EXPECT_NEAR(double(late.silent.value), 1'000, 100);
  EXPECT_NEAR(double(late.left.value), 9'000, 100);
  const std::string member = late.member.member;
  ask(machines::group::Sync{
      .group = "g", .generation = 1, .member = member, .assignments = {{member, "all"}}});
  ask_again();
  EXPECT_EQ(survey.groups[0].late.size(), 0u);
  sim.run_for(Millis(5'500));
  ask_again();
  ASSERT_EQ(survey.groups[0].late.size(), 1u);
  EXPECT_EQ(survey.groups[0].late[0].member.what, machines::group::Awaited::For::kHeartbeat);
  EXPECT_NEAR(double(survey.groups[0].late[0].silent.value), 5'500, 200);
}

TEST_F(GroupHostTest, NothingStirsWhileNobodyAsks) {
  topic();
  ask(commit("g", 5));
  restart();
  sim.run_for(Millis(1'000));
  const uint64_t writes = node.disk().counts().writes;
  const uint64_t reads = node.disk().counts().reads;
  sim.run_for(Millis(3'600'000));
  EXPECT_EQ(node.disk().counts().reads, reads);
  // Checkpoints of the shard, which are no concern of the groups.
  EXPECT_LT(node.disk().counts().writes, writes + 10);
}

}  // namespace
}  // namespace odradek::node
