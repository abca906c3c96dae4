// Moves of replicas between log directories.
#include "replica/dir_moves.h"

#include "log/batch_view.h"
#include "replica/testing/replica_fixture.h"

namespace odradek::replica {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using wire::ErrorCode;

/// Names of the partition folders of a directory.
std::vector<std::string> folders(sim::MemoryDisk& disk, const std::string& dir) {
  std::vector<std::string> out;
  for (const io::DirEntry& e : *disk.list(dir)) {
    if (e.is_directory) out.push_back(e.name);
  }
  return out;
}

/// Offset of every batch of the log, and what `BatchSpec::timestamp` said of it.
std::map<int64_t, int64_t> numbered(Partition& partition) {
  std::map<int64_t, int64_t> out;
  log::Log& log = partition.mutable_log();
  for (Offset at = log.start(); at < log.end();) {
    auto read =
        log.read(at, {.max_bytes = 1 << 20, .upper_bound = log.end(), .at_least_one = true});
    EXPECT_TRUE(read);
    auto bytes = log::read_piece(read->piece);
    EXPECT_TRUE(bytes);
    ByteView rest(*bytes);
    if (rest.empty()) break;
    while (auto batch = log::first_batch(rest)) {
      out[batch->base_offset().value] = batch->max_timestamp().value;
      at = batch->last_offset() + int64_t{1};
      rest = rest.subspan(batch->size());
    }
  }
  return out;
}

std::vector<int64_t> contents(Partition& partition) {
  std::vector<int64_t> out;
  for (const auto& [offset, number] : numbered(partition)) out.push_back(number);
  return out;
}

std::vector<int64_t> numbers(int64_t n) {
  std::vector<int64_t> out;
  for (int64_t i = 0; i < n; i++) out.push_back(i);
  return out;
}

class DirMovesTest : public ReplicaFixture {
 protected:
  DirMovesTest() : ReplicaFixture(1, 3) { node.disk().sync_everything(); }

  /// Appends `n` batches of `size` bytes, numbered on.
  void append(const Uuid& id, int n, size_t size = 1'000) {
    for (int i = 0; i < n; i++) {
      ASSERT_EQ(produce(id, {.value_size = size, .timestamp = WallMs(next_++)}).error,
                ErrorCode::kNone);
    }
  }
  Result<void> move(const Uuid& id, size_t to) {
    Result<void> r;
    on_loop([&] { r = shard().moves().begin(partition(id), to); });
    return r;
  }
  bool moved(const Uuid& id, size_t to) {
    return sim.run_until([&] { return !partition(id).moving() && partition(id).dir() == to; },
                         Millis(60'000));
  }
  int64_t next_ = 0;
};

TEST_F(DirMovesTest, CopiesAndTakesThePlace) {
  const Uuid id = create_topic("t", 1, {{"segment.bytes", "100000"}});
  append(id, 300);
  ASSERT_EQ(partition(id).dir(), 0U);
  ASSERT_TRUE(move(id, 2));
  EXPECT_TRUE(partition(id).moving());
  EXPECT_THAT(folders(node.disk(), "/d2"), ElementsAre(HasSubstr("-future")));
  ASSERT_TRUE(moved(id, 2));
  EXPECT_EQ(contents(partition(id)), numbers(300));
  EXPECT_THAT(folders(node.disk(), "/d2"), ElementsAre("t-0"));
  EXPECT_THAT(folders(node.disk(), "/d0"), ElementsAre(HasSubstr("-delete")));
  append(id, 10);
  sim.run_for(Millis(100));
  EXPECT_EQ(partition(id).high_watermark(), Offset(310));
  sim.run_for(Millis(61'000));
  EXPECT_THAT(folders(node.disk(), "/d0"), IsEmpty());
  close();
  start();
  load();
  EXPECT_EQ(partition(id).dir(), 2U);
  EXPECT_EQ(contents(partition(id)), numbers(310));
  EXPECT_EQ(partition(id).high_watermark(), Offset(310));
}

TEST_F(DirMovesTest, GoesOnBeneathALoad) {
  const Uuid id = create_topic("t", 1, {{"segment.bytes", "300000"}});
  append(id, 500, 4'000);
  ASSERT_TRUE(move(id, 1));
  int during = 0;
  while (partition(id).moving() && during < 5'000) {
    append(id, 1, 4'000);
    during++;
    sim.run_for(Millis(1));
  }
  EXPECT_EQ(partition(id).dir(), 1U);
  sim.run_for(Millis(100));
  EXPECT_EQ(contents(partition(id)), numbers(500 + during));
  EXPECT_EQ(partition(id).high_watermark(), Offset(500 + during));
}

TEST_F(DirMovesTest, CarriesOverWhatTheBatchesDoNotTell) {
  const Uuid id = create_topic("t", 1, {{"segment.bytes", "20000"}, {"retention.bytes", "1"}});
  ASSERT_EQ(produce(id, {.producer = ProducerId(7),
                         .epoch = ProducerEpoch(3),
                         .sequence = 0,
                         .timestamp = node.loop(0).clock().wall()})
                .error,
            ErrorCode::kNone);
  append(id, 50);
  sim.run_for(Millis(301'000));  // retention takes the producer's batch
  ASSERT_GT(partition(id).log_start(), Offset(0));
  set_leader(id, BrokerId(9));
  set_leader(id, kNode);
  append(id, 3);
  sim.run_for(Millis(100));
  on_loop([&] { partition(id).delete_records(partition(id).log_end() - int64_t{2}); });
  const Offset start = partition(id).log_start();
  const auto epochs = partition(id).log().epochs();
  ASSERT_EQ(partition(id).producers().size(), 1U);
  ASSERT_TRUE(move(id, 1));
  ASSERT_TRUE(moved(id, 1));
  const auto check = [&] {
    EXPECT_EQ(partition(id).log_start(), start);
    EXPECT_EQ(partition(id).log().epochs(), epochs);
    ASSERT_EQ(partition(id).producers().size(), 1U);
    EXPECT_EQ(partition(id).producers()[0].last_sequence, 0);
    EXPECT_EQ(contents(partition(id)).size(), 2U);
  };
  check();
  sim.run_for(Millis(61'000));  // until the recovery point is written
  node.power_loss();
  ReplicaNode::stop();
  node.restart();
  ReplicaNode::start();
  load();
  check();
}

TEST_F(DirMovesTest, AnotherRequestReplacesTheFirst) {
  const Uuid id = create_topic("t");
  append(id, 2'000);
  ASSERT_TRUE(move(id, 1));
  ASSERT_TRUE(move(id, 1)) << "the same again";
  ASSERT_TRUE(move(id, 2));
  ASSERT_TRUE(moved(id, 2));
  sim.run_for(Millis(10));
  EXPECT_THAT(folders(node.disk(), "/d1"), IsEmpty());
  EXPECT_EQ(contents(partition(id)), numbers(2'000));
  ASSERT_TRUE(move(id, 0));
  ASSERT_TRUE(move(id, 2)) << "where it is: the move ends";
  EXPECT_FALSE(partition(id).moving());
  sim.run_for(Millis(100));
  EXPECT_EQ(partition(id).dir(), 2U);
}

TEST_F(DirMovesTest, DeletionEndsIt) {
  const Uuid id = create_topic("t");
  append(id, 2'000);
  ASSERT_TRUE(move(id, 1));
  delete_topic(id);
  sim.run_for(Millis(61'000));
  for (const char* dir : {"/d0", "/d1", "/d2"}) EXPECT_THAT(folders(node.disk(), dir), IsEmpty());
}

TEST_F(DirMovesTest, GoesOnAfterARestart) {
  const Uuid id = create_topic("t");
  append(id, 3'000);
  on_loop([&] { shard().moves().set_rate(400'000); });
  ASSERT_TRUE(move(id, 1));
  sim.run_for(Millis(3'000));
  ASSERT_TRUE(partition(id).moving());
  const Offset copied = shard().moves().find(partition(id))->end;
  EXPECT_GT(copied, Offset(0));
  EXPECT_LT(copied, Offset(1'500)) << "the rate is held";
  close();
  start();
  load();
  ASSERT_TRUE(partition(id).moving());
  EXPECT_GE(shard().moves().find(partition(id))->end, copied) << "not from the beginning";
  ASSERT_TRUE(moved(id, 1));
  EXPECT_EQ(contents(partition(id)), numbers(3'000));
}

TEST_F(DirMovesTest, AFailedTargetCostsOnlyTheMove) {
  const Uuid id = create_topic("t");
  append(id, 2'000);
  ASSERT_TRUE(move(id, 1));
  node.disk().set_fault([](sim::DiskOp op, const std::string& path) -> std::optional<Error> {
    if (op == sim::DiskOp::kWrite && path.starts_with("/d1/")) return Error{Errc::kIo, "EIO"};
    return std::nullopt;
  });
  ASSERT_TRUE(sim.run_until([&] { return !partition(id).moving(); }, Millis(60'000)));
  sim.run_for(Millis(10));
  EXPECT_TRUE(dirs->offline(1));
  EXPECT_FALSE(partition(id).offline());
  append(id, 1);
  EXPECT_EQ(contents(partition(id)), numbers(2'001));
}

TEST_F(DirMovesTest, AFullTargetIsWaitedFor) {
  const Uuid id = create_topic("t");
  append(id, 2'000);
  node.disk().set_space(2'600'000);  // half of the copy
  dirs->set_reserve(0);
  ASSERT_TRUE(move(id, 1));
  sim.run_for(Millis(5'000));
  EXPECT_TRUE(partition(id).moving());
  EXPECT_FALSE(dirs->any_offline());
  node.disk().set_space(100'000'000);
  ASSERT_TRUE(moved(id, 1));
  EXPECT_EQ(contents(partition(id)), numbers(2'000));
}

TEST_F(DirMovesTest, ADamagedBatchEndsTheMove) {
  const Uuid id = create_topic("t");
  append(id, 500);
  {
    auto file = node.disk().open("/d0/t-0/00000000000000000000.log", io::OpenMode::kWrite);
    ASSERT_TRUE((*file)->write(100, as_bytes("X")));
  }
  ASSERT_TRUE(move(id, 1));
  ASSERT_TRUE(sim.run_until([&] { return !partition(id).moving(); }, Millis(60'000)));
  sim.run_for(Millis(10));
  EXPECT_FALSE(dirs->any_offline());
  EXPECT_THAT(folders(node.disk(), "/d1"), IsEmpty());
}

TEST_F(DirMovesTest, WishesForPartitionsToCome) {
  on_loop([&] { shard().prefer({"later", PartitionIndex(0)}, 2); });
  const Uuid id = create_topic("later");
  EXPECT_EQ(partition(id).dir(), 2U);
}

TEST_F(DirMovesTest, CordonedDirectoriesGetNothingNew) {
  dirs->set_cordoned({"/d0", "/d2"});
  const Uuid a = create_topic("a", 4);
  for (int32_t i = 0; i < 4; i++) EXPECT_EQ(partition(a, i).dir(), 1U);
}

/// The power fails at some change of the disk while a replica moves and takes appends. Whatever was
/// below the high watermark is there afterwards, in one place, and the move comes to its end.
class PowerLossWhileMoving : public testing::TestWithParam<int> {};

void lose_power_while_moving(uint64_t seed) {
  sim::Simulation simulation(seed);
  sim::SimIo& machine = simulation.add_node("n", 1);
  ReplicaNode node(simulation, machine, 2);
  sim::Rng& rng = simulation.rng();
  machine.disk().sync_everything();
  const Uuid id = node.create_topic("t", 1, {{"segment.bytes", "20000"}});
  int64_t next = 0;
  std::map<int64_t, int64_t> sent;  // number of each batch, by its offset
  const auto append = [&] {
    ByteBuffer batch = make_batch({.value_size = 500, .timestamp = WallMs(next)});
    const auto out = node.partition(id).produce(batch, {.acks = -1, .now = WallMs(next)});
    if (out.error == ErrorCode::kNone) sent[out.first.value] = next++;
  };
  const auto before = static_cast<int>(rng.below(400));
  for (int i = 0; i < before; i++) node.on_loop(append);
  for (int round = 0; round < 4; round++) {
    node.on_loop([&] {
      Partition& p = node.partition(id);
      ASSERT_TRUE(node.shard().moves().begin(p, 1 - p.dir()));
    });
    if (round == 3) break;
    machine.power_loss_after(1 + rng.below(rng.one_in(2) ? 60 : 400));
    Offset seen(0);
    for (int i = 0; i < 500 && machine.up(); i++) {
      if (rng.one_in(2)) machine.loop(0).post(append);
      simulation.run_for(Millis(1));
      if (machine.up()) seen = node.partition(id).high_watermark();
    }
    if (machine.up()) machine.power_loss();
    node.stop();
    node.fatal = 0;  // whatever the dying process took for a failed disk
    machine.restart();
    node.start();
    node.load();
    if (testing::Test::HasFatalFailure()) return;
    ASSERT_EQ(node.fatal, 0);
    ASSERT_FALSE(node.dirs->any_offline());
    const auto found = numbered(node.partition(id));
    std::erase_if(sent, [&](const auto& batch) { return batch.first >= seen.value; });
    for (const auto& batch : sent) ASSERT_THAT(found, Contains(batch)) << "acknowledged, and gone";
    sent = found;  // and what was not acknowledged may be there, too
  }
  ASSERT_TRUE(simulation.run_until([&] { return !node.partition(id).moving(); }, Millis(60'000)));
  ASSERT_EQ(numbered(node.partition(id)), sent);
}

TEST_P(PowerLossWhileMoving, LosesNothing) {
  for (int i = 0; i < 5; i++) {
    const auto seed = static_cast<uint64_t>(GetParam() * 5 + i);
    SCOPED_TRACE("seed " + std::to_string(seed));
    lose_power_while_moving(seed);
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, PowerLossWhileMoving, testing::Range(12, 20));

}  // namespace
}  // namespace odradek::replica
