// Whole frames through a Connection, with handlers that the test steers.
#include "server/connection.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "server/testing/test_server.h"
#include "sim/sim_loop.h"
#include "wire/gen/api_versions.h"
#include "wire/gen/fetch.h"
#include "wire/gen/heartbeat.h"
#include "wire/gen/produce.h"

namespace odradek::server {
namespace {

using testing::TestClient;
using testing::TestServer;

/// What the handlers of the table below did, and what they wait for.
struct Script {
  std::vector<int32_t> started;
  std::map<int32_t, Request*> waiting;  // handlers that wait, by correlation id
  std::map<int32_t, std::unique_ptr<io::Completion<bool>>> go;
  std::set<int32_t> abandoned;
  size_t answer_bytes = 0;  // of Heartbeat answers, as a kept piece of memory
  bool release_at_once = true;

  void answer(int32_t id) { go.at(id)->complete(true); }
};
Script* script = nullptr;

wire::ProduceRequest with_acks() {
  wire::ProduceRequest body;
  body.acks = 1;
  return body;
}

io::Task<void> wait_to_be_told(Request& request) {
  const int32_t id = request.correlation_id();
  script->started.push_back(id);
  script->waiting[id] = &request;
  auto& go = script->go[id] = std::make_unique<io::Completion<bool>>();
  request.on_abandon([id] { script->abandoned.insert(id); });
  co_await *go;
  script->waiting.erase(id);
}

io::Task<void> heartbeat(Request& request) {
  wire::HeartbeatRequest body;
  if (!request.decode(body)) co_return;
  script->started.push_back(request.correlation_id());
  request.respond(wire::HeartbeatResponse());
}

/// Answers with `answer_bytes` of memory that is sent without being copied.
io::Task<void> big(Request& request) {
  auto memory = std::make_shared<ByteBuffer>(script->answer_bytes);
  request.keep(memory);
  Piece piece{*memory, nullptr, 0, 0};
  wire::FetchResponse response;
  auto& topic = response.responses.add(request.arena());
  auto& partition = topic.partitions.add(request.arena());
  partition.records = wire::RecordsRef{{&piece, 1}};
  script->started.push_back(request.correlation_id());
  request.respond(response);
  co_return;
}

io::Task<void> fetch(Request& request) {
  if (script->answer_bytes > 0) {
    co_await big(request);
    co_return;
  }
  request.release_frame();
  co_await wait_to_be_told(request);
  request.respond(wire::FetchResponse());
}

io::Task<void> produce(Request& request) {
  wire::ProduceRequest body;
  if (!request.decode(body)) co_return;
  if (script->release_at_once) request.release_order();
  const bool answers = body.acks != 0;
  co_await wait_to_be_told(request);
  if (answers) {
    request.respond(wire::ProduceResponse());
  } else {
    request.respond_nothing();
  }
}

io::Task<void> versions(Request& request) {
  wire::ApiVersionsResponse response;
  response.error_code = request.version() > 4 ? 35 : 0;
  request.respond_as(response, request.version() > 4 ? 0 : request.version());
  co_return;
}

constexpr ApiEntry kEntries[] = {
    {wire::ApiKey::kProduce, 3, 3, 13, true, false, Order::kReleases, produce},
    {wire::ApiKey::kFetch, 4, 4, 18, true, false, Order::kOverlaps, fetch},
    {wire::ApiKey::kHeartbeat, 0, 0, 4, true, false, Order::kBarrier, heartbeat},
    {wire::ApiKey::kApiVersions, 0, 0, 4, true, true, Order::kBarrier, versions},
};

class ConnectionTest : public ::testing::TestWithParam<uint64_t> {
 protected:
  ConnectionTest() : table_(kEntries) { script = &script_; }

  TestServer& start(Limits limits = {}, int loops = 1) {
    server_ = std::make_unique<TestServer>(table_, limits, loops, GetParam());
    return *server_;
  }
  void TearDown() override {
    if (!server_) return;
    // Handlers that still wait end, as every handler of the broker does when its loop stops.
    server_->sim.run_for(Millis(10));
    bool closed = false;
    auto& loop = server_->services().loop;
    loop.post([&] { server_->server().close([&] { closed = true; }); });
    server_->sim.run_for(Millis(100));
    while (!script_.waiting.empty()) script_.answer(script_.waiting.begin()->first);
    EXPECT_TRUE(server_->run_until([&] { return closed; }));
    EXPECT_EQ(server_->server().connection_count(), 0);
    EXPECT_EQ(server_->metrics().queued_bytes.value(), 0U);
    server_->mark_closed();
  }
  void answer(int32_t id) {
    ASSERT_TRUE(server_->run_until([&] { return script_.waiting.contains(id); }));
    server_->services().loop.post([&, id] { script_.answer(id); });
  }
  bool started(int32_t id) {
    return server_->run_until([&] { return std::ranges::count(script_.started, id) > 0; },
                              Millis(100));
  }

  Script script_;
  DispatchTable table_;
  std::unique_ptr<TestServer> server_;
};

INSTANTIATE_TEST_SUITE_P(Seeds, ConnectionTest, ::testing::Range<uint64_t>(1, 9));

TEST_P(ConnectionTest, AnswersManyFramesOfOneWriteInOrder) {
  TestClient client = start().connect();
  wire::Writer all;
  for (int32_t id = 1; id <= 200; id++)
    wire::encode_request_frame(all, wire::HeartbeatRequest(), 4, id, "c");
  client.send(all.take());
  for (int32_t id = 1; id <= 200; id++) ASSERT_EQ(client.receive_id(), id);
  EXPECT_EQ(server_->metrics().api(wire::ApiKey::kHeartbeat).requests->value(), 200U);
}

TEST_P(ConnectionTest, TakesFramesByteByByte) {
  TestClient client = start().connect();
  wire::Writer all;
  for (int32_t id = 1; id <= 5; id++)
    wire::encode_request_frame(all, wire::HeartbeatRequest(), 4, id, "c");
  for (uint8_t byte : all.take()) client.send({byte});
  for (int32_t id = 1; id <= 5; id++) ASSERT_EQ(client.receive_id(), id);
}

TEST_P(ConnectionTest, TakesFramesOfEverySize) {
  Limits limits;
  limits.frame_bytes_max = 3 << 20;
  TestClient client = start(limits).connect();
  int32_t id = 0;
  for (size_t size : {1UL, 3'000UL, 4'095UL, 4'096UL, 70'000UL, 300UL, 2'500'000UL, 1UL}) {
    wire::ProduceRequest body = with_acks();
    const std::string name(std::min(size, 30'000UL), 'n');
    for (size_t left = size; left > 0; left -= std::min(left, name.size()))
      body.topic_data.add(client.arena()).name = name;
    id = client.send_request(body, 9);
    answer(id);
    ASSERT_EQ(client.receive_id(), id) << size;
  }
}

TEST_P(ConnectionTest, ProduceOverlapsWithAWaitingFetchAndAnswersStayInOrder) {
  TestClient client = start().connect();
  const int32_t fetch_id = client.send_request(wire::FetchRequest(), 12);
  const int32_t produce_id = client.send_request(with_acks(), 9);
  EXPECT_TRUE(started(produce_id));
  answer(produce_id);
  EXPECT_EQ(client.receive_id(Millis(200)), -1) << "the fetch is not answered yet";
  answer(fetch_id);
  EXPECT_EQ(client.receive_id(), fetch_id);
  EXPECT_EQ(client.receive_id(), produce_id);
}

TEST_P(ConnectionTest, ProduceHoldsBackWhatFollowsUntilItIsAppended) {
  script_.release_at_once = false;
  TestClient client = start().connect();
  const int32_t first = client.send_request(with_acks(), 9);
  const int32_t second = client.send_request(with_acks(), 9);
  EXPECT_TRUE(started(first));
  EXPECT_FALSE(started(second));
  server_->services().loop.post([&, first] { script_.waiting.at(first)->release_order(); });
  EXPECT_TRUE(started(second));
  answer(second);
  answer(first);
  EXPECT_EQ(client.receive_id(), first);
  EXPECT_EQ(client.receive_id(), second);
}

TEST_P(ConnectionTest, ABarrierWaitsForWhatIsBeforeItAndHoldsBackWhatFollows) {
  TestClient client = start().connect();
  const int32_t fetch_id = client.send_request(wire::FetchRequest(), 12);
  const int32_t barrier = client.send_request(wire::HeartbeatRequest(), 4);
  const int32_t last = client.send_request(wire::FetchRequest(), 12);
  EXPECT_TRUE(started(fetch_id));
  EXPECT_FALSE(started(barrier));
  EXPECT_FALSE(started(last));
  answer(fetch_id);
  answer(last);
  EXPECT_EQ(client.receive_id(), fetch_id);
  EXPECT_EQ(client.receive_id(), barrier);
  EXPECT_EQ(client.receive_id(), last);
  EXPECT_EQ(script_.started, (std::vector{fetch_id, barrier, last}));
}

TEST_P(ConnectionTest, ProduceWithoutAcksHasNoAnswer) {
  TestClient client = start().connect();
  wire::ProduceRequest no_acks;
  no_acks.acks = 0;
  const int32_t first = client.send_request(no_acks, 9);
  const int32_t second = client.send_request(wire::HeartbeatRequest(), 4);
  answer(first);
  EXPECT_EQ(client.receive_id(), second);
}

TEST_P(ConnectionTest, WhatWasSentBeforeTheEndIsStillDone) {
  TestClient client = start().connect();
  wire::ProduceRequest no_acks;
  no_acks.acks = 0;
  for (int i = 0; i < 3; i++) client.send_request(no_acks, 9);
  server_->run_until([&] { return script_.started.size() == 1; });
  client.close();
  for (int32_t id = 1; id <= 3; id++) answer(id);
  EXPECT_TRUE(server_->run_until([&] { return server_->server().connection_count() == 0; }));
  EXPECT_EQ(script_.started.size(), 3U);
}

TEST_P(ConnectionTest, StopsReadingAtTheLimitOfRequestsAndGoesOnBelowHalf) {
  Limits limits;
  limits.connection_requests_max = 4;
  TestClient client = start(limits).connect();
  wire::Writer all;
  for (int32_t id = 1; id <= 20; id++)
    wire::encode_request_frame(all, wire::FetchRequest(), 12, id, "c");
  client.send(all.take());
  EXPECT_TRUE(started(4));
  EXPECT_FALSE(started(5));
  for (int32_t id = 1; id <= 20; id++) {
    answer(id);
    ASSERT_EQ(client.receive_id(), id);
  }
}

TEST_P(ConnectionTest, StopsReadingAtTheLimitOfBytesOfTheLoop) {
  Limits limits;
  limits.loop_queued_bytes_max = 100'000;
  TestServer& server = start(limits);
  TestClient one = server.connect();
  TestClient two = server.connect();
  wire::ProduceRequest body = with_acks();
  const std::string name(30'000, 'n');
  for (int i = 0; i < 5; i++) body.topic_data.add(one.arena()).name = name;
  const int32_t first = one.send_request(body, 9);  // alone above the limit, and still taken
  EXPECT_TRUE(started(first));
  two.send_request(wire::FetchRequest(), 12);
  two.send_request(body, 9);
  EXPECT_FALSE(server.run_until([&] { return script_.started.size() > 1; }, Millis(200)));
  EXPECT_EQ(server.metrics().queued_bytes.value() / 150'000, 1U);
  answer(first);
  EXPECT_EQ(one.receive_id(), first);
  EXPECT_TRUE(server.run_until([&] { return script_.started.size() == 3; }));
}

TEST_P(ConnectionTest, TheMemoryOfABurstGoesBackToTheSystemOnceItIsOver) {
  TestServer& server = start();
  auto& loop = dynamic_cast<sim::SimLoop&>(server.services().loop);
  TestClient client = server.connect();
  const auto burst = [&](int names) {
    wire::ProduceRequest body = with_acks();
    const std::string name(30'000, 'n');
    for (int i = 0; i < names; i++) body.topic_data.add(client.arena()).name = name;
    const int32_t id = client.send_request(body, 9);
    answer(id);
    EXPECT_EQ(client.receive_id(), id);
  };
  burst(100);
  server.sim.run_for(Millis(3'000));
  EXPECT_EQ(loop.releases(), 0);  // not worth it
  for (int n = 1; n <= 2; n++) {
    burst(400);
    server.sim.run_for(Millis(900));
    EXPECT_EQ(loop.releases(), n - 1);
    server.sim.run_for(Millis(3'000));
    EXPECT_EQ(loop.releases(), n);
  }
}

TEST_P(ConnectionTest, AHalfFrameDoesNotKeepMemoryThatOthersWaitFor) {
  Limits limits;
  limits.loop_queued_bytes_max = 100'000;
  TestServer& server = start(limits);
  TestClient half = server.connect();
  half.send({0, 5, 0, 0, 1, 2, 3});  // 320 KiB are announced
  server.sim.run_for(Millis(10));
  TestClient other = server.connect();
  other.send_request(wire::HeartbeatRequest(), 4);
  EXPECT_EQ(other.receive_id(Millis(9'000)), -1);
  EXPECT_TRUE(half.closed_by_server(Millis(3'000)));
  EXPECT_EQ(other.receive_id(), 1);
}

TEST_P(ConnectionTest, HoldsBackAClientThatDoesNotReadAndClosesItInTheEnd) {
  script_.answer_bytes = 400'000;  // more than the simulated window
  Limits limits;
  limits.connection_unsent_bytes_max = 1'000'000;
  TestServer& server = start(limits);
  TestClient client = server.connect();
  client.stop_reading();
  wire::Writer all;
  for (int32_t id = 1; id <= 50; id++)
    wire::encode_request_frame(all, wire::FetchRequest(), 12, id, "c");
  client.send(all.take());
  server.sim.run_for(Millis(1'000));
  EXPECT_LE(script_.started.size(), 5U);
  EXPECT_TRUE(server.run_until([&] { return server.server().connection_count() == 0; },
                               limits.send_max + int64_t{1'000}));
  EXPECT_EQ(server.metrics().connections_slow_closed.value(), 1U);
}

TEST_P(ConnectionTest, SendsLargeAnswersInOrderAroundSmallOnes) {
  script_.answer_bytes = 300'000;
  TestClient client = start().connect();
  wire::Writer all;
  for (int32_t id = 1; id <= 9; id++) {
    if (id % 3 == 0) {
      wire::encode_request_frame(all, wire::FetchRequest(), 12, id, "c");
    } else {
      wire::encode_request_frame(all, wire::HeartbeatRequest(), 4, id, "c");
    }
  }
  client.send(all.take());
  for (int32_t id = 1; id <= 9; id++) {
    const auto frame = client.receive();
    ASSERT_TRUE(frame);
    EXPECT_EQ(load_be<int32_t>(frame->data()), id);
    EXPECT_EQ(frame->size() > 300'000, id % 3 == 0);
  }
}

TEST_P(ConnectionTest, ClosesForWhatIsNotServed) {
  TestServer& server = start();
  auto refuse = [&](ByteBuffer bytes, std::string_view reason) {
    TestClient client = server.connect();
    client.send(std::move(bytes));
    EXPECT_TRUE(client.closed_by_server()) << reason;
    EXPECT_TRUE(server.lines.has(reason)) << reason;
    server.sim.run_for(Millis(1'000));  // lines are limited per second
  };
  refuse({0xff, 0xff, 0xff, 0xff}, "a frame of -1 bytes");
  refuse({0x7f, 0xff, 0xff, 0xff}, "a frame of 2147483647 bytes");
  refuse({0, 0, 0, 0}, "shorter than its header");
  refuse({0, 0, 0, 3, 1, 2, 3}, "shorter than its header");
  refuse({0, 0, 0, 10, 0x03, 0xe7, 0, 0, 0, 0, 0, 1, 0xff, 0xff}, "no API has the key 999");
  refuse({0, 0, 0, 10, 0, 4, 0, 0, 0, 0, 0, 1, 0xff, 0xff}, "no API has the key 4");
  refuse({0, 0, 0, 10, 0, 3, 0, 0, 0, 0, 0, 1, 0xff, 0xff}, "Metadata is not served");
  refuse({0, 0, 0, 11, 0, 12, 0, 99, 0, 0, 0, 1, 0xff, 0xff, 0}, "Heartbeat version 99");
  refuse({0, 0, 0, 10, 0, 12, 0, 0, 0, 0, 0, 1, 0x10, 0x00}, "malformed request header");
  refuse({0, 0, 0, 10, 0, 12, 0, 0, 0, 0, 0, 1, 0xff, 0xff}, "malformed Heartbeat request");
  EXPECT_EQ(server.server().connection_count(), 0);
  // A broker API on the controller listener.
  TestClient client = server.connect(ListenerKind::kController);
  client.send_request(wire::HeartbeatRequest(), 4);
  EXPECT_TRUE(client.closed_by_server());
}

TEST_P(ConnectionTest, AnswersWhatCameBeforeARefusedFrame) {
  TestClient client = start().connect();
  wire::Writer all;
  wire::encode_request_frame(all, wire::HeartbeatRequest(), 4, 1, "c");
  all.int32(-5);
  wire::encode_request_frame(all, wire::HeartbeatRequest(), 4, 2, "c");
  client.send(all.take());
  EXPECT_EQ(client.receive_id(), 1);
  EXPECT_TRUE(client.closed_by_server());
  EXPECT_EQ(script_.started.size(), 1U);
}

TEST_P(ConnectionTest, AnswersWhatCameBeforeAMalformedRequestAndNothingBehindIt) {
  TestClient client = start().connect();
  wire::Writer all;
  wire::encode_request_frame(all, wire::HeartbeatRequest(), 4, 1, "c");
  all.raw(ByteBuffer{0, 0, 0, 10, 0, 12, 0, 0, 0, 0, 0, 2, 0xff, 0xff});  // no body
  wire::encode_request_frame(all, wire::HeartbeatRequest(), 4, 3, "c");
  client.send(all.take());
  EXPECT_EQ(client.receive_id(), 1);
  EXPECT_EQ(client.receive_id(), -1);
  EXPECT_TRUE(client.closed_by_server());
  EXPECT_EQ(script_.started, std::vector{1});
}

TEST_P(ConnectionTest, CountsRequestsThatHaveNoAnswer) {
  TestClient client = start().connect();
  wire::ProduceRequest no_acks;
  no_acks.acks = 0;
  for (int32_t id = 1; id <= 30; id++) {
    client.send_request(no_acks, 9);
    answer(id);
  }
  auto& count = *server_->metrics().api(wire::ApiKey::kProduce).requests;
  EXPECT_TRUE(server_->run_until([&] { return count.value() == 30; }));
}

TEST_P(ConnectionTest, AnswersUnknownVersionsOfApiVersions) {
  TestClient client = start().connect();
  wire::Writer w;
  const auto mark = w.begin_frame();
  for (int n : {18, 5, 0, 77, -1}) w.int16(static_cast<int16_t>(n));  // header 2, no client id
  w.uvarint(0);
  for (int i = 0; i < 20; i++) w.int8(0x55);  // a body that we cannot know
  w.end_frame(mark);
  client.send(w.take());
  const auto frame = client.receive();
  ASSERT_TRUE(frame);
  EXPECT_EQ(load_be<int32_t>(frame->data()), 77);
  EXPECT_EQ(load_be<int16_t>(frame->data() + 4), 35);
}

TEST_P(ConnectionTest, ClosesIdleConnectionsAndOnlyThose) {
  Limits limits;
  limits.idle_max = Millis(10'000);
  TestServer& server = start(limits);
  TestClient idle = server.connect();
  TestClient waits = server.connect();
  waits.send_request(wire::FetchRequest(), 12);
  EXPECT_FALSE(idle.closed_by_server(Millis(9'000)));
  EXPECT_TRUE(idle.closed_by_server(Millis(2'000)));
  EXPECT_FALSE(waits.closed_by_server(Millis(60'000)));
  EXPECT_EQ(server.metrics().connections_idle_closed.value(), 1U);
}

TEST_P(ConnectionTest, TellsHandlersThatTheirClientIsGone) {
  TestServer& server = start();
  {
    TestClient client = server.connect();
    const int32_t id = client.send_request(wire::FetchRequest(), 12);
    EXPECT_TRUE(started(id));
  }
  EXPECT_TRUE(server.run_until([&] { return script_.abandoned.contains(1); }));
  answer(1);
  EXPECT_TRUE(server.run_until([&] { return server.server().connection_count() == 0; }));
}

TEST_P(ConnectionTest, RefusesConnectionsOverTheLimits) {
  Limits limits;
  limits.connections_per_ip_max = 2;
  TestServer& server = start(limits);
  TestClient one = server.connect();
  {
    TestClient two = server.connect();
    TestClient three = server.connect();
    EXPECT_TRUE(three.closed_by_server());
    EXPECT_TRUE(server.lines.has("max.connections.per.ip"));
  }
  EXPECT_TRUE(server.run_until([&] { return server.server().connection_count() == 1; }));
  TestClient again = server.connect();
  again.send_request(wire::HeartbeatRequest(), 4);
  EXPECT_EQ(again.receive_id(), 1);
}

TEST_P(ConnectionTest, SpreadsConnectionsOverLoops) {
  TestServer& server = start({}, 2);
  TestClient one = server.connect();
  TestClient two = server.connect();
  for (TestClient* client : {&one, &two}) {
    client->send_request(wire::HeartbeatRequest(), 4);
    EXPECT_EQ(client->receive_id(), 1);
  }
  EXPECT_EQ(server.metrics(0).connections.value(), 1U);
  EXPECT_EQ(server.metrics(1).connections.value(), 1U);
}

TEST_P(ConnectionTest, AnIdleServerSetsNoTimer) {
  TestServer& server = start();
  {
    TestClient client = server.connect();
    client.send_request(wire::HeartbeatRequest(), 4);
    EXPECT_EQ(client.receive_id(), 1);
  }
  EXPECT_TRUE(server.run_until([&] { return server.server().connection_count() == 0; }));
  server.sim.run_for(Millis(1'000'000));  // cancelled timers still pass through the simulation
  const uint64_t before = server.sim.trace_hash();
  server.sim.run_for(Millis(3'600'000));
  EXPECT_EQ(server.sim.trace_hash(), before) << "something ran";
}

}  // namespace
}  // namespace odradek::server
