#include "io/linux/workers.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>

namespace odradek::io {
namespace {

TEST(WorkerPoolTest, StaysOffACore) {
  cpu_set_t allowed;
  ASSERT_EQ(::sched_getaffinity(0, sizeof allowed, &allowed), 0);
  WorkerPool helper(1, "helper");
  if (CPU_COUNT(&allowed) < 2) {
    EXPECT_FALSE(helper.keep_off(::sched_getcpu()));
    GTEST_SKIP() << "there is one core";
  }
  // From each of them, and back.
  for (int round = 0; round < 3; round++) {
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
      if (!CPU_ISSET(static_cast<size_t>(cpu), &allowed)) continue;
      cpu_set_t here;
      CPU_ZERO(&here);
      CPU_SET(static_cast<size_t>(cpu), &here);
      ASSERT_EQ(::sched_setaffinity(0, sizeof here, &here), 0);
      std::atomic<int> there{-1};
      ASSERT_TRUE(helper.keep_off(cpu));
      helper.submit([&] {
        there = ::sched_getcpu();
        there.notify_one();
      });
      there.wait(-1);
      EXPECT_NE(there, cpu);
    }
  }
  ASSERT_EQ(::sched_setaffinity(0, sizeof allowed, &allowed), 0);
}

TEST(WorkerPoolTest, DoesWhatItWasGivenBeforeItEnds) {
  std::atomic<int> done{0};
  {
    WorkerPool helper(1, "helper");
    for (int i = 0; i < 100; i++) helper.submit([&] { done++; });
  }
  EXPECT_EQ(done, 100);
}

}  // namespace
}  // namespace odradek::io
