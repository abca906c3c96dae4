#include <algorithm>
#include <set>

#include "machines/controller/controller_testing.h"
#include "wire/gen/create_partitions.h"
#include "wire/gen/delete_topics.h"

namespace odradek::machines {
namespace {

using wire::CreateTopicsRequest;
using wire::CreateTopicsResponse;

CreateTopicsRequest::CreatableTopic& add_topic(TestController& c, CreateTopicsRequest& request,
                                               std::string_view name, int32_t partitions = -1,
                                               int16_t replication_factor = -1) {
  auto& topic = request.topics.add(c.arena);
  topic.name = name;
  topic.num_partitions = partitions;
  topic.replication_factor = replication_factor;
  return topic;
}

void assign(TestController& c, CreateTopicsRequest::CreatableTopic& topic, int32_t index,
            std::initializer_list<int32_t> brokers) {
  auto& assignment = topic.assignments.add(c.arena);
  assignment.partition_index = index;
  for (int32_t id : brokers) assignment.broker_ids.add(c.arena, id);
}

TEST(CreateTopics, Records) {
  TestController c;
  c.add_broker(1);
  CreateTopicsRequest request;
  auto& topic = add_topic(c, request, "conf", 2, 1);
  topic.configs.add(c.arena) = {"retention.ms", "60000"};
  const auto response = c.send<CreateTopicsResponse>(request, 7);
  ASSERT_EQ(response.topics.size(), 1U);
  const auto& result = response.topics[0];
  EXPECT_EQ(error_text(result), "NONE");
  EXPECT_EQ(result.num_partitions, 2);
  EXPECT_EQ(result.replication_factor, 1);
  const std::string id = result.topic_id.to_string();
  const std::string dir = test_uuid(101).to_string();
  const auto partition = [&](int index) {
    return R"(PartitionRecord v2 {"partitionId":)" + std::to_string(index) + R"(,"topicId":")" +
           id +
           R"(","replicas":[1],"isr":[1],"removingReplicas":[],"addingReplicas":[],"leader":1,)"
           R"("leaderEpoch":0,"partitionEpoch":0,"directories":[")" +
           dir + R"("]})";
  };
  EXPECT_EQ(c.lines(), (Lines{R"(TopicRecord v0 {"name":"conf","topicId":")" + id + R"("})",
                              config_line(2, "conf", "retention.ms", "\"60000\""), partition(0),
                              partition(1)}));
}

TEST(CreateTopics, AnswersWithSettingsFromVersion5) {
  TestController c({{"log.segment.bytes", "2000000"}});
  c.add_broker(1);
  CreateTopicsRequest request;
  add_topic(c, request, "conf", 1, 1).configs.add(c.arena) = {"retention.ms", "60000"};
  request.validate_only = true;
  EXPECT_TRUE(c.send<CreateTopicsResponse>(request, 4).topics[0].configs->empty());
  const auto response = c.send<CreateTopicsResponse>(request, 5);
  EXPECT_TRUE(c.lines().empty()) << "only validated";
  const auto& configs = *response.topics[0].configs;
  EXPECT_GT(configs.size(), 25U);
  EXPECT_TRUE(std::is_sorted(configs.begin(), configs.end(),
                             [](const auto& a, const auto& b) { return a.name < b.name; }));
  const auto source = [&](std::string_view name, std::string_view value) {
    for (const auto& config : configs)
      if (config.name == name && config.value == value) return int{config.config_source};
    return -9;
  };
  EXPECT_EQ(source("retention.ms", "60000"), 1);     // the topic's own
  EXPECT_EQ(source("segment.bytes", "2000000"), 4);  // the broker's file
  EXPECT_EQ(source("cleanup.policy", "delete"), 5);  // a default
  EXPECT_EQ(source("min.insync.replicas", "1"), 3);  // the cluster's, from the first records
}

TEST(CreateTopics, NamesThatAreRefused) {
  TestController c;
  c.add_broker(1);
  c.create("a.b");
  CreateTopicsRequest request;
  const std::string longest(249, 'x');
  const std::string too_long(250, 'x');
  for (std::string_view name :
       {std::string_view(""), std::string_view("."), std::string_view(".."),
        std::string_view("a b"), std::string_view(too_long), std::string_view("a_b"),
        std::string_view("a.b"), std::string_view(longest), std::string_view("__cluster_metadata"),
        std::string_view("twice"), std::string_view("twice")})
    add_topic(c, request, name, 1, 1);
  const auto response = c.send<CreateTopicsResponse>(request, 4);
  std::map<std::string, std::string> answers;
  for (const auto& t : response.topics) answers[std::string(t.name)] = error_text(t);
  EXPECT_EQ(answers[""],
            "INVALID_TOPIC_EXCEPTION: Topic name is invalid: the empty string is not allowed");
  EXPECT_EQ(answers["."], "INVALID_TOPIC_EXCEPTION: Topic name is invalid: '.' is not allowed");
  EXPECT_EQ(answers["a b"],
            "INVALID_TOPIC_EXCEPTION: Topic name is invalid: 'a b' contains one or more characters "
            "other than ASCII alphanumerics, '.', '_' and '-'");
  EXPECT_EQ(answers[too_long], "INVALID_TOPIC_EXCEPTION: Topic name is invalid: the length of '" +
                                   too_long + "' is longer than the max allowed length 249");
  EXPECT_EQ(answers["a_b"],
            "INVALID_TOPIC_EXCEPTION: Topic 'a_b' collides with existing topic: a.b");
  EXPECT_EQ(answers["a.b"], "TOPIC_ALREADY_EXISTS: Topic 'a.b' already exists.");
  EXPECT_EQ(answers[longest], "NONE");
  EXPECT_EQ(answers["__cluster_metadata"],
            "INVALID_REQUEST: Creation of internal topic __cluster_metadata is prohibited.");
  EXPECT_EQ(answers["twice"], "INVALID_REQUEST: Duplicate topic name.");
  EXPECT_EQ(response.topics.size(), 10U);
  EXPECT_EQ(c.image().topics_by_name.size(), 2U);
}

TEST(CreateTopics, ANameOfTheLongestStringIsAnswered) {
  TestController c;
  const std::string name = std::string(32'766, 'x') + "/";
  const auto response = c.create(name);
  EXPECT_EQ(response.topics[0].name, name);
  EXPECT_EQ(error_text(response.topics[0]).substr(0, 23), "INVALID_TOPIC_EXCEPTION");
}

TEST(CreateTopics, CountsThatAreRefused) {
  TestController c({{"num.partitions", "4"}});
  c.add_broker(1);
  const auto create = [&](int32_t partitions, int16_t factor) {
    return error_text(c.create("t", partitions, factor).topics[0]);
  };
  EXPECT_EQ(create(0, 1),
            "INVALID_PARTITIONS: Number of partitions was set to an invalid non-positive value.");
  EXPECT_EQ(create(1, 0),
            "INVALID_REPLICATION_FACTOR: Replication factor must be larger than 0, or -1 to use "
            "the default value.");
  EXPECT_EQ(create(1, 2),
            "INVALID_REPLICATION_FACTOR: Unable to replicate the partition 2 time(s): The target "
            "replication factor of 2 cannot be reached because only 1 broker(s) are registered or "
            "some brokers have all their log directories cordoned.");
  EXPECT_EQ(create(10'001, 1),
            "POLICY_VIOLATION: Excessively large number of partitions per request.");
  EXPECT_TRUE(c.lines().empty());
  EXPECT_EQ(create(-1, -1), "NONE");
  EXPECT_EQ(c.image().topic("t")->partitions.size(), 4U);
}

TEST(CreateTopics, SettingsThatAreRefused) {
  TestController c;
  c.add_broker(1);
  const auto create = [&](std::string_view name, std::optional<std::string_view> value) {
    CreateTopicsRequest request;
    add_topic(c, request, "t", 1, 1).configs.add(c.arena) = {name, value};
    return error_text(c.send<CreateTopicsResponse>(request, 4).topics[0]);
  };
  EXPECT_EQ(create("retention.ms", std::nullopt),
            "INVALID_CONFIG: Null value not supported for topic configs: retention.ms");
  EXPECT_EQ(create("no.such", "1").substr(0, 14), "INVALID_CONFIG");
  EXPECT_EQ(create("segment.bytes", "x").substr(0, 14), "INVALID_CONFIG");
  EXPECT_TRUE(c.lines().empty());
}

TEST(CreateTopics, WithoutAnActiveBroker) {
  TestController c;
  EXPECT_EQ(error_text(c.create("t").topics[0]),
            "INVALID_REPLICATION_FACTOR: Unable to replicate the partition 1 time(s): All brokers "
            "are currently fenced.");
}

TEST(CreateTopics, ManualAssignment) {
  TestController c;
  for (int32_t id : {1, 2, 3}) c.add_broker(id);
  CreateTopicsRequest request;
  auto& good = add_topic(c, request, "good");
  assign(c, good, 1, {2, 3});
  assign(c, good, 0, {3, 1});
  assign(c, add_topic(c, request, "empty"), 0, {});
  assign(c, add_topic(c, request, "unknown"), 0, {1, 9});
  assign(c, add_topic(c, request, "twice"), 0, {1, 1});
  assign(c, add_topic(c, request, "gap"), 1, {1});
  auto& uneven = add_topic(c, request, "uneven");
  assign(c, uneven, 0, {1});
  assign(c, uneven, 1, {1, 2});
  auto& counted = add_topic(c, request, "counted", 1);
  assign(c, counted, 0, {1});
  const auto response = c.send<CreateTopicsResponse>(request, 4);
  std::map<std::string, std::string> answers;
  for (const auto& t : response.topics) answers[std::string(t.name)] = error_text(t);
  EXPECT_EQ(answers["good"], "NONE");
  EXPECT_EQ(answers["empty"],
            "INVALID_REPLICA_ASSIGNMENT: The manual partition assignment includes an empty replica "
            "list.");
  EXPECT_EQ(answers["unknown"],
            "INVALID_REPLICA_ASSIGNMENT: The manual partition assignment includes broker 9, but no "
            "such broker is registered.");
  EXPECT_EQ(
      answers["twice"],
      "INVALID_REPLICA_ASSIGNMENT: The manual partition assignment includes the broker 1 more "
      "than once.");
  EXPECT_EQ(answers["gap"],
            "INVALID_REPLICA_ASSIGNMENT: partitions should be a consecutive 0-based integer "
            "sequence");
  EXPECT_EQ(answers["uneven"],
            "INVALID_REPLICA_ASSIGNMENT: The manual partition assignment includes a partition with "
            "2 replica(s), but this is not consistent with previous partitions, which have 1 "
            "replica(s).");
  EXPECT_EQ(answers["counted"],
            "INVALID_REQUEST: A manual partition assignment was specified, but numPartitions was "
            "not set to -1.");
  EXPECT_EQ(c.partition("good", 0).replicas, ids({3, 1}));
  EXPECT_EQ(c.partition("good", 0).leader, BrokerId(3));
  EXPECT_EQ(c.partition("good", 1).replicas, ids({2, 3}));
}

TEST(Placement, SpreadsLeadersAndRacks) {
  TestController c;
  for (int32_t id = 1; id <= 6; id++) c.add_broker(id, id % 2 ? "east" : "west");
  c.create("t", 60, 2);
  std::map<BrokerId, int> leads;
  std::map<BrokerId, int> holds;
  for (int32_t i = 0; i < 60; i++) {
    const auto& replicas = c.partition("t", i).replicas;
    ASSERT_EQ(replicas.size(), 2U);
    EXPECT_NE(replicas[0].value % 2, replicas[1].value % 2) << "two racks";
    leads[replicas[0]]++;
    for (BrokerId id : replicas) holds[id]++;
  }
  for (int32_t id = 1; id <= 6; id++) {
    EXPECT_NEAR(leads[BrokerId(id)], 10, 2) << id;
    EXPECT_NEAR(holds[BrokerId(id)], 20, 6) << id;
  }
}

TEST(Placement, TakesFencedBrokersOnlyWhenItMust) {
  TestController c;
  for (int32_t id : {1, 2, 3}) c.add_broker(id);
  c.fire("session/3");
  c.create("two", 12, 2);
  c.create("three", 4, 3);
  for (int32_t i = 0; i < 12; i++)
    EXPECT_EQ(std::set<BrokerId>(c.partition("two", i).replicas.begin(),
                                 c.partition("two", i).replicas.end()),
              (std::set<BrokerId>{BrokerId(1), BrokerId(2)}));
  EXPECT_EQ(c.partition("three").replicas.size(), 3U);
  EXPECT_EQ(c.partition("three").isr.size(), 2U);
}

TEST(DeleteTopics, ByNameAndById) {
  TestController c;
  c.add_broker(1);
  for (std::string_view name : {"a", "b", "c"}) c.create(name);
  const Uuid b = c.image().topic("b")->id;
  const Uuid topic_c = c.image().topic("c")->id;
  wire::DeleteTopicsRequest request;
  request.topics.add(c.arena).name = "a";
  request.topics.add(c.arena).topic_id = b;
  request.topics.add(c.arena).name = "none";
  request.topics.add(c.arena).topic_id = test_uuid(7);
  request.topics.add(c.arena);
  auto& both = request.topics.add(c.arena);
  both.name = "c";
  both.topic_id = topic_c;
  const auto response = c.send<wire::DeleteTopicsResponse>(request, 6);
  Lines answers;
  for (const auto& r : response.responses)
    answers.push_back(std::string(r.name.value_or("-")) + " " + error_text(r));
  std::sort(answers.begin(), answers.end());
  EXPECT_EQ(
      answers,
      (Lines{"- INVALID_REQUEST: Neither topic name nor id were specified.",
             "- UNKNOWN_TOPIC_ID: " + std::string(wire::message(wire::ErrorCode::kUnknownTopicId)),
             "a NONE", "b NONE",
             "c INVALID_REQUEST: You may not specify both topic name and topic id.",
             "none UNKNOWN_TOPIC_OR_PARTITION: " +
                 std::string(wire::message(wire::ErrorCode::kUnknownTopicOrPartition))}));
  EXPECT_EQ(c.image().topics_by_name.size(), 1U);

  wire::DeleteTopicsRequest old;
  old.topic_names.add(c.arena, "c");
  EXPECT_EQ(c.send<wire::DeleteTopicsResponse>(old, 1).responses[0].error_code, 0);
  EXPECT_TRUE(c.image().topics_by_name.empty());
  EXPECT_EQ(c.create("c").topics[0].error_code, 0) << "the name is free again";
}

TEST(DeleteTopics, TwiceInOneRequest) {
  TestController c;
  c.add_broker(1);
  c.create("a");
  c.create("b");
  wire::DeleteTopicsRequest request;
  request.topics.add(c.arena).name = "a";
  request.topics.add(c.arena).topic_id = c.image().topic("a")->id;
  request.topics.add(c.arena).name = "b";
  request.topics.add(c.arena).name = "b";
  const auto response = c.send<wire::DeleteTopicsResponse>(request, 6);
  Lines answers;
  for (const auto& r : response.responses) answers.push_back(error_text(r));
  std::sort(answers.begin(), answers.end());
  EXPECT_EQ(answers,
            (Lines{"INVALID_REQUEST: Duplicate topic name.",
                   "INVALID_REQUEST: The provided topic name maps to an ID that was already "
                   "supplied."}));
  EXPECT_TRUE(c.lines().empty());
}

TEST(DeleteTopics, CanBeDisabled) {
  TestController c({{"delete.topic.enable", "false"}});
  wire::DeleteTopicsRequest request;
  request.topic_names.add(c.arena, "a");
  const auto code = [&](int16_t version) {
    return static_cast<wire::ErrorCode>(
        c.send<wire::DeleteTopicsResponse>(request, version).responses[0].error_code);
  };
  EXPECT_EQ(code(2), wire::ErrorCode::kInvalidRequest);
  EXPECT_EQ(code(3), wire::ErrorCode::kTopicDeletionDisabled);
}

TEST(CreatePartitions, GrowsAndRefuses) {
  TestController c;
  for (int32_t id : {1, 2}) c.add_broker(id);
  c.create("t", 2, 2);
  const auto grow = [&](std::string_view name, int32_t count,
                        std::optional<std::initializer_list<int32_t>> brokers = {}) {
    wire::CreatePartitionsRequest request;
    auto& topic = request.topics.add(c.arena);
    topic.name = name;
    topic.count = count;
    topic.assignments = std::nullopt;
    if (brokers) {
      topic.assignments.emplace();
      for (int32_t id : *brokers) topic.assignments->add(c.arena).broker_ids.add(c.arena, id);
    }
    return error_text(c.send<wire::CreatePartitionsResponse>(request, 3).results[0]);
  };
  EXPECT_EQ(grow("none", 3), "UNKNOWN_TOPIC_OR_PARTITION");
  EXPECT_EQ(grow("t", 2), "INVALID_PARTITIONS: Topic already has 2 partition(s).");
  EXPECT_EQ(grow("t", 1),
            "INVALID_PARTITIONS: The topic t currently has 2 partition(s); 1 would not be an "
            "increase.");
  EXPECT_EQ(grow("t", 4, {{1}}),
            "INVALID_REPLICA_ASSIGNMENT: Attempted to add 2 additional partition(s), but only 1 "
            "assignment(s) were specified.");
  EXPECT_EQ(grow("t", 3, {{1}}),
            "INVALID_REPLICA_ASSIGNMENT: The manual partition assignment includes a partition with "
            "1 replica(s), but this is not consistent with previous partitions, which have 2 "
            "replica(s).");
  EXPECT_EQ(grow("t", 5), "NONE");
  EXPECT_EQ(c.lines().size(), 3U);
  EXPECT_EQ(c.image().topic("t")->partitions.size(), 5U);
  EXPECT_EQ(c.partition("t", 4).replicas.size(), 2U);
}

}  // namespace
}  // namespace odradek::machines
