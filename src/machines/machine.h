// Machine: something that decides. It takes a command and returns a decision: records, a response,
// timers, messages. It changes nothing; the runtime (runtime.h) replays the records into it,
// appends them, and releases the answers once they are committed. Restart is the same replay.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace odradek::machines {

/// What a decision may know of the world beyond the machine's state.
struct Now {
  WallMs wall{0};
  /// Fresh for every decision; seed of all its choices.
  uint64_t random = 0;
  /// Offset that the decision's first record will get.
  Offset next{0};
};

/// Arms the timer `key` to fire in `after`, replacing one that is armed; without `after`, disarms
/// it. Takes effect with the replay, in the order of the decisions: a later one must not be undone
/// by an earlier one whose records take their time.
struct TimerOrder {
  std::string key;
  std::optional<Millis> after;
  bool if_absent = false;  // an armed one stays as it is
  bool operator==(const TimerOrder&) const = default;
};

/// A timer that went off: comes back to the machine as a command.
struct TimerFired {
  std::string key;
  bool operator==(const TimerFired&) const = default;
};

/// Of a machine that sends none.
struct NoMessage {
  bool operator==(const NoMessage&) const = default;
};

template <class RecordT, class ResponseT, class MessageT = NoMessage>
struct Decision {
  std::vector<RecordT> records;      // facts; empty means: it was a read
  ResponseT response{};              // released when the records are committed
  std::vector<TimerOrder> timers{};  // set at once
  std::vector<MessageT> messages{};  // to others than the caller; released after the response
};

/// A soft record changes the state through replay as every other, but is never appended: a reload
/// forgets it (who waits for whom, say). Types without `soft()` have none.
template <class Record>
constexpr bool is_soft(const Record& record) {
  if constexpr (requires { record.soft(); }) return record.soft();
  return false;
}

/// A record that needs a batch of its own (of a transaction, or a marker): the decision that makes
/// it is appended at once, and whatever was gathered before it first.
template <class Record>
constexpr bool is_apart(const Record& record) {
  if constexpr (requires { record.apart(); }) return record.apart();
  return false;
}

namespace detail {
template <class M>
struct MessageOf {
  using type = NoMessage;
};
template <class M>
  requires requires { typename M::Message; }
struct MessageOf<M> {
  using type = typename M::Message;
};
}  // namespace detail
/// M::Message, or NoMessage.
template <class M>
using MessageOf = typename detail::MessageOf<M>::type;
template <class M>
using DecisionOf = Decision<typename M::Record, typename M::Response, MessageOf<M>>;

// `decide` and `loaded` are const and look at nothing but the state, the command and Now. `replay`
// is the only door to state (live, on load) and never fails on our own records. `loaded` is asked
// once, when everything committed has been replayed and this node may append: its records are the
// first.
template <class M>
concept Machine = requires(M m, const M cm, const typename M::Record& r, Offset o,
                           const typename M::Command& c, Now now, TimerFired timer) {
  { cm.decide(c, now) } -> std::same_as<DecisionOf<M>>;
  { m.replay(o, r) } -> std::same_as<void>;
  { cm.loaded(now) } -> std::same_as<DecisionOf<M>>;
  typename M::Command;
  requires std::constructible_from<typename M::Command, TimerFired>;
};

/// Where a machine's records go: a partition, the metadata log of a raft node, a vector in a test.
/// All records of one append form one batch: all or none of them will be found after a crash.
template <class L, class Record>
concept CommitLog =
    requires(L log, const L clog, std::span<const Record> records, const Record& record) {
      /// Why nothing can be appended now (not the leader, directory offline, too few in sync).
      { clog.can_append() } -> std::same_as<Result<void>>;
      /// Offset of the next record.
      { clog.end() } -> std::same_as<Offset>;
      /// Everything below is committed.
      { clog.committed() } -> std::same_as<Offset>;
      /// Appends one batch; the end offset behind it. Never blocks on the disk for long; commitment
      /// is told later, by whoever owns both calling Runtime::committed.
      { log.append(records) } -> std::same_as<Result<Offset>>;
      /// Bytes that a record takes in a batch at most, and that a batch may have.
      { clog.size_of(record) } -> std::same_as<size_t>;
      { clog.batch_bytes_max() } -> std::same_as<size_t>;
    };

}  // namespace odradek::machines
