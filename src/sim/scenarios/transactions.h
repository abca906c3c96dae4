// Scenario: transactions whose clients and broker fail.
//
// Assembles the real node on a simulated machine, and processes on a few other machines that read
// at read_committed and write: in transactions of both generations of clients, with the offsets of
// what they have read in them, or without transactions. They commit, abort, dawdle, die with
// transactions open, are cut off, and are replaced while they live, while the broker is stopped,
// killed, loses its power, or its disk fails, is full or slow. What they did is a history for
// tests/consistency/checker.py, which judges it (tests/sim/transactions.py does both). In the end
// all faults cease: every transaction must come to its end in a bounded time, so that everything
// that is written can be read, and a last process reads it all.
#pragma once

#include <cstdint>
#include <string>

#include "sim/scenarios/outcome.h"
#include "sim/txn_history.h"

namespace odradek::sim {

struct TransactionsOptions {
  uint64_t seed = 1;
  bool verbose = false;  // the node's log lines to standard error, with virtual times
};

/// Without a failure what the scenario itself looks at held; the history is for the checker.
struct TransactionsOutcome : Outcome {
  /// JSON lines (tests/consistency).
  std::string history;
  TxnHistory::Counts counts;
  uint64_t processes = 0;
  uint64_t crashes = 0;  // of processes
  uint64_t fenced = 0;
};

/// Deterministic: the same seed gives the same outcome.
TransactionsOutcome run_transactions(const TransactionsOptions& options);

}  // namespace odradek::sim
