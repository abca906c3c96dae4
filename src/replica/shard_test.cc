#include "replica/shard.h"

#include <array>

#include "replica/testing/replica_fixture.h"

namespace odradek::replica {
namespace {

using testing::Contains;
using testing::HasSubstr;
using wire::ErrorCode;

/// An acks=all produce as a handler does it.
struct Acked {
  bool done = false;
  ProduceOutcome outcome;
  ErrorCode error = ErrorCode::kNone;  // after the wait
};

io::Task<void> produce_and_wait(Shard& shard, Partition& partition, Millis timeout, Acked& out) {
  ByteBuffer batch = make_batch();
  out.outcome = partition.produce(batch, {.acks = -1, .now = shard.loop().clock().wall()});
  CommitTicket ticket;
  CommitWait wait(shard);
  if (out.outcome.error == ErrorCode::kNone) wait.add(partition, ticket, out.outcome.end);
  if (wait.pending()) co_await wait.until(timeout);
  out.error = ticket.error;
  out.done = true;
}

/// A fetch that waits.
struct Waited {
  bool done = false;
  MonoNs at{0};
};

io::Task<void> fetch_wait(Shard& shard, Partition& partition, Offset from, int64_t bytes_min,
                          Millis timeout, Waited& out) {
  std::atomic<int64_t> bytes{0};
  FetchWatch watch;
  FetchWait wait(shard, bytes_min, &bytes);
  wait.add(partition, watch, from, Visibility::kCommitted, 1 << 20, 0);
  co_await wait.until(timeout);
  out.done = true;
  out.at = shard.loop().clock().now();
}

class ShardTest : public ReplicaFixture {
 protected:
  void start_produce(const Uuid& id, Acked& out, Millis timeout = Millis(30'000)) {
    on_loop([&] { io::spawn(produce_and_wait(shard(), partition(id), timeout, out)); });
  }
  void start_fetch(const Uuid& id, Offset from, Waited& out, int64_t bytes_min = 1,
                   Millis timeout = Millis(500)) {
    on_loop([&] { io::spawn(fetch_wait(shard(), partition(id), from, bytes_min, timeout, out)); });
  }
};

TEST_F(ShardTest, HighWatermarkFollowsTheDisk) {
  const Uuid id = create_topic("t");
  Acked acked;
  start_produce(id, acked);
  EXPECT_EQ(acked.outcome.first, Offset(0));
  EXPECT_FALSE(acked.done);
  EXPECT_EQ(partition(id).high_watermark(), Offset(0));
  EXPECT_EQ(partition(id).log_end(), Offset(1));
  ASSERT_TRUE(sim.run_until([&] { return acked.done; }, Millis(100)));
  EXPECT_EQ(acked.error, ErrorCode::kNone);
  EXPECT_EQ(partition(id).high_watermark(), Offset(1));
}

TEST_F(ShardTest, AcksOneSchedulesASyncAndWaitsForNone) {
  const Uuid id = create_topic("t");
  EXPECT_EQ(produce(id, {}, 1).error, ErrorCode::kNone);
  EXPECT_EQ(partition(id).high_watermark(), Offset(0));
  sim.run_for(Millis(50));
  EXPECT_EQ(partition(id).high_watermark(), Offset(1));
}

TEST_F(ShardTest, AppendsDuringASyncShareTheNextOne) {
  const Uuid id = create_topic("t");
  sim.run_for(Millis(50));
  sim.options().sync_us_min = sim.options().sync_us_max = 10'000;
  std::vector<Acked> acked(20);
  const uint64_t before = node.disk().counts().syncs;
  for (Acked& a : acked) start_produce(id, a);  // each in a turn of its own, well under 10 ms
  ASSERT_TRUE(sim.run_until([&] { return std::ranges::all_of(acked, &Acked::done); }, Millis(500)));
  // The log may have a file and a directory entry to sync for its first bytes.
  EXPECT_LE(node.disk().counts().syncs - before, 4U);
}

TEST_F(ShardTest, OnceAWriteAheadFileTakesThemAppendsAreWrittenAfterTheyWereSubmitted) {
  dirs->begin_ahead();
  const Uuid id = create_topic("t");
  const auto wait = [&](Acked& a) {
    ASSERT_TRUE(sim.run_until([&] { return a.done; }, Millis(500)));
  };
  for (int n = 0; n < 3; n++) {
    Acked acked;
    start_produce(id, acked);
    wait(acked);
  }
  EXPECT_TRUE(shard().writes_ahead(0));
  uint64_t before = 0;
  std::array<Acked, 2> two;
  on_loop([&] {
    before = node.disk().counts().writes;
    for (Acked& a : two) io::spawn(produce_and_wait(shard(), partition(id), Millis(30'000), a));
    EXPECT_EQ(node.disk().counts().writes, before);
  });
  EXPECT_EQ(node.disk().counts().writes, before + 1);
  for (Acked& a : two) wait(a);
  EXPECT_EQ(partition(id).high_watermark(), Offset(5));
  // acks=1 is in the file before it is answered.
  before = node.disk().counts().writes;
  on_loop([&] {
    ByteBuffer batch = make_batch();
    EXPECT_EQ(partition(id).produce(batch, {.acks = 1}).error, ErrorCode::kNone);
    EXPECT_EQ(node.disk().counts().writes, before + 1);
  });
}

TEST_F(ShardTest, AnAppendThatTheFullDiskTookBackIsToldToItsProducerOnly) {
  dirs->begin_ahead();
  const Uuid id = create_topic("t");
  for (int n = 0; n < 3; n++) {
    Acked acked;
    start_produce(id, acked);
    ASSERT_TRUE(sim.run_until([&] { return acked.done; }, Millis(500)));
  }
  ASSERT_TRUE(shard().writes_ahead(0));
  node.disk().set_fault([](sim::DiskOp op, const std::string& path) -> std::optional<Error> {
    if (op != sim::DiskOp::kWrite || !path.ends_with(".log")) return std::nullopt;
    return Error{Errc::kNoSpace, "full"};
  });
  Acked lost;
  start_produce(id, lost);
  ASSERT_TRUE(sim.run_until([&] { return lost.done; }, Millis(500)));
  EXPECT_EQ(lost.error, ErrorCode::kKafkaStorageError);
  EXPECT_EQ(partition(id).log_end(), Offset(3));
  node.disk().set_fault({});
  Acked next;
  start_produce(id, next);
  ASSERT_TRUE(sim.run_until([&] { return next.done; }, Millis(500)));
  EXPECT_EQ(next.error, ErrorCode::kNone);
  EXPECT_EQ(next.outcome.first, Offset(3));
  EXPECT_EQ(partition(id).high_watermark(), Offset(4));
}

TEST_F(ShardTest, TopicsThatAreNotSyncedCommitAtOnce) {
  const Uuid id = create_topic("t", 1, {{"flush.messages", "10000"}});
  sim.run_for(Millis(50));
  const uint64_t before = node.disk().counts().syncs;
  Acked acked;
  start_produce(id, acked);
  EXPECT_TRUE(acked.done);
  EXPECT_EQ(partition(id).high_watermark(), Offset(1));
  sim.run_for(Millis(1'000));
  EXPECT_EQ(node.disk().counts().syncs, before);
}

TEST_F(ShardTest, FlushMessagesSyncsEachSoMany) {
  const Uuid id = create_topic("t", 1, {{"flush.messages", "3"}});
  sim.run_for(Millis(50));
  const uint64_t before = node.disk().counts().syncs;
  produce(id);
  produce(id);
  sim.run_for(Millis(100));
  EXPECT_EQ(node.disk().counts().syncs, before);
  produce(id);
  sim.run_for(Millis(100));
  EXPECT_GT(node.disk().counts().syncs, before);
}

TEST_F(ShardTest, FlushMsSyncsInTime) {
  const Uuid id = create_topic("t", 1, {{"flush.messages", "1000"}, {"flush.ms", "200"}});
  sim.run_for(Millis(50));
  const uint64_t before = node.disk().counts().syncs;
  produce(id);
  sim.run_for(Millis(150));
  EXPECT_EQ(node.disk().counts().syncs, before);
  sim.run_for(Millis(200));
  EXPECT_GT(node.disk().counts().syncs, before);
}

TEST_F(ShardTest, SettingFlushMessagesToOneSyncsWhatWaits) {
  const Uuid id = create_topic("t", 1, {{"flush.messages", "1000"}});
  produce(id);
  const Offset before = partition(id).log().durable_end();
  set_config("t", "flush.messages", "1");
  publish();
  sim.run_for(Millis(50));
  EXPECT_LT(before, Offset(1));
  EXPECT_EQ(partition(id).log().durable_end(), Offset(1));
}

TEST_F(ShardTest, AWaitThatTakesTooLongTimesOut) {
  const Uuid id = create_topic("t");
  sim.run_for(Millis(50));
  sim.options().sync_us_min = sim.options().sync_us_max = 300'000;
  Acked acked;
  start_produce(id, acked, Millis(100));
  ASSERT_TRUE(sim.run_until([&] { return acked.done; }, Millis(200)));
  EXPECT_EQ(acked.error, ErrorCode::kRequestTimedOut);
  sim.run_for(Millis(1'000));
  EXPECT_EQ(partition(id).high_watermark(), Offset(1));
  EXPECT_EQ(shard().deadlines().size(), 0U);
}

TEST_F(ShardTest, AFailedSyncTakesTheDirectoryOffline) {
  const Uuid id = create_topic("t");
  sim.run_for(Millis(50));
  node.disk().set_fault([](sim::DiskOp op, const std::string&) -> std::optional<Error> {
    if (op != sim::DiskOp::kSync) return std::nullopt;
    return Error{Errc::kIo, "broken"};
  });
  Acked acked;
  Waited waited;
  start_fetch(id, Offset(0), waited, 1, Millis(30'000));
  start_produce(id, acked);
  ASSERT_TRUE(sim.run_until([&] { return acked.done && waited.done; }, Millis(100)));
  EXPECT_EQ(acked.error, ErrorCode::kKafkaStorageError);
  EXPECT_EQ(fatal, 1);  // it was the only directory
  EXPECT_EQ(partition(id).high_watermark(), Offset(0));
  EXPECT_EQ(produce(id).error, ErrorCode::kKafkaStorageError);
  // The fault is gone, the directory stays offline.
  node.disk().set_fault({});
  sim.run_for(Millis(100));
  EXPECT_EQ(partition(id).check_leader(), ErrorCode::kKafkaStorageError);
  EXPECT_EQ(partition(id).high_watermark(), Offset(0));
}

TEST_F(ShardTest, DeletionAnswersThoseWhoWait) {
  const Uuid id = create_topic("t");
  sim.run_for(Millis(50));
  sim.options().sync_us_min = sim.options().sync_us_max = 50'000;
  Acked acked;
  Waited waited;
  start_fetch(id, Offset(0), waited, 1, Millis(30'000));
  start_produce(id, acked);
  delete_topic(id);
  ASSERT_TRUE(sim.run_until([&] { return acked.done && waited.done; }, Millis(20)));
  EXPECT_EQ(acked.error, ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(shard().find(id, PartitionIndex(0)), nullptr);
  sim.run_for(Millis(500));  // the sync comes back to nobody
}

TEST_F(ShardTest, ADeletedFolderIsRenamedAndRemovedLater) {
  const Uuid id = create_topic("t", 1, {{"file.delete.delay.ms", "1000"}});
  ASSERT_TRUE(node.disk().exists("/d0/t-0"));
  delete_topic(id);
  EXPECT_FALSE(node.disk().exists("/d0/t-0"));
  const auto names = [&] {
    std::string out;
    for (const io::DirEntry& e : *node.disk().list("/d0")) out += e.name + " ";
    return out;
  };
  EXPECT_THAT(names(), HasSubstr("-delete"));
  // The topic may come back at once.
  const Uuid again = create_topic("t");
  EXPECT_EQ(produce(again).first, Offset(0));
  sim.run_for(Millis(1'500));
  EXPECT_THAT(names(), testing::Not(HasSubstr("-delete")));
  EXPECT_TRUE(node.disk().exists("/d0/t-0"));
}

TEST_F(ShardTest, ALargeTopicIsCreatedOverSeveralTurns) {
  const Uuid doomed = create_topic("doomed", 1'000);
  const Uuid id = create_topic("t", 150);
  delete_topic(doomed);
  const Uuid other = create_topic("other");
  EXPECT_NE(shard().find(other, PartitionIndex(0)), nullptr);
  ASSERT_TRUE(sim.run_until([&] { return shard().partitions().size() == 151; }, Millis(50)));
  for (int i = 0; i < 150; i++) {
    EXPECT_EQ(partition(id, i).check_leader(LeaderEpoch(0)), ErrorCode::kNone);
  }
  sim.run_for(Millis(50));
  EXPECT_EQ(shard().partitions().size(), 151u);
}

TEST_F(ShardTest, AReplicaThatWaitsForItsTurnGetsItsNewestState) {
  constexpr int kMany = 1'000;
  const Uuid id = record_topic("t", kMany);
  const metadata::Publication created = build();
  record_leader(id, BrokerId(2), kMany - 1);
  publish({created, build()});
  ASSERT_TRUE(sim.run_until([&] { return shard().partitions().size() == kMany; }, Millis(50)));
  EXPECT_EQ(partition(id, 0).check_leader(LeaderEpoch(0)), ErrorCode::kNone);
  EXPECT_EQ(partition(id, kMany - 1).check_leader(LeaderEpoch(1)), ErrorCode::kNotLeaderOrFollower);
}

TEST_F(ShardTest, RetentionDoesNotBeginWhileTheLogsClose) {
  const Uuid id = create_topic("t", 1, {{"segment.bytes", "1000"}, {"retention.bytes", "100"}});
  for (int i = 0; i < 20; i++) produce(id);
  sim.run_for(Millis(shard().settings().retention_check.value - 10));
  sim.options().sync_us_min = sim.options().sync_us_max = 50'000;
  close();
  sim.run_for(Millis(200));
}

TEST_F(ShardTest, SegmentsGoOnceTheLogStartOffsetIsSaved) {
  const Uuid id = create_topic("t", 1, {{"segment.bytes", "1000"}, {"retention.bytes", "100"}});
  for (int i = 0; i < 20; i++) produce(id);
  bool full = true;
  node.disk().set_fault([&](sim::DiskOp op, const std::string& path) {
    const bool hit =
        full && op == sim::DiskOp::kRename && path.find("log-start") != std::string::npos;
    return hit ? std::optional(Error{Errc::kNoSpace, path + ": no space"}) : std::nullopt;
  });
  const int segments = partition(id).log().segment_count();
  ASSERT_GT(segments, 1);
  sim.run_for(Millis(shard().settings().retention_check.value + 100));
  EXPECT_GT(partition(id).log_start(), Offset(0));
  EXPECT_GE(partition(id).log().segment_count(), segments);
  full = false;
  sim.run_for(Millis(10'000));  // the checkpoint is tried again
  EXPECT_EQ(partition(id).log().segment_count(), 1);
}

TEST_F(ShardTest, LosingLeadershipAnswersThoseWhoWait) {
  const Uuid id = create_topic("t");
  sim.run_for(Millis(50));
  sim.options().sync_us_min = sim.options().sync_us_max = 50'000;
  Acked acked;
  Waited waited;
  start_fetch(id, Offset(0), waited, 1, Millis(30'000));
  start_produce(id, acked);
  set_leader(id, BrokerId(2));
  ASSERT_TRUE(sim.run_until([&] { return acked.done && waited.done; }, Millis(20)));
  EXPECT_EQ(acked.error, ErrorCode::kNotLeaderOrFollower);
  EXPECT_EQ(produce(id).error, ErrorCode::kNotLeaderOrFollower);
  EXPECT_EQ(partition(id).check_leader(LeaderEpoch(0)), ErrorCode::kFencedLeaderEpoch);
  EXPECT_EQ(partition(id).check_leader(LeaderEpoch(9)), ErrorCode::kUnknownLeaderEpoch);
}

TEST_F(ShardTest, AFetchWaitsForEnoughBytes) {
  const Uuid id = create_topic("t");
  const auto size = static_cast<int64_t>(make_batch().size());
  Waited waited;
  start_fetch(id, Offset(0), waited, 2 * size, Millis(10'000));
  produce(id);
  sim.run_for(Millis(50));
  EXPECT_FALSE(waited.done);
  produce(id);
  sim.run_for(Millis(50));
  EXPECT_TRUE(waited.done);
}

TEST_F(ShardTest, AFetchSeesOnlyWhatIsCommitted) {
  const Uuid id = create_topic("t");
  sim.run_for(Millis(50));
  sim.options().sync_us_min = sim.options().sync_us_max = 50'000;
  Waited waited;
  start_fetch(id, Offset(0), waited, 1, Millis(10'000));
  produce(id);
  sim.run_for(Millis(20));
  EXPECT_FALSE(waited.done);
  on_loop([&] {
    const FetchOutcome out = partition(id).fetch({.from = Offset(0), .bytes_max = 1 << 20});
    EXPECT_EQ(out.error, ErrorCode::kNone);
    EXPECT_EQ(out.piece.size(), 0U);
  });
  sim.run_for(Millis(100));
  EXPECT_TRUE(waited.done);
}

TEST_F(ShardTest, AFetchEndsWhenItsTimeIsUp) {
  const Uuid id = create_topic("t");
  const MonoNs start = sim.now();
  Waited waited;
  start_fetch(id, Offset(0), waited, 1, Millis(500));
  sim.run_for(Millis(2'000));
  ASSERT_TRUE(waited.done);
  EXPECT_GE(waited.at, start + Millis(500));
  EXPECT_LE(waited.at, start + Millis(520));
}

TEST_F(ShardTest, CheckpointsAreWrittenWhenSomethingChanged) {
  const Uuid id = create_topic("t");
  produce(id, {.timestamp = node.loop(0).clock().wall()});
  sim.run_for(Millis(5'500));
  const auto read = [&](log::CheckpointKind kind) { return *dirs->dir(0).read_checkpoint(kind); };
  const log::TopicPartition name{"t", PartitionIndex(0)};
  EXPECT_EQ(read(log::CheckpointKind::kHighWatermark)[name], Offset(1));
  sim.run_for(Millis(61'000));
  EXPECT_EQ(read(log::CheckpointKind::kRecoveryPoint)[name], Offset(1));
  // Nothing changes: nothing is written.
  sim.run_for(Millis(10'000));
  std::vector<std::string> written;
  node.disk().set_fault([&](sim::DiskOp op, const std::string& path) -> std::optional<Error> {
    if (op == sim::DiskOp::kWrite) written.push_back(path);
    return std::nullopt;
  });
  sim.run_for(Millis(600'000));
  EXPECT_THAT(written, testing::IsEmpty());
  node.disk().set_fault({});
}

TEST_F(ShardTest, RetentionRemovesSegmentsAndUnlinksThemLater) {
  const Uuid id = create_topic(
      "t", 1,
      {{"segment.bytes", "1000"}, {"retention.bytes", "2000"}, {"file.delete.delay.ms", "1000"}});
  for (int i = 0; i < 20; i++) produce(id, {.value_size = 800});
  sim.run_for(Millis(100));
  EXPECT_EQ(partition(id).log_start(), Offset(0));
  sim.run_for(Millis(300'000));
  EXPECT_GT(partition(id).log_start(), Offset(10));
  sim.run_for(Millis(5'000));
  for (const io::DirEntry& e : *node.disk().list("/d0/t-0")) {
    EXPECT_THAT(e.name, testing::Not(HasSubstr(".deleted")));
  }
}

TEST_F(ShardTest, ACleanStopAndStartKeepsEverything) {
  const Uuid id = create_topic("t", 3);
  produce(id);
  produce(id);
  close();
  EXPECT_TRUE(node.disk().exists("/d0/.kafka_cleanshutdown"));
  start();
  load();
  EXPECT_EQ(partition(id).log_end(), Offset(2));
  EXPECT_EQ(partition(id).high_watermark(), Offset(2));
  EXPECT_EQ(produce(id).first, Offset(2));
}

// As Apache, which has a line only for a start that the files do not tell.
TEST_F(ShardTest, ACleanStopLeavesLinesOfMovedStartsOnly) {
  const Uuid untouched = create_topic("a"), within = create_topic("b");
  const Uuid removed =
      create_topic("c", 1, {{"segment.bytes", "1000"}, {"retention.bytes", "2000"}});
  for (int i = 0; i < 5; i++) {
    for (const Uuid& id : {untouched, within, removed}) {
      produce(id, {.value_size = 800, .timestamp = node.loop(0).clock().wall()});
    }
  }
  sim.run_for(Millis(301'000));
  ASSERT_EQ(partition(within).delete_records(Offset(3)).error, wire::ErrorCode::kNone);
  ASSERT_GT(partition(removed).log_start(), Offset(0));
  close();
  start();
  const auto lines = log::OffsetCheckpoint{{{"b", PartitionIndex(0)}, Offset(3)}};
  EXPECT_EQ(*dirs->dir(0).read_checkpoint(log::CheckpointKind::kLogStart), lines);
}

TEST_F(ShardTest, WhatWasAcknowledgedSurvivesAPowerLoss) {
  const Uuid id = create_topic("t");
  std::vector<Acked> acked(30);
  for (Acked& a : acked) start_produce(id, a);
  sim.run_for(Millis(2));
  const auto count = std::ranges::count_if(acked, &Acked::done);
  node.power_loss();
  stop();
  node.restart();
  start();
  load();
  EXPECT_GE(partition(id).log_end(), Offset(count));
  sim.run_for(Millis(50));  // what was found is synced before it can be read
  EXPECT_EQ(partition(id).high_watermark(), partition(id).log_end());
}

TEST_F(ShardTest, WhatRecoveryFoundIsReadOnceItIsDurable) {
  const Uuid id = create_topic("t");
  sim.options().sync_us_min = sim.options().sync_us_max = 50'000;
  produce(id);
  node.kill();
  stop();
  node.restart();
  start();
  load();
  EXPECT_EQ(partition(id).log_end(), Offset(1));
  EXPECT_EQ(partition(id).high_watermark(), Offset(0));
  sim.run_for(Millis(200));
  EXPECT_EQ(partition(id).high_watermark(), Offset(1));
}

TEST_F(ShardTest, ARecoveryIsCountedAndItsRecoveryPointsAreWrittenAtOnce) {
  const Uuid id = create_topic("t", 5);
  for (int i = 0; i < 5; i++) {
    on_loop([&] {
      ByteBuffer batch = make_batch();
      partition(id, i).produce(batch, {.acks = -1, .now = node.loop(0).clock().wall()});
    });
  }
  node.kill();
  stop();
  node.restart();
  start();
  load();
  EXPECT_FALSE(recovery->running());
  ASSERT_EQ(recovery->dirs().size(), 1U);
  const RecoveryStatus::Dir& dir = *recovery->dirs()[0];
  EXPECT_EQ(dir.logs_done, 5U);
  EXPECT_EQ(dir.logs_total, 5U);
  EXPECT_EQ(dir.bytes_done, 5 * partition(id).log().size());
  EXPECT_EQ(dir.bytes_begun, dir.bytes_done);
  EXPECT_EQ(recovery->summary(), "recovering 5/5 logs");
  size_t durable = 0;
  for (auto& shard : shards) {
    shard->loop().post([&] { shard->when_durable([&] { durable++; }); });
  }
  ASSERT_TRUE(sim.run_until([&] { return durable == shards.size(); }, Millis(5'000)));
  sim.run_for(Millis(100));
  const auto points = dirs->dir(0).read_checkpoint(log::CheckpointKind::kRecoveryPoint);
  ASSERT_TRUE(points);
  EXPECT_EQ(points->size(), 5U);
  for (const auto& [name, point] : *points) EXPECT_EQ(point, Offset(1)) << name.to_string();
}

TEST_F(ShardTest, MuchWrittenIsReportedAsRecoveryPointsSoon) {
  const Uuid id = create_topic("t");
  for (int i = 0; i < 70; i++) produce(id, {.value_size = 1'000'000});
  sim.run_for(Millis(200));
  const auto points = dirs->dir(0).read_checkpoint(log::CheckpointKind::kRecoveryPoint);
  ASSERT_TRUE(points);
  ASSERT_EQ(points->size(), 1U);
  EXPECT_GT(points->begin()->second, Offset(60));
}

TEST_F(ShardTest, TopicsThatAreNotSyncedAreSyncedWhenMuchWaits) {
  const Uuid id = create_topic("t", 1, {{"flush.messages", "1000000"}});
  for (int i = 0; i < 100; i++) produce(id, {.value_size = 1'000'000});
  sim.run_for(Millis(200));
  EXPECT_EQ(partition(id).log().durable_end(), Offset(0));
  for (int i = 0; i < 50; i++) produce(id, {.value_size = 1'000'000});
  sim.run_for(Millis(200));
  EXPECT_GT(partition(id).log().durable_end(), Offset(100));
}

TEST_F(ShardTest, WhatWasDeletedDoesNotHoldUpTheStart) {
  const Uuid id = create_topic("t");
  produce(id);
  delete_topic(id);
  close();
  start();
  publish();
  load();
  const auto names = [&] {
    std::vector<std::string> out;
    for (const io::DirEntry& e : *node.disk().list("/d0")) out.push_back(e.name);
    return out;
  };
  EXPECT_THAT(names(), Contains(HasSubstr("-delete")));
  sim.run_for(Millis(61'000));  // file.delete.delay.ms
  EXPECT_THAT(names(), testing::Not(Contains(HasSubstr("-delete"))));
}

TEST_F(ShardTest, FoldersOfUnknownTopicsBecomeStray) {
  const Uuid id = create_topic("t");
  produce(id);
  close();
  record(wire::RemoveTopicRecord{.topic_id = id}, 0);
  start();
  publish();
  load();
  EXPECT_FALSE(node.disk().exists("/d0/t-0"));
  std::vector<std::string> names;
  for (const io::DirEntry& e : *node.disk().list("/d0")) names.push_back(e.name);
  EXPECT_THAT(names, Contains(HasSubstr("-stray")));
}

class TwoDirsTest : public ReplicaFixture {
 protected:
  TwoDirsTest() : ReplicaFixture(1, 2) {}
};

TEST_F(TwoDirsTest, PartitionsAreSpreadAndFailSeparately) {
  const Uuid id = create_topic("t", 4);
  int in_first = 0;
  for (int i = 0; i < 4; i++) in_first += partition(id, i).dir() == 0 ? 1 : 0;
  EXPECT_EQ(in_first, 2);
  sim.run_for(Millis(50));
  node.disk().set_fault([](sim::DiskOp op, const std::string& path) -> std::optional<Error> {
    if (op != sim::DiskOp::kSync || !path.starts_with("/d0")) return std::nullopt;
    return Error{Errc::kIo, "broken"};
  });
  on_loop([&] {
    for (int i = 0; i < 4; i++) {
      ByteBuffer batch = make_batch();
      partition(id, i).produce(batch, {.now = node.loop(0).clock().wall()});
    }
  });
  sim.run_for(Millis(100));
  EXPECT_EQ(fatal, 0);
  for (int i = 0; i < 4; i++) {
    const bool failed = partition(id, i).dir() == 0;
    EXPECT_EQ(partition(id, i).check_leader(),
              failed ? ErrorCode::kKafkaStorageError : ErrorCode::kNone);
    EXPECT_EQ(partition(id, i).high_watermark(), Offset(failed ? 0 : 1));
  }
}

}  // namespace
}  // namespace odradek::replica
