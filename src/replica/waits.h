// What waits for a partition: acks=all answers for its high watermark, fetches for more bytes.
//
// Everything here lives on the partition's loop and in the waiter's own memory (coroutine frames,
// request arenas); a partition holds intrusive lists only.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/ids.h"
#include "io/task.h"
#include "replica/deadlines.h"
#include "wire/errors.h"

namespace odradek::replica {

class Partition;
class Shard;
class CommitWait;
class FetchWait;

/// A doubly linked list of nodes that live elsewhere. Node has members `previous`, `next` of Node*.
template <class Node>
class IntrusiveList {
 public:
  bool empty() const { return head_ == nullptr; }
  Node* front() const { return head_; }
  Node* back() const { return tail_; }
  void push_back(Node& node) { insert_after(tail_, node); }
  /// `at` null: in front.
  void insert_after(Node* at, Node& node) {
    node.previous = at;
    node.next = at != nullptr ? at->next : head_;
    (at != nullptr ? at->next : head_) = &node;
    (node.next != nullptr ? node.next->previous : tail_) = &node;
  }
  void remove(Node& node) {
    (node.previous != nullptr ? node.previous->next : head_) = node.next;
    (node.next != nullptr ? node.next->previous : tail_) = node.previous;
    node.previous = node.next = nullptr;
  }

 private:
  Node* head_ = nullptr;
  Node* tail_ = nullptr;
};

/// "Everything below `end` of this partition": one partition of an acks=all produce.
struct CommitTicket {
  Partition* partition = nullptr;  // null when it waits no more
  Offset end;
  wire::ErrorCode error{};  // what became of it, once the wait is over
  CommitWait* wait = nullptr;
  CommitTicket* sibling = nullptr;  // of the same wait
  CommitTicket* previous = nullptr;
  CommitTicket* next = nullptr;
};

/// Waits until all its tickets are committed or refused, or the time is up.
///
///   CommitWait wait(shard);
///   wait.add(partition, ticket, end);  // for each partition appended to
///   if (wait.pending()) co_await wait.until(timeout);
class CommitWait final : public Deadlines::Entry {
 public:
  explicit CommitWait(Shard& shard) : shard_(shard) {}
  ~CommitWait();

  /// The ticket must stay in place until the wait is over. What is committed already does not wait.
  void add(Partition& partition, CommitTicket& ticket, Offset end);
  bool pending() const { return pending_ > 0; }

  /// To be awaited once. Tickets that are not committed when the time is up get REQUEST_TIMED_OUT.
  io::Completion<bool>& until(Millis timeout);

 private:
  friend class Partition;
  /// The partition has unlinked the ticket.
  void settled(CommitTicket& ticket, wire::ErrorCode error);
  void expired() override;

  Shard& shard_;
  CommitTicket* tickets_ = nullptr;
  int pending_ = 0;
  bool waiting_ = false;
  io::Completion<bool> done_;
};

/// What a fetch may see of a partition.
enum class Visibility : uint8_t {
  kCommitted,  // up to the high watermark
  kStable,     // up to the last stable offset (isolation level read_committed)
};

/// One partition of a waiting fetch.
struct FetchWatch {
  Partition* partition = nullptr;
  Offset from;  // the fetch offset, at or above what was visible when it was read
  Visibility visibility = Visibility::kCommitted;
  uint32_t bytes_max = 0;  // of this partition
  int64_t bytes_seen = 0;  // already counted
  FetchWait* wait = nullptr;
  FetchWatch* sibling = nullptr;
  FetchWatch* previous = nullptr;
  FetchWatch* next = nullptr;
};

/// Waits until its partitions have enough bytes, one of them changes (leader, deletion, disk), or
/// the time is up. The caller then reads again. A fetch over several loops has one FetchWait on
/// each; they share the count of bytes.
class FetchWait final : public Deadlines::Entry {
 public:
  /// `bytes_min` counts from `*bytes`, which must outlive the wait.
  FetchWait(Shard& shard, int64_t bytes_min, std::atomic<int64_t>* bytes)
      : shard_(shard), bytes_min_(bytes_min), bytes_(bytes) {}
  ~FetchWait();

  /// The watch must stay in place until the wait is over. `bytes_seen` is what the read gave; bytes
  /// that came since then count.
  void add(Partition& partition, FetchWatch& watch, Offset from, Visibility visibility,
           uint32_t bytes_max, int64_t bytes_seen);
  /// To be awaited once; completes in a later part of the turn, never inside the append.
  io::Completion<bool>& until(Millis timeout);
  /// Ends the wait now (in this loop's turn).
  void wake();

 private:
  friend class Partition;
  friend class Shard;
  /// The watch may see more than before.
  void progress(FetchWatch& watch);
  void unlink();
  /// Called by the shard at the end of the turn in which it was woken.
  void finish();
  void expired() override;

  Shard& shard_;
  int64_t bytes_min_;
  std::atomic<int64_t>* bytes_;
  FetchWatch* watches_ = nullptr;
  bool woken_ = false;  // in the shard's list of woken waits, or finished
  bool finished_ = false;
  io::Completion<bool> done_;

 public:
  // of the shard's list of woken waits
  FetchWait* previous = nullptr;
  FetchWait* next = nullptr;
};

}  // namespace odradek::replica
