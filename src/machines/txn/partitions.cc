// What belongs to a transaction: AddPartitionsToTxn, AddOffsetsToTxn.
#include <algorithm>

#include "machines/txn/draft.h"

namespace odradek::machines::txn {

AddAnswer add(Draft& draft, const Add& c) {
  const Transaction* known = draft.state.find(c.who.id);
  if (known == nullptr) return {ErrorCode::kInvalidProducerIdMapping};
  if (known->is_ending()) return {ErrorCode::kConcurrentTransactions};
  if (known->producer != c.who.producer) return {ErrorCode::kInvalidProducerIdMapping};
  if (known->epoch != c.who.epoch) return {ErrorCode::kProducerFenced};
  const bool ongoing = known->status == Status::kOngoing;
  if (ongoing && std::ranges::all_of(c.partitions, [&](const TopicPartition& p) {
        return known->partitions.contains(p);
      })) {
    return {};
  }
  Transaction t = *known;
  t.previous = known->producer;
  t.status = Status::kOngoing;
  t.partitions.insert(c.partitions.begin(), c.partitions.end());
  t.updated_ms = draft.now.wall.value;
  if (!ongoing) t.started_ms = t.updated_ms;
  t.version = c.version;
  draft.set(c.who.id, t);
  if (draft.state.ongoing() == 0) draft.arm(kTimeoutTimer, draft.settings.timeout_check);
  return {};
}

VerifyAnswer verify(const Draft& draft, const Verify& c) {
  const Transaction* known = draft.state.find(c.who.id);
  const auto all = [&](ErrorCode error) {
    return VerifyAnswer{std::vector<ErrorCode>(c.partitions.size(), error)};
  };
  if (known == nullptr || known->producer != c.who.producer)
    return all(ErrorCode::kInvalidProducerIdMapping);
  if (known->epoch != c.who.epoch) return all(ErrorCode::kProducerFenced);
  if (known->is_ending()) return all(ErrorCode::kConcurrentTransactions);
  VerifyAnswer answer;
  for (const TopicPartition& p : c.partitions) {
    answer.results.push_back(known->partitions.contains(p) ? ErrorCode::kNone
                                                           : ErrorCode::kTransactionAbortable);
  }
  return answer;
}

}  // namespace odradek::machines::txn
