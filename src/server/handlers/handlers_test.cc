// Handlers of metadata and administration, through whole frames and the real dispatch table.
#include "server/handlers/handlers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "server/handlers/topic_view.h"
#include "server/testing/small_image.h"
#include "server/testing/test_server.h"
#include "wire/gen/api_versions.h"
#include "wire/gen/create_topics.h"
#include "wire/gen/describe_cluster.h"
#include "wire/gen/describe_configs.h"
#include "wire/gen/describe_topic_partitions.h"
#include "wire/gen/find_coordinator.h"
#include "wire/gen/incremental_alter_configs.h"
#include "wire/gen/list_config_resources.h"
#include "wire/gen/metadata.h"

namespace odradek::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TestClient;
using testing::TestServer;
using wire::ErrorCode;

class HandlersTest : public ::testing::Test {
 protected:
  HandlersTest() : server_(dispatch_table()), image_(testing::small_image()) {
    testing::add_topic(*image_, "a", 3, 1);
    testing::add_topic(*image_, "b", 2, 2);
    server_.set_image(image_);
    server_.services().config = testing::small_config();
    client_.emplace(server_.connect());
  }
  /// A controller that creates what CreateTopics names and says so.
  void create_on_demand(ErrorCode error = ErrorCode::kNone) {
    server_.controller.on_ask = [this, error](const testing::FakeController::Asked& asked) {
      Arena arena;
      wire::Reader reader(asked.body, arena);
      wire::CreateTopicsRequest body;
      EXPECT_TRUE(body.decode(reader, asked.version));
      wire::CreateTopicsResponse response;
      auto next = std::make_shared<metadata::Image>(*image_);
      for (const auto& t : body.topics) {
        auto& r = response.topics.add(arena);
        r.name = t.name;
        r.error_code = wire::wire_value(error);
        if (error == ErrorCode::kNone)
          testing::add_topic(*next, std::string(t.name), t.num_partitions, 99);
      }
      server_.set_image(next);
      wire::Writer w;
      response.encode(w, asked.version);
      return w.take();
    };
  }
  wire::MetadataRequest ask_for(std::initializer_list<std::string_view> names) {
    wire::MetadataRequest body;
    body.topics.emplace();
    for (std::string_view name : names) body.topics->add(arena_).name = name;
    return body;
  }

  Arena arena_;
  TestServer server_;
  std::shared_ptr<metadata::Image> image_;
  std::optional<TestClient> client_;
};

std::vector<int16_t> keys(const wire::ApiVersionsResponse& response) {
  std::vector<int16_t> out;
  for (const auto& k : response.api_keys) out.push_back(k.api_key);
  return out;
}

wire::ApiVersionsRequest named_client() {
  wire::ApiVersionsRequest body;
  body.client_software_name = "test-client";
  body.client_software_version = "1.0";
  return body;
}

TEST_F(HandlersTest, ApiVersionsTellsWhatTheListenerServes) {
  const auto broker = client_->call<wire::ApiVersionsResponse>(named_client(), 4);
  ASSERT_TRUE(broker);
  EXPECT_EQ(broker->error_code, 0);
  const auto& produce = broker->api_keys[0];
  EXPECT_EQ(produce.api_key, 0);
  EXPECT_EQ(produce.min_version, 0) << "advertised from 0, as older librdkafka needs it";
  EXPECT_EQ(produce.max_version, 13);
  const auto on_brokers = std::ranges::count_if(dispatch_table().entries(), &ApiEntry::broker);
  EXPECT_EQ(std::ssize(keys(*broker)), on_brokers);

  TestClient client = server_.connect(ListenerKind::kController);
  const auto controller = client.call<wire::ApiVersionsResponse>(named_client(), 4);
  ASSERT_TRUE(controller);
  EXPECT_THAT(keys(*controller),
              ElementsAre(18, 19, 20, 32, 33, 37, 43, 44, 45, 46, 55, 57, 60, 73));
}

TEST_F(HandlersTest, ApiVersionsBefore4LeavesOutFeaturesFromLevelZero) {
  const auto v3 = client_->call<wire::ApiVersionsResponse>(named_client(), 3);
  ASSERT_TRUE(v3);
  ASSERT_EQ(v3->supported_features.size(), 1U);
  EXPECT_EQ(v3->supported_features[0].name, "metadata.version");
  EXPECT_EQ(v3->supported_features[0].min_version, 7);
  EXPECT_EQ(v3->finalized_features.size(), 2U);
  EXPECT_EQ(v3->finalized_features_epoch, 41);
  const auto v4 = client_->call<wire::ApiVersionsResponse>(named_client(), 4);
  ASSERT_TRUE(v4);
  EXPECT_EQ(v4->supported_features.size(), 7U);
}

TEST_F(HandlersTest, ApiVersionsAnswersVersionsItDoesNotKnow) {
  const int32_t id = client_->send_request(named_client(), 4);
  ASSERT_TRUE(client_->receive());
  wire::Writer w;  // version 5, which our schemas do not have
  const auto mark = w.begin_frame();
  w.int16(18);
  w.int16(5);
  w.int32(id + 1);
  w.null_string();
  w.uvarint(0);
  w.raw(as_bytes("anything"));
  w.end_frame(mark);
  client_->send(w.take());
  const auto frame = client_->receive();
  ASSERT_TRUE(frame);
  Arena arena;
  wire::Reader reader(*frame, arena);
  EXPECT_EQ(reader.int32(), id + 1);
  wire::ApiVersionsResponse response;
  ASSERT_TRUE(response.decode(reader, 0));
  EXPECT_EQ(response.error_code, wire::wire_value(ErrorCode::kUnsupportedVersion));
  EXPECT_THAT(keys(response), ElementsAre(18));
  EXPECT_EQ(response.api_keys[0].max_version, 4);
}

TEST_F(HandlersTest, ApiVersionsChecksTheClientsName) {
  wire::ApiVersionsRequest body = named_client();
  body.client_software_name = "bad name";
  const auto answer = client_->call<wire::ApiVersionsResponse>(body, 3);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->error_code, wire::wire_value(ErrorCode::kInvalidRequest));
}

TEST_F(HandlersTest, MetadataOfAllTopicsInEveryVersion) {
  for (int16_t version = 0; version <= 13; version++) {
    wire::MetadataRequest all;
    all.topics = version == 0 ? std::optional(Array<wire::MetadataRequest::MetadataRequestTopic>())
                              : std::nullopt;
    const auto answer = client_->call<wire::MetadataResponse>(all, version);
    ASSERT_TRUE(answer) << version;
    ASSERT_EQ(answer->brokers.size(), 1U) << "the fenced broker is not told";
    EXPECT_EQ(answer->brokers[0].host, "broker1");
    EXPECT_EQ(answer->brokers[0].port, 9092);
    ASSERT_EQ(answer->topics.size(), 2U);
    if (version >= 1) EXPECT_EQ(answer->controller_id, 1);
    if (version >= 2) EXPECT_EQ(answer->cluster_id, server_.services().cluster_id);
    for (const auto& topic : answer->topics) {
      EXPECT_EQ(topic.error_code, 0);
      EXPECT_EQ(topic.partitions.size(), topic.name == "a" ? 3U : 2U);
      EXPECT_EQ(topic.partitions[0].leader_id, 1);
      if (version >= 7) EXPECT_EQ(topic.partitions[0].leader_epoch, 3);
      if (version >= 10) EXPECT_EQ(topic.topic_id.high, 7U);
    }
  }
}

TEST_F(HandlersTest, MetadataOfNoTopics) {
  const auto answer = client_->call<wire::MetadataResponse>(ask_for({}), 12);
  ASSERT_TRUE(answer);
  EXPECT_TRUE(answer->topics.empty());
  EXPECT_EQ(answer->brokers.size(), 1U);
}

TEST_F(HandlersTest, MetadataById) {
  wire::MetadataRequest body = ask_for({});
  body.topics->add(arena_).topic_id = Uuid{7, 2};
  body.topics->add(arena_).topic_id = Uuid{9, 9};
  for (auto& t : *body.topics) t.name = std::nullopt;
  const auto answer = client_->call<wire::MetadataResponse>(body, 12);
  ASSERT_TRUE(answer);
  ASSERT_EQ(answer->topics.size(), 2U);
  EXPECT_EQ(answer->topics[0].name, "b");
  EXPECT_EQ(answer->topics[1].error_code, wire::wire_value(ErrorCode::kUnknownTopicId));
  EXPECT_EQ(answer->topics[1].name, std::nullopt);
  EXPECT_TRUE(server_.controller.asked.empty());
}

TEST_F(HandlersTest, MetadataCreatesWhatIsMissingAndAnswersOnceItIsThere) {
  create_on_demand();
  const auto answer = client_->call<wire::MetadataResponse>(ask_for({"new", "a", "new"}), 9);
  ASSERT_TRUE(answer);
  ASSERT_EQ(answer->topics.size(), 2U);
  EXPECT_EQ(answer->topics[0].name, "new");
  EXPECT_EQ(answer->topics[0].error_code, 0);
  EXPECT_EQ(answer->topics[0].partitions.size(), 1U) << "num.partitions";
  EXPECT_EQ(server_.controller.asked.size(), 1U);
}

TEST_F(HandlersTest, MetadataDoesNotCreateWhenNotAllowed) {
  create_on_demand();
  wire::MetadataRequest body = ask_for({"new", "bad name"});
  body.allow_auto_topic_creation = false;
  auto answer = client_->call<wire::MetadataResponse>(body, 9);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->topics[0].error_code, wire::wire_value(ErrorCode::kUnknownTopicOrPartition));
  EXPECT_EQ(answer->topics[1].error_code, wire::wire_value(ErrorCode::kInvalidTopicException));

  server_.services().config = testing::small_config({{"auto.create.topics.enable", "false"}});
  answer = client_->call<wire::MetadataResponse>(ask_for({"new"}), 9);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->topics[0].error_code, wire::wire_value(ErrorCode::kUnknownTopicOrPartition));
  EXPECT_TRUE(server_.controller.asked.empty());
}

TEST_F(HandlersTest, MetadataOfWhatCannotBeCreated) {
  create_on_demand(ErrorCode::kInvalidReplicationFactor);
  const auto answer = client_->call<wire::MetadataResponse>(ask_for({"new"}), 9);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->topics[0].error_code, wire::wire_value(ErrorCode::kUnknownTopicOrPartition));
  EXPECT_TRUE(server_.lines.has("INVALID_REPLICATION_FACTOR"));
}

TEST_F(HandlersTest, MetadataWithoutALeader) {
  auto next = std::make_shared<metadata::Image>(*image_);
  auto topic = std::make_shared<metadata::Topic>(*image_->topic("b"));
  auto orphan = std::make_shared<metadata::Partition>(*topic->partitions[0]);
  orphan->leader = kNoBroker;
  topic->partitions[0] = orphan;
  auto elsewhere = std::make_shared<metadata::Partition>(*topic->partitions[1]);
  elsewhere->leader = BrokerId(2);
  elsewhere->replicas = {BrokerId(1), BrokerId(2)};
  topic->partitions[1] = elsewhere;
  next->topics_by_name.set(metadata::next_edit_token(), topic);
  server_.set_image(next);
  const auto answer = client_->call<wire::MetadataResponse>(ask_for({"b"}), 9);
  ASSERT_TRUE(answer);
  const auto& p = answer->topics[0].partitions;
  EXPECT_EQ(p[0].error_code, wire::wire_value(ErrorCode::kLeaderNotAvailable));
  EXPECT_EQ(p[0].leader_id, -1);
  EXPECT_EQ(p[1].error_code, 0);
  ASSERT_EQ(p[1].offline_replicas.size(), 1U) << "broker 2 is fenced";
  EXPECT_EQ(p[1].offline_replicas[0], 2);
  const auto v0 = client_->call<wire::MetadataResponse>(ask_for({"b"}), 0);
  ASSERT_TRUE(v0);
  EXPECT_EQ(v0->topics[0].partitions[1].error_code,
            wire::wire_value(ErrorCode::kReplicaNotAvailable));
}

TEST_F(HandlersTest, MetadataTellsAuthorizedOperationsOnRequest) {
  wire::MetadataRequest body = ask_for({"a"});
  auto answer = client_->call<wire::MetadataResponse>(body, 8);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->topics[0].topic_authorized_operations, INT32_MIN);
  EXPECT_EQ(answer->cluster_authorized_operations, INT32_MIN);
  body.include_topic_authorized_operations = true;
  body.include_cluster_authorized_operations = true;
  answer = client_->call<wire::MetadataResponse>(body, 8);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->topics[0].topic_authorized_operations, kAllTopicOperations);
  EXPECT_EQ(answer->cluster_authorized_operations, kAllClusterOperations);
}

TEST_F(HandlersTest, ForwardsToTheControllerAndAnswersWithItsBytes) {
  server_.controller.on_ask = [](const testing::FakeController::Asked& asked) {
    EXPECT_EQ(asked.api, wire::ApiKey::kCreateTopics);
    EXPECT_EQ(asked.version, 7);
    Arena arena;
    wire::CreateTopicsResponse response;
    response.topics.add(arena).name = "x";
    wire::Writer w;
    response.encode(w, 7);
    return w.take();
  };
  const auto answer = client_->call<wire::CreateTopicsResponse>(wire::CreateTopicsRequest(), 7);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->topics[0].name, "x");
  server_.controller.on_ask = [](const testing::FakeController::Asked&) {
    return fail(Errc::kClosed, "no leader");
  };
  client_->send_request(wire::CreateTopicsRequest(), 7);
  EXPECT_TRUE(client_->closed_by_server());
  EXPECT_TRUE(server_.lines.has("no leader"));
}

TEST_F(HandlersTest, DescribeClusterKnowsItsKindOfNode) {
  wire::DescribeClusterRequest body;
  auto answer = client_->call<wire::DescribeClusterResponse>(body, 2);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->brokers.size(), 1U);
  EXPECT_EQ(answer->brokers[0].rack, "r1");
  EXPECT_EQ(answer->controller_id, 1);
  body.include_fenced_brokers = true;
  answer = client_->call<wire::DescribeClusterResponse>(body, 2);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->brokers.size(), 2U);
  EXPECT_TRUE(answer->brokers[1].is_fenced);
  body = {};
  body.endpoint_type = 2;
  answer = client_->call<wire::DescribeClusterResponse>(body, 1);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->error_code, wire::wire_value(ErrorCode::kMismatchedEndpointType));
  TestClient client = server_.connect(ListenerKind::kController);
  answer = client.call<wire::DescribeClusterResponse>(body, 1);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->brokers[0].port, 9093);
  EXPECT_EQ(answer->controller_id, 1);
}

TEST_F(HandlersTest, DescribeTopicPartitionsPages) {
  wire::DescribeTopicPartitionsRequest body;
  body.response_partition_limit = 2;
  std::vector<std::pair<std::string, int32_t>> seen;
  for (int page = 0; page < 3; page++) {
    const auto answer = client_->call<wire::DescribeTopicPartitionsResponse>(body, 0);
    ASSERT_TRUE(answer);
    for (const auto& t : answer->topics) {
      EXPECT_EQ(t.topic_authorized_operations, kAllTopicOperations);
      for (const auto& p : t.partitions) seen.emplace_back(*t.name, p.partition_index);
    }
    EXPECT_EQ(answer->next_cursor.has_value(), page < 2);
    if (!answer->next_cursor) break;
    body.cursor.emplace();
    body.cursor->topic_name = arena_.copy(answer->next_cursor->topic_name);
    body.cursor->partition_index = answer->next_cursor->partition_index;
  }
  const std::vector<std::pair<std::string, int32_t>> all = {
      {"a", 0}, {"a", 1}, {"a", 2}, {"b", 0}, {"b", 1}};
  EXPECT_EQ(seen, all);
}

TEST_F(HandlersTest, DescribeTopicPartitionsRefusesBadCursors) {
  wire::DescribeTopicPartitionsRequest body;
  body.topics.add(arena_).name = "a";
  body.topics.add(arena_).name = "missing";
  auto answer = client_->call<wire::DescribeTopicPartitionsResponse>(body, 0);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->topics[1].error_code, wire::wire_value(ErrorCode::kUnknownTopicOrPartition));
  body.cursor.emplace();
  body.cursor->topic_name = "a1";
  answer = client_->call<wire::DescribeTopicPartitionsResponse>(body, 0);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->topics[0].error_code, wire::wire_value(ErrorCode::kInvalidRequest));
}

TEST_F(HandlersTest, FindCoordinatorKnowsThoseOfGroups) {
  create_on_demand();
  wire::FindCoordinatorRequest one;
  one.key = "g";
  const auto old = client_->call<wire::FindCoordinatorResponse>(one, 2);
  ASSERT_TRUE(old);
  EXPECT_EQ(old->error_code, wire::wire_value(ErrorCode::kNone));
  EXPECT_EQ(old->node_id, 1);
  EXPECT_EQ(old->host, "broker1");
  EXPECT_EQ(old->port, 9092);
  // The topic was made for it, once.
  ASSERT_EQ(server_.controller.asked.size(), 1U);
  wire::FindCoordinatorRequest many;
  many.coordinator_keys.add(arena_, "x");
  many.coordinator_keys.add(arena_, "y");
  const auto v4 = client_->call<wire::FindCoordinatorResponse>(many, 4);
  ASSERT_TRUE(v4);
  ASSERT_EQ(v4->coordinators.size(), 2U);
  EXPECT_EQ(v4->coordinators[1].key, "y");
  EXPECT_EQ(v4->coordinators[1].node_id, 1);
  EXPECT_EQ(server_.controller.asked.size(), 1U);
}

TEST_F(HandlersTest, FindCoordinatorWithoutTheTopic) {
  create_on_demand(ErrorCode::kInvalidReplicationFactor);
  wire::FindCoordinatorRequest one;
  one.key = "g";
  const auto answer = client_->call<wire::FindCoordinatorResponse>(one, 2);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->error_code, wire::wire_value(ErrorCode::kCoordinatorNotAvailable));
  EXPECT_EQ(answer->node_id, -1);
  EXPECT_TRUE(server_.lines.has("__consumer_offsets"));
}

TEST_F(HandlersTest, FindCoordinatorHasNoneOfShares) {
  create_on_demand(ErrorCode::kInvalidReplicationFactor);
  wire::FindCoordinatorRequest one;
  one.key = "t";
  one.key_type = 1;
  const auto old = client_->call<wire::FindCoordinatorResponse>(one, 2);
  ASSERT_TRUE(old);
  EXPECT_EQ(old->error_code, wire::wire_value(ErrorCode::kCoordinatorNotAvailable));
  EXPECT_EQ(old->node_id, -1);
  wire::FindCoordinatorRequest many;
  many.key_type = 2;
  many.coordinator_keys.add(arena_, "x");
  many.coordinator_keys.add(arena_, "y");
  many.coordinator_keys.add(arena_, "g:AAAAAAAAAAAAAAAAAAAAAQ:0");
  const auto v6 = client_->call<wire::FindCoordinatorResponse>(many, 6);
  ASSERT_TRUE(v6);
  EXPECT_EQ(v6->coordinators[0].error_code, wire::wire_value(ErrorCode::kInvalidRequest));
  EXPECT_EQ(v6->coordinators[2].error_code, wire::wire_value(ErrorCode::kCoordinatorNotAvailable));
  const auto v5 = client_->call<wire::FindCoordinatorResponse>(many, 5);
  ASSERT_TRUE(v5);
  ASSERT_EQ(v5->coordinators.size(), 3U);
  EXPECT_EQ(v5->coordinators[1].key, "y");
  EXPECT_EQ(v5->coordinators[1].error_code, wire::wire_value(ErrorCode::kInvalidRequest));
}

TEST_F(HandlersTest, ListConfigResources) {
  auto v0 = client_->call<wire::ListConfigResourcesResponse>(wire::ListConfigResourcesRequest(), 0);
  ASSERT_TRUE(v0);
  EXPECT_TRUE(v0->config_resources.empty());
  wire::ListConfigResourcesRequest body;
  body.resource_types.add(arena_, int8_t{2});
  auto v1 = client_->call<wire::ListConfigResourcesResponse>(body, 1);
  ASSERT_TRUE(v1);
  EXPECT_EQ(v1->config_resources.size(), 2U);
  body.resource_types.add(arena_, int8_t{77});
  v1 = client_->call<wire::ListConfigResourcesResponse>(body, 1);
  ASSERT_TRUE(v1);
  EXPECT_EQ(v1->error_code, wire::wire_value(ErrorCode::kUnsupportedVersion));
}

TEST_F(HandlersTest, DescribeConfigsOfATopicAndOfNone) {
  wire::DescribeConfigsRequest body;
  auto& topic = body.resources.add(arena_);
  topic.resource_type = 2;
  topic.resource_name = "a";
  topic.configuration_keys.emplace();
  topic.configuration_keys->add(arena_, "retention.ms");
  auto& missing = body.resources.add(arena_);
  missing.resource_type = 2;
  missing.resource_name = "missing";
  body.include_synonyms = true;
  const auto answer = client_->call<wire::DescribeConfigsResponse>(body, 4);
  ASSERT_TRUE(answer);
  ASSERT_EQ(answer->results.size(), 2U);
  ASSERT_EQ(answer->results[0].configs.size(), 1U);
  EXPECT_EQ(answer->results[0].configs[0].value, "604800000");
  EXPECT_EQ(answer->results[0].error_message, "");
  EXPECT_EQ(answer->results[1].error_code, wire::wire_value(ErrorCode::kUnknownTopicOrPartition));
}

TEST_F(HandlersTest, IncrementalAlterConfigsKeepsWhatItRefusesFromTheController) {
  server_.controller.on_ask = [](const testing::FakeController::Asked& asked) {
    Arena arena;
    wire::Reader reader(asked.body, arena);
    wire::IncrementalAlterConfigsRequest body;
    EXPECT_TRUE(body.decode(reader, asked.version));
    EXPECT_EQ(body.resources.size(), 1U);
    wire::IncrementalAlterConfigsResponse response;
    auto& r = response.responses.add(arena);
    r.resource_type = 2;
    r.resource_name = body.resources[0].resource_name;
    wire::Writer w;
    response.encode(w, asked.version);
    return w.take();
  };
  wire::IncrementalAlterConfigsRequest body;
  auto add = [&](int8_t type, std::string_view name) {
    auto& r = body.resources.add(arena_);
    r.resource_type = type;
    r.resource_name = name;
    auto& c = r.configs.add(arena_);
    c.name = "retention.ms";
    c.value = "5";
  };
  add(2, "a");
  add(2, "b");
  add(2, "b");
  add(4, "17");  // another broker's id
  const auto answer = client_->call<wire::IncrementalAlterConfigsResponse>(body, 1);
  ASSERT_TRUE(answer);
  std::vector<std::pair<std::string, int16_t>> got;
  for (const auto& r : answer->responses) got.emplace_back(r.resource_name, r.error_code);
  const int16_t refused = wire::wire_value(ErrorCode::kInvalidRequest);
  EXPECT_THAT(got, ElementsAre(std::pair("b", refused), std::pair("b", refused),
                               std::pair("17", refused), std::pair("a", int16_t{0})));
}

TEST_F(HandlersTest, ProduceBeforeVersion3IsAnsweredWithAnError) {
  for (int version : {0, 1, 2}) {
    wire::Writer w;
    const auto mark = w.begin_frame();
    w.int16(0);
    w.int16(static_cast<int16_t>(version));
    w.int32(7);
    w.string("old");
    w.int16(1);
    w.int32(1000);
    w.count(1);
    w.string("t");
    w.count(1);
    w.int32(4);
    w.bytes(as_bytes("records"));
    w.end_frame(mark);
    client_->send(w.take());
    const auto frame = client_->receive();
    ASSERT_TRUE(frame) << version;
    EXPECT_EQ(frame->size(),
              4U + 4 + 3 + 4 + 4 + 2 + 8 + (version >= 2 ? 8 : 0) + (version >= 1 ? 4 : 0));
    EXPECT_EQ(load_be<int16_t>(frame->data() + 19), 35);
  }
}

/// docs/compatibility.md holds the table between two markers.
TEST(Documentation, ApiTableIsThatOfTheDispatchTable) {
  std::ifstream file(ODRADEK_SOURCE_DIR "/docs/compatibility.md");
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_THAT(text.str(),
              HasSubstr("<!-- api-table -->\n" + api_table_markdown() + "<!-- /api-table -->\n"))
      << "put this between the markers:\n"
      << api_table_markdown();
}

}  // namespace
}  // namespace odradek::server
