// Draft: what a decision of the transaction coordinator is made from, and what it comes to. The
// files beside this one fill it in; txn_machine.cc turns it into a Decision.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "machines/machine.h"
#include "machines/txn/api.h"
#include "machines/txn/record.h"
#include "machines/txn/state.h"

namespace odradek::machines::txn {

/// Settings of the broker, by their names in Apache's configuration.
struct Settings {
  int16_t version = 2;           // finalized transaction.version, until SetVersion tells another
  Millis timeout_check{10'000};  // transaction.abort.timed.out.transaction.cleanup.interval.ms
  Millis expiration{7LL * 24 * 3'600'000};  // transactional.id.expiration.ms
  Millis expiration_check{3'600'000};  // transaction.remove.expired.transaction.cleanup.interval.ms
};

struct Draft {
  const State& state;
  const Settings& settings;
  Now now;

  std::vector<Record> records{};
  std::vector<TimerOrder> timers{};
  std::vector<Message> messages{};

  /// What is now known of an id.
  void set(const std::string& id, const Transaction& transaction) {
    records.push_back(Record::of(id, transaction, state.version()));
    const Transaction* before = state.find(id);
    const ProducerEpoch last = before != nullptr ? before->last_epoch : ProducerEpoch(-1);
    if (transaction.last_epoch != last) records.push_back({LastEpoch{id, transaction.last_epoch}});
  }
  void arm(std::string_view key, Millis after) { timers.push_back({std::string(key), after}); }
};

// ---- timers
/// Transactions that are open for too long.
inline constexpr std::string_view kTimeoutTimer = "timeout";
/// Ids that nobody uses any more.
inline constexpr std::string_view kExpiryTimer = "expire";

// ---- decisions, by file
// init.cc
InitAnswer init(Draft& draft, const Init& command);
// partitions.cc
AddAnswer add(Draft& draft, const Add& command);
VerifyAnswer verify(const Draft& draft, const Verify& command);
// end.cc
EndAnswer end(Draft& draft, const End& command);
void markers_written(Draft& draft, const MarkersWritten& command);
/// The transaction is to be aborted and its producer fenced: it then knows neither the epoch of the
/// marker nor that of what follows. False if that needs a fresh producer id.
bool fence(Draft& draft, const std::string& id, const Transaction& transaction, Cause cause,
           ProducerId fresh);
/// The markers of a transaction that is being ended.
Finish finish(const std::string& id, const Transaction& transaction, Cause cause);
// upkeep.cc
void time_out(Draft& draft, const TimeOut& command);
void abort_timed_out(Draft& draft);
void expire(Draft& draft);
/// What was being ended goes on.
void resume(Draft& draft);
// admin.cc
DescribeAnswer describe(const Draft& draft, const Describe& command);
ListAnswer list(const Draft& draft, const List& command);

}  // namespace odradek::machines::txn
