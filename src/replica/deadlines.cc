#include "replica/deadlines.h"

#include "base/check.h"

namespace odradek::replica {

void Deadlines::add(Entry& entry, Millis delay) {
  ODRADEK_CHECK(!entry.armed());
  entry.at_ = loop_.clock().now() + (delay.value > 0 ? delay : Millis(0));
  heap_.push_back(&entry);
  place(heap_.size() - 1, &entry);
  sift_up(entry.slot_);
  arm();
}

void Deadlines::remove(Entry& entry) {
  if (!entry.armed()) return;
  const size_t slot = entry.slot_;
  ODRADEK_CHECK(slot < heap_.size() && heap_[slot] == &entry);
  entry.slot_ = Entry::kNowhere;
  Entry* last = heap_.back();
  heap_.pop_back();
  if (last == &entry) return;
  place(slot, last);
  sift_up(slot);
  sift_down(last->slot_);
}

void Deadlines::arm() {
  if (heap_.empty()) return;
  const MonoNs first = heap_.front()->at_;
  if (timer_ != io::TimerId::kNone) {
    if (timer_at_ <= first) return;
    loop_.timers().cancel(timer_);
  }
  const int64_t left = first - loop_.clock().now();
  timer_at_ = first;
  timer_ = loop_.timers().start(Millis(left <= 0 ? 0 : (left + 999'999) / 1'000'000),
                                [this] { fire(); });
}

void Deadlines::fire() {
  timer_ = io::TimerId::kNone;
  const MonoNs now = loop_.clock().now();
  while (!heap_.empty() && heap_.front()->at_ <= now) {
    Entry& entry = *heap_.front();
    remove(entry);
    entry.expired();
  }
  arm();
}

void Deadlines::place(size_t slot, Entry* entry) {
  heap_[slot] = entry;
  entry->slot_ = slot;
}

void Deadlines::sift_up(size_t slot) {
  Entry* entry = heap_[slot];
  while (slot > 0) {
    const size_t parent = (slot - 1) / 2;
    if (heap_[parent]->at_ <= entry->at_) break;
    place(slot, heap_[parent]);
    slot = parent;
  }
  place(slot, entry);
}

void Deadlines::sift_down(size_t slot) {
  Entry* entry = heap_[slot];
  for (;;) {
    size_t child = 2 * slot + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && heap_[child + 1]->at_ < heap_[child]->at_) child++;
    if (entry->at_ <= heap_[child]->at_) break;
    place(slot, heap_[child]);
    slot = child;
  }
  place(slot, entry);
}

}  // namespace odradek::replica
