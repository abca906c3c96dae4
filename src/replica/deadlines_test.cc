#include "replica/deadlines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

#include "sim/sim_io.h"

namespace odradek::replica {
namespace {

struct Entry final : Deadlines::Entry {
  explicit Entry(std::vector<int>& fired, int name) : fired(fired), name(name) {}
  void expired() override { fired.push_back(name); }
  std::vector<int>& fired;
  int name;
};

TEST(Deadlines, FireInOrderWhateverIsAddedAndRemoved) {
  sim::Simulation sim(3);
  io::Loop& loop = sim.add_node("n", 1).loop(0);
  Deadlines deadlines(loop);
  std::vector<int> fired;
  std::vector<int> expected;
  std::deque<Entry> entries;
  for (int i = 0; i < 200; i++) entries.emplace_back(fired, (i * 37) % 200);
  for (Entry& e : entries) deadlines.add(e, Millis(10 + e.name * 10));
  for (Entry& e : entries) {
    if (e.name % 3 == 0) deadlines.remove(e);
  }
  for (int i = 0; i < 200; i++) {
    if (i % 3 != 0) expected.push_back(i);
  }
  sim.run_for(Millis(1'000));
  EXPECT_GT(fired.size(), 60U);
  EXPECT_LT(fired.size(), 70U);
  sim.run_for(Millis(2'000));
  EXPECT_EQ(fired, expected);
  EXPECT_EQ(deadlines.size(), 0U);
}

TEST(Deadlines, AnEarlierOneMovesTheTimer) {
  sim::Simulation sim(3);
  io::Loop& loop = sim.add_node("n", 1).loop(0);
  Deadlines deadlines(loop);
  std::vector<int> fired;
  Entry late(fired, 1);
  Entry early(fired, 2);
  deadlines.add(late, Millis(1'000));
  deadlines.add(early, Millis(10));
  sim.run_for(Millis(50));
  EXPECT_THAT(fired, testing::ElementsAre(2));
  deadlines.remove(late);
  sim.run_for(Millis(2'000));
  EXPECT_THAT(fired, testing::ElementsAre(2));
}

}  // namespace
}  // namespace odradek::replica
