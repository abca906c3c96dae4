#include "log/write_ahead.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "io/sync_round.h"
#include "log/testing/batches.h"
#include "sim/memory_disk.h"
#include "sim/rng.h"

namespace odradek::log {
namespace {

using testing::append;
using testing::make_batch;
using testing::open_or_die;
using testing::options_for;
using testing::read_all;

constexpr const char* kDirectory = "/data";
constexpr Uuid kTopic{7, 7};

class WriteAheadTest : public ::testing::Test {
 protected:
  WriteAheadTest() { new_disk(); }
  void new_disk() {
    disk_ = std::make_unique<sim::MemoryDisk>();
    EXPECT_TRUE(disk_->make_directory(kDirectory));
    disk_->sync_everything();
  }
  sim::MemoryDisk& disk() { return *disk_; }
  std::unique_ptr<WriteAheadFile> make(uint64_t lap_bytes = 1 << 20) {
    auto ahead = std::make_unique<WriteAheadFile>(disk(), kDirectory, lap_bytes);
    EXPECT_TRUE(ahead->begin());
    return ahead;
  }
  /// `size` bytes of `fill`, appended to a file of the directory.
  io::Appended appended(const std::string& name, uint64_t from, size_t size, char fill,
                        int32_t partition = 0) {
    auto file = disk().open(std::string(kDirectory) + "/" + name, io::OpenMode::kCreate).value();
    const std::string bytes(size, fill);
    EXPECT_TRUE(file->write(from, as_bytes(bytes)));
    return {.file = file,
            .from = from,
            .to = from + size,
            .topic = kTopic,
            .partition = PartitionIndex(partition),
            .base = Offset(0),
            .before = Offset(static_cast<int64_t>(from))};
  }
  Ahead found() { return Ahead::read(disk(), kDirectory).value(); }
  std::string bytes_of(const Ahead& ahead, int32_t partition) {
    std::string all;
    for (const auto& r : ahead.find(kTopic, PartitionIndex(partition), Offset(0))) {
      ByteBuffer bytes(r.to - r.from);
      EXPECT_TRUE(ahead.copy(r, r.from, bytes));
      all += as_text(bytes);
    }
    return all;
  }

  std::unique_ptr<sim::MemoryDisk> disk_;
};

TEST_F(WriteAheadTest, WhatWasWrittenIsFoundAfterAPowerLoss) {
  auto ahead = make();
  EXPECT_EQ(ahead->write({appended("a", 0, 3, 'a', 0), appended("b", 0, 2, 'b', 1)}).value(), 1u);
  EXPECT_EQ(ahead->write({appended("a", 3, 2, 'c', 0)}).value(), 1u);
  sim::Rng rng(1);
  disk().power_loss(rng);
  const Ahead found = this->found();
  EXPECT_EQ(bytes_of(found, 0), "aaacc");
  EXPECT_EQ(bytes_of(found, 1), "bb");
  EXPECT_TRUE(found.holds(kTopic, PartitionIndex(1)));
  EXPECT_FALSE(found.holds(kTopic, PartitionIndex(2)));
  EXPECT_FALSE(found.holds(Uuid{7, 8}, PartitionIndex(0)));
}

// Rounds of all sizes share their last blocks, in memory and in the file.
TEST_F(WriteAheadTest, RoundsFollowEachOtherWithinBlocks) {
  auto ahead = make(8 << 20);
  sim::Rng rng(1);
  std::string expected;
  for (uint64_t at = 0; at < (3u << 20);) {
    const size_t size = rng.below(rng.one_in(50) ? 200'000 : 5'000) + 1;
    const char fill = static_cast<char>('a' + rng.below(26));
    ASSERT_EQ(ahead->write({appended("a", at, size, fill)}).value(), 1u);
    expected += std::string(size, fill);
    at += size;
  }
  disk().power_loss(rng);
  EXPECT_EQ(bytes_of(found(), 0), expected);
}

TEST_F(WriteAheadTest, OfTwoAppendsToOnePlaceTheLaterOneCounts) {
  auto ahead = make();
  ASSERT_TRUE(ahead->write({appended("a", 0, 8, 'a')}));
  ASSERT_TRUE(ahead->write({appended("a", 8, 8, 'b')}));
  ASSERT_TRUE(ahead->write({appended("a", 6, 4, 'c')}));
  EXPECT_EQ(bytes_of(found(), 0), "aaaaaacccc");
}

TEST_F(WriteAheadTest, EndsAtTheFirstEntryThatIsNotWhole) {
  auto ahead = make();
  for (uint64_t n = 0; n < 4; n++) {
    ASSERT_TRUE(ahead->write({appended("a", n * 4, 4, static_cast<char>('a' + n))}));
  }
  ASSERT_TRUE(disk().flip_bit("/data/odradek.wal-0", 2 * (72 + 4) + 74, 3));
  EXPECT_EQ(bytes_of(found(), 0), "aaaabbbb");
}

TEST_F(WriteAheadTest, GoesInLapsThatAreFlushedBeforeTheirFileIsUsedAgain) {
  auto ahead = make(320);
  const auto entry = [&](int n) { return appended("a", n * 32, 32, static_cast<char>('a' + n)); };
  int n = 0;
  std::vector<io::Appended> entries;
  const auto write = [&] {
    entries.push_back(entry(n++));
    return ahead->write({entries.back()}).value();
  };
  while (n < 3) EXPECT_EQ(write(), 1u);
  EXPECT_TRUE(ahead->over().empty());
  while (n < 6) EXPECT_EQ(write(), 2u);
  EXPECT_EQ(ahead->flushed_lap(), 0u);
  EXPECT_FALSE(ahead->takes({entry(n)}));  // both are full
  EXPECT_EQ(bytes_of(found(), 0).size(), 6 * 32u);
  EXPECT_EQ(ahead->over().size(), 3u);
  EXPECT_TRUE(ahead->over().empty());  // one at a time
  ahead->flushed({});
  EXPECT_EQ(ahead->flushed_lap(), 1u);
  ASSERT_TRUE(ahead->takes({entry(n)}));
  EXPECT_EQ(write(), 3u);
  // What is left of the first lap behind the one entry of the third does not count.
  const auto ranges = found().find(kTopic, PartitionIndex(0), Offset(0));
  ASSERT_EQ(ranges.size(), 4u);
  EXPECT_EQ(ranges.front().from, 3 * 32u);
  EXPECT_EQ(ranges.back().from, 6 * 32u);
}

TEST_F(WriteAheadTest, ALapTellsWhereItsFilesHaveWhatItHolds) {
  auto ahead = make();
  auto first = appended("a", 32, 4, 'a');
  const auto other = appended("b", 8, 4, 'b');
  ASSERT_TRUE(ahead->write({first, other}));
  first.from = 36;
  first.to = 40;
  ASSERT_TRUE(first.file->write(36, as_bytes(std::string("more"))));
  ASSERT_TRUE(ahead->write({first}));
  ahead->next_lap();
  const auto over = ahead->over();
  ASSERT_EQ(over.size(), 2u);
  EXPECT_EQ(over[0].file, first.file);
  EXPECT_EQ(over[0].from, 32u);
  EXPECT_EQ(over[0].to, 40u);
  EXPECT_EQ(over[1].from, 8u);
  EXPECT_EQ(over[1].to, 12u);
}

TEST_F(WriteAheadTest, ALapThatCannotBeFlushedFailsWhatFollows) {
  auto ahead = make();
  const auto first = appended("a", 0, 4, 'a');
  ASSERT_TRUE(ahead->write({first}));
  ahead->next_lap();
  EXPECT_EQ(ahead->over().size(), 1u);
  ahead->flushed(fail(Errc::kIo, "no"));
  const auto next = appended("a", 4, 4, 'a');
  EXPECT_TRUE(ahead->takes({next}));
  EXPECT_EQ(ahead->write({next}).error().kind, Errc::kIo);
}

TEST_F(WriteAheadTest, KeepsNoFileThatItsOwnerLetGo) {
  auto ahead = make();
  auto kept = appended("a", 0, 4, 'a');
  auto gone = appended("b", 0, 4, 'b');
  ASSERT_TRUE(ahead->write({kept, gone}));
  const std::weak_ptr<io::File> file = gone.file;
  gone.file.reset();
  EXPECT_TRUE(file.expired());
  EXPECT_EQ(ahead->unflushed().size(), 1u);
  ahead->next_lap();
  EXPECT_EQ(ahead->over().size(), 1u);
  ahead->flushed({});
  // A lap of such files only is over at once.
  ASSERT_TRUE(ahead->write({appended("c", 0, 4, 'c')}));
  ahead->next_lap();
  EXPECT_TRUE(ahead->over().empty());
  EXPECT_EQ(ahead->flushed_lap(), 2u);
}

TEST_F(WriteAheadTest, TakesOnlyWhatIsSmall) {
  WriteAheadFile early(disk(), kDirectory, 1 << 20);
  EXPECT_FALSE(early.takes({appended("a", 0, 4, 'a')}));  // not begun
  auto ahead = make();
  EXPECT_TRUE(ahead->takes({appended("a", 0, 4, 'a')}));
  EXPECT_FALSE(ahead->takes({appended("b", 0, 80 << 10, 'a')}));
  EXPECT_TRUE(ahead->takes({appended("c", 0, 80 << 10, 'a'), appended("d", 0, 4, 'a')}));
  auto nameless = appended("a", 4, 4, 'a');
  nameless.topic = {};
  EXPECT_FALSE(ahead->takes({nameless}));
}

TEST_F(WriteAheadTest, WhatWasForgottenDoesNotComeBack) {
  auto ahead = make();
  const auto first = appended("a", 0, 4, 'a');
  ASSERT_TRUE(ahead->write({first}));
  EXPECT_EQ(ahead->unflushed().size(), 1u);
  ASSERT_TRUE(ahead->forget());
  EXPECT_EQ(ahead->flushed_lap(), 1u);
  EXPECT_TRUE(found().empty());
  EXPECT_EQ(ahead->write({appended("a", 4, 4, 'b')}).value(), 2u);
  EXPECT_EQ(bytes_of(found(), 0), "bbbb");
  ASSERT_TRUE(remove_write_ahead(disk(), kDirectory));
  EXPECT_TRUE(found().empty());
}

TEST_F(WriteAheadTest, NoBytesOfAFileAreAPanic) {
  sim::Rng rng(5);
  for (int round = 0; round < 300; round++) {
    auto ahead = make(4 << 10);
    for (uint64_t n = 0; n < 8; n++) {
      const auto next = appended("a", n * 100, 100, 'a');
      if (ahead->takes({next})) ASSERT_TRUE(ahead->write({next}));
    }
    auto file = disk().open("/data/odradek.wal-0", io::OpenMode::kWrite).value();
    const uint64_t size = file->size().value();
    for (int n = 0; n < 3; n++) {
      ASSERT_TRUE(
          disk().flip_bit("/data/odradek.wal-0", rng.below(size), static_cast<int>(rng.below(8))));
    }
    if (rng.one_in(2)) ASSERT_TRUE(file->truncate(rng.below(size)));
    const Ahead found = this->found();
    EXPECT_EQ(std::ranges::count(bytes_of(found, 0), 'a'),
              static_cast<ptrdiff_t>(bytes_of(found, 0).size()));
  }
}

// ---- a log and the files

class AheadLogTest : public WriteAheadTest {
 protected:
  LogOptions options(LogConfig config = {}) {
    LogOptions o = options_for(disk(), config);
    o.topic_id = kTopic;
    return o;
  }
  /// As a sync queue does it: appended bytes into the write-ahead file.
  void commit(Log& log, WriteAheadFile& ahead) {
    SyncTicket ticket = log.take_unsynced();
    io::SyncJob job;
    add_to(job, ticket);
    io::SyncRound round(&ahead);
    round.add(job);
    round.begin();
    Result<void> synced;
    for (const auto& file : round.files()) synced = file->sync();
    const Result<io::Synced> where = round.finish(synced);
    ASSERT_TRUE(where);
    ASSERT_TRUE(write_out(log));
    if (!where->refused) return log.synced(ticket, *where);
    log.refused(ticket);
    commit(log, ahead);
  }
  void append_later(Log& log, ByteBuffer batch) {
    append(log, std::move(batch), 0, AppendOrigin::kClient, 1000, WriteWhen::kLater);
  }
  static Result<void> write_out(Log& log) {
    const auto write = log.unwritten();
    if (!write) return std::unexpected(write.error());
    if (!*write) return {};
    if (auto r = (*write)->file->write((*write)->position, (*write)->bytes); !r) return r;
    log.wrote_out();
    return {};
  }
  uint64_t writes() { return disk().counts().writes; }
  std::unique_ptr<Log> open_again(Offset recovery_point = Offset(0), LogConfig config = {}) {
    LogOptions o = options(config);
    o.recovery_point = recovery_point;
    o.ahead = std::make_shared<Ahead>(found());
    return open_or_die(o);
  }
  void power_loss(uint64_t seed) {
    sim::Rng rng(seed);
    disk().power_loss(rng);
  }
};

TEST_F(AheadLogTest, ALogGetsBackWhatOnlyTheWriteAheadFileHas) {
  for (uint64_t seed = 0; seed < 200; seed++) {
    new_disk();
    auto ahead = make();
    sim::Rng rng(seed);
    const LogConfig config{.segment_bytes = 600};
    auto log = open_or_die(options(config));
    Offset point{0};
    for (int n = 0; n < 20; n++) {
      append(*log,
             make_batch({.records = 2, .timestamp = 1000 + n, .fill = static_cast<char>('a' + n)}),
             0, AppendOrigin::kClient, 1000, static_cast<WriteWhen>(rng.below(3)));
      if (rng.one_in(2)) commit(*log, *ahead);
      if (rng.one_in(8)) {
        ahead->next_lap();
        for (const auto& range : ahead->over()) ASSERT_TRUE(range.file->sync());
        ahead->flushed({});
        log->flushed(ahead->flushed_lap());
        point = log->recovery_point();
      }
    }
    const Offset durable = log->durable_end();
    ASSERT_LE(log->recovery_point(), durable);
    const auto before = read_all(*log, Offset(0));
    log.reset();
    ahead.reset();
    power_loss(seed);
    log = open_again(point, config);
    ASSERT_GE(log->end(), durable) << seed;
    const auto after = read_all(*log, Offset(0));
    // Of what nobody was promised, anything may be there.
    const auto promised = static_cast<ptrdiff_t>(durable.value);
    ASSERT_TRUE(std::equal(before.begin(), before.begin() + promised, after.begin())) << seed;
    // And once more: what came back is durable where it belongs.
    log.reset();
    ASSERT_TRUE(remove_write_ahead(disk(), kDirectory));
    power_loss(seed + 1000);
    ASSERT_GE(open_or_die(options(config))->end(), durable) << seed;
  }
}

TEST_F(AheadLogTest, TheRecoveryPointWaitsForTheSegment) {
  auto ahead = make();
  auto log = open_or_die(options());
  append(*log, make_batch({}));
  ASSERT_TRUE(log->sync());
  append(*log, make_batch({}));
  commit(*log, *ahead);
  EXPECT_EQ(log->durable_end(), Offset(2));
  EXPECT_EQ(log->recovery_point(), Offset(1));
  EXPECT_TRUE(log->ahead());
  log->flushed(1);
  EXPECT_EQ(log->recovery_point(), Offset(2));
  EXPECT_FALSE(log->ahead());
  // A clean stop syncs the segment itself.
  append(*log, make_batch({}));
  commit(*log, *ahead);
  SyncTicket ticket = log->finish().value();
  io::SyncJob job;
  add_to(job, ticket);
  EXPECT_TRUE(job.appended.empty());
  EXPECT_TRUE(
      std::ranges::any_of(job.files, [](const auto& f) { return f->path().ends_with(".log"); }));
  log->synced(ticket);
  EXPECT_EQ(log->recovery_point(), Offset(3));
}

TEST_F(AheadLogTest, WhatIsWrittenLaterIsOneWriteForAll) {
  auto ahead = make();
  auto log = open_or_die(options());
  append_later(*log, make_batch({.fill = 'a'}));  // the first bytes of a file: at once
  ASSERT_TRUE(log->sync());
  const uint64_t before = writes();
  for (char c : {'b', 'c', 'd'}) append_later(*log, make_batch({.fill = c}));
  EXPECT_EQ(writes(), before);
  EXPECT_EQ(log->end(), Offset(4));
  SyncTicket ticket = log->take_unsynced();
  EXPECT_TRUE(ticket.appended->unwritten);
  EXPECT_EQ(ticket.carried.size(), ticket.appended->to - ticket.appended->from);
  ASSERT_TRUE(write_out(*log));
  EXPECT_EQ(writes(), before + 1);
  EXPECT_EQ(read_all(*log, Offset(0)).size(), 4u);
  // What is committed can be read while the rest waits; who looks at more gets all of it written.
  append_later(*log, make_batch({.fill = 'e'}));
  const auto committed = log->read(Offset(3), {.max_bytes = 1 << 20, .upper_bound = Offset(4)});
  EXPECT_EQ(read_piece(committed->piece)->size(), ticket.carried.size() / 3);
  EXPECT_EQ(writes(), before + 1);
  EXPECT_EQ(read_all(*log, Offset(0)).back().second, "eeeeeeeeee");
  EXPECT_EQ(writes(), before + 2);
  // One that must be in the file at once takes those before it along.
  append_later(*log, make_batch({.fill = 'f'}));
  append(*log, make_batch({.fill = 'g'}));
  EXPECT_EQ(writes(), before + 4);
  commit(*log, *ahead);
  EXPECT_EQ(log->durable_end(), Offset(7));
}

TEST_F(AheadLogTest, WhatCannotBeWrittenLaterIsTakenBack) {
  auto log = open_or_die(options());
  append(*log, make_batch({.fill = 'a'}));
  ASSERT_TRUE(log->sync());
  const uint64_t size = log->size();
  append_later(*log, make_batch({.producer = 5, .sequence = 0}));
  const SyncTicket ticket = log->take_unsynced();
  bool full = true;
  disk().set_fault([&](sim::DiskOp op, const std::string&) -> std::optional<Error> {
    if (!full || op != sim::DiskOp::kWrite) return std::nullopt;
    return Error{Errc::kNoSpace, "full"};
  });
  EXPECT_FALSE(write_out(*log));
  full = false;
  ASSERT_TRUE(log->take_back_unwritten());
  EXPECT_EQ(log->end(), Offset(1));
  EXPECT_EQ(log->size(), size);
  log->synced(ticket, {.lap = 1});
  EXPECT_EQ(log->durable_end(), Offset(1));
  // Its producer may say it again; and write-ahead files must not bring back the first try.
  append_later(*log, make_batch({.producer = 5, .sequence = 0}));
  EXPECT_TRUE(log->take_unsynced().cut);
  EXPECT_EQ(read_all(*log, Offset(0)).size(), 2u);
}

TEST_F(AheadLogTest, WithoutAWriteAheadFileTheFileIsSyncedAfterItWasWritten) {
  WriteAheadFile never(disk(), kDirectory, 1 << 20);  // it has not begun: takes nothing
  auto log = open_or_die(options());
  append(*log, make_batch({}));
  ASSERT_TRUE(log->sync());
  append_later(*log, make_batch({.fill = 'b'}));
  commit(*log, never);
  EXPECT_EQ(log->durable_end(), Offset(2));
  log.reset();
  power_loss(3);
  EXPECT_EQ(open_or_die(options())->end(), Offset(2));
}

TEST_F(AheadLogTest, AnotherHistoryIsLeftAlone) {
  auto ahead = make();
  auto log = open_or_die(options());
  append(*log, make_batch({.fill = 'a'}));
  ASSERT_TRUE(log->sync());
  append(*log, make_batch({.fill = 'b'}));
  commit(*log, *ahead);
  append(*log, make_batch({.fill = 'c'}));
  commit(*log, *ahead);
  // Another program has cut the log and gone on.
  auto file = disk().open("/data/t-0/00000000000000000000.log", io::OpenMode::kWrite).value();
  const uint64_t one = file->size().value() / 3;
  ByteBuffer other = make_batch({.base_offset = 1, .leader_epoch = 3, .fill = 'x'});
  ASSERT_EQ(other.size(), one);
  other = make_batch({.base_offset = 1, .leader_epoch = 3, .fill = 'x'});
  ASSERT_TRUE(file->truncate(one));
  ASSERT_TRUE(file->write(one, ByteView(other)));
  log = open_again();
  const auto records = read_all(*log, Offset(0));
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[1].second, "xxxxxxxxxx");
}

TEST_F(AheadLogTest, ACompactedSegmentThatEndsWithinAnAppendIsLeftAlone) {
  // Found by the simulator: the segment's last byte was the first of a batch that it had once had.
  auto ahead = make();
  const LogConfig config{.segment_bytes = 300};
  auto log = open_or_die(options(config));
  for (const char fill : {'a', 'b', 'c', 'd', 'e'}) {
    append(*log, make_batch({.fill = fill}));
    commit(*log, *ahead);
  }
  const auto before = read_all(*log, Offset(0));
  log.reset();
  disk().sync_everything();
  auto file = disk().open("/data/t-0/00000000000000000000.log", io::OpenMode::kWrite).value();
  const size_t one = make_batch({}).size();
  ASSERT_GE(file->size().value(), 2 * one);
  ASSERT_LT(file->size().value(), 5 * one);
  const ByteBuffer cleaned = make_batch({.value_size = 11, .fill = 'z'});
  ASSERT_EQ(cleaned.size(), one + 1);
  ASSERT_TRUE(file->truncate(0));
  ASSERT_TRUE(file->write(0, ByteView(cleaned)));
  const auto after = read_all(*open_again(Offset(0), config), Offset(0));
  ASSERT_FALSE(after.empty());
  EXPECT_EQ(after.front().second, "zzzzzzzzzzz");
  EXPECT_EQ(after.back(), before.back());
}

TEST_F(AheadLogTest, ATruncationAsksToForget) {
  auto log = open_or_die(options());
  append(*log, make_batch({}));
  append(*log, make_batch({}));
  ASSERT_TRUE(log->sync());
  ASSERT_TRUE(log->truncate_to(Offset(1)));
  SyncTicket ticket = log->take_unsynced();
  io::SyncJob job;
  add_to(job, ticket);
  EXPECT_EQ(job.order, io::AheadOrder::kForget);
}

}  // namespace
}  // namespace odradek::log
