// Deadlines: the time limits of everything that waits on one loop, under one timer.
//
// A heap of entries that live in their owners (usually coroutine frames): adding and removing
// allocates nothing in the steady state. The timer is armed only while something waits; it is not
// moved when an entry leaves early, so a firing may find nothing due.
#pragma once

#include <cstddef>
#include <vector>

#include "base/ids.h"
#include "io/io.h"

namespace odradek::replica {

class Deadlines {
 public:
  /// Something with a time limit. Must leave the heap before it is destroyed.
  class Entry {
   public:
    Entry() = default;
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;
    bool armed() const { return slot_ != kNowhere; }

   protected:
    ~Entry() = default;
    /// The time is up; the entry has left the heap already.
    virtual void expired() = 0;

   private:
    friend class Deadlines;
    static constexpr size_t kNowhere = ~size_t{0};
    MonoNs at_{0};
    size_t slot_ = kNowhere;
  };

  explicit Deadlines(io::Loop& loop) : loop_(loop) {}
  ~Deadlines() { loop_.timers().cancel(timer_); }
  Deadlines(const Deadlines&) = delete;
  Deadlines& operator=(const Deadlines&) = delete;

  /// The entry must not be armed. A delay of 0 expires in a later turn.
  void add(Entry& entry, Millis delay);
  /// Nothing happens if it is not armed.
  void remove(Entry& entry);
  size_t size() const { return heap_.size(); }

 private:
  void arm();
  void fire();
  void place(size_t slot, Entry* entry);
  void sift_up(size_t slot);
  void sift_down(size_t slot);

  io::Loop& loop_;
  std::vector<Entry*> heap_;  // earliest first
  io::TimerId timer_ = io::TimerId::kNone;
  MonoNs timer_at_{0};
};

}  // namespace odradek::replica
