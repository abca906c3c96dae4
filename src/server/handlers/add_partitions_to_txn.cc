// AddPartitionsToTxn (24), versions 0-5: partitions that a transaction is going to write to.
//
// 2: PRODUCER_FENCED, before INVALID_PRODUCER_EPOCH. 3: flexible. 4: several transactions, from
// brokers; `verify only` adds nothing and asks whether they belong to the ongoing transaction. 5:
// TRANSACTION_ABORTABLE.
// - Partitions that do not exist are UNKNOWN_TOPIC_OR_PARTITION, internal topics of clients (up to
//   version 3) TOPIC_AUTHORIZATION_FAILED; then nothing is added, the others being
//   OPERATION_NOT_ATTEMPTED.
// - Up to version 3 an error of the transaction is every partition's.
#include "wire/gen/add_partitions_to_txn.h"

#include "server/handlers/handlers.h"
#include "server/handlers/topic_view.h"
#include "server/txn_access.h"

namespace odradek::server {

namespace {

using machines::txn::Add;
using machines::txn::AddAnswer;
using machines::txn::Producer;
using machines::txn::TopicPartition;
using machines::txn::Verify;
using machines::txn::VerifyAnswer;
using wire::ErrorCode;
using Topics = Array<wire::AddPartitionsToTxnRequest::AddPartitionsToTxnTopic>;
using Results = Array<wire::AddPartitionsToTxnResponse::AddPartitionsToTxnTopicResult>;

struct Asked {
  Producer who;
  bool verify_only = false;
  int16_t version = 0;  // transaction.version
  std::vector<TopicPartition> partitions{};
  std::vector<ErrorCode> errors{};  // by partition
};

Asked asked(const metadata::Image& image, const Topics& topics, bool of_client) {
  Asked out;
  bool any_refused = false;
  for (const auto& topic : topics) {
    for (const int32_t index : topic.partitions) {
      out.partitions.push_back({std::string(topic.name), index});
      ErrorCode error = ErrorCode::kNone;
      if (of_client && is_internal_topic(topic.name)) {
        error = ErrorCode::kTopicAuthorizationFailed;
      } else if (image.partition(topic.name, index) == nullptr) {
        error = ErrorCode::kUnknownTopicOrPartition;
      }
      any_refused |= error != ErrorCode::kNone;
      out.errors.push_back(error);
    }
  }
  if (!any_refused) return out;
  for (ErrorCode& e : out.errors) {
    if (e == ErrorCode::kNone) e = ErrorCode::kOperationNotAttempted;
  }
  return out;
}

io::Task<void> ask(Request& request, Asked& a) {
  for (const ErrorCode e : a.errors) {
    if (e != ErrorCode::kNone) co_return;
  }
  const auto all = [&a](ErrorCode error) { std::ranges::fill(a.errors, error); };
  if (a.who.id.empty()) {
    all(ErrorCode::kInvalidRequest);
  } else if (a.verify_only) {
    const auto answer =
        co_await ask_txn<VerifyAnswer>(request, a.who.id, Verify{a.who, a.partitions});
    if (answer) {
      a.errors = answer->results;
    } else {
      all(answer.error());
    }
  } else {
    const auto answer =
        co_await ask_txn<AddAnswer>(request, a.who.id, Add{a.who, a.version, a.partitions});
    all(known_fence(answer ? answer->error : answer.error(), request.version(), 2));
  }
}

void tell(Request& request, const Topics& topics, const Asked& a, Results& results) {
  size_t next = 0;
  for (const auto& topic : topics) {
    auto& out = results.add(request.arena());
    out.name = topic.name;
    for (const int32_t index : topic.partitions) {
      auto& p = out.results_by_partition.add(request.arena());
      p.partition_index = index;
      p.partition_error_code = wire::wire_value(a.errors[next++]);
    }
  }
}

}  // namespace

io::Task<void> handle_add_partitions_to_txn(Request& request) {
  wire::AddPartitionsToTxnRequest body;
  if (!request.decode(body)) co_return;
  const metadata::ImagePtr image = request.services().image;
  wire::AddPartitionsToTxnResponse response;
  if (request.version() < 4) {
    Asked a = asked(*image, body.v3_and_below_topics, true);
    a.who = {std::string(body.v3_and_below_transactional_id),
             ProducerId(body.v3_and_below_producer_id),
             ProducerEpoch(body.v3_and_below_producer_epoch)};
    co_await ask(request, a);
    tell(request, body.v3_and_below_topics, a, response.results_by_topic_v3_and_below);
  } else {
    for (const auto& t : body.transactions) {
      Asked a = asked(*image, t.topics, false);
      a.who = {std::string(t.transactional_id), ProducerId(t.producer_id),
               ProducerEpoch(t.producer_epoch)};
      a.verify_only = t.verify_only;
      a.version = machines::txn::kEpochBumps;
      co_await ask(request, a);
      auto& out = response.results_by_transaction.add(request.arena());
      out.transactional_id = t.transactional_id;
      tell(request, t.topics, a, out.topic_results);
    }
  }
  request.respond(response);
}

}  // namespace odradek::server
