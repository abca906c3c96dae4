#include "machines/group/assignor/assignor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "machines/group/assignor/assignor_testing.h"
#include "machines/group/assignor/draft.h"

namespace odradek::machines::group::assignor {
namespace {

using testing::sorted;

constexpr Uuid kA{1, 1}, kB{2, 2};

TEST(Assignor, NamesAreApaches) {
  EXPECT_EQ(kind("uniform"), Kind::kUniform);
  EXPECT_EQ(kind("range"), Kind::kRange);
  EXPECT_EQ(kind("sticky"), std::nullopt);
  EXPECT_EQ(name(Kind::kUniform), "uniform");
  EXPECT_EQ(name(Kind::kRange), "range");
}

TEST(Assignor, NobodyGetsNothing) {
  for (Kind k : {Kind::kUniform, Kind::kRange}) {
    const Target target = assign(k, {}, {{kA, {"a", 3}}});
    EXPECT_TRUE(target.assignments.empty());
    EXPECT_TRUE(target.order.empty());
  }
}

TEST(Assignor, RangeGivesRunsByMemberId) {
  const std::vector<Uuid> topics{kA, kB};
  const Group group{{{.id = "m2", .topics = topics}, {.id = "m1", .topics = topics}}};
  const Target target = assign(Kind::kRange, group, {{kA, {"a", 3}}, {kB, {"b", 3}}});
  EXPECT_EQ(sorted(target.assignments[1]), (Assignment{{kA, {0, 1}}, {kB, {0, 1}}}));
  EXPECT_EQ(sorted(target.assignments[0]), (Assignment{{kA, {2}}, {kB, {2}}}));
}

TEST(Assignor, RangeTakesStaticMembersFirst) {
  const std::vector<Uuid> topics{kA};
  const Group group{{{.id = "a", .topics = topics},
                     {.id = "c", .instance = "i2", .topics = topics},
                     {.id = "b", .instance = "i3", .topics = topics}}};
  const Target target = assign(Kind::kRange, group, {{kA, {"a", 3}}});
  EXPECT_EQ(target.assignments, (std::vector<Assignment>{{{kA, {2}}}, {{kA, {0}}}, {{kA, {1}}}}));
}

TEST(Assignor, UniformKeepsWhatFits) {
  const std::vector<Uuid> topics{kA};
  const Assignment all{{kA, {0, 1, 2, 3}}};
  const Group group{{{.id = "old", .topics = topics, .assigned = &all},
                     {.id = "new", .topics = topics, .is_new = true}}};
  const Target target = assign(Kind::kUniform, group, {{kA, {"a", 4}}});
  EXPECT_EQ(target.assignments, (std::vector<Assignment>{{{kA, {0, 1}}}, {{kA, {2, 3}}}}));
}

TEST(Assignor, UniformForgetsWhatIsGone) {
  const std::vector<Uuid> topics{kA};
  const Assignment before{{kB, {0}}, {kA, {0, 7}}};
  for (bool homogeneous : {true, false}) {
    const Group group{{{.id = "m", .topics = topics, .assigned = &before}}, homogeneous};
    // Not even a partition that a topic does not have is kept.
    const Target target = assign(Kind::kUniform, group, {{kA, {"a", 2}}});
    EXPECT_EQ(target.assignments, (std::vector<Assignment>{{{kA, {0, 1}}}}));
  }
}

TEST(Assignor, UniformMixedEvensOut) {
  const std::vector<Uuid> both{kA, kB}, one{kB};
  const Group group{{{.id = "m1", .topics = both}, {.id = "m2", .topics = one}}, false};
  const Target target = assign(Kind::kUniform, group, {{kA, {"a", 2}}, {kB, {"b", 4}}});
  EXPECT_EQ(sorted(target.assignments[0])[0], (TopicPartitions{kA, {0, 1}}));
  EXPECT_EQ(target.assignments[0][0].partitions.size() + target.assignments[0][1].partitions.size(),
            3);
  EXPECT_EQ(target.assignments[1][0].partitions.size(), 3);
}

TEST(Assignor, NoTopicNoPartitions) {
  const Assignment before{{kA, {0, 1}}};
  const Group group{{{.id = "m1", .assigned = &before}, {.id = "m2"}}};
  for (Kind k : {Kind::kUniform, Kind::kRange})
    EXPECT_EQ(assign(k, group, {}).assignments, std::vector<Assignment>(2));
}

TEST(Assignor, AnswersAsApache) {
  std::ifstream file(ASSIGNOR_TESTDATA "/apache.txt");
  auto one = std::make_unique<testing::Case>();
  int cases = 0;
  for (std::string line; std::getline(file, line);) {
    if (!one->read(line)) continue;
    EXPECT_EQ(one->records(), one->expected()) << one->head();
    one = std::make_unique<testing::Case>();
    cases++;
  }
  EXPECT_EQ(cases, 28);
}

TEST(Assignor, StringsCompareByUtf16) {
  EXPECT_TRUE(java_less("a", "b"));
  EXPECT_TRUE(java_less("a", "ab"));
  EXPECT_FALSE(java_less("ab", "a"));
  EXPECT_FALSE(java_less("a", "a"));
  EXPECT_TRUE(java_less("\xF0\x9F\x98\x80", "\xEF\xBC\xA1"));  // U+1F600 before U+FF21
  EXPECT_FALSE(java_less("\xEF\xBC\xA1", "\xF0\x9F\x98\x80"));
}

}  // namespace
}  // namespace odradek::machines::group::assignor
