// Cleaning, case by case; and a crash at every change of the disk while it runs.
#include "log/compaction.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "log/testing/batches.h"
#include "log/testing/clean.h"
#include "sim/rng.h"
#include "wire/errors.h"

namespace odradek::log {
namespace {

using testing::append;
using testing::clean;
using testing::open_or_die;
using testing::options_for;
using testing::see_all;
using testing::SeenBatch;
using testing::SeenRecord;

LogConfig compacted() {
  LogConfig config;
  config.delete_policy = false;
  config.compact_policy = true;
  config.delete_retention = Millis(1000);
  return config;
}

using Pairs = std::vector<std::pair<std::string, std::optional<std::string>>>;

struct Keyed {
  wire::BatchOptions options{};
  int64_t timestamp = 1000;
};

ByteBuffer keyed_batch(const Pairs& pairs, const Keyed& how = {}) {
  wire::BatchBuilder builder(how.options);
  for (const auto& [key, value] : pairs) {
    builder.add(WallMs(how.timestamp), as_bytes(key),
                value ? std::optional<ByteView>(as_bytes(*value)) : std::nullopt);
  }
  return builder.build().value();
}

wire::BatchOptions producer(int64_t id, int32_t sequence, bool transactional = false) {
  return {.transactional = transactional,
          .producer_id = ProducerId(id),
          .producer_epoch = ProducerEpoch(0),
          .base_sequence = sequence};
}

class CompactionTest : public ::testing::Test {
 protected:
  CompactionTest() { EXPECT_TRUE(disk_.make_directory("/data")); }

  void open(LogConfig config = compacted()) { log_ = open_or_die(options_for(disk_, config)); }
  void add(const Pairs& pairs, const Keyed& how = {}) {
    EXPECT_EQ(append(*log_, keyed_batch(pairs, how)).error, wire::ErrorCode::kNone);
  }
  void end_transaction(int64_t id, bool commit) {
    append(*log_,
           wire::end_transaction_batch(Offset(0), LeaderEpoch(0), ProducerId(id), ProducerEpoch(0),
                                       commit, 0, WallMs(1000)),
           0, AppendOrigin::kCoordinator);
  }
  void roll() { ASSERT_TRUE(log_->roll(WallMs(1000))); }
  CompactionStats run(int64_t now = 2000, const CompactionLimits& limits = {}) {
    EXPECT_TRUE(log_->sync());
    auto stats = clean(*log_, disk_, WallMs(now), limits);
    EXPECT_TRUE(stats) << (stats ? "" : stats.error().message);
    EXPECT_TRUE(stats && *stats) << "nothing to clean";
    for (const std::string& path : log_->take_doomed()) EXPECT_TRUE(disk_.remove(path));
    return stats && *stats ? **stats : CompactionStats{};
  }
  /// `offset:key=value` of all records that are not control records.
  std::vector<std::string> records() {
    std::vector<std::string> out;
    for (const SeenBatch& b : see_all(*log_)) {
      if (b.control) continue;
      for (const SeenRecord& r : b.records) {
        out.push_back(
            fmt::format("{}:{}={}", r.offset, r.key.value_or("-"), r.value.value_or("-")));
      }
    }
    return out;
  }

  sim::MemoryDisk disk_;
  std::unique_ptr<Log> log_;
};

using Texts = std::vector<std::string>;

TEST_F(CompactionTest, TheNewestOfEachKeyStays) {
  open();
  add({{"a", "1"}, {"b", "1"}, {"a", "2"}});
  add({{"c", "1"}, {"a", "3"}});
  roll();
  add({{"b", "2"}});
  run();
  // What lies in the last segment is not looked at; the batch that ended the cleaned part keeps
  // its end.
  EXPECT_EQ(records(), (Texts{"1:b=1", "3:c=1", "4:a=3", "5:b=2"}));
  EXPECT_EQ(log_->first_dirty(), Offset(5));
  roll();
  run();
  EXPECT_EQ(records(), (Texts{"3:c=1", "4:a=3", "5:b=2"}));
}

TEST_F(CompactionTest, WholeBatchesAreCopiedAndOthersKeepTheirCodec) {
  for (const wire::Codec codec : {wire::Codec::kNone, wire::Codec::kGzip, wire::Codec::kSnappy,
                                  wire::Codec::kLz4, wire::Codec::kZstd}) {
    SCOPED_TRACE(wire::name(codec));
    disk_.remove_tree("/data/t-0").value();
    open();
    const std::string large(3000, 'x');
    ByteBuffer whole = keyed_batch({{"w1", large}, {"w2", large}}, {.options = {.codec = codec}});
    append(*log_, whole);
    add({{"p1", large}, {"gone", large}, {"p2", large}}, {.options = {.codec = codec}});
    add({{"gone", "0"}});
    roll();
    run();
    auto r = log_->read(Offset(0), {.max_bytes = 1 << 20, .upper_bound = log_->end()});
    const ByteBuffer bytes = read_piece(r->piece).value();
    wire::BatchIterator batches{ByteView(bytes)};
    const wire::BatchHeader first = **batches.next();
    EXPECT_TRUE(std::ranges::equal(first.bytes().subspan(16), ByteView(whole).subspan(16)));
    const wire::BatchHeader second = **batches.next();
    EXPECT_EQ(second.codec(), codec);
    EXPECT_EQ(second.count(), 2);
    EXPECT_EQ(second.base_offset(), Offset(2));
    EXPECT_EQ(second.last_offset(), Offset(4));
    EXPECT_EQ(records(), (Texts{"0:w1=" + large, "1:w2=" + large, "2:p1=" + large, "4:p2=" + large,
                                "5:gone=0"}));
  }
}

TEST_F(CompactionTest, TombstonesStayForTheirTime) {
  open();
  add({{"a", "1"}, {"b", "1"}});
  add({{"a", std::nullopt}});
  roll();
  run(2000);
  EXPECT_EQ(records(), (Texts{"1:b=1", "2:a=-"}));
  EXPECT_EQ(see_all(*log_)[1].horizon, 3000);
  EXPECT_EQ(see_all(*log_)[1].records[0].timestamp, 1000);
  add({{"c", "1"}});
  roll();
  run(2999);
  EXPECT_EQ(records(), (Texts{"1:b=1", "2:a=-", "3:c=1"}));
  EXPECT_EQ(see_all(*log_)[1].horizon, 3000);
  add({{"d", "1"}});
  roll();
  run(3000);
  EXPECT_EQ(records(), (Texts{"1:b=1", "3:c=1", "4:d=1"}));
}

TEST_F(CompactionTest, AbortedRecordsGoAndMarkersFollow) {
  open();
  add({{"a", "1"}});
  add({{"a", "aborted"}}, {.options = producer(7, 0, true)});
  end_transaction(7, false);
  add({{"b", "1"}}, {.options = producer(8, 0, true)});
  end_transaction(8, true);
  add({{"z", "1"}}, {.options = producer(7, 1, true)});
  end_transaction(7, true);
  add({{"b", "2"}}, {.options = producer(8, 1, true)});
  end_transaction(8, true);
  roll();
  run(2000);
  EXPECT_EQ(records(), (Texts{"0:a=1", "5:z=1", "7:b=2"}));
  const auto markers = [this] {
    std::map<int64_t, int64_t> out;  // offset → horizon
    for (const SeenBatch& b : see_all(*log_)) {
      if (b.control && !b.records.empty()) out[b.base] = b.horizon;
    }
    return out;
  };
  // Batches of these transactions were there before this cleaning.
  EXPECT_EQ(markers(), (std::map<int64_t, int64_t>{{2, -1}, {4, -1}, {6, -1}, {8, -1}}));
  add({{"y", "1"}});
  roll();
  run(3000);
  EXPECT_EQ(markers(), (std::map<int64_t, int64_t>{{2, 4000}, {4, 4000}, {6, -1}, {8, -1}}));
  add({{"x", "1"}});
  roll();
  run(4000);
  EXPECT_EQ(markers(), (std::map<int64_t, int64_t>{{6, -1}, {8, -1}}));
  EXPECT_TRUE(log_->aborted_transactions(Offset(0), log_->end())->empty());
}

TEST_F(CompactionTest, AnOpenTransactionHoldsItBack) {
  open();
  add({{"a", "1"}, {"a", "2"}});
  roll();
  add({{"a", "3"}}, {.options = producer(7, 0, true)});
  roll();
  add({{"a", "4"}});
  roll();
  auto range = log_->cleanable(WallMs(2000), log_->last_stable_offset(log_->end()));
  EXPECT_EQ(range->first_uncleanable, Offset(2));
  EXPECT_TRUE(range->waits_for_stable);
  run();
  EXPECT_EQ(records(), (Texts{"1:a=2", "2:a=3", "3:a=4"}));
  end_transaction(7, false);
  run();
  EXPECT_EQ(records(), (Texts{"3:a=4"}));
}

TEST_F(CompactionTest, HeadersOfLiveProducersStay) {
  open();
  add({{"a", "1"}}, {.options = producer(7, 0)});
  add({{"a", "2"}}, {.options = producer(7, 1)});
  add({{"a", "3"}}, {.options = producer(8, 0)});
  add({{"a", "4"}});
  roll();
  run();
  const auto batches = see_all(*log_);
  ASSERT_EQ(batches.size(), 3U);
  EXPECT_EQ(batches[0].base, 1);
  EXPECT_EQ(batches[0].sequence, 1);
  EXPECT_TRUE(batches[0].records.empty());
  EXPECT_EQ(batches[0].max_timestamp, 1000);
  EXPECT_EQ(batches[1].producer, 8);
  // After a crash, the sequence goes on where it was.
  disk_.process_died();
  log_.reset();
  LogOptions options = options_for(disk_, compacted());
  log_ = open_or_die(options);
  EXPECT_EQ(append(*log_, keyed_batch({{"b", "1"}}, {.options = producer(7, 3)})).error,
            wire::ErrorCode::kOutOfOrderSequenceNumber);
  add({{"b", "1"}}, {.options = producer(7, 2)});
}

TEST_F(CompactionTest, AHeaderStaysUntilALaterOneIsDurable) {
  LogConfig config = compacted();
  config.delete_retention = Millis(0);
  for (uint64_t seed = 1; seed <= 30; seed++) {
    SCOPED_TRACE(seed);
    disk_.remove_tree("/data/t-0").value();
    open(config);
    add({{"a", "1"}}, {.options = producer(7, 0, true)});
    end_transaction(7, false);
    add({{"b", "1"}});
    roll();
    add({{"b", "2"}});
    ASSERT_TRUE(log_->sync());
    const Offset durable = log_->end();
    // Of a producer the last five batches are known.
    for (int32_t n = 1; n <= (seed % 2 == 0 ? 2 : 8); n++) {
      add({{"c", "1"}}, {.options = producer(7, n, true)});
    }
    ASSERT_TRUE(clean(*log_, disk_, WallMs(2000)).value());
    sim::Rng rng(seed);
    disk_.power_loss(rng);
    log_.reset();
    LogOptions options = options_for(disk_, config);
    options.clean = false;
    log_ = open_or_die(options);
    ASSERT_GE(log_->end(), durable);
    // Whatever it took: the producer goes on behind what is left.
    const auto next = static_cast<int32_t>(1 + (log_->end() - durable));
    add({{"c", "1"}}, {.options = producer(7, next, true)});
  }
}

TEST_F(CompactionTest, SmallSegmentsAreJoined) {
  LogConfig config = compacted();
  open(config);
  for (int n = 0; n < 10; n++) {
    add({{"k" + std::to_string(n), "1"}});
    roll();
  }
  ASSERT_EQ(log_->segment_count(), 11);
  run();
  EXPECT_EQ(log_->segment_count(), 2);
  EXPECT_EQ(records().size(), 10U);
  std::set<std::string> names;
  for (const auto& e : *disk_.list("/data/t-0")) names.insert(e.name);
  EXPECT_TRUE(names.contains("00000000000000000000.log"));
  EXPECT_FALSE(names.contains("00000000000000000003.log"));
  EXPECT_FALSE(names.contains("00000000000000000003.snapshot"));
  EXPECT_TRUE(names.contains("00000000000000000010.snapshot"));
  // Not beyond segment.bytes, and not further than offsets in a segment go.
  config.segment_bytes = static_cast<int32_t>(log_->size() + 10);
  log_->set_config(config);
  const Offset far = log_->end() + (int64_t{INT32_MAX} + 1);
  add({{"k0", "2"}});
  roll();
  ByteBuffer batch = keyed_batch({{"k1", "2"}}, {.options = {.base_offset = far}});
  ASSERT_TRUE(log_->append_as_follower(ByteView(batch), WallMs(1000)));
  roll();
  ASSERT_EQ(log_->segment_count(), 4);
  run();
  EXPECT_EQ(log_->segment_count(), 4);
  EXPECT_EQ(records().size(), 10U);
}

TEST_F(CompactionTest, AMapThatIsFullEndsTheRound) {
  open();
  add({{"a", "1"}, {"b", "1"}, {"c", "1"}, {"a", "2"}});
  roll();
  CompactionLimits limits;
  limits.map_bytes = 3 * OffsetMap::kSlotBytes;  // two keys
  run(2000, limits);
  EXPECT_EQ(log_->first_dirty(), Offset(2));
  EXPECT_EQ(records(), (Texts{"0:a=1", "1:b=1", "2:c=1", "3:a=2"}));
  run(2000, limits);
  EXPECT_EQ(log_->first_dirty(), Offset(4));
  EXPECT_EQ(records(), (Texts{"1:b=1", "2:c=1", "3:a=2"}));
}

TEST_F(CompactionTest, RecordsWithoutKeyGo) {
  open();
  append(*log_, testing::make_batch({.records = 2}));
  add({{"a", "1"}});
  roll();
  EXPECT_EQ(run().keyless, 2U);
  EXPECT_EQ(records(), (Texts{"2:a=1"}));
}

TEST_F(CompactionTest, LagsAreKept) {
  LogConfig config = compacted();
  config.min_compaction_lag = Millis(500);
  config.max_compaction_lag = Millis(2000);
  open(config);
  add({{"a", "1"}}, {.timestamp = 1000});
  roll();
  add({{"a", "2"}}, {.timestamp = 1200});
  roll();
  auto range = log_->cleanable(WallMs(1600), log_->end());
  EXPECT_EQ(range->first_uncleanable, Offset(1));
  EXPECT_EQ(range->waits_until, WallMs(1700));
  EXPECT_EQ(range->due, WallMs(3000));
  EXPECT_EQ(range->ratio(), 1.0);
  range = log_->cleanable(WallMs(1700), log_->end());
  EXPECT_EQ(range->first_uncleanable, Offset(2));
  EXPECT_EQ(range->waits_until, kNoTimestamp);
}

TEST_F(CompactionTest, AReaderKeepsWhatItHas) {
  open();
  add({{"a", "1"}, {"a", "2"}});
  roll();
  auto before = log_->read(Offset(0), {.max_bytes = 1 << 20, .upper_bound = log_->end()});
  run();
  const ByteBuffer bytes = read_piece(before->piece).value();
  EXPECT_EQ(wire::BatchHeader(bytes.data()).count(), 2);
  EXPECT_EQ(records(), (Texts{"1:a=2"}));
}

TEST_F(CompactionTest, CorruptBytesAreNotCleaned) {
  open();
  add({{"a", "1"}, {"a", "2"}});
  roll();
  ASSERT_TRUE(log_->sync());
  auto file = *disk_.open("/data/t-0/00000000000000000000.log", io::OpenMode::kWrite);
  const uint8_t wrong[] = {0xff};
  ASSERT_TRUE(file->write(70, ByteView(wrong)));
  auto stats = clean(*log_, disk_, WallMs(2000));
  ASSERT_FALSE(stats);
  EXPECT_EQ(stats.error().kind, Errc::kCorrupt);
  for (const auto& e : *disk_.list("/data/t-0")) EXPECT_FALSE(e.name.ends_with(".cleaned"));
}

TEST_F(CompactionTest, AFullDiskLeavesTheLogAsItIs) {
  open();
  add({{"a", "1"}, {"a", "2"}});
  roll();
  ASSERT_TRUE(log_->sync());
  disk_.set_fault([](sim::DiskOp op, const std::string& path) -> std::optional<Error> {
    if (op != sim::DiskOp::kWrite || !path.ends_with(".cleaned")) return std::nullopt;
    return Error{Errc::kNoSpace, "full"};
  });
  auto stats = clean(*log_, disk_, WallMs(2000));
  ASSERT_FALSE(stats);
  EXPECT_EQ(stats.error().kind, Errc::kNoSpace);
  disk_.set_fault(nullptr);
  for (const auto& e : *disk_.list("/data/t-0")) EXPECT_FALSE(e.name.ends_with(".cleaned"));
  run();
  EXPECT_EQ(records(), (Texts{"1:a=2"}));
}

// A batch that unpacks to more than may be held is not written anew; walking over it takes no
// memory.
TEST_F(CompactionTest, ABombIsNotUnpacked) {
  open();
  add({{"a", std::string(4 << 20, 'x')}, {"b", std::string(4 << 20, 'x')}},
      {.options = {.codec = wire::Codec::kZstd}});
  add({{"a", "1"}});
  roll();
  CompactionLimits limits;
  limits.rewritten_max = 1 << 20;
  ASSERT_TRUE(log_->sync());
  auto stats = clean(*log_, disk_, WallMs(2000), limits);
  ASSERT_FALSE(stats);
  EXPECT_EQ(stats.error().kind, Errc::kLimit);
  limits.rewritten_max = 16 << 20;
  run(2000, limits);
  ASSERT_EQ(records().size(), 2U);
  EXPECT_EQ(records()[1], "2:a=1");
}

// ---- crashes

/// A log that is worth cleaning, the same every time.
void fill(Log& log) {
  for (int round = 0; round < 2; round++) {
    for (int n = 0; n < 3; n++) {
      append(log, keyed_batch({{"k" + std::to_string(n), fmt::format("v{}.{}", round, n)},
                               {"d" + std::to_string(round), std::nullopt}}));
    }
    append(log,
           keyed_batch({{"t", fmt::format("v{}", round)}}, {.options = producer(7, round, true)}));
    append(log,
           wire::end_transaction_batch(Offset(0), LeaderEpoch(0), ProducerId(7), ProducerEpoch(0),
                                       round % 2 == 1, 0, WallMs(1000)),
           0, AppendOrigin::kCoordinator);
    ASSERT_TRUE(log.roll(WallMs(1000)));
  }
  append(log, keyed_batch({{"last", "1"}}));
  ASSERT_TRUE(log.sync());
}

std::map<std::string, std::string> committed(Log& log) {
  std::map<std::string, std::string> known;
  std::set<int64_t> aborted;
  for (const auto& a : *log.aborted_transactions(Offset(0), log.end())) {
    aborted.insert(a.first.value);
  }
  for (const SeenBatch& b : see_all(log)) {
    if (b.control || aborted.contains(b.base)) continue;
    for (const SeenRecord& r : b.records) {
      if (r.value) known[*r.key] = *r.value;
      if (!r.value) known.erase(*r.key);
    }
  }
  return known;
}

/// Cleans twice, tombstones and markers going the second time, on a machine that stops before the
/// n-th change of the disk. False if it got through.
bool clean_until(sim::MemoryDisk& disk, uint64_t n, const std::function<void()>& stop) {
  bool stopped = false;
  LogConfig config = compacted();
  config.segment_bytes = 500;
  config.delete_retention = Millis(0);
  auto log = open_or_die(options_for(disk, config));
  if (log->end() == Offset(0)) fill(*log);
  disk.interrupt_after(n, [&] {
    stopped = true;
    stop();
  });
  for (int64_t now : {2000, 3000}) {
    auto done = clean(*log, disk, WallMs(now), {}, 200);
    if (!done) break;
    for (const std::string& path : log->take_doomed()) (void)disk.remove(path);
    log->set_first_dirty(Offset(0));
  }
  disk.interrupt_after(0, nullptr);
  return stopped;
}

void crash_at_every_step(bool power) {
  std::vector<SeenBatch> expected;
  std::map<std::string, std::string> known;
  {
    sim::MemoryDisk disk;
    ASSERT_TRUE(disk.make_directory("/data"));
    ASSERT_FALSE(clean_until(disk, UINT64_MAX, [] {}));
    LogOptions options = options_for(disk, compacted());
    auto log = open_or_die(options);
    expected = see_all(*log);
    known = committed(*log);
    ASSERT_EQ(known.size(), 5U) << "k0 k1 k2 t last";
  }
  for (uint64_t n = 1;; n++) {
    SCOPED_TRACE("change " + std::to_string(n));
    sim::Rng rng(n * 77 + (power ? 1 : 0));
    sim::MemoryDisk disk;
    ASSERT_TRUE(disk.make_directory("/data"));
    disk.sync_everything();
    const bool stopped = clean_until(disk, n, [&] {
      if (power) {
        disk.power_loss(rng);
      } else {
        disk.process_died();
      }
    });
    LogOptions options = options_for(disk, compacted());
    options.clean = false;
    options.recovery_point = Offset(rng.between(0, 20));
    {
      auto log = open_or_die(options);
      ASSERT_EQ(log->end(), Offset(17));
      ASSERT_EQ(log->last_stable_offset(log->end()), log->end());
      ASSERT_EQ(committed(*log), known);
      for (const auto& e : *disk.list("/data/t-0")) {
        ASSERT_FALSE(e.name.ends_with(".cleaned") || e.name.ends_with(".swap") ||
                     e.name.ends_with(".deleted"))
            << e.name;
      }
      ASSERT_TRUE(log->close());
    }
    // The next cleaning ends where it would have ended without the crash.
    ASSERT_FALSE(clean_until(disk, UINT64_MAX, [] {}));
    auto log = open_or_die(options_for(disk, compacted()));
    ASSERT_EQ(committed(*log), known);
    if (!stopped) {
      ASSERT_GT(n, 50U);
      return;
    }
  }
}

TEST(CompactionCrash, KilledAtEveryStep) { crash_at_every_step(false); }
TEST(CompactionCrash, PowerLostAtEveryStep) { crash_at_every_step(true); }

}  // namespace
}  // namespace odradek::log
