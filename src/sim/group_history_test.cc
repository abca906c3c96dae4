#include "sim/group_history.h"

#include <gtest/gtest.h>

namespace odradek::sim {
namespace {

class GroupHistoryTest : public testing::Test {
 protected:
  GroupHistory::CommitId commit(int64_t offset, int32_t generation = 1, const char* member = "m") {
    return groups.commit({"g", member, generation, at, offset});
  }
  GroupHistory::CommitId accepted(int64_t offset, int32_t generation = 1) {
    const auto id = commit(offset, generation);
    groups.accepted(id);
    return id;
  }
  void read(int64_t offset, GroupHistory::CommitId id) {
    groups.read("g", at, offset, GroupHistory::metadata(id), groups.moment());
  }
  void read_nothing() { groups.read("g", at, -1, "", groups.moment()); }
  void assign(int32_t generation, const char* owner, GroupHistory::Partitions partitions) {
    groups.assigned("g", generation, owner, partitions, groups.moment());
  }
  bool failed() const { return history.failure().has_value(); }

  History history;
  bool trouble = false;
  GroupHistory groups{history, trouble};
  const History::Partition at{"t", 0};
  const History::Partition other{"t", 1};
};

TEST_F(GroupHistoryTest, WhatWasAcceptedLastIsRead) {
  groups.consumed("g", at, 0, 10);
  read_nothing();
  const auto first = accepted(5);
  read(5, first);
  const auto second = accepted(7);
  read(7, second);
  EXPECT_FALSE(failed());
  read(5, first);
  EXPECT_TRUE(failed());
}

TEST_F(GroupHistoryTest, WhatWasAcceptedDoesNotVanish) {
  groups.consumed("g", at, 0, 10);
  accepted(5);
  groups.interrupted();
  read_nothing();
  EXPECT_TRUE(failed());
}

TEST_F(GroupHistoryTest, WhatIsReadStays) {
  groups.consumed("g", at, 0, 10);
  const auto id = commit(5);
  groups.unknown(id);
  read_nothing();
  read(5, id);
  EXPECT_FALSE(failed());
  read_nothing();
  EXPECT_TRUE(failed());
}

TEST_F(GroupHistoryTest, ACommitOfUnknownFateMayComeLateButNotToTheNextNode) {
  groups.consumed("g", at, 0, 10);
  const auto late = commit(5);
  groups.unknown(late);
  accepted(7);
  read(5, late);
  EXPECT_FALSE(failed());
  const auto lost = commit(8);
  groups.unknown(lost);
  groups.interrupted();
  accepted(9);
  read(8, lost);
  EXPECT_TRUE(failed());
}

TEST_F(GroupHistoryTest, NobodyReadsWhatWasRefusedOrNeverCommitted) {
  groups.consumed("g", at, 0, 10);
  const auto id = commit(5);
  groups.refused(id);
  read(5, id);
  EXPECT_TRUE(failed());
}

TEST_F(GroupHistoryTest, ACommitOfAnOldGenerationIsNotAccepted) {
  groups.consumed("g", at, 0, 10);
  assign(1, "m", {at});
  const auto in_time = commit(5, 1);
  assign(2, "n", {at});
  groups.accepted(in_time);  // it was under way
  EXPECT_FALSE(failed());
  accepted(6, 1);
  EXPECT_TRUE(failed());
}

TEST_F(GroupHistoryTest, ACommitOfAMemberThatHasLeftIsNotAccepted) {
  groups.consumed("g", at, 0, 10);
  groups.left("g", "m", groups.moment());
  accepted(5);
  EXPECT_TRUE(failed());
}

TEST_F(GroupHistoryTest, ThatAMemberHasLeftMayBeForgotten) {
  groups.consumed("g", at, 0, 10);
  groups.left("g", "m", groups.moment());
  groups.interrupted();
  accepted(5);
  EXPECT_FALSE(failed());
}

TEST_F(GroupHistoryTest, APartitionHasOneOwnerInAGeneration) {
  assign(1, "m", {at});
  assign(1, "n", {other});
  assign(2, "n", {at, other});
  EXPECT_FALSE(failed());
  assign(2, "m", {at});
  EXPECT_TRUE(failed());
}

TEST_F(GroupHistoryTest, AMemberIsGivenTheSameAgain) {
  assign(1, "m", {at});
  assign(1, "m", {at});
  EXPECT_FALSE(failed());
  assign(1, "m", {});
  EXPECT_TRUE(failed());
}

TEST_F(GroupHistoryTest, GenerationsDoNotComeAgain) {
  assign(3, "m", {at});
  groups.joined("g", 3, false, groups.moment());
  EXPECT_FALSE(failed());
  groups.interrupted();
  groups.joined("g", 3, true, groups.moment());
  EXPECT_TRUE(failed());
}

TEST_F(GroupHistoryTest, APartitionIsGivenBackBeforeAnotherMemberHasIt) {
  groups.given("g", "m", {at, other}, MonoNs(0), MonoNs(100));
  groups.returned("g", "m", {other});
  groups.given("g", "n", {at}, MonoNs(1), MonoNs(101));
  EXPECT_FALSE(failed());
  groups.given("g", "n", {at, other}, MonoNs(2), MonoNs(102));
  EXPECT_TRUE(failed());
}

TEST_F(GroupHistoryTest, WhoeverIsSilentLosesWhatItHas) {
  groups.given("g", "m", {at}, MonoNs(0), MonoNs(100));
  groups.given("g", "n", {at}, MonoNs(100), MonoNs(200));
  groups.gone("g", "n");
  groups.given("g", "m", {at}, MonoNs(110), MonoNs(200));
  EXPECT_FALSE(failed());
}

TEST_F(GroupHistoryTest, WhoeverHadAPartitionCommitsNoMoreForIt) {
  groups.consumed("g", at, 0, 10);
  const auto commit = [&](const char* member) {
    groups.accepted(groups.commit({"g", member, 1, at, 5, true}));
  };
  groups.given("g", "m", {at}, MonoNs(0), MonoNs(100));
  commit("m");
  groups.gone("g", "m");
  groups.given("g", "n", {at}, MonoNs(1), MonoNs(100));
  commit("n");
  EXPECT_FALSE(failed());
  commit("m");
  EXPECT_TRUE(failed());
}

TEST_F(GroupHistoryTest, NothingIsSkipped) {
  groups.consumed("g", at, 0, 5);
  groups.consumed("g", at, 3, 8);
  EXPECT_FALSE(failed());
  groups.consumed("g", at, 9, 10);
  EXPECT_TRUE(failed());
}

}  // namespace
}  // namespace odradek::sim
