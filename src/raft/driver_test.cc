// The driver over a disk in memory that forgets what was not synced.
#include "raft/driver.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "raft/describe.h"
#include "raft/format.h"
#include "sim/sim_io.h"
#include "wire/record_batch.h"

namespace odradek::raft {
namespace {

const Uuid kDirectory = Uuid::parse("ObIhXQ1zS1ezGZx4TsKm4w").value();
const std::string kDir = "/data";
const std::string kFolder = "/data/__cluster_metadata-0";

struct Value {
  std::string text;
  std::string to_value() const { return text; }
  size_t value_size_max() const { return text.size(); }
};

class Recorder : public Listener {
 public:
  void begin_snapshot() override {
    in_snapshot = true;
    values.clear();
  }
  Result<void> end_snapshot(SnapshotId id, WallMs) override {
    in_snapshot = false;
    last = id.end - int64_t{1};
    return {};
  }
  Result<void> on_batch(const Batch& batch) override {
    for (ByteView v : batch.values) {
      if (as_text(v) == refuse) return fail(Errc::kCorrupt, "cannot read that");
      values.emplace_back(as_text(v));
    }
    if (in_snapshot) return {};
    EXPECT_EQ(batch.base, last + int64_t{1}) << "no gap, nothing twice";
    last = batch.last;
    epoch = batch.epoch;
    appended = batch.appended;
    return {};
  }
  void on_leader(LeaderEpoch e) override {
    leader = e;
    EXPECT_GT(last, Offset(-1));
  }
  void on_committed(Offset end) override { committed = end; }
  void on_snapshot_due() override { snapshots_due++; }
  void on_failed(const Error& error) override { failure = error; }

  std::vector<std::string> values;
  std::string refuse = "?";
  bool in_snapshot = false;
  Offset last{-1};
  LeaderEpoch epoch = kNoEpoch;
  WallMs appended = kNoTimestamp;
  LeaderEpoch leader = kNoEpoch;
  Offset committed = kNoOffset;
  int snapshots_due = 0;
  std::optional<Error> failure;
};

struct DriverTest : ::testing::Test {
  sim::Simulation sim{7};
  sim::SimIo& io = sim.add_node("node1", 1);
  Recorder recorder;
  std::unique_ptr<Driver> driver;

  DriverOptions options() {
    return {.io = &io,
            .loop = &io.loop(0),
            .directory = kDir,
            .node = BrokerId(1),
            .directory_id = kDirectory,
            .listeners = {{"CONTROLLER", "127.0.0.1", 26092}}};
  }
  void format_directory() {
    FormatOptions format_options{.directories = {kDir},
                                 .metadata_directory = kDir,
                                 .cluster_id = "XDMpHncGTYq0X8WQIXQ0OQ",
                                 .node = BrokerId(1),
                                 .bootstrap = {"one", "two"},
                                 .metadata_directory_id = kDirectory};
    format_options.voters = {{BrokerId(1), {}, {{"CONTROLLER", "127.0.0.1", 26092}}}};
    const auto r = format(io.disk(), io.loop(0).random(), WallMs(5), format_options);
    ASSERT_TRUE(r) << r.error().message;
    EXPECT_EQ(format(io.disk(), io.loop(0).random(), WallMs(5), format_options).error().kind,
              Errc::kExists);
    io.disk().sync_everything();
  }
  void start(DriverOptions o) {
    driver.reset();
    recorder = Recorder();
    auto opened = Driver::open(std::move(o), recorder);
    ASSERT_TRUE(opened) << opened.error().message;
    driver = std::move(*opened);
    const auto r = driver->start();
    ASSERT_TRUE(r) << r.error().message;
  }
  void start() { start(options()); }
  Offset append(std::vector<std::string> texts) {
    std::vector<Value> values;
    for (auto& t : texts) values.push_back({t});
    const auto end = driver->append(std::span<const Value>(values));
    EXPECT_TRUE(end) << end.error().message;
    return end.value_or(kNoOffset);
  }
  bool run_until_committed(Offset end) {
    return sim.run_until([&] { return recorder.committed >= end; }, Millis(1000));
  }
};

TEST_F(DriverTest, TheFirstBatchIsApaches) {
  format_directory();
  start();
  EXPECT_EQ(recorder.leader, LeaderEpoch(1));
  EXPECT_EQ(recorder.committed, Offset(3));
  auto file = io.disk().open(kFolder + "/00000000000000000000.log", io::OpenMode::kRead).value();
  ByteBuffer ours(174);
  ASSERT_EQ(file->read(0, ours).value(), 174U);
  std::ifstream in(std::string(RAFT_TESTDATA) + "/apache/first-batch.log", std::ios::binary);
  ByteBuffer apaches(std::istreambuf_iterator<char>(in), {});
  for (ByteBuffer* b : {&ours, &apaches}) {
    EXPECT_TRUE(wire::BatchHeader(b->data()).crc_matches());
    std::fill_n(b->begin() + 17, 4, uint8_t{0});
    std::fill_n(b->begin() + 27, 16, uint8_t{0});
  }
  EXPECT_EQ(ours, apaches);
  EXPECT_EQ(read_bootstrap(io.disk(), kDir).value(), (std::vector<std::string>{"one", "two"}));
}

TEST_F(DriverTest, CommitsAfterTheSyncAndReplaysAfterARestart) {
  format_directory();
  start();
  const uint64_t syncs = io.disk().counts().syncs;
  EXPECT_EQ(append({"a", "b"}), Offset(5));
  EXPECT_EQ(append({"c"}), Offset(6));
  EXPECT_EQ(append({"d"}), Offset(7));
  EXPECT_EQ(driver->committed(), Offset(3)) << "not before the sync";
  EXPECT_TRUE(recorder.values.empty());
  ASSERT_TRUE(run_until_committed(Offset(7)));
  EXPECT_EQ(recorder.values, (std::vector<std::string>{"a", "b", "c", "d"}));
  EXPECT_LE(io.disk().counts().syncs - syncs, 4U) << "those that wait share one sync";
  ASSERT_TRUE(driver->close());
  EXPECT_FALSE(driver->can_append());

  start();
  EXPECT_EQ(recorder.leader, LeaderEpoch(2));
  EXPECT_EQ(recorder.values, (std::vector<std::string>{"a", "b", "c", "d"}));
  EXPECT_EQ(driver->end(), Offset(8)) << "one LeaderChange, the voters are there already";
  std::vector<std::string> again;
  const auto none = [](const Batch&) { return Result<void>(); };
  ASSERT_TRUE(driver->read_all(none, [&](const Batch& b) -> Result<void> {
    for (ByteView v : b.values) again.emplace_back(as_text(v));
    return {};
  }));
  EXPECT_EQ(again, recorder.values);
}

TEST_F(DriverTest, WhatWasCommittedSurvivesAPowerLoss) {
  format_directory();
  std::vector<std::string> acknowledged;
  for (int round = 1; round <= 15; round++) {
    start();
    ASSERT_EQ(recorder.leader, LeaderEpoch(round)) << "an epoch is never used twice";
    ASSERT_GE(recorder.values.size(), acknowledged.size());
    EXPECT_TRUE(std::equal(acknowledged.begin(), acknowledged.end(), recorder.values.begin()));
    acknowledged = recorder.values;
    for (int i = 0; i < 5; i++) append({std::to_string(round) + "." + std::to_string(i)});
    sim.run_for(Millis(static_cast<int64_t>(sim.rng().next() % 4)));
    acknowledged = recorder.values;
    io.power_loss();
    driver.reset();
    io.restart();
  }
}

TEST_F(DriverTest, AFailedSyncStopsIt) {
  format_directory();
  start();
  io.disk().set_fault([](sim::DiskOp op, const std::string&) -> std::optional<Error> {
    if (op == sim::DiskOp::kSync) return Error{Errc::kIo, "broken"};
    return std::nullopt;
  });
  append({"a"});
  sim.run_for(Millis(100));
  ASSERT_TRUE(recorder.failure);
  EXPECT_EQ(recorder.failure->message, "broken");
  EXPECT_FALSE(driver->can_append());
  EXPECT_EQ(driver->committed(), Offset(3));
  EXPECT_TRUE(recorder.values.empty());
}

TEST_F(DriverTest, ARecordThatNobodyCanReadStopsIt) {
  format_directory();
  start();
  recorder.refuse = "bad";
  append({"bad"});
  sim.run_for(Millis(100));
  ASSERT_TRUE(recorder.failure);
  EXPECT_EQ(recorder.failure->message, "cannot read that");
}

TEST_F(DriverTest, SnapshotsReplaceTheLogsFront) {
  format_directory();
  DriverOptions o = options();
  o.snapshot_bytes = 1000;
  o.retention_bytes = 0;
  o.segment_bytes = 600;
  start(o);
  int written = 0;
  for (int i = 0; i < 60; i++) {
    const Offset end = append({"value " + std::to_string(i)});
    ASSERT_TRUE(run_until_committed(end));
    if (recorder.snapshots_due == 0) continue;
    recorder.snapshots_due = 0;
    written++;
    auto values = recorder.values;
    driver->write_snapshot(recorder.last, recorder.epoch, recorder.appended,
                           [values](const std::function<void(ByteView)>& sink) {
                             for (const auto& v : values) sink(as_bytes(v));
                           });
    sim.run_for(Millis(50));
  }
  EXPECT_GE(written, 3);
  EXPECT_EQ(driver->snapshots().size(), 1U) << "older ones are beyond the retention";
  EXPECT_EQ(driver->log_start(), driver->snapshots()[0].end);
  const auto listed = list_snapshots(io.disk(), kFolder).value();
  EXPECT_EQ(listed, driver->snapshots());
  int segments = 0;
  for (const auto& e : io.disk().list(kFolder).value()) segments += e.name.ends_with(".log");
  EXPECT_LE(segments, 4);
  const auto before = recorder.values;
  ASSERT_TRUE(driver->close());

  start(o);
  EXPECT_EQ(recorder.values, before);
  EXPECT_EQ(driver->step().voters().voters[0].directory, kDirectory) << "from the snapshot";
}

TEST_F(DriverTest, AnotherNodesDirectoryIsRefused) {
  format_directory();
  DriverOptions o = options();
  o.node = BrokerId(2);
  auto opened = Driver::open(o, recorder);
  ASSERT_TRUE(opened);
  EXPECT_EQ((*opened)->start().error().message, "node 2 is not a voter of the metadata quorum");
}

TEST_F(DriverTest, DescribesTheQuorum) {
  format_directory();
  start();
  Arena arena;
  wire::DescribeQuorumRequest request;
  auto& topic = request.topics.add(arena);
  topic.topic_name = "__cluster_metadata";
  topic.partitions.add(arena);
  const auto answer = describe_quorum(*driver, request, 2, WallMs(99), arena);
  const auto& partition = answer.topics[0].partitions[0];
  EXPECT_EQ(partition.leader_id, 1);
  EXPECT_EQ(partition.leader_epoch, 1);
  EXPECT_EQ(partition.high_watermark, 3);
  ASSERT_EQ(partition.current_voters.size(), 1U);
  EXPECT_EQ(partition.current_voters[0].replica_directory_id, kDirectory);
  EXPECT_EQ(partition.current_voters[0].log_end_offset, 3);
  EXPECT_EQ(partition.current_voters[0].last_caught_up_timestamp, 99);
  ASSERT_EQ(answer.nodes.size(), 1U);
  EXPECT_EQ(answer.nodes[0].listeners[0].port, 26092);
  for (int16_t version = 0; version <= 2; version++) {
    wire::Writer writer;
    describe_quorum(*driver, request, version, WallMs(99), arena).encode(writer, version);
    EXPECT_FALSE(writer.error()) << version;
  }
  topic.topic_name = "other";
  EXPECT_EQ(
      describe_quorum(*driver, request, 2, WallMs(99), arena).topics[0].partitions[0].error_code,
      3);
}

}  // namespace
}  // namespace odradek::raft
