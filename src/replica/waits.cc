#include "replica/waits.h"

#include "base/check.h"
#include "replica/partition.h"
#include "replica/shard.h"

namespace odradek::replica {

using wire::ErrorCode;

// ---- CommitWait

CommitWait::~CommitWait() {
  for (CommitTicket* t = tickets_; t != nullptr; t = t->sibling) {
    if (t->partition != nullptr) t->partition->remove(*t);
  }
  shard_.deadlines().remove(*this);
}

void CommitWait::add(Partition& partition, CommitTicket& ticket, Offset end) {
  ODRADEK_CHECK(!waiting_ && ticket.partition == nullptr);
  ticket.end = end;
  ticket.error = ErrorCode::kNone;
  if (end <= partition.high_watermark()) return;
  ticket.wait = this;
  ticket.sibling = tickets_;
  tickets_ = &ticket;
  pending_++;
  partition.add(ticket);
}

io::Completion<bool>& CommitWait::until(Millis timeout) {
  waiting_ = true;
  if (pending_ == 0) {
    done_.complete(true);
  } else {
    shard_.deadlines().add(*this, timeout);
  }
  return done_;
}

void CommitWait::settled(CommitTicket& ticket, ErrorCode error) {
  ticket.partition = nullptr;
  ticket.error = error;
  ODRADEK_CHECK(pending_ > 0);
  if (--pending_ > 0 || !waiting_) return;
  shard_.deadlines().remove(*this);
  done_.complete(true);  // may end the life of this
}

void CommitWait::expired() {
  for (CommitTicket* t = tickets_; t != nullptr; t = t->sibling) {
    if (t->partition == nullptr) continue;
    t->partition->remove(*t);
    t->partition = nullptr;
    t->error = ErrorCode::kRequestTimedOut;
  }
  pending_ = 0;
  done_.complete(true);
}

// ---- FetchWait

FetchWait::~FetchWait() {
  unlink();
  if (woken_ && !finished_) shard_.forget_woken(*this);
}

void FetchWait::add(Partition& partition, FetchWatch& watch, Offset from, Visibility visibility,
                    uint32_t bytes_max, int64_t bytes_seen) {
  ODRADEK_CHECK(watch.partition == nullptr);
  watch.from = from;
  watch.visibility = visibility;
  watch.bytes_max = bytes_max;
  watch.bytes_seen = bytes_seen;
  watch.wait = this;
  watch.sibling = watches_;
  watches_ = &watch;
  partition.add(watch);
  progress(watch);
}

io::Completion<bool>& FetchWait::until(Millis timeout) {
  if (!woken_) shard_.deadlines().add(*this, timeout);
  return done_;
}

void FetchWait::wake() {
  if (woken_) return;
  woken_ = true;
  shard_.woken(*this);
}

void FetchWait::progress(FetchWatch& watch) {
  if (woken_) return;
  Partition& partition = *watch.partition;
  const Offset visible = partition.visible_end(watch.visibility);
  if (visible <= watch.from) return;
  if (bytes_min_ <= 1) return wake();
  Result<log::ReadResult> read =
      partition.log_->read(watch.from, {.max_bytes = watch.bytes_max, .upper_bound = visible});
  // An error is told by the read that follows.
  if (!read || read->error != ErrorCode::kNone) return wake();
  const int64_t grown = static_cast<int64_t>(read->piece.size()) - watch.bytes_seen;
  // A read ends with its segment: when it does not grow there is more in the next one.
  if (grown <= 0) return wake();
  watch.bytes_seen += grown;
  if (bytes_->fetch_add(grown, std::memory_order_relaxed) + grown >= bytes_min_) wake();
}

void FetchWait::unlink() {
  for (FetchWatch* w = watches_; w != nullptr; w = w->sibling) {
    if (w->partition != nullptr) w->partition->remove(*w);
    w->partition = nullptr;
  }
  watches_ = nullptr;
  shard_.deadlines().remove(*this);
}

void FetchWait::finish() {
  ODRADEK_CHECK(woken_ && !finished_);
  finished_ = true;
  unlink();
  done_.complete(true);  // may end the life of this
}

void FetchWait::expired() {
  if (woken_) return;
  woken_ = true;
  finish();
}

}  // namespace odradek::replica
