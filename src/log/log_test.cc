#include "log/log.h"

#include <gtest/gtest.h>

#include "log/file_names.h"
#include "log/testing/batches.h"
#include "wire/errors.h"

namespace odradek::log {
namespace {

using testing::append;
using testing::BatchSpec;
using testing::make_batch;
using testing::open_or_die;
using testing::options_for;
using testing::read_all;
using wire::ErrorCode;

ReadOptions up_to(Offset bound, uint32_t max_bytes, bool at_least_one = false) {
  return {.max_bytes = max_bytes, .upper_bound = bound, .at_least_one = at_least_one};
}

TEST(Log, NewLogIsEmptyAndWritesItsFolder) {
  sim::MemoryDisk disk;
  LogOptions options = options_for(disk);
  options.topic_id = Uuid{1, 2};
  auto log = open_or_die(options);
  EXPECT_EQ(log->start(), Offset(0));
  EXPECT_EQ(log->end(), Offset(0));
  EXPECT_EQ(log->topic_id(), (Uuid{1, 2}));
  EXPECT_TRUE(disk.exists("/data/t-0/00000000000000000000.log"));
  EXPECT_TRUE(disk.exists("/data/t-0/partition.metadata"));
  auto r = log->read(Offset(0), up_to(Offset(0), 100, true));
  ASSERT_TRUE(r);
  EXPECT_EQ(r->error, ErrorCode::kNone);
  EXPECT_EQ(r->piece.size(), 0u);
}

TEST(Log, AppendGivesOffsetsAndEpochInPlace) {
  sim::MemoryDisk disk;
  auto log = open_or_die(options_for(disk));
  ByteBuffer first = make_batch({.records = 3});
  auto r =
      log->append_as_leader(MutableBytes(first), LeaderEpoch(7), AppendOrigin::kClient, WallMs(1));
  ASSERT_TRUE(r);
  EXPECT_EQ(r->first, Offset(0));
  EXPECT_EQ(r->last, Offset(2));
  AppendResult second = append(*log, make_batch({.records = 2}), 7);
  EXPECT_EQ(second.first, Offset(3));
  EXPECT_EQ(log->end(), Offset(5));
  EXPECT_EQ(log->latest_epoch(), LeaderEpoch(7));
  auto read = log->read(Offset(4), up_to(log->end(), 1000));
  ASSERT_TRUE(read);
  auto bytes = read_piece(read->piece);
  ASSERT_TRUE(bytes);
  auto batch = wire::BatchHeader::parse(*bytes);
  ASSERT_TRUE(batch);
  EXPECT_EQ(batch->base_offset(), Offset(3));
  EXPECT_EQ(batch->leader_epoch(), LeaderEpoch(7));
  EXPECT_TRUE(batch->crc_matches());
}

TEST(Log, ReadRespectsSizeBoundAndOffsets) {
  sim::MemoryDisk disk;
  auto log = open_or_die(options_for(disk));
  uint64_t size = 0;
  for (int n = 0; n < 10; n++) {
    ByteBuffer b = make_batch({.records = 2, .value_size = 100});
    size = b.size();
    append(*log, std::move(b));
  }
  auto length = [&](int64_t from, int64_t bound, uint64_t max, bool one) {
    auto r = log->read(Offset(from), up_to(Offset(bound), static_cast<uint32_t>(max), one));
    EXPECT_TRUE(r);
    return r->piece.size();
  };
  EXPECT_EQ(length(0, 20, 1 << 20, false), 10 * size);
  EXPECT_EQ(length(1, 20, 1 << 20, false), 10 * size);  // begins with the batch that holds it
  EXPECT_EQ(length(2, 20, 1 << 20, false), 9 * size);
  EXPECT_EQ(length(0, 6, 1 << 20, false), 3 * size);
  EXPECT_EQ(length(0, 7, 1 << 20, false), 3 * size);  // not the batch that crosses the bound
  EXPECT_EQ(length(6, 6, 1 << 20, true), 0u);
  EXPECT_EQ(length(8, 6, 1 << 20, true), 0u);
  EXPECT_EQ(length(6, 7, 1 << 20, true), 0u);
  EXPECT_EQ(length(0, 20, size - 1, false), 0u);
  EXPECT_EQ(length(0, 20, size - 1, true), size);
  EXPECT_EQ(length(0, 20, size + 5, false), size + 5);  // may end within the second
  EXPECT_EQ(length(20, 20, 100, true), 0u);
  EXPECT_EQ(log->read(Offset(21), up_to(Offset(30), 100))->error, ErrorCode::kOffsetOutOfRange);
}

TEST(Log, RollsBySizeAndReadsAcrossSegments) {
  sim::MemoryDisk disk;
  LogConfig config{.segment_bytes = 1000, .index_interval_bytes = 200};
  auto log = open_or_die(options_for(disk, config));
  for (int n = 0; n < 60; n++) append(*log, make_batch({.records = 2, .value_size = 40}));
  EXPECT_GT(log->segment_count(), 8);
  auto all = read_all(*log, Offset(0));
  ASSERT_EQ(all.size(), 120u);
  for (int64_t n = 0; n < 120; n++) EXPECT_EQ(all[static_cast<size_t>(n)].first, n);
  for (int64_t n = 0; n < 120; n += 7) EXPECT_EQ(read_all(*log, Offset(n)).size(), 120u - n);
  // With every byte of a small limit: a cut batch never hides what is before it.
  EXPECT_EQ(read_all(*log, Offset(0), 301).size(), 120u);
}

TEST(Log, RollsByTimeOfRecordsAndByAge) {
  sim::MemoryDisk disk;
  LogConfig config{.segment_ms = Millis(1000)};
  auto log = open_or_die(options_for(disk, config));
  append(*log, make_batch({.timestamp = 5000}));
  append(*log, make_batch({.timestamp = 6000}));
  EXPECT_EQ(log->segment_count(), 1);
  append(*log, make_batch({.timestamp = 6001}));
  EXPECT_EQ(log->segment_count(), 2);
  // Without timestamps the clock decides.
  append(*log, make_batch({.timestamp = -1}), 0, AppendOrigin::kClient, 10'000);
  EXPECT_EQ(log->segment_count(), 2);
}

TEST(Log, RollsWhenAnIndexIsFullOrAnOffsetDoesNotFit) {
  sim::MemoryDisk disk;
  LogConfig config{.segment_index_bytes = 24, .index_interval_bytes = 0};
  auto log = open_or_die(options_for(disk, config));
  for (int n = 0; n < 20; n++) append(*log, make_batch({.timestamp = 1000 + n}));
  EXPECT_GT(log->segment_count(), 3);
  EXPECT_EQ(read_all(*log, Offset(0)).size(), 20u);
  int before = log->segment_count();
  ByteBuffer far = make_batch({.base_offset = int64_t{1} << 40, .leader_epoch = 1});
  ASSERT_TRUE(log->append_as_follower(far, WallMs(1)));
  EXPECT_EQ(log->segment_count(), before + 1);
  EXPECT_TRUE(disk.exists("/data/t-0/" + file_name(Offset(int64_t{1} << 40), kLogSuffix)));
  EXPECT_EQ(read_all(*log, Offset(0)).size(), 21u);
  EXPECT_EQ(read_all(*log, Offset(100)).size(), 1u);  // a gap
}

TEST(Log, FollowerAppendRefusesOffsetsThatGoBack) {
  sim::MemoryDisk disk;
  auto log = open_or_die(options_for(disk));
  ByteBuffer b = make_batch({.records = 5, .base_offset = 10, .leader_epoch = 3});
  ASSERT_TRUE(log->append_as_follower(b, WallMs(1)));
  EXPECT_EQ(log->end(), Offset(15));
  auto again = log->append_as_follower(b, WallMs(1));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().kind, Errc::kInvalid);
  auto garbage = log->append_as_follower(as_bytes("garbage"), WallMs(1));
  EXPECT_FALSE(garbage);
  EXPECT_EQ(log->end(), Offset(15));
}

TEST(Log, TooLargeForASegmentIsRefused) {
  sim::MemoryDisk disk;
  auto log = open_or_die(options_for(disk, LogConfig{.segment_bytes = 100}));
  EXPECT_EQ(append(*log, make_batch({.value_size = 200})).error, ErrorCode::kRecordListTooLarge);
  EXPECT_EQ(log->end(), Offset(0));
}

TEST(Log, FailedWriteLeavesNothingAndTheNextOneWorks) {
  sim::MemoryDisk disk;
  auto log = open_or_die(options_for(disk));
  append(*log, make_batch({.producer = 5, .sequence = 0}));
  uint64_t size = log->size();
  disk.set_fault([](sim::DiskOp op, const std::string&) -> std::optional<Error> {
    if (op == sim::DiskOp::kWrite) return Error{Errc::kNoSpace, "full"};
    return std::nullopt;
  });
  ByteBuffer b = make_batch({.producer = 5, .sequence = 1});
  auto r = log->append_as_leader(MutableBytes(b), LeaderEpoch(0), AppendOrigin::kClient, WallMs(1));
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().kind, Errc::kNoSpace);
  disk.set_fault(nullptr);
  EXPECT_EQ(log->size(), size);
  EXPECT_EQ(log->end(), Offset(1));
  EXPECT_EQ(disk.open("/data/t-0/00000000000000000000.log", io::OpenMode::kRead).value()->size(),
            size);
  AppendResult again = append(*log, make_batch({.producer = 5, .sequence = 1}));
  EXPECT_EQ(again.error, ErrorCode::kNone);
  EXPECT_FALSE(again.duplicate);
  EXPECT_EQ(read_all(*log, Offset(0)).size(), 2u);
}

// A disk that is full for a while, in the index of aborted transactions or in the log.
TEST(Log, AMarkerThatFindsNoRoomLeavesNothingAndTheNextOneWorks) {
  for (const char* suffix : {".txnindex", ".log"}) {
    sim::MemoryDisk disk;
    LogOptions options = options_for(disk);
    auto log = open_or_die(options);
    append(*log, make_batch({.producer = 0, .transactional = true}));
    const uint64_t size = log->size();
    const auto abort = [&] {
      ByteBuffer b = wire::end_transaction_batch(Offset(0), LeaderEpoch(0), ProducerId(0),
                                                 ProducerEpoch(0), false, 0, WallMs(1000));
      return log->append_as_leader(MutableBytes(b), LeaderEpoch(0), AppendOrigin::kCoordinator,
                                   WallMs(1));
    };
    disk.set_fault([&](sim::DiskOp op, const std::string& path) -> std::optional<Error> {
      if (op == sim::DiskOp::kWrite && path.ends_with(suffix)) return Error{Errc::kNoSpace, "full"};
      return std::nullopt;
    });
    const auto refused = abort();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, Errc::kNoSpace);
    disk.set_fault(nullptr);
    EXPECT_EQ(log->size(), size);
    EXPECT_EQ(log->aborted_transactions(Offset(0), Offset(9)).value().size(), 0u);
    EXPECT_EQ(
        disk.open("/data/t-0/00000000000000000000.txnindex", io::OpenMode::kRead).value()->size(),
        0u);
    ASSERT_TRUE(abort());
    EXPECT_EQ(log->aborted_transactions(Offset(0), Offset(9)).value(),
              (std::vector<AbortedTransaction>{{ProducerId(0), Offset(0)}}));
  }
}

// A power loss may undo the cut; if a later segment is durable, it must not go with the rest.
TEST(Log, TheCutAfterAFailedWriteIsSyncedToo) {
  for (uint64_t seed = 0; seed < 20; seed++) {
    sim::MemoryDisk disk;
    ASSERT_TRUE(disk.make_directory("/data"));
    disk.sync_everything();
    LogOptions options = options_for(disk);
    auto log = open_or_die(options);
    append(*log, make_batch({}));
    ASSERT_TRUE(log->sync());
    disk.set_fault([](sim::DiskOp op, const std::string&) -> std::optional<Error> {
      if (op == sim::DiskOp::kWrite) return Error{Errc::kNoSpace, "full"};
      return std::nullopt;
    });
    ByteBuffer b = make_batch({.value_size = 2000});
    EXPECT_FALSE(
        log->append_as_leader(MutableBytes(b), LeaderEpoch(0), AppendOrigin::kClient, WallMs(1)));
    disk.set_fault(nullptr);
    ASSERT_TRUE(log->roll(WallMs(1)));
    append(*log, make_batch({}));
    ASSERT_TRUE(log->sync());
    log.reset();
    sim::Rng rng(seed);
    disk.power_loss(rng);
    log = open_or_die(options);
    ASSERT_EQ(log->end(), Offset(2)) << seed;
  }
}

TEST(Log, WriteThatCannotBeUndoneStopsTheLog) {
  sim::MemoryDisk disk;
  auto log = open_or_die(options_for(disk));
  append(*log, make_batch({}));
  disk.set_fault([](sim::DiskOp op, const std::string&) -> std::optional<Error> {
    if (op == sim::DiskOp::kWrite || op == sim::DiskOp::kTruncate) return Error{Errc::kIo, "dead"};
    return std::nullopt;
  });
  ByteBuffer b = make_batch({});
  EXPECT_FALSE(
      log->append_as_leader(MutableBytes(b), LeaderEpoch(0), AppendOrigin::kClient, WallMs(1)));
  disk.set_fault(nullptr);
  EXPECT_FALSE(
      log->append_as_leader(MutableBytes(b), LeaderEpoch(0), AppendOrigin::kClient, WallMs(1)));
  EXPECT_FALSE(log->close());
  EXPECT_EQ(read_all(*log, Offset(0)).size(), 1u);
}

TEST(Log, SyncTicketsMoveTheDurableEnd) {
  sim::MemoryDisk disk;
  disk.make_directory("/data").value();
  disk.sync_everything();
  LogOptions options = options_for(disk, LogConfig{.segment_bytes = 300});
  options.topic_id = Uuid{1, 2};
  auto log = open_or_die(options);
  EXPECT_TRUE(log->unsynced());
  ASSERT_TRUE(log->sync());
  EXPECT_FALSE(log->unsynced());
  append(*log, make_batch({.value_size = 150}), 4);
  EXPECT_TRUE(log->unsynced());
  SyncTicket first = log->take_unsynced();
  append(*log, make_batch({.value_size = 150}), 4);  // rolls
  EXPECT_EQ(log->segment_count(), 2);
  EXPECT_EQ(log->durable_end(), Offset(0));
  log->synced(first);
  EXPECT_EQ(log->durable_end(), Offset(1));
  SyncTicket second = log->take_unsynced();
  for (auto& f : second.files) ASSERT_TRUE(f->sync());
  for (auto& f : first.files) ASSERT_TRUE(f->sync());
  log->synced(second);
  EXPECT_EQ(log->durable_end(), Offset(2));
  EXPECT_EQ(log->recovery_point(), Offset(2));
  EXPECT_FALSE(log->unsynced());
  // All of it is on the device: file contents, names, epochs.
  sim::Rng rng(1);
  disk.power_loss(rng);
  options.recovery_point = Offset(0);
  auto again = open_or_die(options);
  EXPECT_EQ(again->end(), Offset(2));
  EXPECT_EQ(again->latest_epoch(), LeaderEpoch(4));
  EXPECT_EQ(again->topic_id(), (Uuid{1, 2}));
  EXPECT_EQ(read_all(*again, Offset(0)).size(), 2u);
}

TEST(Log, APartitionThatIsSetAsideDuringASyncIsNoDiskError) {
  sim::MemoryDisk disk;
  auto log = open_or_die(options_for(disk));
  append(*log, make_batch({}));
  SyncTicket ticket = log->take_unsynced();
  log.reset();
  ASSERT_TRUE(disk.rename("/data/t-0", "/data/t-0.00000000000000000000000000000001-delete"));
  for (auto& file : ticket.files) EXPECT_TRUE(file->sync()) << file->path();
}

TEST(Log, RecoveryPointWaitsForTheEpochFile) {
  sim::MemoryDisk disk;
  auto log = open_or_die(options_for(disk));
  append(*log, make_batch({}), 1);
  ASSERT_TRUE(log->sync());
  EXPECT_EQ(log->recovery_point(), Offset(1));
  append(*log, make_batch({}), 2);
  SyncTicket ticket = log->take_unsynced();
  append(*log, make_batch({}), 3);
  log->synced(ticket);
  EXPECT_EQ(log->durable_end(), Offset(2));
  EXPECT_EQ(log->recovery_point(), Offset(1));  // epochs 2 and 3 are not known to be in the file
  ASSERT_TRUE(log->sync());
  EXPECT_EQ(log->recovery_point(), Offset(3));
}

TEST(Log, CleanReopenKeepsEverything) {
  sim::MemoryDisk disk;
  LogConfig config{.segment_bytes = 2000, .index_interval_bytes = 100};
  LogOptions options = options_for(disk, config);
  std::vector<std::pair<int64_t, std::string>> before;
  {
    auto log = open_or_die(options);
    for (int n = 0; n < 50; n++) {
      append(
          *log,
          make_batch({.records = 3, .timestamp = 1000 + n * 10, .producer = 9, .sequence = n * 3}),
          n / 10);
    }
    before = read_all(*log, Offset(0));
    ASSERT_TRUE(log->close());
  }
  options.clean = true;
  options.recovery_point = Offset(150);
  auto log = open_or_die(options);
  EXPECT_EQ(log->end(), Offset(150));
  EXPECT_EQ(log->durable_end(), Offset(150));
  EXPECT_FALSE(log->unsynced());
  EXPECT_EQ(read_all(*log, Offset(0)), before);
  EXPECT_EQ(log->epochs().size(), 5u);
  ASSERT_EQ(log->producers().size(), 1u);
  EXPECT_EQ(log->producers()[0].last_sequence, 149);
  AppendResult r = append(*log, make_batch({.records = 3, .producer = 9, .sequence = 147}), 5);
  EXPECT_TRUE(r.duplicate);
  EXPECT_EQ(r.first, Offset(147));
  EXPECT_EQ(append(*log, make_batch({.producer = 9, .sequence = 150}), 5).first, Offset(150));
  // A log that was only opened leaves its files alone when closed.
  ASSERT_TRUE(log->close());
  log.reset();
  options.recovery_point = Offset(151);
  auto untouched = open_or_die(options);
  auto writes = disk.counts().writes;
  ASSERT_TRUE(untouched->close());
  EXPECT_EQ(disk.counts().writes, writes);
}

TEST(Log, TimestampLookups) {
  sim::MemoryDisk disk;
  LogConfig config{.segment_bytes = 1500, .index_interval_bytes = 100};
  auto log = open_or_die(options_for(disk, config));
  EXPECT_EQ(log->offset_for_timestamp(WallMs(0)).value(), TimestampOffset{});
  EXPECT_EQ(log->max_timestamp().value(), TimestampOffset{});
  for (int n = 0; n < 40; n++) {
    wire::Codec codec = n % 2 == 0 ? wire::Codec::kNone : wire::Codec::kZstd;
    append(*log, make_batch({.records = 3, .timestamp = 1000 + n * 10, .codec = codec}), 2);
  }
  auto at = [&](int64_t t) { return log->offset_for_timestamp(WallMs(t)).value(); };
  EXPECT_EQ(at(0), (TimestampOffset{WallMs(1000), Offset(0), LeaderEpoch(2)}));
  EXPECT_EQ(at(1001), (TimestampOffset{WallMs(1001), Offset(1), LeaderEpoch(2)}));
  EXPECT_EQ(at(1003), (TimestampOffset{WallMs(1010), Offset(3), LeaderEpoch(2)}));
  for (int n = 0; n < 40; n++) {
    EXPECT_EQ(at(1000 + n * 10 + 2).offset, Offset(n * 3 + 2)) << n;
  }
  EXPECT_EQ(at(2000), TimestampOffset{});
  EXPECT_EQ(log->max_timestamp().value(),
            (TimestampOffset{WallMs(1392), Offset(119), LeaderEpoch(2)}));
  append(*log, make_batch({.timestamp = 500}), 2);
  EXPECT_EQ(log->max_timestamp()->offset, Offset(119));
  ASSERT_TRUE(log->advance_start(Offset(50)).value());
  EXPECT_EQ(at(0).offset, Offset(50));
}

TEST(Log, TheTimeOfAnOffsetIsThatOfItsBatch) {
  sim::MemoryDisk disk;
  LogConfig config{.segment_bytes = 1500, .index_interval_bytes = 100};
  auto log = open_or_die(options_for(disk, config));
  EXPECT_EQ(log->timestamp_at(Offset(0)).value(), kNoTimestamp);
  for (int n = 0; n < 40; n++)
    append(*log, make_batch({.records = 3, .timestamp = 1000 + n * 10}), 2);
  EXPECT_GT(log->segment_count(), 2);
  for (int o = 0; o < 120; o++)
    EXPECT_EQ(log->timestamp_at(Offset(o)).value(), WallMs(1000 + o / 3 * 10)) << o;
  EXPECT_EQ(log->timestamp_at(Offset(120)).value(), kNoTimestamp);
  ASSERT_TRUE(log->advance_start(Offset(50)).value());
  EXPECT_EQ(log->timestamp_at(Offset(49)).value(), kNoTimestamp);
  EXPECT_EQ(log->timestamp_at(Offset(50)).value(), WallMs(1160));
}

TEST(Log, RetentionBySizeTimeAndStart) {
  sim::MemoryDisk disk;
  LogConfig config{.segment_bytes = 1000, .retention_ms = Millis(-1), .retention_bytes = 2500};
  auto log = open_or_die(options_for(disk, config));
  for (int n = 0; n < 50; n++) append(*log, make_batch({.timestamp = 1000 + n, .value_size = 100}));
  int segments = log->segment_count();
  // Nothing at or above the high watermark goes.
  EXPECT_EQ(log->apply_retention(WallMs(2000), Offset(0))->segments, 0);
  uint64_t size = log->size();
  auto removed = log->apply_retention(WallMs(2000), log->end());
  ASSERT_TRUE(removed);
  EXPECT_GT(removed->segments, 0);
  EXPECT_EQ(log->segment_count(), segments - removed->segments);
  EXPECT_EQ(log->size(), size - removed->bytes);
  EXPECT_GE(log->size(), 2500u);
  EXPECT_LT(log->size(), 3500u);
  EXPECT_GT(log->start(), Offset(0));
  EXPECT_EQ(read_all(*log, log->start()).size(), 50u - static_cast<size_t>(log->start().value));
  auto doomed = log->take_doomed();
  EXPECT_GE(doomed.size(), static_cast<size_t>(removed->segments));
  for (auto& path : doomed) {
    EXPECT_TRUE(path.ends_with(".deleted"));
    EXPECT_TRUE(disk.exists(path));
  }
  EXPECT_TRUE(log->take_doomed().empty());
  // By log start offset, whatever the policy.
  LogConfig compact = config;
  compact.delete_policy = false;
  log->set_config(compact);
  ASSERT_TRUE(log->advance_start(Offset(48)).value());
  EXPECT_FALSE(log->advance_start(Offset(48)).value());
  EXPECT_FALSE(log->advance_start(Offset(51)));
  ASSERT_TRUE(log->apply_retention(WallMs(2000), log->end()));
  EXPECT_EQ(log->start(), Offset(48));
  EXPECT_EQ(read_all(*log, Offset(48)).size(), 2u);
  // By time: everything, the active segment included, which is then a new one.
  LogConfig timed = config;
  timed.retention_ms = Millis(100);
  log->set_config(timed);
  ASSERT_TRUE(log->apply_retention(WallMs(1149), log->end()));
  EXPECT_EQ(log->start(), Offset(48));
  ASSERT_TRUE(log->apply_retention(WallMs(1150), log->end()));
  EXPECT_EQ(log->start(), Offset(50));
  EXPECT_EQ(log->end(), Offset(50));
  EXPECT_EQ(log->size(), 0u);
  append(*log, make_batch({}));
  EXPECT_EQ(read_all(*log, Offset(50)).size(), 1u);
}

TEST(Log, ReadersKeepARemovedSegment) {
  sim::MemoryDisk disk;
  LogConfig config{.segment_bytes = 500, .retention_ms = Millis(1)};
  auto log = open_or_die(options_for(disk, config));
  for (int n = 0; n < 20; n++) append(*log, make_batch({.value_size = 100}));
  auto read = log->read(Offset(0), up_to(log->end(), 100'000));
  auto before = read_piece(read->piece).value();
  ASSERT_TRUE(log->apply_retention(WallMs(1'000'000), log->end()));
  for (auto& path : log->take_doomed()) ASSERT_TRUE(disk.remove(path));
  EXPECT_EQ(read_piece(read->piece).value(), before);
}

TEST(Log, TruncateAndGoOn) {
  sim::MemoryDisk disk;
  LogConfig config{.segment_bytes = 1000, .index_interval_bytes = 100};
  auto log = open_or_die(options_for(disk, config));
  for (int n = 0; n < 60; n++) {
    append(*log,
           make_batch({.records = 2,
                       .timestamp = 1000 + n,
                       .value_size = 40,
                       .producer = 3,
                       .sequence = n * 2}),
           n / 20);
  }
  ASSERT_TRUE(log->sync());
  EXPECT_FALSE(log->truncate_to(Offset(120)).value());
  SyncTicket ticket = log->take_unsynced();
  // 71 lies within a batch, which goes as a whole; the end is where it was asked for.
  ASSERT_TRUE(log->truncate_to(Offset(71)).value());
  EXPECT_EQ(log->end(), Offset(71));
  EXPECT_EQ(log->durable_end(), Offset(71));
  EXPECT_EQ(read_all(*log, Offset(0)).size(), 70u);
  EXPECT_EQ(log->latest_epoch(), LeaderEpoch(1));
  ASSERT_EQ(log->producers().size(), 1u);
  EXPECT_EQ(log->producers()[0].last_sequence, 69);
  EXPECT_EQ(append(*log, make_batch({.producer = 3, .sequence = 70}), 5).first, Offset(71));
  log->synced(ticket);  // taken before the cut: says nothing about the new end
  EXPECT_EQ(log->durable_end(), Offset(71));
  EXPECT_EQ(log->epoch_at(Offset(71)), LeaderEpoch(5));
  EXPECT_EQ(read_all(*log, Offset(60)).size(), 11u);
  ASSERT_TRUE(log->truncate_fully_and_start_at(Offset(1000)));
  EXPECT_EQ(log->start(), Offset(1000));
  EXPECT_EQ(log->end(), Offset(1000));
  EXPECT_EQ(log->size(), 0u);
  EXPECT_TRUE(log->producers().empty());
  EXPECT_EQ(append(*log, make_batch({}), 6).first, Offset(1000));
  EXPECT_EQ(read_all(*log, Offset(1000)).size(), 1u);
}

TEST(Log, LeaderEpochs) {
  sim::MemoryDisk disk;
  auto log = open_or_die(options_for(disk));
  EXPECT_EQ(log->end_offset_for_epoch(LeaderEpoch(0)), EpochEnd{});
  log->assign_epoch(LeaderEpoch(2));
  for (int n = 0; n < 3; n++) append(*log, make_batch({}), 2);
  for (int n = 0; n < 4; n++) append(*log, make_batch({}), 5);
  auto end = [&](int e) { return log->end_offset_for_epoch(LeaderEpoch(e)); };
  EXPECT_EQ(end(-1), EpochEnd{});
  EXPECT_EQ(end(1), (EpochEnd{LeaderEpoch(1), Offset(0)}));  // as Apache: the asked epoch itself
  EXPECT_EQ(end(2), (EpochEnd{LeaderEpoch(2), Offset(3)}));
  EXPECT_EQ(end(4), (EpochEnd{LeaderEpoch(2), Offset(3)}));
  EXPECT_EQ(end(5), (EpochEnd{LeaderEpoch(5), Offset(7)}));
  EXPECT_EQ(end(6), EpochEnd{});
  EXPECT_EQ(log->epoch_at(Offset(2)), LeaderEpoch(2));
  EXPECT_EQ(log->epoch_at(Offset(3)), LeaderEpoch(5));
  ASSERT_TRUE(log->advance_start(Offset(4)).value());
  EXPECT_EQ(log->epochs(), (std::vector<EpochEntry>{{LeaderEpoch(5), Offset(4)}}));
}

}  // namespace
}  // namespace odradek::log
