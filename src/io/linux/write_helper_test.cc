#include "io/linux/write_helper.h"

#include <gtest/gtest.h>

#include <atomic>

namespace odradek::io {
namespace {

TEST(WriteHelperTest, WorksOnAnotherCore) {
  cpu_set_t allowed;
  ASSERT_EQ(::sched_getaffinity(0, sizeof allowed, &allowed), 0);
  WriteHelper helper;
  if (CPU_COUNT(&allowed) < 2) {
    EXPECT_FALSE(helper.call([] {}));
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
      ASSERT_TRUE(helper.call([&] {
        there = ::sched_getcpu();
        there.notify_one();
      }));
      there.wait(-1);
      EXPECT_NE(there, cpu);
    }
  }
  ASSERT_EQ(::sched_setaffinity(0, sizeof allowed, &allowed), 0);
}

TEST(WriteHelperTest, DoesWhatItWasCalledForBeforeItEnds) {
  std::atomic<int> done{0};
  int called = 0;
  {
    WriteHelper helper;
    for (int i = 0; i < 100; i++) called += helper.call([&] { done++; }) ? 1 : 0;
  }
  EXPECT_EQ(done, called);
}

}  // namespace
}  // namespace odradek::io
