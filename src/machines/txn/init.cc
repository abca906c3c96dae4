// InitProducerId with a transactional id (KIP-98, KIP-360, KIP-890): who may write from now on.
#include "machines/txn/draft.h"

namespace odradek::machines::txn {

namespace {

/// Whether whoever names a producer may be that id's: it is the one of now, or the one before whose
/// epochs were used up (it may have missed the answer).
bool may_be(const Transaction& t, const Producer& who) {
  return t.epoch.value == -1 || who.producer == t.producer ||
         (who.producer == t.previous && who.epoch >= kLastEpoch);
}

/// The id's next epoch, and with it no transaction.
void begin(Draft& draft, const Init& c, Transaction t) {
  t.timeout_ms = c.timeout_ms;
  t.status = Status::kEmpty;
  t.partitions.clear();
  t.started_ms = -1;
  t.updated_ms = draft.now.wall.value;
  draft.set(c.who.id, t);
}

/// No transaction is open: a new producer id, or the next epoch, or for a repeated request the same
/// again.
InitAnswer renew(Draft& draft, const Init& c, const Transaction& known) {
  const bool named = c.who.producer.value != -1;
  Transaction t = known;
  t.previous = known.producer;
  if (known.is_exhausted()) {
    // Apache has no code of its own for this.
    if (named && c.who.epoch != known.epoch) return {ErrorCode::kUnknownServerError};
    if (c.fresh.value < 0) return {.needs_id = true};
    t.producer = c.fresh;
    t.epoch = ProducerEpoch(0);
    t.last_epoch = named ? known.epoch : ProducerEpoch(-1);
  } else if (!named || known.epoch.value == -1 || c.who.epoch == known.epoch) {
    t.epoch = known.epoch + int16_t{1};
    t.last_epoch = named ? known.epoch : ProducerEpoch(-1);
  } else if (c.who.epoch != known.last_epoch) {
    return {ErrorCode::kProducerFenced};
  }
  begin(draft, c, t);
  return {.producer = t.producer, .epoch = t.epoch};
}

}  // namespace

InitAnswer init(Draft& draft, const Init& c) {
  const Transaction* known = draft.state.find(c.who.id);
  if (known == nullptr) {
    if (c.fresh.value < 0) return {.needs_id = true};
    return renew(draft, c, {.producer = c.fresh});
  }
  // The markers of the last one come first: again later.
  if (known->is_ending()) return {ErrorCode::kConcurrentTransactions};
  if (c.who.producer.value != -1 && !may_be(*known, c.who)) return {ErrorCode::kProducerFenced};
  if (known->status != Status::kOngoing) return renew(draft, c, *known);
  if (!fence(draft, c.who.id, *known, Cause::kFenced, c.fresh)) return {.needs_id = true};
  return {ErrorCode::kConcurrentTransactions};
}

}  // namespace odradek::machines::txn
