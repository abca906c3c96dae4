// Snapshots, formatting and quorum-state, compared with files that Apache Kafka 4.3.1 wrote
// (testdata/apache: `kafka-storage format --standalone`).
#include "raft/snapshot.h"

#include <gtest/gtest.h>

#include <fstream>

#include "raft/quorum_state.h"
#include "sim/memory_disk.h"

namespace odradek::raft {
namespace {

ByteBuffer apache_file(const std::string& name) {
  std::ifstream in(std::string(RAFT_TESTDATA) + "/apache/" + name, std::ios::binary);
  return ByteBuffer(std::istreambuf_iterator<char>(in), {});
}

ByteBuffer read_all(io::Disk& disk, const std::string& path) {
  auto file = disk.open(path, io::OpenMode::kRead);
  ByteBuffer bytes((*file)->size().value());
  EXPECT_EQ((*file)->read(0, bytes).value(), bytes.size());
  return bytes;
}

void write_all(io::Disk& disk, const std::string& path, ByteView bytes) {
  auto file = disk.open(path, io::OpenMode::kCreate).value();
  ASSERT_TRUE(file->truncate(0));
  ASSERT_TRUE(file->write(0, bytes));
}

// Apache stamps each batch with the time it wrote it: those times, and the checksums over them, are
// set to zero.
ByteBuffer without_times(ByteBuffer bytes) {
  for (size_t at = 0; at < bytes.size();) {
    const size_t size = load_be<uint32_t>(&bytes[at + 8]) + wire::kBatchOverhead;
    std::fill_n(bytes.begin() + static_cast<long>(at) + 17, 4, uint8_t{0});
    std::fill_n(bytes.begin() + static_cast<long>(at) + 27, 16, uint8_t{0});
    at += size;
  }
  return bytes;
}

const Uuid kDirectory = Uuid::parse("ObIhXQ1zS1ezGZx4TsKm4w").value();
constexpr WallMs kNow{1795519963863};

VoterSet one_voter() {
  return {1, {{BrokerId(1), kDirectory, {{"CONTROLLER", "127.0.0.1", 26092}}, 0, 1}}};
}

TEST(Snapshot, TheFirstVotersAsApacheWritesThem) {
  sim::MemoryDisk disk;
  const std::string path = "/" + SnapshotId{}.file_name();
  auto writer = SnapshotWriter::create(disk, path, LeaderEpoch(0), kNow, one_voter(), kNow).value();
  ASSERT_TRUE(writer->finish());
  EXPECT_EQ(without_times(read_all(disk, path)),
            without_times(apache_file("00000000000000000000-0000000000.checkpoint")));
}

TEST(Snapshot, BootstrapRecordsAsApacheWritesThem) {
  sim::MemoryDisk disk;
  write_all(disk, "/apache", apache_file("bootstrap.checkpoint"));
  auto writer = SnapshotWriter::create(disk, "/ours", LeaderEpoch(0), WallMs(0), {}, kNow).value();
  int records = 0;
  auto content = read_snapshot(disk, "/apache", [&](const Batch& batch) -> Result<void> {
    for (ByteView value : batch.values) {
      records++;
      if (auto r = writer->add(value); !r) return r;
    }
    return {};
  });
  ASSERT_TRUE(content) << content.error().message;
  EXPECT_EQ(content->last_timestamp, WallMs(0));
  EXPECT_FALSE(content->voters);
  EXPECT_EQ(records, 6);
  ASSERT_TRUE(writer->finish());
  EXPECT_EQ(without_times(read_all(disk, "/ours")),
            without_times(apache_file("bootstrap.checkpoint")));
}

TEST(Snapshot, WhatACrashLeftIsRemoved) {
  sim::MemoryDisk disk;
  const std::string path = "/" + SnapshotId{Offset(42), LeaderEpoch(3)}.file_name();
  auto writer =
      SnapshotWriter::create(disk, path, LeaderEpoch(3), WallMs(9), one_voter(), kNow).value();
  EXPECT_TRUE(disk.exists(path + ".part"));
  EXPECT_EQ(list_snapshots(disk, "/").value(), std::vector<SnapshotId>{});
  EXPECT_FALSE(disk.exists(path + ".part"));
}

TEST(Snapshot, OffsetsEpochAndVoters) {
  sim::MemoryDisk disk;
  const SnapshotId id{Offset(42), LeaderEpoch(3)};
  const std::string path = "/" + id.file_name();
  auto writer = SnapshotWriter::create(disk, path, id.epoch, WallMs(9), one_voter(), kNow).value();
  const std::string large(5 << 20, 'x');
  for (const std::string& value : {std::string("a"), large, large})
    ASSERT_TRUE(writer->add(as_bytes(value)));
  ASSERT_TRUE(writer->finish());
  EXPECT_EQ(list_snapshots(disk, "/").value(), std::vector<SnapshotId>{id});
  std::vector<std::pair<int64_t, int64_t>> batches;
  auto content = read_snapshot(disk, path, [&](const Batch& b) -> Result<void> {
    EXPECT_EQ(b.epoch, id.epoch);
    batches.emplace_back(b.base.value, b.last.value);
    return {};
  });
  ASSERT_TRUE(content) << content.error().message;
  EXPECT_EQ(content->voters, one_voter());
  EXPECT_EQ(content->last_timestamp, WallMs(9));
  EXPECT_EQ(batches, (std::vector<std::pair<int64_t, int64_t>>{{3, 4}, {5, 5}}));
  EXPECT_EQ(read_snapshot_header(disk, path)->voters, one_voter());
}

TEST(Snapshot, EveryCutAndEveryFlippedBitIsNoticed) {
  sim::MemoryDisk disk;
  const ByteBuffer good = apache_file("bootstrap.checkpoint");
  const auto read = [&](ByteView bytes) {
    write_all(disk, "/file", bytes);
    auto file = disk.open("/file", io::OpenMode::kWrite).value();
    EXPECT_TRUE(file->truncate(bytes.size()));
    return read_snapshot(disk, "/file", [](const Batch&) { return Result<void>(); });
  };
  ASSERT_TRUE(read(good));
  for (size_t n = 0; n < good.size(); n++) EXPECT_FALSE(read(ByteView(good).first(n))) << n;
  for (size_t at = wire::kCrcFrom; at < good.size(); at += 7) {
    ByteBuffer bad = good;
    bad[at] ^= 4;
    // Base offset and leader epoch of a batch lie outside its checksum.
    const bool outside = (at >= 83 && at < 83 + 16) || (at >= 336 && at < 336 + 16);
    if (!outside) {
      EXPECT_FALSE(read(bad)) << at;
    }
  }
}

TEST(Snapshot, Names) {
  const SnapshotId id{Offset(42), LeaderEpoch(3)};
  EXPECT_EQ(id.file_name(), "00000000000000000042-0000000003.checkpoint");
  EXPECT_EQ(SnapshotId::parse(id.file_name()), id);
  for (const char* bad :
       {"00000000000000000042-0000000003.checkpoint.part", "bootstrap.checkpoint",
        "0000000000000000004x-0000000003.checkpoint", "00000000000000000042_0000000003.checkpoint",
        "-0000000000000000042-0000000003.checkpoint", ""})
    EXPECT_FALSE(SnapshotId::parse(bad)) << bad;
}

TEST(QuorumState, AsApacheWritesIt) {
  const ElectionState leader{LeaderEpoch(1), BrokerId(1), kNoBroker, {}};
  EXPECT_EQ(quorum_state_text(leader, one_voter()),
            "{\"leaderId\":1,\"leaderEpoch\":1,\"votedId\":-1,"
            "\"votedDirectoryId\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"data_version\":1}");
  VoterSet configured = one_voter();
  configured.kraft_version = 0;
  EXPECT_EQ(quorum_state_text(leader, configured),
            "{\"clusterId\":\"\",\"leaderId\":1,\"leaderEpoch\":1,\"votedId\":-1,"
            "\"appliedOffset\":0,\"currentVoters\":[{\"voterId\":1}],\"data_version\":0}");
  for (const VoterSet& set : {one_voter(), configured}) {
    ElectionState state{LeaderEpoch(7), kNoBroker, BrokerId(1), {}};
    if (set.kraft_version > 0) state.voted_directory = kDirectory;
    EXPECT_EQ(parse_quorum_state(quorum_state_text(state, set)).value(), state);
  }
}

TEST(QuorumState, RefusesWhatItDoesNotUnderstand) {
  for (const char* bad :
       {"", "{}", "{\"leaderId\":1,\"leaderEpoch\":1,\"votedId\":-1,\"data_version\":2}",
        "{\"leaderId\":1,\"leaderEpoch\":1,\"votedId\":-1,\"data_version\":1}",
        "{\"leaderId\":1,\"leaderEpoch\":-4,\"votedId\":-1,\"data_version\":0}",
        "{\"leaderId\":1,\"leaderEpoch\":1x,\"votedId\":-1,\"data_version\":0}"})
    EXPECT_FALSE(parse_quorum_state(bad)) << bad;
}

TEST(QuorumState, IsDurableWhenWritten) {
  sim::MemoryDisk disk;
  sim::Rng rng(1);
  ASSERT_TRUE(disk.make_directory("/d"));
  ASSERT_TRUE(disk.sync_directory("/"));
  EXPECT_EQ(read_quorum_state(disk, "/d").value(), std::nullopt);
  for (int epoch = 1; epoch < 20; epoch++) {
    const ElectionState state{LeaderEpoch(epoch), BrokerId(1), kNoBroker, {}};
    ASSERT_TRUE(write_quorum_state(disk, "/d", state, one_voter()));
    disk.power_loss(rng);
    EXPECT_EQ(read_quorum_state(disk, "/d").value(), state);
  }
}

}  // namespace
}  // namespace odradek::raft
