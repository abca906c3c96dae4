// What happens by itself: transactions that run out of time, ids that are forgotten, and the ends
// that a coordinator finds half done.
#include "machines/txn/draft.h"

namespace odradek::machines::txn {

namespace {

/// Decisions of one sweep; a longer one goes on in the next. Each makes a record, maybe as large as
/// its transaction's list of partitions.
constexpr size_t kSweepBytes = 256 << 10;
constexpr Millis kSweepOn{1};

class Room {
 public:
  bool left() const { return used_ < kSweepBytes; }
  void take(const std::string& id, const Transaction& t) {
    used_ += 128 + id.size();
    for (const TopicPartition& p : t.partitions) used_ += p.topic.size() + 8;
  }

 private:
  size_t used_ = 0;
};

/// A timeout of this is none: a transaction of another system's two phase commit.
constexpr int32_t kNever = INT32_MAX;

bool timed_out(const Transaction& t, WallMs now) {
  if (t.status != Status::kOngoing || t.timeout_ms == kNever) return false;
  int64_t age = 0;  // a record may state any time
  if (__builtin_sub_overflow(now.value, t.started_ms, &age)) return t.started_ms < now.value;
  return age > t.timeout_ms;
}

bool expired(const Draft& draft, const Transaction& t) {
  if (t.status == Status::kOngoing || t.is_ending()) return false;
  int64_t age = 0;
  if (__builtin_sub_overflow(draft.now.wall.value, t.updated_ms, &age))
    return t.updated_ms < draft.now.wall.value;
  return age >= draft.settings.expiration.value;
}

}  // namespace

void time_out(Draft& draft, const TimeOut& c) {
  const Transaction* known = draft.state.find(c.who.id);
  if (known == nullptr || known->producer != c.who.producer || known->epoch != c.who.epoch ||
      !timed_out(*known, draft.now.wall))
    return;
  (void)fence(draft, c.who.id, *known, Cause::kTimedOut, c.fresh);
}

void abort_timed_out(Draft& draft) {
  if (draft.state.ongoing() == 0) return;  // armed again with the next transaction
  Room room;
  for (const auto& [id, t] : draft.state.transactions()) {
    if (!room.left()) break;
    if (!timed_out(t, draft.now.wall)) continue;
    room.take(id, t);
    if (!fence(draft, id, t, Cause::kTimedOut, ProducerId(-1)))
      draft.messages.emplace_back(NeedsProducerId{{id, t.producer, t.epoch}});
  }
  draft.arm(kTimeoutTimer, room.left() ? draft.settings.timeout_check : kSweepOn);
}

void expire(Draft& draft) {
  Room room;
  for (const auto& [id, t] : draft.state.transactions()) {
    if (!room.left()) break;
    if (!expired(draft, t)) continue;
    room.take(id, t);
    draft.records.push_back(Record::tombstone(id));
  }
  if (draft.state.transactions().empty()) return;  // armed again with the first id
  draft.arm(kExpiryTimer, room.left() ? draft.settings.expiration_check : kSweepOn);
}

void resume(Draft& draft) {
  for (const auto& [id, t] : draft.state.transactions()) {
    if (t.is_ending()) draft.messages.emplace_back(finish(id, t, Cause::kLoaded));
  }
  if (draft.state.ongoing() > 0) draft.arm(kTimeoutTimer, draft.settings.timeout_check);
  if (!draft.state.transactions().empty()) draft.arm(kExpiryTimer, draft.settings.expiration_check);
}

}  // namespace odradek::machines::txn
