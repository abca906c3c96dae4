// Transaction coordinators over real partitions of a simulated node, with markers on data
// partitions and on those of groups.
#include "node/txn_host.h"

#include <gtest/gtest.h>

#include <map>

#include "node/group_host.h"
#include "replica/testing/replica_fixture.h"
#include "server/dispatch.h"
#include "server/server_metrics.h"

namespace odradek::node {
namespace {

using machines::group::CommitOffsets;
using machines::group::CommitOffsetsAnswer;
using machines::group::FetchOffsets;
using machines::group::FetchOffsetsAnswer;
using machines::txn::Add;
using machines::txn::AddAnswer;
using machines::txn::Describe;
using machines::txn::DescribeAnswer;
using machines::txn::End;
using machines::txn::EndAnswer;
using machines::txn::Init;
using machines::txn::InitAnswer;
using machines::txn::Producer;
using wire::ErrorCode;

class NoController : public wire::ToController {
 public:
  void send(wire::ApiKey, int16_t, ByteBuffer,
            std::move_only_function<void(Result<ByteBuffer>)> done) override {
    done(fail(Errc::kClosed, "there is none"));
  }
};

class Lines : public LogSink {
 public:
  void write(Level, std::string_view, std::string_view line) override { lines.emplace_back(line); }
  bool has(std::string_view text) const {
    return std::ranges::any_of(lines, [&](const std::string& l) { return l.contains(text); });
  }
  std::vector<std::string> lines;
};

class TxnHostTest : public replica::ReplicaFixture {
 protected:
  TxnHostTest() : metrics_(set_, server::dispatch_table()) { host_loop(); }
  ~TxnHostTest() override {
    host.reset();
    groups.reset();
  }

  void host_loop() {
    metadata::Properties properties = metadata::BrokerConfig::standalone_properties();
    auto loaded = metadata::BrokerConfig::load(std::move(properties));
    ASSERT_TRUE(loaded);
    services =
        std::make_unique<server::Services>(server::Services{.loop = node.loop(0),
                                                            .dispatch = server::dispatch_table(),
                                                            .controller = controller_,
                                                            .metrics = metrics_,
                                                            .logger = Logger(),
                                                            .config = loaded->config});
    groups = std::make_unique<GroupHost>(shard(), loaded->config, Logger());
    host = std::make_unique<TxnHost>(shard(), *services, Logger(&lines, "transactions"));
    services->shards = {&shard()};
    services->groups = {groups.get()};
    services->transactions = {host.get()};
    metadata::Image features;
    features.features["transaction.version"] = 2;
    host->follow(features);
  }
  void topics() {
    state = create_topic("__transaction_state", 1, {{"cleanup.policy", "compact"}});
    offsets = create_topic("__consumer_offsets", 1, {{"cleanup.policy", "compact"}});
    data = create_topic("t", 2);
    settle();
  }
  void settle() {
    services->image = image;
    sim.run_for(Millis(50));
  }
  /// As after kill -9.
  void restart() {
    host.reset();
    groups.reset();
    stop();
    node.disk().process_died();
    start();
    host_loop();
    load();
    settle();
  }

  template <class Answer, class C>
  Answer ask(C command) {
    std::optional<server::TxnResult> result;
    on_loop([&] {
      host->submit(0, machines::txn::Command(std::move(command)),
                   [&](server::TxnResult r) { result = std::move(r); });
    });
    EXPECT_TRUE(sim.run_until([&] { return result.has_value(); }, Millis(60'000)));
    EXPECT_TRUE(*result) << wire::name(result->error());
    return *result ? std::get<Answer>(**result) : Answer{};
  }
  std::expected<machines::group::Response, ErrorCode> ask_group(machines::group::Command command) {
    std::optional<server::GroupResult> result;
    on_loop([&] {
      groups->submit(0, std::move(command), [&](server::GroupResult r) { result = std::move(r); });
    });
    EXPECT_TRUE(sim.run_until([&] { return result.has_value(); }, Millis(60'000)));
    return *result;
  }
  int64_t offset_of(std::string group) {
    const auto r = ask_group(FetchOffsets{.group = std::move(group),
                                          .topics = {{{.name = "t", .partitions = {0}}}},
                                          .require_stable = true});
    if (!r) return -1'000;
    const auto& p = std::get<FetchOffsetsAnswer>(*r).topics[0].partitions[0];
    return p.error == ErrorCode::kNone ? p.offset : -2;
  }
  Producer producer(int64_t id = 77) {
    const auto a = ask<InitAnswer>(Init{{"x"}, 60'000, ProducerId(id)});
    EXPECT_EQ(a.error, ErrorCode::kNone);
    return {"x", a.producer, a.epoch};
  }
  /// A transactional batch; what the partition says of it.
  ErrorCode write(const Producer& who, int32_t index, int32_t sequence = 0) {
    ErrorCode error{};
    on_loop([&] {
      wire::BatchBuilder builder({.transactional = true,
                                  .producer_id = who.producer,
                                  .producer_epoch = who.epoch,
                                  .base_sequence = sequence});
      builder.add(WallMs(1), std::nullopt, as_bytes("v"));
      ByteBuffer batch = *builder.build();
      auto& p = partition(data, index);
      const auto v = p.begin_verification(who.producer, who.epoch, sequence, true, WallMs(1));
      error = p.produce(batch, {.now = WallMs(1), .rules = {v.guard, true}}).error;
    });
    return error;
  }
  std::string status() {
    const auto d = ask<DescribeAnswer>(Describe{{"x"}}).transactions[0];
    return fmt::format("{} {}/{}", d.state, d.producer.value, d.epoch.value);
  }

  Lines lines;
  std::unique_ptr<server::Services> services;
  std::unique_ptr<GroupHost> groups;
  std::unique_ptr<TxnHost> host;
  Uuid state, offsets, data;

 private:
  NoController controller_;
  MetricSet set_;
  server::ServerMetrics metrics_;
};

TEST_F(TxnHostTest, MarkersReachEveryPartition) {
  topics();
  Producer p = producer();
  ASSERT_EQ(ask<AddAnswer>(Add{p, 2, {{"t", 0}, {"t", 1}}}).error, ErrorCode::kNone);
  ASSERT_EQ(write(p, 0), ErrorCode::kNone);
  settle();
  EXPECT_EQ(partition(data, 0).last_stable_offset(), Offset(0));
  const auto a = ask<EndAnswer>(End{p, true, 2});
  EXPECT_EQ(a.epoch, ProducerEpoch(1));
  settle();
  EXPECT_EQ(status(), "CompleteCommit 77/1");
  EXPECT_EQ(partition(data, 0).last_stable_offset(), Offset(2));
  EXPECT_EQ(partition(data, 1).last_stable_offset(), Offset(1));  // a marker alone
  EXPECT_EQ(write(p, 0, 1), ErrorCode::kInvalidProducerEpoch);
}

TEST_F(TxnHostTest, OffsetsCountWithTheMarker) {
  topics();
  Producer p = producer();
  const auto commit = [&](int64_t offset) {
    CommitOffsets c{.group = "g",
                    .topics = {{.name = "t", .partitions = {{.index = 0, .offset = offset}}}},
                    .transaction = {{p.producer, p.epoch}}};
    on_loop([&] {
      c.transaction->guard =
          partition(offsets, 0).begin_verification(p.producer, p.epoch, -1, true, WallMs(1)).guard;
    });
    const auto r = ask_group(c);
    return r ? ErrorCode::kNone : r.error();
  };
  ask<AddAnswer>(Add{p, 2, {{"__consumer_offsets", 0}}});
  EXPECT_EQ(commit(5), ErrorCode::kNone);
  EXPECT_EQ(offset_of("g"), -2);  // not settled
  ask<EndAnswer>(End{p, false, 2});
  settle();
  EXPECT_EQ(offset_of("g"), -1);
  p.epoch = ProducerEpoch(1);
  ask<AddAnswer>(Add{p, 2, {{"__consumer_offsets", 0}}});
  EXPECT_EQ(commit(6), ErrorCode::kNone);
  // A fenced producer is refused, and the coordinator is none the worse for it.
  p.epoch = ProducerEpoch(0);
  EXPECT_EQ(commit(7), ErrorCode::kInvalidProducerEpoch);
  p.epoch = ProducerEpoch(1);
  ask<EndAnswer>(End{p, true, 2});
  settle();
  EXPECT_EQ(offset_of("g"), 6);
  restart();
  ASSERT_TRUE(sim.run_until([&] { return offset_of("g") == 6; }, Millis(5'000)));
}

TEST_F(TxnHostTest, UnverifiedOffsetsAreRefused) {
  topics();
  const Producer p = producer();
  const auto r =
      ask_group(CommitOffsets{.group = "g",
                              .topics = {{.name = "t", .partitions = {{.index = 0, .offset = 1}}}},
                              .transaction = {{p.producer, p.epoch, 99}}});
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error(), ErrorCode::kInvalidTxnState);
}

TEST_F(TxnHostTest, WhatWasDecidedIsCarriedOutAfterARestart) {
  topics();
  const Producer p = producer();
  ask<AddAnswer>(Add{p, 2, {{"t", 0}}});
  ASSERT_EQ(write(p, 0), ErrorCode::kNone);
  settle();
  // The decision alone, as if the process had died before the first marker.
  on_loop([&] {
    const machines::txn::Transaction t{.producer = p.producer,
                                       .previous = p.producer,
                                       .epoch = ProducerEpoch(1),
                                       .timeout_ms = 60'000,
                                       .status = machines::txn::Status::kPrepareCommit,
                                       .partitions = {{"t", 0}},
                                       .started_ms = 1,
                                       .updated_ms = 1,
                                       .version = 2};
    const auto record = machines::txn::Record::of("x", t, 2);
    wire::BatchBuilder builder({});
    builder.add(WallMs(1), as_bytes(record.stored().key), as_bytes(*record.stored().value));
    ByteBuffer batch = *builder.build();
    ASSERT_EQ(partition(state, 0).append_own(batch, WallMs(1)).error, ErrorCode::kNone);
  });
  settle();
  restart();
  ASSERT_TRUE(sim.run_until([&] { return status() == "CompleteCommit 77/1"; }, Millis(5'000)));
  EXPECT_EQ(partition(data, 0).last_stable_offset(), Offset(2));
  EXPECT_TRUE(lines.has("it is committed now"));
}

TEST_F(TxnHostTest, TopicsThatAreGoneHoldNothingUp) {
  topics();
  const Producer p = producer();
  const Uuid other = create_topic("gone");
  settle();
  ask<AddAnswer>(Add{p, 2, {{"t", 0}, {"gone", 0}}});
  delete_topic(other);
  settle();
  ask<EndAnswer>(End{p, false, 2});
  settle();
  EXPECT_EQ(status(), "CompleteAbort 77/1");
}

TEST_F(TxnHostTest, TimedOutAndFencedAreToldApart) {
  topics();
  const Producer p = producer();
  ask<AddAnswer>(Add{p, 2, {{"t", 0}}});
  sim.run_for(Millis(75'000));
  EXPECT_EQ(status(), "CompleteAbort 77/1");
  EXPECT_TRUE(lines.has("open for more than its timeout of 60000 ms")) << lines.lines.back();
  const Producer next = producer();
  ask<AddAnswer>(Add{next, 2, {{"t", 0}}});
  EXPECT_EQ(ask<InitAnswer>(Init{{"x"}, 60'000}).error, ErrorCode::kConcurrentTransactions);
  settle();
  EXPECT_TRUE(lines.has("a newer producer of this id has come")) << lines.lines.back();
  EXPECT_EQ(producer().epoch, ProducerEpoch(4));
}

}  // namespace
}  // namespace odradek::node
