#include "sim/scenarios/groups.h"

#include <gtest/gtest.h>

namespace odradek::sim {
namespace {

TEST(Groups, TheSameSeedReplaysTheSameRun) {
  const GroupsOutcome first = run_groups({.seed = 11});
  const GroupsOutcome second = run_groups({.seed = 11});
  EXPECT_EQ(first.failure, std::nullopt);
  EXPECT_EQ(first.trace_hash, second.trace_hash);
  EXPECT_NE(first.trace_hash, run_groups({.seed = 12}).trace_hash);
}

TEST(Groups, MembersGetSomethingDone) {
  GroupHistory::Counts all;
  for (uint64_t seed = 1; seed <= 5; seed++) {
    const GroupsOutcome outcome = run_groups({.seed = seed});
    EXPECT_EQ(outcome.failure, std::nullopt) << "seed " << seed;
    all.generations += outcome.counts.generations;
    all.accepted += outcome.counts.accepted;
    all.refused += outcome.counts.refused;
    all.consumed += outcome.counts.consumed;
  }
  EXPECT_GT(all.generations, 20u);
  EXPECT_GT(all.accepted, 500u);
  EXPECT_GT(all.refused, 10u);
  EXPECT_GT(all.consumed, 5'000u);
}

}  // namespace
}  // namespace odradek::sim
