// What opening a log does with what a crash, a bad disk or another program left.
#include <gtest/gtest.h>

#include <map>

#include "log/file_names.h"
#include "log/log_dir.h"
#include "log/testing/batches.h"
#include "sim/rng.h"
#include "wire/errors.h"

namespace odradek::log {
namespace {

using testing::append;
using testing::BatchSpec;
using testing::make_batch;
using testing::open_or_die;
using testing::options_for;
using testing::read_all;

using Files = std::map<std::string, ByteBuffer>;  // of one folder, by name

constexpr const char* kFolder = "/data/t-0";

Files files_of(sim::MemoryDisk& disk) {
  Files files;
  for (const io::DirEntry& e : disk.list(kFolder).value()) {
    auto file = disk.open(std::string(kFolder) + "/" + e.name, io::OpenMode::kRead).value();
    ByteBuffer bytes(file->size().value());
    EXPECT_TRUE(file->read(0, MutableBytes(bytes)));
    files[e.name] = std::move(bytes);
  }
  return files;
}

void put(sim::MemoryDisk& disk, const std::string& name, ByteView bytes) {
  ASSERT_TRUE(disk.make_directory(kFolder));
  auto file = disk.open(std::string(kFolder) + "/" + name, io::OpenMode::kCreate).value();
  ASSERT_TRUE(file->truncate(0));
  ASSERT_TRUE(file->write(0, bytes));
}

void put(sim::MemoryDisk& disk, const Files& files) {
  for (const auto& [name, bytes] : files) put(disk, name, bytes);
}

/// A log of three segments with a producer, epochs and all kinds of files.
LogConfig small_config() { return LogConfig{.segment_bytes = 400, .index_interval_bytes = 80}; }

Files small_log(bool clean) {
  sim::MemoryDisk disk;
  LogOptions options = options_for(disk, small_config());
  options.topic_id = Uuid{7, 7};
  auto log = open_or_die(options);
  for (int n = 0; n < 12; n++) {
    append(*log,
           make_batch({.records = 2,
                       .timestamp = 1000 + n,
                       .value_size = 4,
                       .producer = 4,
                       .sequence = n * 2}),
           n / 4);
  }
  EXPECT_EQ(log->segment_count(), 3);
  if (clean) {
    EXPECT_TRUE(log->close());
  } else {
    EXPECT_TRUE(log->sync());
  }
  return files_of(disk);
}

std::string log_name(int64_t base) { return file_name(Offset(base), kLogSuffix); }

TEST(Recovery, AfterKillEverythingIsThere) {
  Files files = small_log(false);
  sim::MemoryDisk disk;
  put(disk, files);
  LogOptions options = options_for(disk, small_config());
  std::vector<std::pair<uint64_t, uint64_t>> told;
  options.progress = [&](uint64_t done, uint64_t total) { told.emplace_back(done, total); };
  auto log = open_or_die(options);
  EXPECT_EQ(log->end(), Offset(24));
  EXPECT_EQ(log->durable_end(), Offset(0));
  EXPECT_TRUE(log->unsynced());
  EXPECT_EQ(read_all(*log, Offset(0)).size(), 24u);
  EXPECT_EQ(log->epochs().size(), 3u);
  ASSERT_EQ(log->producers().size(), 1u);
  EXPECT_EQ(log->producers()[0].last_sequence, 23);
  ASSERT_EQ(told.size(), 3u);
  EXPECT_EQ(told.back().first, told.back().second);
  EXPECT_EQ(told.back().second, log->size());
  ASSERT_TRUE(log->sync());
  EXPECT_EQ(log->durable_end(), Offset(24));
}

TEST(Recovery, ReadingADamagedPlaceDoesNotCostTheIndex) {
  Files files = small_log(true);
  ByteBuffer& last = files[log_name(16)];
  last[last.size() / 4 + 8] = 0x7f;  // the length of its second batch
  sim::MemoryDisk disk;
  put(disk, files);
  LogOptions options = options_for(disk, small_config());
  options.clean = true;
  auto log = open_or_die(options);
  EXPECT_EQ(log->end(), Offset(24));
  EXPECT_FALSE(log->read(Offset(20), {.max_bytes = 100, .upper_bound = Offset(24)}));
  EXPECT_TRUE(log->read(Offset(22), {.max_bytes = 100, .upper_bound = Offset(24)}));
  ASSERT_TRUE(log->close());
  // The next start still finds the end by it.
  EXPECT_EQ(open_or_die(options)->end(), Offset(24));
}

TEST(Recovery, AnIndexThatLiesInADamagedLogIsNotReplacedByAWorseOne) {
  Files files = small_log(true);
  ByteBuffer& last = files[log_name(16)];
  last[last.size() / 2 + 26] = 0x7f;  // the last offset delta of the third of four batches
  ByteBuffer& index = files[file_name(Offset(16), kIndexSuffix)];
  ASSERT_GE(index.size(), 16u);
  store_be(index.data() + 4, 0xffff);  // where its first entry points
  sim::MemoryDisk disk;
  put(disk, files);
  LogOptions options = options_for(disk, small_config());
  options.clean = true;
  options.config.segment_bytes = 4000;  // no roll
  auto log = open_or_die(options);
  EXPECT_EQ(log->end(), Offset(24));
  for (int64_t at = 16; at < 20; at++) {
    EXPECT_TRUE(log->read(Offset(at), {.max_bytes = 100, .upper_bound = Offset(24)})) << at;
  }
  append(*log, make_batch({}), 9);
  ASSERT_TRUE(log->close());
  EXPECT_EQ(open_or_die(options)->end(), Offset(25));
}

TEST(Recovery, ABatchThatClaimsWhatFollowsItIsDamage) {
  Files files = small_log(true);
  files[log_name(0)][23] = 1;  // the last offset delta of the first batch
  sim::MemoryDisk disk;
  put(disk, files);
  LogOptions options = options_for(disk, small_config());
  options.clean = true;
  auto read = open_or_die(options)->read(Offset(0), {.max_bytes = 100, .upper_bound = Offset(24)});
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().kind, Errc::kCorrupt);
}

TEST(Recovery, IndexesAndSnapshotsComeOutAsTheyWere) {
  Files clean = small_log(true);
  Files killed = small_log(false);
  sim::MemoryDisk disk;
  put(disk, killed);
  auto log = open_or_die(options_for(disk, small_config()));
  ASSERT_TRUE(log->close());
  Files after = files_of(disk);
  EXPECT_EQ(after, clean);
}

// ---- indexes and where recovery begins

/// One segment with many index entries, killed; its recovery point lies at 40 of 48, and there is a
/// snapshot at 36.
struct KilledLog {
  sim::MemoryDisk disk;
  LogConfig config{.index_interval_bytes = 100};
  Offset point{40};

  KilledLog() {
    write(disk, 48);
    EXPECT_TRUE(disk.remove(std::string(kFolder) + "/" + file_name(Offset(48), kSnapshotSuffix)));
    sim::MemoryDisk shorter;
    write(shorter, 36);
    const std::string snapshot = file_name(Offset(36), kSnapshotSuffix);
    put(disk, snapshot, files_of(shorter)[snapshot]);
  }
  void write(sim::MemoryDisk& to, int batches) {
    auto log = open_or_die(options_for(to, config));
    for (int n = 0; n < batches; n++) {
      append(*log, make_batch({.timestamp = 1000 + n, .producer = 4, .sequence = n}), 1);
    }
    EXPECT_TRUE(log->close());  // writes what an index holds in memory
  }
  LogOptions options() {
    LogOptions o = options_for(disk, config);
    o.recovery_point = point;
    return o;
  }
  ByteBuffer bytes(std::string_view suffix) { return files_of(disk)[file_name(Offset(0), suffix)]; }
  /// Opens it, checks what it holds; how many writes that took.
  uint64_t recover() {
    const uint64_t before = disk.counts().writes;
    auto log = open_or_die(options());
    EXPECT_EQ(log->end(), Offset(48));
    EXPECT_EQ(read_all(*log, Offset(0)).size(), 48u);
    EXPECT_EQ(log->producers().at(0).last_sequence, 47);
    EXPECT_EQ(log->offset_for_timestamp(WallMs(1013))->offset, Offset(13));
    EXPECT_EQ(log->max_timestamp()->offset, Offset(47));
    return disk.counts().writes - before;
  }
};

TEST(RecoveryOfIndexes, SoundOnesAreLeftAlone) {
  KilledLog killed;
  EXPECT_EQ(killed.recover(), 0u);
  killed.point = Offset(0);
  EXPECT_EQ(killed.recover(), 0u);
}

TEST(RecoveryOfIndexes, OnlyTheTailBehindTheRecoveryPointIsRead) {
  KilledLog killed;
  const uint64_t before = killed.disk.counts().bytes_read;
  auto log = open_or_die(killed.options());
  EXPECT_EQ(log->end(), Offset(48));
  EXPECT_LT(killed.disk.counts().bytes_read - before, 2 * log->size() + 4096);
  std::vector<std::pair<uint64_t, uint64_t>> told;
  LogOptions options = killed.options();
  options.progress = [&](uint64_t done, uint64_t total) { told.emplace_back(done, total); };
  log = open_or_die(options);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].first, told[0].second);
  EXPECT_LT(told[0].second, log->size() / 3);
}

TEST(RecoveryOfIndexes, WrongOnesAreWritten) {
  const auto damage = [](KilledLog& killed, std::string_view suffix, auto change) {
    ByteBuffer bytes = killed.bytes(suffix);
    change(bytes);
    put(killed.disk, file_name(Offset(0), suffix), bytes);
  };
  for (std::string_view suffix : {kIndexSuffix, kTimeIndexSuffix}) {
    const auto each = [&](const char* what, auto change) {
      KilledLog killed;
      const ByteBuffer good = killed.bytes(suffix);
      ASSERT_GT(good.size(), 100u);
      damage(killed, suffix, change);
      killed.recover();
      auto log = open_or_die(killed.options());
      ASSERT_TRUE(log->close());
      EXPECT_EQ(killed.bytes(suffix), good) << what << suffix;
    };
    each("zeros at the end", [](ByteBuffer& b) { std::fill(b.end() - 60, b.end(), 0); });
    each("zeros in the middle",
         [](ByteBuffer& b) { std::fill(b.begin() + 24, b.begin() + 60, 0); });
    each("a piece of an entry less", [](ByteBuffer& b) { b.resize(b.size() - 5); });
    each("garbage behind the end", [](ByteBuffer& b) { b.resize(b.size() + 240, 0x7f); });
  }
  // Entries that point elsewhere, in an order that looks right.
  KilledLog killed;
  const ByteBuffer good = killed.bytes(kIndexSuffix);
  damage(killed, kIndexSuffix, [](ByteBuffer& b) {
    for (size_t at = 0; at < b.size(); at += 8) b[at + 7] = static_cast<uint8_t>(b[at + 7] + 1);
  });
  EXPECT_GE(killed.recover(), 1u);
  EXPECT_EQ(killed.bytes(kIndexSuffix), good);
}

TEST(RecoveryOfIndexes, AMissingOneIsMade) {
  for (std::string_view suffix : {kIndexSuffix, kTimeIndexSuffix}) {
    KilledLog killed;
    const ByteBuffer good = killed.bytes(suffix);
    ASSERT_TRUE(killed.disk.remove(std::string(kFolder) + "/" + file_name(Offset(0), suffix)));
    killed.recover();
    auto log = open_or_die(killed.options());
    ASSERT_TRUE(log->close());
    EXPECT_EQ(killed.bytes(suffix), good);
  }
}

TEST(Recovery, SnapshotsInsideASegmentShortenTheWay) {
  sim::MemoryDisk disk;
  LogOptions options = options_for(disk, {});
  auto log = open_or_die(options);
  for (int n = 0; n < 70; n++) {
    append(*log, make_batch({.value_size = 1 << 20, .producer = 4, .sequence = n}));
  }
  append(*log, make_batch({.producer = 4, .sequence = 70}));
  ASSERT_TRUE(log->sync());
  options.recovery_point = log->recovery_point();
  log.reset();
  const uint64_t before = disk.counts().bytes_read;
  log = open_or_die(options);
  EXPECT_EQ(log->end(), Offset(71));
  EXPECT_EQ(log->producers().at(0).last_sequence, 70);
  EXPECT_LT(disk.counts().bytes_read - before, uint64_t{16} << 20);
}

// Once the recovery point lies above a segment nobody looks at its indexes again: a power loss
// must not tear them then. (A time index of zeros makes retention remove the segment.)
TEST(Recovery, IndexesThatItHasWrittenAreDurableWithTheRecoveryPoint) {
  Files clean = small_log(true);
  for (uint64_t seed = 1; seed <= 20; seed++) {
    sim::MemoryDisk disk;
    put(disk, small_log(false));
    disk.sync_everything();
    auto log = open_or_die(options_for(disk, small_config()));
    ASSERT_TRUE(log->sync());
    ASSERT_EQ(log->recovery_point(), Offset(24));
    sim::Rng rng(seed);
    disk.power_loss(rng);
    Files left = files_of(disk);
    for (const int64_t base : {0, 8}) {
      for (const auto suffix : {kIndexSuffix, kTimeIndexSuffix}) {
        const std::string name = file_name(Offset(base), suffix);
        EXPECT_EQ(left[name], clean[name]) << name << ", seed " << seed;
      }
    }
  }
}

// ---- aborted transactions: a fetch at read_committed leaves out what was aborted, nothing else

/// A transaction of producer 0 that is aborted.
void append_aborted(Log& log, int n, size_t value_size) {
  append(log, make_batch(
                  {.value_size = value_size, .producer = 0, .sequence = n, .transactional = true}));
  append(log,
         wire::end_transaction_batch(Offset(0), LeaderEpoch(0), ProducerId(0), ProducerEpoch(0),
                                     false, 0, WallMs(1000)),
         0, AppendOrigin::kCoordinator);
}

/// All that `append_aborted` has appended, and nothing else.
void expect_aborted(Log& log) {
  std::vector<AbortedTransaction> expected;
  for (int64_t first = 0; first + 1 < log.end().value; first += 2)
    expected.emplace_back(ProducerId(0), Offset(first));
  EXPECT_EQ(log.aborted_transactions(Offset(0), log.end()).value(), expected);
}

// A power loss may leave zeros in the index, which would be an aborted transaction of producer 0.
TEST(Recovery, ZerosAreNoAbortedTransactions) {
  for (uint64_t seed = 1; seed <= 50; seed++) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    sim::MemoryDisk disk;
    LogOptions options = options_for(disk);
    auto log = open_or_die(options);
    for (int n = 0; n < 10; n++) append_aborted(*log, n, 1'000);
    ASSERT_TRUE(log->close());
    options.recovery_point = log->end();
    options.clean = true;
    log = open_or_die(options);
    for (int n = 10; n < 16; n++) append_aborted(*log, n, 10);
    sim::Rng rng(seed);
    disk.power_loss(rng);
    options.clean = false;
    expect_aborted(*open_or_die(options));
  }
}

// Nobody looks at the index of a segment that lies below the recovery point.
TEST(Recovery, AbortedTransactionsAreDurableWithTheRecoveryPoint) {
  for (uint64_t seed = 1; seed <= 50; seed++) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    sim::MemoryDisk disk;
    LogOptions options = options_for(disk);
    auto log = open_or_die(options);
    for (int n = 0; n < 6; n++) append_aborted(*log, n, 10);
    ASSERT_TRUE(log->sync());
    options.recovery_point = log->recovery_point();
    ASSERT_EQ(options.recovery_point, log->end());
    ASSERT_TRUE(log->roll(WallMs(1000)));
    sim::Rng rng(seed);
    disk.power_loss(rng);
    expect_aborted(*open_or_die(options));
  }
}

// Their names may be lost: then they are written again.
TEST(Recovery, IndexesWrittenAnewAreWholeOrMissing) {
  Files clean = small_log(true);
  Files files = clean;
  for (const auto suffix : {kIndexSuffix, kTimeIndexSuffix}) {
    files.erase(file_name(Offset(0), suffix));
  }
  sim::MemoryDisk disk;
  put(disk, files);
  disk.sync_everything();
  LogOptions options = options_for(disk, small_config());
  options.clean = true;
  auto log = open_or_die(options);
  sim::Rng rng(3);
  disk.power_loss(rng);
  for (const auto& [name, bytes] : files_of(disk)) EXPECT_EQ(bytes, clean[name]) << name;
}

TEST(Recovery, BytesBelowTheRecoveryPointAreOnlyWalkedOver) {
  Files files = small_log(false);
  // A flip in a value of the second batch: its CRC is wrong.
  ByteBuffer& first = files[log_name(0)];
  first[first.size() / 4] ^= 1;
  sim::MemoryDisk disk;
  put(disk, files);
  LogOptions options = options_for(disk, small_config());
  options.recovery_point = Offset(24);
  EXPECT_EQ(open_or_die(options)->end(), Offset(24));
  options.recovery_point = Offset(0);
  auto log = open_or_die(options);
  EXPECT_LT(log->end(), Offset(8));
  EXPECT_EQ(log->segment_count(), 1);
}

TEST(Recovery, EndBelowTheRecoveryPointMakesItSuspect) {
  Files files = small_log(false);
  sim::MemoryDisk disk;
  put(disk, files);
  LogOptions options = options_for(disk, small_config());
  // As after a truncation whose new recovery point was not written: offsets 16 to 24 are not
  // known to be good, whatever the checkpoint says.
  std::string name = log_name(16);
  ByteBuffer bytes = files[name];
  bytes[bytes.size() - 3] ^= 1;
  put(disk, name, bytes);
  options.recovery_point = Offset(100);
  auto log = open_or_die(options);
  EXPECT_EQ(log->end(), Offset(22));
}

TEST(Recovery, LaterSegmentsGoWithTheCut) {
  Files files = small_log(false);
  ByteBuffer& second = files[log_name(8)];
  second[second.size() - 1] ^= 1;  // the last batch of the middle segment
  sim::MemoryDisk disk;
  put(disk, files);
  auto log = open_or_die(options_for(disk, small_config()));
  EXPECT_EQ(log->segment_count(), 2);
  EXPECT_EQ(log->end(), Offset(14));
  EXPECT_EQ(log->epochs().back().epoch, LeaderEpoch(1));
  EXPECT_EQ(log->producers()[0].last_sequence, 13);
  EXPECT_FALSE(disk.exists(std::string(kFolder) + "/" + log_name(16)));
  EXPECT_EQ(append(*log, make_batch({.producer = 4, .sequence = 14}), 9).first, Offset(14));
  EXPECT_EQ(read_all(*log, Offset(0)).size(), 15u);
}

TEST(Recovery, PreallocatedZerosAreCut) {
  Files files = small_log(false);
  files[log_name(16)].resize(5000);
  sim::MemoryDisk disk;
  put(disk, files);
  auto log = open_or_die(options_for(disk, small_config()));
  EXPECT_EQ(log->end(), Offset(24));
  EXPECT_EQ(files_of(disk)[log_name(16)].size() % 5000, small_log(false)[log_name(16)].size());
}

TEST(Recovery, MissingAndCutIndexesAreWrittenAnew) {
  Files clean = small_log(true);
  for (bool cut : {false, true}) {
    Files files = clean;
    for (int64_t base : {0, 8, 16}) {
      std::string index = file_name(Offset(base), kIndexSuffix);
      std::string time = file_name(Offset(base), kTimeIndexSuffix);
      ASSERT_GT(files[index].size(), 0u);
      if (cut) {
        files[index].resize(files[index].size() - 1);
        files[time].resize(files[time].size() - 5);
      } else {
        files.erase(index);
        files.erase(time);
      }
    }
    sim::MemoryDisk disk;
    put(disk, files);
    LogOptions options = options_for(disk, small_config());
    options.clean = true;
    options.recovery_point = Offset(24);
    auto log = open_or_die(options);
    EXPECT_EQ(log->end(), Offset(24));
    EXPECT_EQ(files_of(disk), clean);
  }
}

TEST(Recovery, AnIndexThatLiesIsFoundOut) {
  Files files = small_log(true);
  for (int64_t base : {0, 8, 16}) {
    ByteBuffer& index = files[file_name(Offset(base), kIndexSuffix)];
    for (size_t at = 0; at < index.size(); at += 8) index[at + 7] += 3;  // positions off by three
  }
  sim::MemoryDisk disk;
  put(disk, files);
  LogOptions options = options_for(disk, small_config());
  options.clean = true;
  options.recovery_point = Offset(24);
  auto log = open_or_die(options);
  EXPECT_EQ(log->end(), Offset(24));
  for (int64_t n = 0; n < 24; n++) EXPECT_EQ(read_all(*log, Offset(n)).size(), 24u - n);
}

TEST(Recovery, LostSnapshotsAndEpochsAreTakenFromTheBatches) {
  for (bool empty : {false, true}) {
    Files files = small_log(false);
    for (auto it = files.begin(); it != files.end();) {
      bool doomed = it->first.ends_with(kSnapshotSuffix) || it->first == kEpochCheckpointFile;
      if (doomed && empty) it->second.clear();
      it = doomed && !empty ? files.erase(it) : std::next(it);
    }
    sim::MemoryDisk disk;
    put(disk, files);
    LogOptions options = options_for(disk, small_config());
    options.recovery_point = Offset(24);
    auto log = open_or_die(options);
    EXPECT_EQ(log->epochs(), (std::vector<EpochEntry>{{LeaderEpoch(0), Offset(0)},
                                                      {LeaderEpoch(1), Offset(8)},
                                                      {LeaderEpoch(2), Offset(16)}}));
    ASSERT_EQ(log->producers().size(), 1u);
    EXPECT_EQ(log->producers()[0].last_sequence, 23);
  }
}

TEST(Recovery, LeftoversOfInterruptedWork) {
  Files files = small_log(true);
  sim::MemoryDisk disk;
  put(disk, files);
  put(disk, "00000000000000000004.log.deleted", as_bytes("x"));
  put(disk, "00000000000000000004-0000000001.checkpoint.deleted", as_bytes("kept"));
  put(disk, "00000000000000000016.log.cleaned", as_bytes("x"));
  put(disk, "00000000000000000020.index.swap", as_bytes("x"));  // behind the cleaned one
  put(disk, "00000000000000000003.index", as_bytes("no log"));
  put(disk, "leader-epoch-checkpoint.tmp", as_bytes("x"));
  put(disk, "something else", as_bytes("ignored"));
  LogOptions options = options_for(disk, small_config());
  options.clean = true;
  auto log = open_or_die(options);
  EXPECT_EQ(log->end(), Offset(24));
  Files expected = files;
  expected["00000000000000000004-0000000001.checkpoint.deleted"] = {'k', 'e', 'p', 't'};
  expected["something else"] = {'i', 'g', 'n', 'o', 'r', 'e', 'd'};
  EXPECT_EQ(files_of(disk), expected);
}

TEST(Recovery, CompletedReplacementTakesThePlaceOfOldSegments) {
  Files files = small_log(true);
  // A cleaner had put segments 0 and 8 together (here: the batches 2 to 4 and 8 to 16).
  ByteBuffer merged;
  const ByteBuffer& first = files[log_name(0)];
  size_t batch = first.size() / 4;
  merged.insert(merged.end(), first.begin() + static_cast<ptrdiff_t>(batch),
                first.begin() + static_cast<ptrdiff_t>(2 * batch));
  const ByteBuffer& second = files[log_name(8)];
  merged.insert(merged.end(), second.begin(), second.end());
  sim::MemoryDisk disk;
  put(disk, files);
  put(disk, "00000000000000000000.log.swap", merged);
  put(disk, "00000000000000000000.index.swap", ByteView());
  put(disk, "00000000000000000000.timeindex.swap", ByteView());
  LogOptions options = options_for(disk, small_config());
  options.clean = true;
  options.recovery_point = Offset(24);
  auto log = open_or_die(options);
  EXPECT_EQ(log->segment_count(), 2);
  auto records = read_all(*log, Offset(0));
  ASSERT_EQ(records.size(), 18u);
  EXPECT_EQ(records[0].first, 2);
  EXPECT_EQ(records[2].first, 8);
}

TEST(Recovery, OldMessageFormatsAreRefusedAndNotTouched) {
  for (uint8_t magic : {uint8_t{0}, uint8_t{1}}) {
    ByteBuffer set(60, 0);
    store_be<int32_t>(&set[8], 48);
    store_be<uint32_t>(&set[12], 0x12345678);
    set[16] = magic;
    size_t key = magic == 0 ? 18 : 26;
    store_be<int32_t>(&set[key], -1);
    Files files{{log_name(0), set}, {"00000000000000000000.log.deleted", {1}}};
    for (bool clean : {true, false}) {
      sim::MemoryDisk disk;
      put(disk, files);
      LogOptions options = options_for(disk);
      options.clean = clean;
      auto log = Log::open(options);
      ASSERT_FALSE(log);
      EXPECT_EQ(log.error().kind, Errc::kUnsupported);
      EXPECT_NE(log.error().message.find(log_name(0)), std::string::npos);
      EXPECT_EQ(files_of(disk), files);
    }
  }
}

TEST(Recovery, StartBeyondTheEndStartsOver) {
  sim::MemoryDisk disk;
  put(disk, small_log(true));
  LogOptions options = options_for(disk, small_config());
  options.clean = true;
  options.start = Offset(500);
  auto log = open_or_die(options);
  EXPECT_EQ(log->start(), Offset(500));
  EXPECT_EQ(log->end(), Offset(500));
  EXPECT_EQ(append(*log, make_batch({})).first, Offset(500));
}

TEST(Recovery, AnotherTopicIdIsRefused) {
  sim::MemoryDisk disk;
  put(disk, small_log(true));
  LogOptions options = options_for(disk, small_config());
  options.topic_id = Uuid{7, 8};
  auto log = Log::open(options);
  ASSERT_FALSE(log);
  EXPECT_EQ(log.error().kind, Errc::kInvalid);
  put(disk, std::string(kPartitionMetadataFile), as_bytes("version: 0\ntopic_id: rubbish"));
  EXPECT_EQ(Log::open(options).error().kind, Errc::kCorrupt);
  put(disk, std::string(kPartitionMetadataFile), ByteView());  // a power loss
  EXPECT_EQ(open_or_die(options)->topic_id(), (Uuid{7, 8}));
}

// ---- every byte

/// Opens what is left and reads all of it. The log must be a beginning of the good one: whole
/// batches, each record as it was.
void check_prefix(sim::MemoryDisk& disk, bool clean,
                  const std::vector<std::pair<int64_t, std::string>>& good) {
  LogOptions options = options_for(disk, small_config());
  options.contiguous = true;
  options.clean = clean;
  options.recovery_point = clean ? Offset(24) : Offset(0);
  auto log = Log::open(options);
  if (!log) return;  // refused with an error: allowed
  auto records = read_all(**log, (*log)->start());
  ASSERT_LE(records.size(), good.size());
  for (size_t n = 0; n < records.size(); n++) ASSERT_EQ(records[n], good[n]);
}

std::vector<std::pair<int64_t, std::string>> good_records() {
  sim::MemoryDisk disk;
  put(disk, small_log(true));
  auto log = open_or_die(options_for(disk, small_config()));
  return read_all(*log, Offset(0));
}

TEST(Recovery, GapsAreDamageOnlyWhereTheLogIsContiguous) {
  Files files = small_log(false);
  files[log_name(8)].clear();
  for (bool contiguous : {false, true}) {
    sim::MemoryDisk disk;
    put(disk, files);
    LogOptions options = options_for(disk, small_config());
    options.contiguous = contiguous;
    auto log = open_or_die(options);
    EXPECT_EQ(log->end(), Offset(contiguous ? 8 : 24));
    EXPECT_EQ(read_all(*log, Offset(0)).size(), contiguous ? 8u : 16u);
  }
}

TEST(Recovery, EveryFileCutAtEveryByte) {
  auto good = good_records();
  ASSERT_EQ(good.size(), 24u);
  Files files = small_log(true);
  for (const auto& [name, bytes] : files) {
    for (size_t n = 0; n < bytes.size(); n++) {
      SCOPED_TRACE(name + " cut to " + std::to_string(n));
      sim::MemoryDisk disk;
      put(disk, files);
      put(disk, name, ByteView(bytes).first(n));
      check_prefix(disk, false, good);
      if (HasFatalFailure()) return;
    }
  }
}

// What no checksum covers may come out wrong: base offset (the first eight bytes of a batch) and
// leader epoch. Everything else is found out, or was not needed.
TEST(Recovery, EveryByteOfEveryFileFlipped) {
  auto good = good_records();
  Files files = small_log(true);
  sim::Rng rng(11);
  for (const auto& [name, bytes] : files) {
    bool is_log = name.ends_with(kLogSuffix);
    size_t batch = is_log ? bytes.size() / 4 : 1;
    for (size_t n = 0; n < bytes.size(); n++) {
      if (is_log && (n % batch < 8 || (n % batch >= 12 && n % batch < 16))) continue;
      SCOPED_TRACE(name + " flipped at " + std::to_string(n));
      sim::MemoryDisk disk;
      put(disk, files);
      ByteBuffer flipped = bytes;
      flipped[n] ^= static_cast<uint8_t>(1U << rng.below(8));
      put(disk, name, flipped);
      check_prefix(disk, false, good);
      if (HasFatalFailure()) return;
      sim::MemoryDisk trusted;
      put(trusted, files);
      if (is_log) continue;  // after a clean stop the batches are believed
      put(trusted, name, flipped);
      check_prefix(trusted, true, good);
      if (HasFatalFailure()) return;
    }
  }
}

}  // namespace
}  // namespace odradek::log
