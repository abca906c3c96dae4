#include "sim/history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace odradek::sim {
namespace {

using testing::HasSubstr;
using testing::Optional;
using Acks = History::Acks;

const History::Partition kP{"t", 0};
const History::Partition kQ{"t", 1};

TEST(History, AcceptsWhatIsConsistent) {
  History h;
  h.acked(kP, 0, "p", "p.0", Acks::kAll);
  h.acked(kP, 1, "q", "q.0", Acks::kOne);
  h.observed(kP, 0, "p.0");
  h.high_watermark(kP, 1, 0);
  EXPECT_EQ(h.known_high_watermark(kP), 1);
  h.power_lost();
  h.acked(kP, 1, "p", "p.1", Acks::kAll);
  h.check_all(kP, 0, 3, {{0, "p.0"}, {1, "p.1"}, {2, "unknown"}});
  EXPECT_EQ(h.failure(), std::nullopt);
}

TEST(History, NoticesALostAcknowledgement) {
  History h;
  h.acked(kP, 1, "p", "p.1", Acks::kAll);
  h.power_lost();
  h.check_all(kP, 0, 1, {{0, "p.0"}});
  EXPECT_THAT(h.failure(), Optional(HasSubstr("p.1 was acknowledged with acks=all, and is gone")));
}

TEST(History, AcksOneSurvivesAllButAPowerLoss) {
  History h;
  h.acked(kP, 0, "p", "p.0", Acks::kOne);
  h.check_all(kP, 0, 0, {});
  EXPECT_THAT(h.failure(), Optional(HasSubstr("and is gone")));
}

TEST(History, NoticesARecordThatWasSeenAndChanged) {
  History h;
  h.acked(kP, 0, "p", "p.0", Acks::kOne);
  h.observed(kP, 0, "p.0");
  h.power_lost();
  h.observed(kP, 0, "q.0");
  EXPECT_THAT(h.failure(), Optional(HasSubstr("p.0 was seen by a consumer, and now it is q.0")));
}

TEST(History, ALostFrontHidesNothingThatWasPromised) {
  const auto begins_at_two = [](auto&& before_the_loss) {
    History h;
    before_the_loss(h);
    h.power_lost();
    h.acked(kP, 2, "p", "p.2", Acks::kAll);
    h.high_watermark(kP, 3, 0);
    h.check_all(kP, 2, 3, {{2, "p.2"}});
    return h.failure();
  };
  EXPECT_EQ(begins_at_two([](History& h) { h.acked(kP, 0, "p", "p.0", Acks::kOne); }),
            std::nullopt);
  EXPECT_THAT(begins_at_two([](History& h) { h.acked(kP, 0, "p", "p.0", Acks::kAll); }),
              Optional(HasSubstr("p.0 was acknowledged with acks=all, and is gone")));
  EXPECT_THAT(begins_at_two([](History& h) { h.high_watermark(kP, 1, 0); }),
              Optional(HasSubstr("it begins at 2")));
  History kept_its_power;
  kept_its_power.check_all(kP, 2, 2, {});
  EXPECT_THAT(kept_its_power.failure(), Optional(HasSubstr("it begins at 2")));
}

TEST(History, NoticesDuplicates) {
  History h;
  h.acked(kP, 0, "p", "p.0", Acks::kAll);
  h.check_all(kP, 0, 2, {{0, "p.0"}, {1, "p.0"}});
  EXPECT_THAT(h.failure(), Optional(HasSubstr("p.0 is at t-0 offset 0 and at t-0 offset 1")));
  History across;
  across.observed(kP, 0, "p.0");
  across.observed(kQ, 0, "p.0");
  EXPECT_THAT(across.failure(), Optional(HasSubstr("and at t-1 offset 0")));
}

TEST(History, NoticesABrokenOrder) {
  History h;
  h.acked(kP, 5, "p", "p.0", Acks::kAll);
  h.acked(kP, 4, "p", "p.1", Acks::kAll);
  EXPECT_THAT(h.failure(), Optional(HasSubstr("p.1 of p was acknowledged at 4")));
}

TEST(History, NoticesAHighWatermarkThatGoesBack) {
  History h;
  h.high_watermark(kP, 5, 0);
  h.high_watermark(kP, 3, 2);
  EXPECT_EQ(h.failure(), std::nullopt);
  h.power_lost();
  h.high_watermark(kP, 4, h.known_high_watermark(kP));
  EXPECT_THAT(h.failure(), Optional(HasSubstr("from 5 back to 4")));
  History missing;
  missing.high_watermark(kP, 2, 0);
  missing.check_all(kP, 0, 1, {{0, "a"}});
  EXPECT_THAT(missing.failure(), Optional(HasSubstr("it ends at 1, but the high watermark was 2")));
}

TEST(History, KnowsWhatMayBeGoneInFront) {
  History h;
  for (int i = 0; i < 4; i++) h.acked(kP, i, "p", "p." + std::to_string(i), Acks::kAll);
  h.may_begin_at(kP, 2);
  h.check_all(kP, 2, 4, {{2, "p.2"}, {3, "p.3"}});
  EXPECT_EQ(h.failure(), std::nullopt);
  History too_far = h;
  too_far.check_all(kP, 3, 4, {{3, "p.3"}});
  EXPECT_THAT(too_far.failure(), Optional(HasSubstr("it begins at 3, not between 0 and 2")));
  h.begins_at(kP, 2);
  h.observed(kP, 1, "p.1");
  EXPECT_THAT(h.failure(), Optional(HasSubstr("p.1 was deleted and is back")));
}

TEST(History, ForgetsWhatRottedButNotWhatIsBefore) {
  History h;
  for (int i = 0; i < 4; i++) h.acked(kP, i, "p", "p." + std::to_string(i), Acks::kAll);
  h.rotted(kP, 2);
  h.check_all(kP, 0, 2, {{0, "p.0"}, {1, "p.1"}});
  EXPECT_EQ(h.failure(), std::nullopt);
  h.check_all(kP, 0, 1, {{0, "p.0"}});
  EXPECT_THAT(h.failure(), Optional(HasSubstr("p.1 was acknowledged with acks=all, and is gone")));
}

TEST(History, DeletedTopicsDoNotCount) {
  History h;
  h.acked(kP, 0, "p", "p.0", Acks::kAll);
  h.deleted("t");
  h.acked(kP, 0, "p", "p.1", Acks::kAll);
  EXPECT_EQ(h.failure(), std::nullopt);
}

}  // namespace
}  // namespace odradek::sim
