#include "replica/cleaning.h"

#include "replica/shard.h"
#include "replica/testing/replica_fixture.h"

namespace odradek::replica {
namespace {

using wire::ErrorCode;

class CleaningTest : public ReplicaFixture {
 protected:
  CleaningTest() { attach(); }
  ~CleaningTest() override { stop(); }

  void attach(CleanerSettings settings = {}) {
    cleaner_ = std::make_unique<Cleaner>(node.loop(0), settings);
    shard().cleaning().add_metrics(metrics_);
    cleaner_->add(0, shard().cleaning());
  }
  Uuid compacted(std::vector<std::pair<std::string, std::string>> more = {}) {
    more.insert(more.begin(), {{"cleanup.policy", "compact"}, {"segment.bytes", "400"}});
    return create_topic("t", 1, std::move(more));
  }
  void put(const Uuid& id, const std::string& key, const std::string& value) {
    on_loop([&] {
      wire::BatchBuilder builder({});
      builder.add(WallMs(1'000), as_bytes(key), as_bytes(value));
      ByteBuffer batch = *builder.build();
      const auto out = partition(id).produce(batch, {.now = node.loop(0).clock().wall()});
      ASSERT_EQ(out.error, ErrorCode::kNone);
    });
  }
  void put_many(const Uuid& id, int count = 40) {
    for (int n = 0; n < count; n++) put(id, "k" + std::to_string(n % 3), std::string(50, 'v'));
  }
  /// Offsets of the records of a partition.
  std::vector<int64_t> offsets(const Uuid& id) {
    std::vector<int64_t> out;
    on_loop([&] {
      log::Log& log = partition(id).mutable_log();
      wire::Decompressor d;
      for (Offset from = log.start(); from < log.end();) {
        auto read = log.read(from, {.max_bytes = 1 << 20, .upper_bound = log.end()});
        ASSERT_TRUE(read);
        if (read->piece.size() == 0) break;
        const ByteBuffer bytes = *log::read_piece(read->piece);
        wire::BatchIterator batches{ByteView(bytes)};
        while (auto batch = batches.next().value_or(std::nullopt)) {
          wire::RecordIterator records(*batch, d);
          wire::RecordView record;
          while (records.next(record).value_or(false)) out.push_back(record.offset.value);
          from = batch->next_offset();
        }
      }
    });
    return out;
  }
  uint64_t metric(const std::string& name) const {
    for (const auto& m : metrics_.counters()) {
      if (m.name == name) return m.counter.value();
    }
    ADD_FAILURE() << name;
    return 0;
  }
  bool wait_for_runs(uint64_t count, Millis limit = Millis(60'000)) {
    return sim.run_until([&] { return metric("odradek_cleaner_runs_total") >= count; }, limit);
  }

  MetricSet metrics_;
  std::unique_ptr<Cleaner> cleaner_;
};

TEST_F(CleaningTest, CleansWhatIsDirtyAndThenSleeps) {
  const Uuid id = compacted();
  put_many(id);
  ASSERT_TRUE(wait_for_runs(1));
  sim.run_for(Millis(40'000));
  // Three keys, and what lies in the last segment.
  EXPECT_LT(offsets(id).size(), 12U);
  EXPECT_GT(metric("odradek_cleaner_removed_records_total"), 25U);
  EXPECT_EQ(offsets(id).back(), 39);
  // Old files go after file.delete.delay.ms; the checkpoint says how far it came.
  sim.run_for(Millis(100'000));
  for (const auto& e : *node.disk().list("/d0/t-0")) {
    EXPECT_FALSE(e.name.ends_with(".deleted") || e.name.ends_with(".swap")) << e.name;
  }
  const auto lines = dirs->dir(0).read_checkpoint(log::CheckpointKind::kCleaner);
  ASSERT_TRUE(lines);
  EXPECT_GT(lines->at({"t", PartitionIndex(0)}), Offset(30));
  const uint64_t runs = metric("odradek_cleaner_runs_total");
  sim.run_for(Millis(600'000));
  EXPECT_EQ(metric("odradek_cleaner_runs_total"), runs);
}

TEST_F(CleaningTest, GoesOnAfterARestart) {
  const Uuid id = compacted();
  put_many(id);
  ASSERT_TRUE(wait_for_runs(1));
  sim.run_for(Millis(40'000));
  Offset dirty;
  on_loop([&] { dirty = partition(id).log().first_dirty(); });
  EXPECT_GT(dirty, Offset(0));
  const std::vector<int64_t> before = offsets(id);
  close();
  start();
  attach();
  load();
  on_loop([&] { EXPECT_EQ(partition(id).log().first_dirty(), dirty); });
  EXPECT_EQ(offsets(id), before);
  put_many(id);
  sim.run_for(Millis(60'000));
  EXPECT_LT(offsets(id).size(), 12U);
}

TEST_F(CleaningTest, ADeletedTopicIsLeftAlone) {
  for (int n = 1; n < 60; n += 3) {
    const Uuid id = compacted();
    put_many(id, 20);
    sim.run_for(Millis(15'000 + n));  // somewhere in the middle
    delete_topic(id);
    const Uuid again = compacted();
    put_many(again, 20);
    sim.run_for(Millis(1'000));
    EXPECT_EQ(offsets(again).back(), 19);
    EXPECT_EQ(fatal, 0);
    delete_topic(again);
  }
}

TEST_F(CleaningTest, PausesUntilItIsResumed) {
  const Uuid id = compacted();
  bool paused = false;
  on_loop([&] { shard().cleaning().pause(partition(id), [&] { paused = true; }); });
  EXPECT_TRUE(paused);
  put_many(id);
  sim.run_for(Millis(60'000));
  EXPECT_EQ(metric("odradek_cleaner_runs_total"), 0U);
  on_loop([&] { shard().cleaning().resume(partition(id)); });
  EXPECT_TRUE(wait_for_runs(1));
}

TEST_F(CleaningTest, APauseWaitsForWhatIsUnderWay) {
  CleanerSettings slow;
  slow.bytes_per_second = 100;
  on_loop([&] { cleaner_->change(slow); });
  const Uuid id = compacted();
  put_many(id);
  sim.run_for(Millis(20'000));
  bool paused = false;
  on_loop([&] { shard().cleaning().pause(partition(id), [&] { paused = true; }); });
  ASSERT_TRUE(sim.run_until([&] { return paused; }, Millis(1'000)));
  for (const auto& e : *node.disk().list("/d0/t-0")) {
    EXPECT_FALSE(e.name.ends_with(".cleaned") || e.name.ends_with(".swap")) << e.name;
  }
  on_loop([&] {
    EXPECT_TRUE(partition(id).mutable_log().truncate_to(Offset(10)));
    shard().cleaning().resume(partition(id));
  });
}

TEST_F(CleaningTest, CorruptionStopsOnePartitionOnly) {
  const Uuid bad = compacted();
  const Uuid good = create_topic("u", 1, {{"cleanup.policy", "compact"}, {"segment.bytes", "400"}});
  put_many(bad);
  on_loop([&] {
    auto file = *node.disk().open("/d0/t-0/00000000000000000000.log", io::OpenMode::kWrite);
    const uint8_t wrong[] = {0xff};
    ASSERT_TRUE(file->write(70, ByteView(wrong)));
  });
  put_many(good);
  sim.run_for(Millis(60'000));
  EXPECT_EQ(metric("odradek_cleaner_uncleanable_partitions"), 1U);
  EXPECT_LT(offsets(good).size(), 12U);
  EXPECT_EQ(fatal, 0);
}

TEST_F(CleaningTest, ABrokenDiskTakesTheDirectoryOffline) {
  const Uuid id = compacted();
  put_many(id);
  node.disk().set_fault([](sim::DiskOp op, const std::string& path) -> std::optional<Error> {
    if (op != sim::DiskOp::kSync || !path.ends_with(".cleaned")) return std::nullopt;
    return Error{Errc::kIo, "broken"};
  });
  ASSERT_TRUE(sim.run_until([&] { return fatal > 0; }, Millis(60'000)));
  EXPECT_EQ(metric("odradek_cleaner_failures_total"), 1U);
}

TEST_F(CleaningTest, AFullDiskIsTriedAgain) {
  const Uuid id = compacted();
  put_many(id);
  node.disk().set_fault([](sim::DiskOp op, const std::string& path) -> std::optional<Error> {
    if (op != sim::DiskOp::kWrite || !path.ends_with(".cleaned")) return std::nullopt;
    return Error{Errc::kNoSpace, "full"};
  });
  sim.run_for(Millis(40'000));
  EXPECT_GT(metric("odradek_cleaner_failures_total"), 0U);
  EXPECT_EQ(metric("odradek_cleaner_runs_total"), 0U);
  node.disk().set_fault(nullptr);
  EXPECT_TRUE(wait_for_runs(1));
  EXPECT_EQ(fatal, 0);
}

TEST(CleanerThrottle, KeepsTheRateOfAll) {
  sim::Simulation sim(1);
  sim::SimIo& node = sim.add_node("n", 1);
  Cleaner cleaner(node.loop(0), {.bytes_per_second = 1000});
  EXPECT_EQ(cleaner.throttle(500, MonoNs(0)), Millis(500));
  EXPECT_EQ(cleaner.throttle(500, MonoNs(0)), Millis(1000));
  EXPECT_EQ(cleaner.throttle(500, MonoNs(2'000'000'000)), Millis(500));
  cleaner.change({});
  EXPECT_EQ(cleaner.throttle(1 << 30, MonoNs(9'000'000'000)), Millis(0));
}

}  // namespace
}  // namespace odradek::replica
