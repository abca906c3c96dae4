#include "sim/txn_producer.h"

#include <fmt/format.h>

#include <utility>

#include "wire/gen/add_offsets_to_txn.h"
#include "wire/gen/add_partitions_to_txn.h"
#include "wire/gen/end_txn.h"
#include "wire/gen/init_producer_id.h"
#include "wire/gen/produce.h"
#include "wire/gen/txn_offset_commit.h"
#include "wire/record_batch.h"

namespace odradek::sim {

using wire::ErrorCode;

namespace {

constexpr auto kNoAnswer = ErrorCode::kNetworkException;

int16_t version_between(ClientWorld& world, int64_t low, int64_t high) {
  return static_cast<int16_t>(world.sim.rng().between(low, high));
}

}  // namespace

std::string TxnProducer::text() const {
  return fmt::format("{} producer {} epoch {}", plan_.transactional_id, id_.value, epoch_.value);
}

bool TxnProducer::may_be_fenced() const {
  if (use_.inits != mine_ || use_.open != 0) return true;
  return begun_ && loop_.clock().now() - begun_at_ >= int64_t{plan_.timeout_ms} * 1'000'000;
}

std::optional<TxnProducer::Answer> TxnProducer::judge(const char* what, ErrorCode error) {
  using enum ErrorCode;
  if (error == kNone) return Answer::kDone;
  if (transactional() && (error == kProducerFenced || error == kInvalidProducerEpoch)) {
    if (!may_be_fenced())
      world_.history.fail(fmt::format("{} of {} is fenced by nobody", what, text()));
    return Answer::kFenced;
  }
  if (transactional() && (error == kInvalidTxnState || error == kTransactionAbortable))
    return Answer::kRefused;
  const std::string who = fmt::format("{} of {}", what, text());
  if (may_retry(world_, who.c_str(), wire::wire_value(error))) return std::nullopt;
  return Answer::kRefused;
}

template <class Once>
io::Task<TxnProducer::Result> TxnProducer::repeat(const char* what, Millis patience, Once once) {
  Result result;
  const MonoNs limit = loop_.clock().now() + patience;
  while (!world_.history.failure()) {
    result.error = co_await once();
    if (const auto answer = judge(what, result.error)) {
      result.answer = *answer;
      co_return result;
    }
    result.lost = true;
    if (loop_.clock().now() >= limit) break;
    co_await loop_.sleep(Millis(world_.sim.rng().between(1, kRetryPause.value)));
  }
  result.answer = Answer::kUnknown;
  co_return result;
}

void TxnProducer::touch() {
  if (!std::exchange(begun_, true)) begun_at_ = loop_.clock().now();
}

void TxnProducer::begin_epoch(int64_t id, int16_t epoch) {
  id_ = ProducerId(id);
  epoch_ = ProducerEpoch(epoch);
  next_sequence_.clear();
}

// ---- InitProducerId

io::Task<ErrorCode> TxnProducer::find(CoordinatorOf of, std::string key) {
  const bool found = co_await find_coordinator(world_, coordinator_, of, std::move(key));
  co_return found ? ErrorCode::kNone : kNoAnswer;
}

io::Task<ErrorCode> TxnProducer::init_once() {
  wire::InitProducerIdRequest request;
  request.transactional_id = std::nullopt;
  const bool again = transactional() && id_.value >= 0;
  if (transactional()) request.transactional_id = plan_.transactional_id;
  request.transaction_timeout_ms = plan_.timeout_ms;
  if (again) {
    request.producer_id = id_.value;
    request.producer_epoch = epoch_.value;
  }
  const int16_t version = version_between(world_, again ? 3 : 0, 5);
  const uint64_t mine = ++use_.inits;
  const bool alone = ++use_.open == 1;
  auto reply =
      co_await coordinator_.call<wire::InitProducerIdRequest, wire::InitProducerIdResponse>(
          request, version);
  if (!reply) co_return kNoAnswer;
  use_.open--;
  if (reply->body.error_code == 0) {
    begin_epoch(reply->body.producer_id, reply->body.producer_epoch);
    mine_ = alone ? mine : 0;
    torn_ = begun_ = false;
    added_.clear();
  }
  co_return static_cast<ErrorCode>(reply->body.error_code);
}

io::Task<TxnProducer::Result> TxnProducer::init(Millis patience) {
  if (transactional()) {
    const Result found = co_await repeat("FindCoordinator", patience, [this] {
      return find(CoordinatorOf::kTransaction, plan_.transactional_id);
    });
    if (found.answer != Answer::kDone) co_return found;
  }
  co_return co_await repeat("InitProducerId", patience, [this] { return init_once(); });
}

// ---- records

io::Task<ErrorCode> TxnProducer::add_partition(const History::Partition& at) {
  touch();
  Arena arena;
  wire::AddPartitionsToTxnRequest request;
  request.v3_and_below_transactional_id = plan_.transactional_id;
  request.v3_and_below_producer_id = id_.value;
  request.v3_and_below_producer_epoch = epoch_.value;
  auto& topic = request.v3_and_below_topics.add(arena);
  topic.name = at.topic;
  topic.partitions.add(arena) = at.index;
  auto reply =
      co_await coordinator_.call<wire::AddPartitionsToTxnRequest, wire::AddPartitionsToTxnResponse>(
          request, version_between(world_, 0, 3));
  if (!reply) co_return kNoAnswer;
  const auto& topics = reply->body.results_by_topic_v3_and_below;
  if (topics.size() != 1 || topics[0].results_by_partition.size() != 1) {
    world_.history.fail("an AddPartitionsToTxn answer without its partition");
    co_return kNoAnswer;
  }
  co_return static_cast<ErrorCode>(topics[0].results_by_partition[0].partition_error_code);
}

io::Task<ErrorCode> TxnProducer::produce(const KnownTopic& to, int32_t index,
                                         const std::string& value, int64_t& offset) {
  if (transactional()) touch();
  wire::BatchOptions options{.transactional = transactional(),
                             .producer_id = id_,
                             .producer_epoch = epoch_,
                             .base_sequence = next_sequence_[{to.name, index}]};
  wire::BatchBuilder builder(options);
  // A key of its own each: compacted topics must keep them all.
  builder.add(loop_.clock().wall(), as_bytes(value), as_bytes(value));
  const ByteBuffer bytes = *builder.build();
  Arena arena;
  wire::ProduceRequest request;
  if (transactional()) request.transactional_id = plan_.transactional_id;
  request.acks = -1;
  request.timeout_ms = 30'000;
  auto& topic = request.topic_data.add(arena);
  topic.name = to.name;
  topic.topic_id = to.id;
  auto& partition = topic.partition_data.add(arena);
  partition.index = index;
  partition.records = bytes;
  const int16_t version =
      plan_.bumps ? version_between(world_, 12, 13) : version_between(world_, 3, 11);
  auto reply = co_await leader_.call<wire::ProduceRequest, wire::ProduceResponse>(request, version);
  if (!reply) co_return kNoAnswer;
  const auto& topics = reply->body.responses;
  if (topics.size() != 1 || topics[0].partition_responses.size() != 1) {
    world_.history.fail("a produce answer without its partition");
    co_return kNoAnswer;
  }
  offset = topics[0].partition_responses[0].base_offset;
  co_return static_cast<ErrorCode>(topics[0].partition_responses[0].error_code);
}

io::Task<TxnProducer::Result> TxnProducer::send(const KnownTopic& topic, int32_t partition,
                                                std::string value, Millis patience,
                                                int64_t& offset) {
  const History::Partition at{topic.name, partition};
  if (transactional() && !plan_.bumps && !added_.contains(at)) {
    const Result added =
        co_await repeat("AddPartitionsToTxn", patience, [&] { return add_partition(at); });
    if (added.answer != Answer::kDone) co_return added;
    added_.insert(at);
  }
  const Result sent = co_await repeat("Produce", patience,
                                      [&] { return produce(topic, partition, value, offset); });
  if (sent.answer == Answer::kDone) {
    next_sequence_[at]++;
  } else if (sent.answer == Answer::kUnknown || sent.lost) {
    torn_ = true;
  }
  co_return sent;
}

// ---- offsets

io::Task<ErrorCode> TxnProducer::add_offsets(const std::string& group) {
  touch();
  wire::AddOffsetsToTxnRequest request;
  request.transactional_id = plan_.transactional_id;
  request.producer_id = id_.value;
  request.producer_epoch = epoch_.value;
  request.group_id = group;
  auto reply =
      co_await coordinator_.call<wire::AddOffsetsToTxnRequest, wire::AddOffsetsToTxnResponse>(
          request, version_between(world_, 0, 4));
  co_return reply ? static_cast<ErrorCode>(reply->body.error_code) : kNoAnswer;
}

io::Task<ErrorCode> TxnProducer::commit_offsets(const std::string& group,
                                                const Positions& positions) {
  touch();
  Arena arena;
  wire::TxnOffsetCommitRequest request;
  request.transactional_id = plan_.transactional_id;
  request.group_id = group;
  request.producer_id = id_.value;
  request.producer_epoch = epoch_.value;
  wire::TxnOffsetCommitRequest::TxnOffsetCommitRequestTopic* topic = nullptr;
  for (const auto& [at, offset] : positions) {
    if (topic == nullptr || topic->name != at.topic) topic = &request.topics.add(arena);
    topic->name = at.topic;
    auto& partition = topic->partitions.add(arena);
    partition.partition_index = at.index;
    partition.committed_offset = offset;
  }
  const int16_t version = plan_.bumps ? int16_t{5} : version_between(world_, 0, 4);
  auto reply =
      co_await coordinator_.call<wire::TxnOffsetCommitRequest, wire::TxnOffsetCommitResponse>(
          request, version);
  if (!reply) co_return kNoAnswer;
  for (const auto& t : reply->body.topics) {
    for (const auto& p : t.partitions) {
      if (p.error_code != 0) co_return static_cast<ErrorCode>(p.error_code);
    }
  }
  co_return ErrorCode::kNone;
}

io::Task<TxnProducer::Result> TxnProducer::send_offsets(std::string group, Positions positions,
                                                        Millis patience) {
  const Result found = co_await repeat("FindCoordinator", patience,
                                       [&] { return find(CoordinatorOf::kGroup, group); });
  if (found.answer != Answer::kDone) co_return found;
  if (!plan_.bumps) {
    const Result added =
        co_await repeat("AddOffsetsToTxn", patience, [&] { return add_offsets(group); });
    if (added.answer != Answer::kDone) co_return added;
  }
  co_return co_await repeat("TxnOffsetCommit", patience,
                            [&] { return commit_offsets(group, positions); });
}

// ---- EndTxn

io::Task<ErrorCode> TxnProducer::end_once(bool commit) {
  wire::EndTxnRequest request;
  request.transactional_id = plan_.transactional_id;
  request.producer_id = id_.value;
  request.producer_epoch = epoch_.value;
  request.committed = commit;
  const int16_t version = plan_.bumps ? int16_t{5} : version_between(world_, 0, 4);
  auto reply =
      co_await coordinator_.call<wire::EndTxnRequest, wire::EndTxnResponse>(request, version);
  if (!reply) co_return kNoAnswer;
  if (reply->body.error_code == 0 && plan_.bumps)
    begin_epoch(reply->body.producer_id, reply->body.producer_epoch);
  co_return static_cast<ErrorCode>(reply->body.error_code);
}

io::Task<TxnProducer::Result> TxnProducer::end(bool commit, Millis patience) {
  if (!begun_) co_return Result{.answer = Answer::kDone};
  const Result ended = co_await repeat(commit ? "EndTxn (commit)" : "EndTxn (abort)", patience,
                                       [&] { return end_once(commit); });
  if (ended.answer == Answer::kDone) {
    begun_ = false;
    added_.clear();
    if (plan_.bumps) torn_ = false;
  }
  co_return ended;
}

}  // namespace odradek::sim
