// Produce, Fetch and the other partition APIs over the wire, in a simulation.
#include "metadata/broker_config.h"
#include "replica/testing/replica_fixture.h"
#include "server/fetch_sessions.h"
#include "server/testing/test_server.h"
#include "wire/gen/allocate_producer_ids.h"
#include "wire/gen/delete_records.h"
#include "wire/gen/describe_log_dirs.h"
#include "wire/gen/describe_producers.h"
#include "wire/gen/fetch.h"
#include "wire/gen/init_producer_id.h"
#include "wire/gen/list_offsets.h"
#include "wire/gen/offset_for_leader_epoch.h"
#include "wire/gen/produce.h"

namespace odradek::server {
namespace {

using replica::BatchSpec;
using replica::make_batch;
using wire::ErrorCode;

int16_t code(ErrorCode e) { return wire::wire_value(e); }

/// A broker whose partitions lie on `loops` loops, and one client.
class PartitionHandlers : public ::testing::TestWithParam<int> {
 protected:
  PartitionHandlers()
      : server(dispatch_table(), {}, GetParam()),
        replicas(server.sim, server.node(), 1),
        client(server.connect()) {
    auto loaded = metadata::BrokerConfig::load(metadata::BrokerConfig::standalone_properties());
    EXPECT_TRUE(loaded) << loaded.error().message;
    std::vector<replica::Shard*> shards;
    for (auto& s : replicas.shards) shards.push_back(s.get());
    for (int i = 0; i < GetParam(); i++) {
      sessions.push_back(std::make_unique<FetchSessions>(server.node().loop(i), 3));
      server.services(i).config = loaded->config;
      server.services(i).shards = shards;
      server.services(i).fetch_sessions = sessions.back().get();
    }
  }
  ~PartitionHandlers() override { EXPECT_TRUE(server.close()); }

  Uuid create_topic(const std::string& name, int partitions = 1,
                    std::vector<std::pair<std::string, std::string>> configs = {}) {
    const Uuid id = replicas.create_topic(name, partitions, std::move(configs));
    server.set_image(replicas.image);
    return id;
  }

  // ---- Produce
  struct Produced {
    int16_t error = 0;
    int64_t base_offset = 0;
    int64_t log_start = 0;
    int32_t leader = -1;
    std::string message;
    bool answered = false;
  };
  void send_produce(const std::string& topic, const Uuid& id, ByteBuffer batch, int16_t acks,
                    int16_t version, int32_t index = 0) {
    wire::ProduceRequest request;
    wire::ProduceRequest::PartitionProduceData partition{index, ByteView(batch)};
    wire::ProduceRequest::TopicProduceData data;
    if (version < 13) data.name = topic;
    if (version >= 13) data.topic_id = id;
    data.partition_data = {&partition, 1};
    request.acks = acks;
    request.timeout_ms = 1'000;
    request.topic_data = {&data, 1};
    client.send_request(request, version);
  }
  Produced produce(const std::string& topic, const Uuid& id, ByteBuffer batch, int16_t acks = -1,
                   int16_t version = 13, int32_t index = 0) {
    wire::ProduceRequest request;
    wire::ProduceRequest::PartitionProduceData partition{index, ByteView(batch)};
    wire::ProduceRequest::TopicProduceData data;
    if (version < 13) data.name = topic;
    if (version >= 13) data.topic_id = id;
    data.partition_data = {&partition, 1};
    request.acks = acks;
    request.timeout_ms = 1'000;
    request.topic_data = {&data, 1};
    auto answer = client.call<wire::ProduceResponse>(request, version);
    if (!answer) return {};
    const auto& p = answer->responses[0].partition_responses[0];
    return {p.error_code,
            p.base_offset,
            p.log_start_offset,
            p.current_leader.leader_id,
            std::string(p.error_message.value_or("")),
            true};
  }

  // ---- Fetch
  struct Asked {
    Uuid id;
    int32_t index = 0;
    int64_t from = 0;
    std::string name = "";
    int32_t bytes_max = 1 << 20;
    int32_t epoch = -1;
    int32_t last_fetched_epoch = -1;
  };
  struct FetchSpec {
    int32_t wait = 0;
    int32_t bytes_min = 1;
    int32_t bytes_max = 1 << 20;
    int32_t session = 0;
    int32_t epoch = -1;
    int16_t version = 17;
    int8_t isolation = 0;
    std::vector<Asked> forget = {};
  };
  struct Partition {
    Uuid id;
    std::string name;
    int32_t index;
    int16_t error;
    int64_t high_watermark;
    size_t bytes;
    int32_t diverging;
    int32_t leader;
  };
  struct Fetched {
    int16_t error = -1;
    int32_t session = 0;
    std::vector<Partition> partitions;
    bool answered = false;
  };
  static wire::FetchRequest fetch_request(Arena& arena, const std::vector<Asked>& asked,
                                          const FetchSpec& spec) {
    wire::FetchRequest request;
    request.max_wait_ms = spec.wait;
    request.min_bytes = spec.bytes_min;
    request.max_bytes = spec.bytes_max;
    request.session_id = spec.session;
    request.session_epoch = spec.epoch;
    request.isolation_level = spec.isolation;
    for (const Asked& a : asked) {
      auto& topic = request.topics.add(arena);
      if (spec.version >= 13) topic.topic_id = a.id;
      if (spec.version < 13) topic.topic = arena.copy(a.name);
      auto& p = topic.partitions.add(arena);
      p.partition = a.index;
      p.fetch_offset = a.from;
      p.partition_max_bytes = a.bytes_max;
      p.current_leader_epoch = a.epoch;
      p.last_fetched_epoch = a.last_fetched_epoch;
    }
    for (const Asked& a : spec.forget) {
      auto& topic = request.forgotten_topics_data.add(arena);
      topic.topic_id = a.id;
      topic.partitions.add(arena, a.index);
    }
    return request;
  }
  Fetched fetch(const std::vector<Asked>& asked, const FetchSpec& spec) {
    Arena arena;
    auto answer = client.call<wire::FetchResponse>(fetch_request(arena, asked, spec), spec.version);
    if (!answer) return {};
    Fetched out{answer->error_code, answer->session_id, {}, true};
    for (const auto& topic : answer->responses) {
      for (const auto& p : topic.partitions) {
        out.partitions.push_back({topic.topic_id, std::string(topic.topic), p.partition_index,
                                  p.error_code, p.high_watermark, p.records->size(),
                                  p.diverging_epoch.epoch, p.current_leader.leader_id});
      }
    }
    return out;
  }
  Fetched fetch(const std::vector<Asked>& asked) { return fetch(asked, FetchSpec{}); }

  // ---- ListOffsets
  wire::ListOffsetsResponse::ListOffsetsPartitionResponse list(const std::string& topic,
                                                               int64_t timestamp,
                                                               int16_t version = 11,
                                                               int32_t index = 0) {
    wire::ListOffsetsRequest request;
    request.replica_id = -1;
    wire::ListOffsetsRequest::ListOffsetsPartition partition{index, -1, timestamp};
    wire::ListOffsetsRequest::ListOffsetsTopic t{topic, {&partition, 1}};
    request.topics = {&t, 1};
    auto answer = client.call<wire::ListOffsetsResponse>(request, version);
    EXPECT_TRUE(answer);
    return answer->topics[0].partitions[0];
  }

  testing::TestServer server;
  replica::ReplicaNode replicas;
  std::vector<std::unique_ptr<FetchSessions>> sessions;
  testing::TestClient client;
};

INSTANTIATE_TEST_SUITE_P(Loops, PartitionHandlers, ::testing::Values(1, 3));

// ---- Produce

TEST_P(PartitionHandlers, ProduceAnswersWithOffsets) {
  const Uuid id = create_topic("t", 4);
  for (int32_t index = 0; index < 4; index++) {
    EXPECT_EQ(produce("t", id, make_batch({.records = 2}), -1, 13, index).base_offset, 0);
    const Produced second = produce("t", id, make_batch(), 1, 9, index);
    EXPECT_EQ(second.error, 0);
    EXPECT_EQ(second.base_offset, 2);
    EXPECT_EQ(second.log_start, 0);
    EXPECT_EQ(produce("t", id, make_batch(), -1, 3, index).base_offset, 3);
  }
}

TEST_P(PartitionHandlers, ProduceNamesUnknownTopics) {
  create_topic("t");
  EXPECT_EQ(produce("x", {}, make_batch(), -1, 9).error, code(ErrorCode::kUnknownTopicOrPartition));
  EXPECT_EQ(produce("x", Uuid{1, 2}, make_batch(), -1, 13).error, code(ErrorCode::kUnknownTopicId));
  EXPECT_EQ(produce("t", {}, make_batch(), -1, 9, 7).error,
            code(ErrorCode::kUnknownTopicOrPartition));
}

TEST_P(PartitionHandlers, ProduceRefusesWhatApacheRefuses) {
  const Uuid id = create_topic("t", 1, {{"max.message.bytes", "1000"}});
  create_topic("__consumer_offsets");
  EXPECT_EQ(produce("t", id, make_batch(), 2).error, code(ErrorCode::kInvalidRequiredAcks));
  EXPECT_EQ(produce("t", id, make_batch({.value_size = 2'000})).error,
            code(ErrorCode::kMessageTooLarge));
  EXPECT_EQ(produce("__consumer_offsets", {}, make_batch(), -1, 9).error,
            code(ErrorCode::kInvalidTopicException));
  ByteBuffer two = make_batch();
  const ByteBuffer one = make_batch();
  two.insert(two.end(), one.begin(), one.end());
  EXPECT_EQ(produce("t", id, two).error, code(ErrorCode::kInvalidRecord));
  EXPECT_EQ(produce("t", id, {}).error, code(ErrorCode::kInvalidRecord));
  ByteBuffer half = make_batch();  // what is behind a batch and none itself is cut off
  half.insert(half.end(), one.begin(), one.begin() + 40);
  EXPECT_EQ(produce("t", id, half).error, 0);
  ByteBuffer short_of = make_batch();
  store_be<int32_t>(short_of.data() + 8, 13);
  const Produced wholly = produce("t", id, short_of);
  EXPECT_EQ(wholly.error, code(ErrorCode::kCorruptMessage));
  EXPECT_FALSE(wholly.message.empty());
  ByteBuffer torn = make_batch();
  torn[30] ^= 1;
  EXPECT_EQ(produce("t", id, torn).error, code(ErrorCode::kCorruptMessage));
  EXPECT_EQ(produce("t", id, make_batch({.codec = wire::Codec::kZstd}), -1, 6).error,
            code(ErrorCode::kUnsupportedCompressionType));
  const Produced late = produce("t", id, make_batch({.timestamp = WallMs(INT64_MAX / 2)}));
  EXPECT_EQ(late.error, code(ErrorCode::kInvalidTimestamp));
  EXPECT_FALSE(late.message.empty());
}

TEST_P(PartitionHandlers, ATransactionalBatchThatHasNoWholeHeaderIsRefusedUnread) {
  const Uuid id = create_topic("t");
  for (const bool transactional : {false, true}) {
    // As much as the first look needs: up to the attributes, which lie at 21.
    ByteBuffer batch(26);
    store_be<int32_t>(batch.data() + 8, 14);
    batch[16] = 2;
    batch[22] = transactional ? 0x10 : 0;
    wire::ProduceRequest request;
    wire::ProduceRequest::PartitionProduceData partition{0, ByteView(batch)};
    wire::ProduceRequest::TopicProduceData data{.topic_id = id, .partition_data = {&partition, 1}};
    request.transactional_id = "tx";
    request.acks = -1;
    request.topic_data = {&data, 1};
    const auto answer = client.call<wire::ProduceResponse>(request, 13);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->responses[0].partition_responses[0].error_code,
              code(ErrorCode::kCorruptMessage))
        << transactional;
  }
}

TEST_P(PartitionHandlers, TransactionalBatchesNeedATransactionalId) {
  const Uuid id = create_topic("t");
  wire::BatchBuilder builder({.transactional = true,
                              .producer_id = ProducerId(4),
                              .producer_epoch = ProducerEpoch(0),
                              .base_sequence = 0});
  builder.add(WallMs(1), std::nullopt, std::nullopt);
  EXPECT_EQ(produce("t", id, *builder.build()).error,
            code(ErrorCode::kTransactionalIdAuthorizationFailed));
}

TEST_P(PartitionHandlers, AcksZeroHasNoAnswerAndAnErrorCloses) {
  const Uuid id = create_topic("t");
  send_produce("t", id, make_batch(), 0, 13);
  EXPECT_EQ(produce("t", id, make_batch()).base_offset, 1);
  send_produce("t", Uuid{1, 2}, make_batch(), 0, 13);
  EXPECT_TRUE(client.closed_by_server());
}

TEST_P(PartitionHandlers, PipelinedProducesKeepTheirOrder) {
  const Uuid id = create_topic("t", 3);
  for (int32_t i = 0; i < 60; i++) {
    send_produce(
        "t", id,
        make_batch({.producer = ProducerId(9), .epoch = ProducerEpoch(0), .sequence = i / 3}), -1,
        13, i % 3);
  }
  for (int32_t i = 0; i < 60; i++) EXPECT_EQ(client.receive_id(), i + 1);
  for (int32_t i = 0; i < 3; i++) EXPECT_EQ(list("t", -1, 11, i).offset, 20);
}

TEST_P(PartitionHandlers, AWrongLeaderIsNamed) {
  const Uuid id = create_topic("t");
  replicas.set_leader(id, BrokerId(2));
  server.set_image(replicas.image);
  const Produced p = produce("t", id, make_batch());
  EXPECT_EQ(p.error, code(ErrorCode::kNotLeaderOrFollower));
  EXPECT_EQ(p.leader, 2);
  const Fetched f = fetch({{.id = id}});
  EXPECT_EQ(f.partitions.at(0).error, code(ErrorCode::kNotLeaderOrFollower));
  EXPECT_EQ(f.partitions.at(0).leader, 2);
}

// ---- Fetch

TEST_P(PartitionHandlers, FetchReturnsWhatWasProduced) {
  const Uuid id = create_topic("t", 4);
  const size_t size = make_batch().size();
  for (int32_t i = 0; i < 4; i++) produce("t", id, make_batch(), -1, 13, i);
  const Fetched all = fetch({{.id = id, .index = 0},
                             {.id = id, .index = 1},
                             {.id = id, .index = 2},
                             {.id = id, .index = 3}});
  ASSERT_EQ(all.partitions.size(), 4U);
  for (const Partition& p : all.partitions) {
    EXPECT_EQ(p.error, 0);
    EXPECT_EQ(p.high_watermark, 1);
    EXPECT_EQ(p.bytes, size);
  }
  const Fetched old = fetch({{.from = 0, .name = "t"}}, {.version = 4});
  EXPECT_EQ(old.partitions.at(0).bytes, size);
  EXPECT_EQ(old.partitions.at(0).name, "t");
}

TEST_P(PartitionHandlers, FetchKeepsItsLimitsButReturnsOneBatch) {
  const Uuid id = create_topic("t", 2);
  const size_t size = make_batch().size();
  for (int i = 0; i < 3; i++) {
    produce("t", id, make_batch(), -1, 13, 0);
    produce("t", id, make_batch(), -1, 13, 1);
  }
  const Fetched tiny =
      fetch({{.id = id, .index = 0, .bytes_max = 1}, {.id = id, .index = 1}}, {.bytes_max = 10});
  size_t sum = 0;
  for (const Partition& p : tiny.partitions) sum += p.bytes;
  EXPECT_EQ(sum, size);
  const Fetched one = fetch({{.id = id, .index = 0, .bytes_max = static_cast<int32_t>(2 * size)}});
  EXPECT_EQ(one.partitions.at(0).bytes, 2 * size);
}

TEST_P(PartitionHandlers, FetchErrors) {
  const Uuid id = create_topic("t");
  produce("t", id, make_batch());
  EXPECT_EQ(fetch({{.id = Uuid{1, 2}}}).partitions.at(0).error, code(ErrorCode::kUnknownTopicId));
  EXPECT_EQ(fetch({{.id = id, .index = 5}}).partitions.at(0).error,
            code(ErrorCode::kUnknownTopicOrPartition));
  // What is not known comes last, as at Apache.
  const Fetched mixed = fetch({{.id = Uuid{1, 2}}, {.id = id}});
  ASSERT_EQ(mixed.partitions.size(), 2U);
  EXPECT_EQ(mixed.partitions[0].error, 0);
  EXPECT_EQ(mixed.partitions[1].error, code(ErrorCode::kUnknownTopicId));
  const Fetched beyond = fetch({{.id = id, .from = 9}});
  EXPECT_EQ(beyond.partitions.at(0).error, code(ErrorCode::kOffsetOutOfRange));
  EXPECT_EQ(beyond.partitions.at(0).high_watermark, -1);
  EXPECT_EQ(fetch({{.id = id, .epoch = 4}}).partitions.at(0).error,
            code(ErrorCode::kUnknownLeaderEpoch));
  EXPECT_EQ(fetch({{.id = id, .last_fetched_epoch = 3}}).partitions.at(0).error,
            code(ErrorCode::kOffsetOutOfRange));
}

TEST_P(PartitionHandlers, AFetchWaitsForAProduce) {
  const Uuid id = create_topic("t", 3);
  testing::TestClient consumer = server.connect();
  Arena arena;
  consumer.send_request(
      fetch_request(arena, {{.id = id, .index = 0}, {.id = id, .index = 1}, {.id = id, .index = 2}},
                    {.wait = 20'000}),
      17);
  EXPECT_FALSE(consumer.receive(Millis(1'000)));
  const MonoNs before = server.sim.now();
  produce("t", id, make_batch(), -1, 13, 2);
  EXPECT_TRUE(consumer.receive(Millis(1'000)));
  EXPECT_LT(server.sim.now(), before + Millis(100));
}

TEST_P(PartitionHandlers, AFetchEndsWithItsTime) {
  const Uuid id = create_topic("t", 3);
  const MonoNs before = server.sim.now();
  const Fetched f = fetch({{.id = id, .index = 0}, {.id = id, .index = 1}}, {.wait = 500});
  EXPECT_EQ(f.partitions.size(), 2U);
  EXPECT_GE(server.sim.now(), before + Millis(500));
  EXPECT_LT(server.sim.now(), before + Millis(600));
}

TEST_P(PartitionHandlers, AFetchOfManyWaitsForAllItsBytes) {
  const Uuid id = create_topic("t", 3);
  const auto size = static_cast<int32_t>(make_batch().size());
  testing::TestClient consumer = server.connect();
  Arena arena;
  consumer.send_request(
      fetch_request(arena, {{.id = id, .index = 0}, {.id = id, .index = 1}, {.id = id, .index = 2}},
                    {.wait = 20'000, .bytes_min = 3 * size}),
      17);
  produce("t", id, make_batch(), -1, 13, 0);
  produce("t", id, make_batch(), -1, 13, 1);
  EXPECT_FALSE(consumer.receive(Millis(1'000)));
  produce("t", id, make_batch(), -1, 13, 2);
  EXPECT_TRUE(consumer.receive(Millis(1'000)));
}

TEST_P(PartitionHandlers, DeletionEndsAFetch) {
  const Uuid id = create_topic("t");
  testing::TestClient consumer = server.connect();
  Arena arena;
  consumer.send_request(fetch_request(arena, {{.id = id}}, {.wait = 20'000}), 17);
  EXPECT_FALSE(consumer.receive(Millis(100)));
  replicas.record(wire::RemoveTopicRecord{.topic_id = id}, 0);
  replicas.publish();
  server.set_image(replicas.image);
  const auto frame = consumer.receive(Millis(1'000));
  ASSERT_TRUE(frame);
}

TEST_P(PartitionHandlers, AClosedConnectionLeavesNoWait) {
  const Uuid id = create_topic("t", 3);
  {
    testing::TestClient consumer = server.connect();
    Arena arena;
    consumer.send_request(
        fetch_request(arena, {{.id = id, .index = 0}, {.id = id, .index = 2}}, {.wait = 1'000'000}),
        17);
    EXPECT_FALSE(consumer.receive(Millis(100)));
  }
  server.sim.run_for(Millis(1'000));
  for (auto& shard : replicas.shards) EXPECT_EQ(shard->deadlines().size(), 0U);
}

// ---- sessions

TEST_P(PartitionHandlers, ASessionTellsOnlyWhatChanged) {
  const Uuid id = create_topic("t", 3);
  const std::vector<Asked> all = {
      {.id = id, .index = 0}, {.id = id, .index = 1}, {.id = id, .index = 2}};
  const Fetched full = fetch(all, {.epoch = 0});
  ASSERT_NE(full.session, 0);
  EXPECT_EQ(full.partitions.size(), 3U);
  const Fetched quiet = fetch({}, {.session = full.session, .epoch = 1});
  EXPECT_EQ(quiet.session, full.session);
  EXPECT_TRUE(quiet.partitions.empty());
  produce("t", id, make_batch(), -1, 13, 1);
  const Fetched news = fetch({}, {.session = full.session, .epoch = 2});
  ASSERT_EQ(news.partitions.size(), 1U);
  EXPECT_EQ(news.partitions[0].index, 1);
  EXPECT_EQ(news.partitions[0].bytes, make_batch().size());
  const Fetched moved =
      fetch({{.id = id, .index = 1, .from = 1}}, {.session = full.session, .epoch = 3});
  EXPECT_TRUE(moved.partitions.empty());
  // The epoch must be in step, and a forgotten partition is told no more.
  EXPECT_EQ(fetch({}, {.session = full.session, .epoch = 3}).error,
            code(ErrorCode::kInvalidFetchSessionEpoch));
  fetch({}, {.session = full.session, .epoch = 4, .forget = {{.id = id, .index = 1}}});
  produce("t", id, make_batch(), -1, 13, 1);
  EXPECT_TRUE(fetch({}, {.session = full.session, .epoch = 5}).partitions.empty());
  // An error is told each time.
  const std::vector<Asked> wrong = {{.id = id, .index = 0, .from = 77}};
  EXPECT_EQ(fetch(wrong, {.session = full.session, .epoch = 6}).partitions.size(), 1U);
  EXPECT_EQ(fetch({}, {.session = full.session, .epoch = 7}).partitions.size(), 1U);
  // The final epoch ends it.
  EXPECT_EQ(fetch(all, {.session = full.session, .epoch = -1}).session, 0);
  EXPECT_EQ(fetch({}, {.session = full.session, .epoch = 8}).error,
            code(ErrorCode::kFetchSessionIdNotFound));
}

TEST_P(PartitionHandlers, ASessionForgettingEverythingEnds) {
  const Uuid id = create_topic("t");
  const Fetched full = fetch({{.id = id}}, {.epoch = 0});
  const Fetched last =
      fetch({}, {.session = full.session, .epoch = 1, .forget = {{.id = id, .index = 0}}});
  EXPECT_EQ(last.error, 0);
  EXPECT_EQ(last.session, 0);
  EXPECT_EQ(fetch({}, {.session = full.session, .epoch = 2}).error,
            code(ErrorCode::kFetchSessionIdNotFound));
}

TEST_P(PartitionHandlers, SessionsDoNotMixIdsAndNames) {
  const Uuid id = create_topic("t");
  const Fetched full = fetch({{.id = id}}, {.epoch = 0});
  EXPECT_EQ(fetch({}, {.session = full.session, .epoch = 1, .version = 12}).error,
            code(ErrorCode::kFetchSessionTopicIdError));
}

TEST_P(PartitionHandlers, ATopicThatComesBackIsInconsistentInASession) {
  const Uuid id = create_topic("t");
  const Fetched full = fetch({{.id = id}}, {.epoch = 0});
  replicas.delete_topic(id);
  server.set_image(replicas.image);
  EXPECT_EQ(fetch({}, {.session = full.session, .epoch = 1}).partitions.at(0).error,
            code(ErrorCode::kUnknownTopicOrPartition));
  create_topic("t");
  EXPECT_EQ(fetch({}, {.session = full.session, .epoch = 2}).partitions.at(0).error,
            code(ErrorCode::kInconsistentTopicId));
}

TEST_P(PartitionHandlers, FullCachesKeepTheLargerSession) {
  const Uuid id = create_topic("t", 2);
  const std::vector<Asked> one = {{.id = id, .index = 0}};
  const std::vector<Asked> two = {{.id = id, .index = 0}, {.id = id, .index = 1}};
  std::vector<int32_t> made;
  for (int i = 0; i < 3; i++) made.push_back(fetch(one, {.epoch = 0}).session);
  EXPECT_EQ(fetch(two, {.epoch = 0}).session, 0);  // nobody has been there for long
  server.sim.run_for(Millis(121'000));
  EXPECT_NE(fetch(two, {.epoch = 0}).session, 0);  // takes the place of a silent one
  EXPECT_EQ(sessions[0]->size(), 3U);
}

// ---- ListOffsets and the rest

TEST_P(PartitionHandlers, ListOffsets) {
  const Uuid id = create_topic("t");
  EXPECT_EQ(list("t", -1).offset, 0);
  EXPECT_EQ(list("t", -3).offset, -1);
  produce("t", id, make_batch({.timestamp = WallMs(100)}));
  produce("t", id, make_batch({.timestamp = WallMs(300)}));
  produce("t", id, make_batch({.timestamp = WallMs(200)}));
  EXPECT_EQ(list("t", -1).offset, 3);
  EXPECT_EQ(list("t", -1).leader_epoch, 0);
  EXPECT_EQ(list("t", -1, 1).offset, 3);
  EXPECT_EQ(list("t", -2).offset, 0);
  EXPECT_EQ(list("t", -4).offset, 0);
  EXPECT_EQ(list("t", -3).offset, 1);
  EXPECT_EQ(list("t", -3).timestamp, 300);
  EXPECT_EQ(list("t", 101).offset, 1);
  EXPECT_EQ(list("t", 301).offset, -1);
  EXPECT_EQ(list("t", -5).offset, -1);
  EXPECT_EQ(list("t", -5).error_code, 0);
  EXPECT_EQ(list("t", -6).offset, -1);
  EXPECT_EQ(list("t", -4, 7).error_code, code(ErrorCode::kUnsupportedVersion));
  EXPECT_EQ(list("t", -7).error_code, code(ErrorCode::kUnsupportedVersion));
  EXPECT_EQ(list("x", -1).error_code, code(ErrorCode::kUnknownTopicOrPartition));
}

TEST_P(PartitionHandlers, ListOffsetsRefusesTwins) {
  create_topic("t");
  wire::ListOffsetsRequest request;
  wire::ListOffsetsRequest::ListOffsetsPartition twins[] = {{0, -1, -1}, {0, -1, -2}};
  wire::ListOffsetsRequest::ListOffsetsTopic t{"t", {twins, 2}};
  request.topics = {&t, 1};
  auto answer = client.call<wire::ListOffsetsResponse>(request, 5);
  ASSERT_TRUE(answer);
  ASSERT_EQ(answer->topics[0].partitions.size(), 1U);
  EXPECT_EQ(answer->topics[0].partitions[0].error_code, code(ErrorCode::kInvalidRequest));
}

TEST_P(PartitionHandlers, OffsetForLeaderEpoch) {
  const Uuid id = create_topic("t");
  produce("t", id, make_batch());
  replicas.set_leader(id, replica::ReplicaNode::kNode);
  server.set_image(replicas.image);
  produce("t", id, make_batch());
  wire::OffsetForLeaderEpochRequest request;
  wire::OffsetForLeaderEpochRequest::OffsetForLeaderPartition asked[] = {
      {0, 1, 0}, {0, 1, 1}, {0, -1, 5}, {0, 0, 0}};
  wire::OffsetForLeaderEpochRequest::OffsetForLeaderTopic t{"t", {asked, 4}};
  request.topics = {&t, 1};
  auto answer = client.call<wire::OffsetForLeaderEpochResponse>(request, 4);
  ASSERT_TRUE(answer);
  const auto& p = answer->topics[0].partitions;
  EXPECT_EQ(p[0].end_offset, 1);
  EXPECT_EQ(p[1].end_offset, 2);
  EXPECT_EQ(p[2].end_offset, -1);
  EXPECT_EQ(p[3].error_code, code(ErrorCode::kFencedLeaderEpoch));
}

TEST_P(PartitionHandlers, DeleteRecords) {
  const Uuid id = create_topic("t");
  for (int i = 0; i < 3; i++) produce("t", id, make_batch());
  const auto remove = [&](int64_t offset) {
    wire::DeleteRecordsRequest request;
    wire::DeleteRecordsRequest::DeleteRecordsPartition partition{0, offset};
    wire::DeleteRecordsRequest::DeleteRecordsTopic t{"t", {&partition, 1}};
    request.topics = {&t, 1};
    request.timeout_ms = 1'000;
    auto answer = client.call<wire::DeleteRecordsResponse>(request, 2);
    EXPECT_TRUE(answer);
    return answer->topics[0].partitions[0];
  };
  EXPECT_EQ(remove(2).low_watermark, 2);
  EXPECT_EQ(remove(9).error_code, code(ErrorCode::kOffsetOutOfRange));
  EXPECT_EQ(remove(9).low_watermark, -1);
  EXPECT_EQ(list("t", -2).offset, 2);
  EXPECT_EQ(fetch({{.id = id, .from = 0}}).partitions.at(0).error,
            code(ErrorCode::kOffsetOutOfRange));
  EXPECT_EQ(remove(-1).low_watermark, 3);
  // What cannot be saved may come back.
  produce("t", id, make_batch());
  replicas.node.disk().set_fault([](sim::DiskOp op, const std::string& path) {
    const bool hit = op == sim::DiskOp::kRename && path.find("log-start") != std::string::npos;
    return hit ? std::optional(Error{Errc::kIo, path + ": Input/output error"}) : std::nullopt;
  });
  const auto unsaved = remove(4);
  EXPECT_EQ(unsaved.error_code, code(ErrorCode::kKafkaStorageError));
  EXPECT_EQ(unsaved.low_watermark, -1);
}

TEST_P(PartitionHandlers, DescribeProducersAndLogDirs) {
  const Uuid id = create_topic("t", 2);
  produce("t", id,
          make_batch(
              {.records = 3, .producer = ProducerId(5), .epoch = ProducerEpoch(1), .sequence = 0}));
  wire::DescribeProducersRequest request;
  int32_t index = 0;
  wire::DescribeProducersRequest::TopicRequest t{"t", {&index, 1}};
  request.topics = {&t, 1};
  auto answer = client.call<wire::DescribeProducersResponse>(request, 0);
  ASSERT_TRUE(answer);
  const auto& producers = answer->topics[0].partitions[0].active_producers;
  ASSERT_EQ(producers.size(), 1U);
  EXPECT_EQ(producers[0].producer_id, 5);
  EXPECT_EQ(producers[0].last_sequence, 2);

  wire::DescribeLogDirsRequest dirs;
  dirs.topics = std::nullopt;
  auto all = client.call<wire::DescribeLogDirsResponse>(dirs, 4);
  ASSERT_TRUE(all);
  ASSERT_EQ(all->results.size(), 1U);
  EXPECT_EQ(all->results[0].log_dir, "/d0");
  EXPECT_GT(all->results[0].total_bytes, 0);
  ASSERT_EQ(all->results[0].topics.size(), 1U);
  ASSERT_EQ(all->results[0].topics[0].partitions.size(), 2U);
  EXPECT_GT(all->results[0].topics[0].partitions[0].partition_size, 0);
  EXPECT_EQ(all->results[0].topics[0].partitions[1].partition_size, 0);
}

TEST_P(PartitionHandlers, InitProducerId) {
  int64_t next_block = 4'000;
  int blocks = 0;
  server.controller.on_ask =
      [&](const testing::FakeController::Asked& asked) -> Result<ByteBuffer> {
    EXPECT_EQ(asked.api, wire::ApiKey::kAllocateProducerIds);
    blocks++;
    wire::AllocateProducerIdsResponse answer;
    answer.producer_id_start = next_block;
    answer.producer_id_len = 1'000;
    next_block += 1'000;
    wire::Writer w;
    answer.encode(w, 0);
    return w.take();
  };
  const auto ask = [&](std::optional<std::string_view> transactional, int64_t id, int16_t epoch) {
    wire::InitProducerIdRequest request;
    request.transactional_id = transactional;
    request.producer_id = id;
    request.producer_epoch = epoch;
    auto answer = client.call<wire::InitProducerIdResponse>(request, 4);
    EXPECT_TRUE(answer);
    return *answer;
  };
  for (int64_t i = 0; i < 895; i++) ASSERT_EQ(ask(std::nullopt, -1, -1).producer_id, 4'000 + i);
  EXPECT_EQ(blocks, 1);
  for (int64_t i = 895; i < 1'200; i++) ASSERT_EQ(ask(std::nullopt, -1, -1).producer_id, 4'000 + i);
  EXPECT_EQ(blocks, 2);
  EXPECT_EQ(ask(std::nullopt, 5, -1).error_code, code(ErrorCode::kInvalidRequest));
  EXPECT_EQ(ask("", -1, -1).error_code, code(ErrorCode::kInvalidRequest));
  EXPECT_EQ(ask("tx", -1, -1).error_code, code(ErrorCode::kInvalidTransactionTimeout));
}

}  // namespace
}  // namespace odradek::server
