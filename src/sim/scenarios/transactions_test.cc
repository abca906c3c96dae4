#include "sim/scenarios/transactions.h"

#include <gtest/gtest.h>

namespace odradek::sim {
namespace {

TEST(Transactions, TheSameSeedReplaysTheSameRun) {
  const TransactionsOutcome first = run_transactions({.seed = 11});
  const TransactionsOutcome second = run_transactions({.seed = 11});
  EXPECT_EQ(first.failure, std::nullopt);
  EXPECT_EQ(first.trace_hash, second.trace_hash);
  EXPECT_EQ(first.history, second.history);
  EXPECT_NE(first.trace_hash, run_transactions({.seed = 12}).trace_hash);
}

TEST(Transactions, ProcessesGetSomethingDone) {
  TxnHistory::Counts all;
  uint64_t crashes = 0, fenced = 0;
  for (uint64_t seed = 1; seed <= 5; seed++) {
    const TransactionsOutcome outcome = run_transactions({.seed = seed});
    EXPECT_EQ(outcome.failure, std::nullopt) << "seed " << seed;
    all.committed += outcome.counts.committed;
    all.aborted += outcome.counts.aborted;
    all.read += outcome.counts.read;
    crashes += outcome.crashes;
    fenced += outcome.fenced;
  }
  EXPECT_GT(all.committed, 200u);
  EXPECT_GT(all.aborted, 30u);
  EXPECT_GT(all.read, 2'000u);
  EXPECT_GT(crashes, 5u);
  EXPECT_GT(fenced, 5u);
}

}  // namespace
}  // namespace odradek::sim
