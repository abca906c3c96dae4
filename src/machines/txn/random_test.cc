// Random producers do random things; after every step the machine that was fed the stored records
// only must agree with the live one, and what was once decided of a transaction must stay so.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <random>

#include "machines/txn/txn_testing.h"

namespace odradek::machines::txn {
namespace {

class Crowd {
 public:
  explicit Crowd(uint64_t seed)
      : random_(seed),
        version_(static_cast<int16_t>(pick(3))),
        txns_(Settings{.version = version_,
                       .expiration = Millis(500'000),
                       .expiration_check = Millis(100'000)}) {
    // Some have used up nearly all of their epochs.
    for (int i = 0; i < 2; i++) {
      txns_.store(fmt::format("x{}", i), {.producer = txns_.fresh(),
                                          .epoch = ProducerEpoch(32'760),
                                          .timeout_ms = 60'000,
                                          .updated_ms = txns_.clock()});
    }
  }

  void step() {
    const std::string id = fmt::format("x{}", pick(3));
    switch (pick(12)) {
      case 0:
      case 1: {
        const bool named = pick(2) == 0;
        const Producer p = named ? any(id) : Producer{id};
        remember(id, txns_.init(id, p.producer, p.epoch));
        break;
      }
      case 2:
      case 3:
      case 4:
        txns_.add(any(id), {{fmt::format("t{}", pick(2)), static_cast<int32_t>(pick(3))}},
                  client_version());
        break;
      case 5:
      case 6:
      case 7: {
        const auto a = txns_.end(any(id), pick(2) == 0, client_version());
        if (a.error == ErrorCode::kNone && a.producer.value >= 0)
          known_[id].push_back({id, a.producer, a.epoch});
        break;
      }
      case 8:
      case 9:
        txns_.write_markers();
        break;
      case 10:
        if (pick(5) == 0) txns_.restart();
        break;
      default:
        txns_.advance(static_cast<int64_t>(pick(10) == 0 ? pick(900'000) : pick(20'000)));
    }
  }

  void check() {
    ASSERT_EQ(txns_.shadow().unreadable(), 0U);
    std::map<std::string, Transaction> live(txns_.state().transactions().begin(),
                                            txns_.state().transactions().end());
    std::map<std::string, Transaction> stored(txns_.shadow().transactions().begin(),
                                              txns_.shadow().transactions().end());
    for (auto& [id, t] : live) t.last_epoch = ProducerEpoch(-1);  // soft
    ASSERT_EQ(live, stored);
    ASSERT_EQ(txns_.state().ongoing(), txns_.shadow().ongoing());
    for (const auto& [id, t] : live) check(id, t);
  }

  size_t ends = 0;

 private:
  size_t pick(size_t n) { return static_cast<size_t>(random_() % n); }
  int16_t client_version() { return version_ >= 2 && pick(4) != 0 ? 2 : 0; }
  Producer any(const std::string& id) {
    auto& all = known_[id];
    if (all.empty()) return {id, ProducerId(100), ProducerEpoch(0)};
    // Mostly the last one, sometimes an old one.
    return pick(3) != 0 ? all.back() : all[pick(all.size())];
  }
  void remember(const std::string& id, const InitAnswer& a) {
    if (a.error == ErrorCode::kNone && !a.needs_id) known_[id].push_back({id, a.producer, a.epoch});
  }

  void check(const std::string& id, const Transaction& t) {
    ASSERT_GE(t.producer.value, 0);
    ASSERT_GE(t.epoch.value, 0);
    if (!t.is_ending() && t.status != Status::kOngoing) ASSERT_TRUE(t.partitions.empty());
    if (!t.is_ending()) ASSERT_EQ(t.next.value, -1);
    if (t.status == Status::kOngoing) ASSERT_LT(t.epoch.value, INT16_MAX);
    // A producer and epoch are never taken up again once they are left.
    auto& seen = last_[id];
    const auto now = std::make_pair(t.producer.value, t.epoch.value);
    ASSERT_GE(now, seen) << id;
    // A decision stands until it is carried out.
    auto& before = status_[id];
    if (before == Status::kPrepareCommit)
      ASSERT_TRUE(t.status == Status::kPrepareCommit || t.status == Status::kCompleteCommit ||
                  now > seen);
    if (t.is_ending() && before != t.status) ends++;
    seen = now;
    before = t.status;
  }

  std::mt19937_64 random_;
  int16_t version_;
  TestTxns txns_;
  std::map<std::string, std::vector<Producer>> known_;
  std::map<std::string, std::pair<int64_t, int16_t>> last_;
  std::map<std::string, Status> status_;
};

TEST(RandomTxns, TheStoredRecordsAloneMakeTheSameState) {
  const char* wanted = std::getenv("ODRADEK_HISTORIES");
  const uint64_t histories = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 300;
  size_t ends = 0;
  for (uint64_t seed = 1; seed <= histories; seed++) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Crowd crowd(seed);
    for (int i = 0; i < 200; i++) {
      crowd.step();
      crowd.check();
      if (testing::Test::HasFatalFailure()) return;
    }
    ends += crowd.ends;
  }
  EXPECT_GT(ends, histories * 2);
}

}  // namespace
}  // namespace odradek::machines::txn
