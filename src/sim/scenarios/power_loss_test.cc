#include "sim/scenarios/power_loss.h"

#include <gtest/gtest.h>

namespace odradek::sim {
namespace {

TEST(PowerLoss, TheSameSeedReplaysTheSameRun) {
  const ScenarioOutcome first = run_power_loss({.seed = 11});
  const ScenarioOutcome second = run_power_loss({.seed = 11});
  EXPECT_EQ(first.failure, std::nullopt);
  EXPECT_EQ(first.trace_hash, second.trace_hash);
  EXPECT_EQ(first.acked, second.acked);
  EXPECT_NE(first.trace_hash, run_power_loss({.seed = 12}).trace_hash);
}

TEST(PowerLoss, WithoutSyncsTheLossIsNoticed) {
  int lost = 0;
  for (uint64_t seed = 1; seed <= 6; seed++) {
    const ScenarioOutcome outcome = run_power_loss({.seed = seed, .synced = false});
    lost += outcome.failure.has_value();
  }
  EXPECT_GT(lost, 0);
}

TEST(PowerLoss, ClientsGetSomethingDone) {
  const ScenarioOutcome outcome = run_power_loss({.seed = 13});
  EXPECT_GT(outcome.acked, 100u);
  EXPECT_GT(outcome.observed, 100u);
  const Interruptions& i = outcome.interruptions;
  EXPECT_GT(i.power_losses + i.kills + i.clean_stops, 2);
}

}  // namespace
}  // namespace odradek::sim
