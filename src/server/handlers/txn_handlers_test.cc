// Handlers of transactions, through whole frames, over a transaction machine in memory.
#include <gtest/gtest.h>

#include <map>

#include "machines/txn/txn_machine.h"
#include "server/handlers/handlers.h"
#include "server/testing/small_image.h"
#include "server/testing/test_server.h"
#include "server/txn_access.h"
#include "wire/gen/add_offsets_to_txn.h"
#include "wire/gen/add_partitions_to_txn.h"
#include "wire/gen/allocate_producer_ids.h"
#include "wire/gen/describe_transactions.h"
#include "wire/gen/end_txn.h"
#include "wire/gen/find_coordinator.h"
#include "wire/gen/init_producer_id.h"
#include "wire/gen/list_transactions.h"

namespace odradek::server {
namespace {

using machines::TxnMachine;
using wire::ErrorCode;

int16_t code(ErrorCode e) { return wire::wire_value(e); }

/// A machine for each partition; everything is committed at once, and markers are written at once.
class MemoryTxns : public TxnCoordinators {
 public:
  explicit MemoryTxns(io::Loop& loop) : loop_(loop) {}

  void submit(int32_t partition, machines::txn::Command command, Done done) override {
    if (refuses != ErrorCode::kNone) return done(std::unexpected(refuses));
    auto messages = run(partition, command, done);
    for (const auto& m : messages) {
      if (!writes_markers) break;
      if (const auto* f = std::get_if<machines::txn::Finish>(&m)) {
        Done nobody = [](TxnResult) {};
        run(partition, machines::txn::MarkersWritten{f->who}, nobody);
      }
    }
  }

  ErrorCode refuses = ErrorCode::kNone;
  bool writes_markers = true;

 private:
  std::vector<machines::txn::Message> run(int32_t partition, const machines::txn::Command& command,
                                          Done& done) {
    TxnMachine& machine = machines_.try_emplace(partition, machines::txn::Settings{}).first->second;
    auto decision = machine.decide(command, {loop_.clock().wall(), 1, Offset(0)});
    for (const auto& record : decision.records) machine.replay(Offset(0), record);
    done(std::move(decision.response));
    return std::move(decision.messages);
  }

  io::Loop& loop_;
  std::map<int32_t, TxnMachine> machines_;
};

class TxnHandlers : public ::testing::Test {
 protected:
  TxnHandlers()
      : server_(dispatch_table()),
        image_(testing::small_image()),
        txns_(server_.node().loop(0)),
        client_(server_.connect()) {
    testing::add_topic(*image_, "t", 2, 1);
    testing::add_topic(*image_, "__consumer_offsets", 50, 2);
    testing::add_topic(*image_, "__transaction_state", 50, 3);
    server_.set_image(image_);
    server_.services().config = testing::small_config();
    server_.services().transactions = {&txns_};
    server_.services().shards = {nullptr};  // one loop: it owns all
    server_.controller.on_ask = [](const testing::FakeController::Asked& asked) {
      EXPECT_EQ(asked.api, wire::ApiKey::kAllocateProducerIds);
      wire::AllocateProducerIdsResponse answer;
      answer.producer_id_start = 4'000;
      answer.producer_id_len = 1'000;
      wire::Writer w;
      answer.encode(w, 0);
      return Result<ByteBuffer>(w.take());
    };
  }

  wire::InitProducerIdResponse init(std::string_view id, int16_t version = 5, int64_t producer = -1,
                                    int16_t epoch = -1, int32_t timeout_ms = 60'000) {
    wire::InitProducerIdRequest body;
    body.transactional_id = id;
    body.transaction_timeout_ms = timeout_ms;
    body.producer_id = producer;
    body.producer_epoch = epoch;
    auto answer = client_.call<wire::InitProducerIdResponse>(body, version);
    EXPECT_TRUE(answer);
    return *answer;
  }
  wire::AddPartitionsToTxnRequest add_old(std::string_view id, int64_t producer, int16_t epoch,
                                          std::vector<int32_t> partitions) {
    wire::AddPartitionsToTxnRequest body;
    body.v3_and_below_transactional_id = id;
    body.v3_and_below_producer_id = producer;
    body.v3_and_below_producer_epoch = epoch;
    auto& topic = body.v3_and_below_topics.add(arena_);
    topic.name = "t";
    for (const int32_t p : partitions) topic.partitions.add(arena_) = p;
    return body;
  }
  wire::EndTxnResponse end(std::string_view id, int64_t producer, int16_t epoch, bool commit,
                           int16_t version) {
    wire::EndTxnRequest body;
    body.transactional_id = id;
    body.producer_id = producer;
    body.producer_epoch = epoch;
    body.committed = commit;
    auto answer = client_.call<wire::EndTxnResponse>(body, version);
    EXPECT_TRUE(answer);
    return *answer;
  }
  std::string state(std::string_view id) {
    wire::DescribeTransactionsRequest body;
    body.transactional_ids.add(arena_) = id;
    auto answer = client_.call<wire::DescribeTransactionsResponse>(body, 0);
    EXPECT_TRUE(answer);
    const auto& t = answer->transaction_states[0];
    if (t.error_code != 0) return std::string(wire::name(static_cast<ErrorCode>(t.error_code)));
    std::string out(t.transaction_state);
    for (const auto& topic : t.topics) {
      for (const int32_t p : topic.partitions) out += fmt::format(" {}-{}", topic.topic, p);
    }
    return out;
  }

  Arena arena_;
  testing::TestServer server_;
  std::shared_ptr<metadata::Image> image_;
  MemoryTxns txns_;
  testing::TestClient client_;
};

TEST_F(TxnHandlers, CoordinatorsOfIdsAreFound) {
  wire::FindCoordinatorRequest body;
  body.key_type = 1;
  body.coordinator_keys.add(arena_) = "x";
  const auto found = client_.call<wire::FindCoordinatorResponse>(body, 6);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->coordinators[0].error_code, 0);
  EXPECT_EQ(found->coordinators[0].node_id, 1);
}

TEST_F(TxnHandlers, FromTheFirstRequestToTheLast) {
  auto p = init("x");
  EXPECT_EQ(p.error_code, 0);
  EXPECT_EQ(p.producer_id, 4'000);
  EXPECT_EQ(p.producer_epoch, 0);
  EXPECT_EQ(state("x"), "Empty");
  for (int16_t v = 0; v <= 3; v++) {
    const auto added = client_.call<wire::AddPartitionsToTxnResponse>(
        add_old("x", p.producer_id, p.producer_epoch, {0, 1}), v);
    ASSERT_TRUE(added) << v;
    for (const auto& r : added->results_by_topic_v3_and_below[0].results_by_partition)
      EXPECT_EQ(r.partition_error_code, 0) << v;
  }
  wire::AddOffsetsToTxnRequest offsets;
  offsets.transactional_id = "x";
  offsets.producer_id = p.producer_id;
  offsets.producer_epoch = p.producer_epoch;
  offsets.group_id = "g";
  const auto added = client_.call<wire::AddOffsetsToTxnResponse>(offsets, 4);
  ASSERT_TRUE(added);
  EXPECT_EQ(added->error_code, 0);
  EXPECT_EQ(state("x"), "Ongoing __consumer_offsets-3 t-0 t-1");
  EXPECT_EQ(end("x", p.producer_id, 0, true, 4).error_code, 0);
  EXPECT_EQ(state("x"), "CompleteCommit");
  const auto ended = end("x", p.producer_id, 0, false, 5);
  EXPECT_EQ(ended.error_code, 0);
  EXPECT_EQ(ended.producer_id, p.producer_id);
  EXPECT_EQ(ended.producer_epoch, 1);
  EXPECT_EQ(state("y"), "TRANSACTIONAL_ID_NOT_FOUND");
  EXPECT_EQ(state(""), "INVALID_REQUEST");
}

TEST_F(TxnHandlers, WhatIsRefused) {
  EXPECT_EQ(init("").error_code, code(ErrorCode::kInvalidRequest));
  EXPECT_EQ(init("x", 5, 7, -1).error_code, code(ErrorCode::kInvalidRequest));
  EXPECT_EQ(init("x", 5, -1, -1, 0).error_code, code(ErrorCode::kInvalidTransactionTimeout));
  EXPECT_EQ(init("x", 5, -1, -1, 900'001).error_code, code(ErrorCode::kInvalidTransactionTimeout));
  const auto p = init("x");
  // Older versions do not know PRODUCER_FENCED.
  EXPECT_EQ(init("x", 3, 7, 0).error_code, code(ErrorCode::kInvalidProducerEpoch));
  EXPECT_EQ(init("x", 4, 7, 0).error_code, code(ErrorCode::kProducerFenced));
  EXPECT_EQ(end("x", p.producer_id, 5, true, 1).error_code, code(ErrorCode::kInvalidProducerEpoch));
  EXPECT_EQ(end("x", p.producer_id, 5, true, 2).error_code, code(ErrorCode::kProducerFenced));
  EXPECT_EQ(end("", p.producer_id, 5, true, 2).error_code, code(ErrorCode::kInvalidRequest));
  const auto unknown = client_.call<wire::AddPartitionsToTxnResponse>(
      add_old("x", p.producer_id, p.producer_epoch, {0, 7}), 3);
  ASSERT_TRUE(unknown);
  const auto& results = unknown->results_by_topic_v3_and_below[0].results_by_partition;
  EXPECT_EQ(results[0].partition_error_code, code(ErrorCode::kOperationNotAttempted));
  EXPECT_EQ(results[1].partition_error_code, code(ErrorCode::kUnknownTopicOrPartition));
  auto internal = add_old("x", p.producer_id, p.producer_epoch, {0});
  internal.v3_and_below_topics.add(arena_).name = "__consumer_offsets";
  internal.v3_and_below_topics[1].partitions.add(arena_) = 0;
  const auto refused = client_.call<wire::AddPartitionsToTxnResponse>(internal, 3);
  ASSERT_TRUE(refused);
  const auto& by_topic = refused->results_by_topic_v3_and_below;
  EXPECT_EQ(by_topic[0].results_by_partition[0].partition_error_code,
            code(ErrorCode::kOperationNotAttempted));
  EXPECT_EQ(by_topic[1].results_by_partition[0].partition_error_code,
            code(ErrorCode::kTopicAuthorizationFailed));
  EXPECT_EQ(state("x"), "Empty");
  txns_.refuses = ErrorCode::kCoordinatorLoadInProgress;
  EXPECT_EQ(init("x").error_code, code(ErrorCode::kCoordinatorLoadInProgress));
  EXPECT_EQ(state("x"), "COORDINATOR_LOAD_IN_PROGRESS");
}

TEST_F(TxnHandlers, SeveralTransactionsOfABroker) {
  const auto p = init("x");
  const auto q = init("y");
  wire::AddPartitionsToTxnRequest body;
  for (const auto& [id, producer, verify] : {std::tuple{"x", p.producer_id, false},
                                             {"x", p.producer_id, true},
                                             {"y", q.producer_id, true},
                                             {"", q.producer_id, true}}) {
    auto& t = body.transactions.add(arena_);
    t.transactional_id = id;
    t.producer_id = producer;
    t.verify_only = verify;
    auto& topic = t.topics.add(arena_);
    topic.name = "t";
    topic.partitions.add(arena_) = 1;
  }
  const auto answer = client_.call<wire::AddPartitionsToTxnResponse>(body, 5);
  ASSERT_TRUE(answer);
  std::vector<int16_t> errors;
  for (const auto& r : answer->results_by_transaction)
    errors.push_back(r.topic_results[0].results_by_partition[0].partition_error_code);
  EXPECT_EQ(errors, (std::vector<int16_t>{0, 0, code(ErrorCode::kTransactionAbortable),
                                          code(ErrorCode::kInvalidRequest)}));
}

TEST_F(TxnHandlers, ListsByStateAndProducer) {
  const auto p = init("x");
  init("y");
  client_.call<wire::AddPartitionsToTxnResponse>(add_old("x", p.producer_id, 0, {0}), 3);
  wire::ListTransactionsRequest body;
  body.state_filters.add(arena_) = "Ongoing";
  body.state_filters.add(arena_) = "Nonsense";
  auto answer = client_.call<wire::ListTransactionsResponse>(body, 1);
  ASSERT_TRUE(answer);
  ASSERT_EQ(answer->transaction_states.size(), 1U);
  EXPECT_EQ(answer->transaction_states[0].transactional_id, "x");
  ASSERT_EQ(answer->unknown_state_filters.size(), 1U);
  EXPECT_EQ(answer->unknown_state_filters[0], "Nonsense");
  answer = client_.call<wire::ListTransactionsResponse>(wire::ListTransactionsRequest(), 2);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->transaction_states.size(), 2U);
  wire::ListTransactionsRequest like;
  like.transactional_id_pattern = "[x-z]";
  EXPECT_EQ(client_.call<wire::ListTransactionsResponse>(like, 2)->transaction_states.size(), 2U);
  like.transactional_id_pattern = "x|ya";
  EXPECT_EQ(client_.call<wire::ListTransactionsResponse>(like, 2)->transaction_states.size(), 1U);
  like.transactional_id_pattern = "(";
  EXPECT_EQ(client_.call<wire::ListTransactionsResponse>(like, 2)->error_code,
            code(ErrorCode::kInvalidRegularExpression));
  txns_.refuses = ErrorCode::kCoordinatorLoadInProgress;
  answer = client_.call<wire::ListTransactionsResponse>(wire::ListTransactionsRequest(), 2);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->error_code, code(ErrorCode::kCoordinatorLoadInProgress));
}

}  // namespace
}  // namespace odradek::server
