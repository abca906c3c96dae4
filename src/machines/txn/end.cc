// The end of a transaction: EndTxn by both rules, and what follows when its markers are written.
//
// transaction.version 2 gives every transaction an epoch of its own: the end of one makes the epoch
// of the next, and an EndTxn that comes with the epoch before is a repeat.
//
//                      abort               commit
//                 repeat    now       repeat    now
//   Empty         FENCED    aborts    FENCED    INVALID_TXN_STATE
//   CompleteAbort done      aborts    INVALID   INVALID
//   CompleteCommit INVALID  aborts    done      INVALID
#include "machines/txn/draft.h"

namespace odradek::machines::txn {

namespace {

/// The decision is made; from here on the transaction can only end so.
void prepare(Draft& draft, const std::string& id, Transaction t, bool commit, Cause cause) {
  t.status = commit ? Status::kPrepareCommit : Status::kPrepareAbort;
  t.updated_ms = draft.now.wall.value;
  draft.set(id, t);
  draft.messages.emplace_back(finish(id, t, cause));
}

/// What the client is to go on with once the markers are written.
EndAnswer next_of(const Transaction& t) {
  if (t.next.value != -1) return {.producer = t.next, .epoch = ProducerEpoch(0)};
  return {.producer = t.producer, .epoch = t.epoch};
}

/// The same transaction, as it is ended with an epoch more.
Transaction bumped(const Draft& draft, const Transaction& known, int16_t version,
                   ProducerId fresh) {
  Transaction t = known;
  t.previous = known.producer;
  t.next = known.is_exhausted() ? fresh : ProducerId(-1);
  t.epoch = known.epoch + int16_t{1};
  t.last_epoch = known.epoch;
  t.version = version;
  if (known.status != Status::kOngoing) t.started_ms = draft.now.wall.value;
  return t;
}

EndAnswer end_same_epoch(Draft& draft, const End& c, const Transaction& known) {
  if (known.producer != c.who.producer) return {ErrorCode::kInvalidProducerIdMapping};
  if (known.epoch != c.who.epoch) return {ErrorCode::kProducerFenced};
  if (known.is_ending()) return {ErrorCode::kConcurrentTransactions};
  if (known.status == Status::kOngoing) {
    Transaction t = known;
    t.previous = known.producer;
    t.version = 0;
    t.next = ProducerId(-1);
    prepare(draft, c.who.id, t, c.commit, Cause::kClient);
    return {};
  }
  const Status done = c.commit ? Status::kCompleteCommit : Status::kCompleteAbort;
  return {known.status == done ? ErrorCode::kNone : ErrorCode::kInvalidTxnState};
}

EndAnswer end_next_epoch(Draft& draft, const End& c, const Transaction& known) {
  if (known.is_ending()) return {ErrorCode::kConcurrentTransactions};
  const bool done =
      known.status == Status::kCompleteCommit || known.status == Status::kCompleteAbort;
  // Its epochs were used up, and it has missed the answer with the new producer id.
  const bool repeats_last =
      known.previous == c.who.producer && c.who.epoch == kLastEpoch && known.epoch.value == 0;
  if (known.producer != c.who.producer && !repeats_last)
    return {ErrorCode::kInvalidProducerIdMapping};
  const bool repeats = repeats_last || known.epoch.value == c.who.epoch.value + 1;
  if (c.who.epoch != known.epoch && !(done && repeats)) return {ErrorCode::kProducerFenced};
  if (done && repeats) {
    const bool same = c.commit == (known.status == Status::kCompleteCommit);
    if (!same) return {ErrorCode::kInvalidTxnState};
    return {.producer = known.producer, .epoch = known.epoch};
  }
  // A client that does not know whether anything of its transaction has arrived may abort it.
  if (known.status != Status::kOngoing && c.commit) return {ErrorCode::kInvalidTxnState};
  if (known.is_exhausted() && c.fresh.value < 0) return {.needs_id = true};
  const Transaction t = bumped(draft, known, c.version, c.fresh);
  prepare(draft, c.who.id, t, c.commit, Cause::kClient);
  return next_of(t);
}

}  // namespace

Finish finish(const std::string& id, const Transaction& t, Cause cause) {
  return {.who = {id, t.producer, t.epoch},
          .commit = t.status == Status::kPrepareCommit,
          .version = t.version,
          .partitions = {t.partitions.begin(), t.partitions.end()},
          .cause = cause,
          .timeout_ms = t.timeout_ms};
}

EndAnswer end(Draft& draft, const End& c) {
  const Transaction* known = draft.state.find(c.who.id);
  if (known == nullptr) return {ErrorCode::kInvalidProducerIdMapping};
  return c.version >= kEpochBumps ? end_next_epoch(draft, c, *known)
                                  : end_same_epoch(draft, c, *known);
}

bool fence(Draft& draft, const std::string& id, const Transaction& known, Cause cause,
           ProducerId fresh) {
  const int16_t version = draft.state.version();
  Transaction t = known;
  if (version >= kEpochBumps) {
    if (known.is_exhausted() && fresh.value < 0) return false;
    t = bumped(draft, known, version, fresh);
  } else {
    t.previous = known.producer;
    // The last epoch of all is never a client's: it serves once more, to fence.
    if (known.epoch.value < INT16_MAX) t.epoch = known.epoch + int16_t{1};
    t.last_epoch = ProducerEpoch(-1);
    t.next = ProducerId(-1);
    t.version = 0;
  }
  prepare(draft, id, t, false, cause);
  return true;
}

void markers_written(Draft& draft, const MarkersWritten& c) {
  const Transaction* known = draft.state.find(c.who.id);
  if (known == nullptr || !known->is_ending() || known->producer != c.who.producer ||
      known->epoch != c.who.epoch)
    return;  // told twice
  Transaction t = *known;
  t.previous = known->producer;
  t.status =
      known->status == Status::kPrepareCommit ? Status::kCompleteCommit : Status::kCompleteAbort;
  if (known->version >= kEpochBumps && known->next.value != -1) {
    t.producer = known->next;
    t.epoch = ProducerEpoch(0);
  }
  t.next = ProducerId(-1);
  t.partitions.clear();
  t.updated_ms = draft.now.wall.value;
  draft.set(c.who.id, t);
}

}  // namespace odradek::machines::txn
