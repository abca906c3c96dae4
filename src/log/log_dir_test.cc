#include "log/log_dir.h"

#include <gtest/gtest.h>

#include "log/epoch_cache.h"
#include "log/testing/batches.h"
#include "sim/sim_io.h"

namespace odradek::log {
namespace {

using testing::append;
using testing::make_batch;
using testing::open_or_die;

std::unique_ptr<LogDir> open_dir(io::Disk& disk) {
  EXPECT_TRUE(disk.make_directory("/data"));
  auto dir = LogDir::open(disk, "/data", Logger());
  EXPECT_TRUE(dir.has_value());
  return std::move(*dir);
}

void put(io::Disk& disk, const std::string& path, std::string_view text) {
  auto file = disk.open(path, io::OpenMode::kCreate).value();
  ASSERT_TRUE(file->truncate(0));
  ASSERT_TRUE(file->write(0, as_bytes(text)));
}

TEST(LogDir, OnlyOneHoldsTheLock) {
  sim::MemoryDisk disk;
  auto dir = open_dir(disk);
  auto second = LogDir::open(disk, "/data", Logger());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, Errc::kExists);
  EXPECT_NE(second.error().message.find("/data"), std::string::npos);
  dir.reset();
  EXPECT_TRUE(LogDir::open(disk, "/data", Logger()));
}

TEST(MetaProperties, KafkasFile) {
  auto meta = parse_meta_properties(
      "#\n#Wed Nov 15 00:00:00 UTC "
      "2023\nnode.id=1\ndirectory.id=AAAAAAAAAAcAAAAAAAAACA\nversion=1\n"
      "cluster.id=MkU3OEVBNTcwNTJENDM2Qg\n");
  ASSERT_TRUE(meta);
  EXPECT_EQ(meta->version, 1);
  EXPECT_EQ(meta->node_id, BrokerId(1));
  EXPECT_EQ(meta->cluster_id, "MkU3OEVBNTcwNTJENDM2Qg");
  EXPECT_EQ(meta->directory_id, (Uuid{7, 8}));
  EXPECT_EQ(parse_meta_properties(to_text(*meta)).value(), *meta);
}

TEST(MetaProperties, WhatIsWrittenIsRead) {
  MetaProperties meta{.version = 0, .cluster_id = " =\t\n\r\f\\:#!", .node_id = BrokerId(1)};
  EXPECT_EQ(parse_meta_properties(to_text(meta)).value(), meta);
}

TEST(MetaProperties, EverythingThatAPropertiesFileMayDo) {
  auto meta = parse_meta_properties(
      "! comment\r\n  version : 0\n\nbroker.id\t7\ncluster.id=a\\:b\\u0063\\\n   d\nother=x\n");
  ASSERT_TRUE(meta) << meta.error().message;
  EXPECT_EQ(meta->version, 0);
  EXPECT_EQ(meta->node_id, BrokerId(7));
  EXPECT_EQ(meta->cluster_id, "a:bcd");
  EXPECT_EQ(meta->directory_id, std::nullopt);
  EXPECT_EQ(parse_meta_properties(to_text(*meta)).value(), *meta);
}

TEST(MetaProperties, BadOnesAreRefused) {
  for (const char* text :
       {"", "node.id=1\ncluster.id=x\n", "version=2\nnode.id=1\ncluster.id=x\n",
        "version=1\ncluster.id=x\n", "version=1\nnode.id=1\n",
        "version=1\nnode.id=one\ncluster.id=x\n", "version=1\nnode.id=-1\ncluster.id=x\n",
        "version=1\nnode.id=1\ncluster.id=x\ndirectory.id=short\n",
        "version=1\nnode.id=1\ncluster.id=x\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAQ\n"}) {
    EXPECT_FALSE(parse_meta_properties(text)) << text;
  }
  // A version 0 file speaks of broker.id only.
  EXPECT_EQ(parse_meta_properties("version=0\nnode.id=4\n")->node_id, std::nullopt);
}

TEST(MetaProperties, ReadAndWrittenInTheDirectory) {
  sim::MemoryDisk disk;
  auto dir = open_dir(disk);
  EXPECT_EQ(dir->read_meta().value(), std::nullopt);
  MetaProperties meta{.cluster_id = "c", .node_id = BrokerId(3), .directory_id = Uuid{7, 8}};
  ASSERT_TRUE(dir->write_meta(meta));
  sim::Rng rng(1);
  EXPECT_EQ(dir->read_meta().value(), meta);
  put(disk, "/data/meta.properties", "version=one");
  auto bad = dir->read_meta();
  ASSERT_FALSE(bad);
  EXPECT_NE(bad.error().message.find("/data/meta.properties"), std::string::npos);
}

TEST(MetaProperties, DirectoriesMustAgree) {
  MetaProperties a{.cluster_id = "c", .node_id = BrokerId(3), .directory_id = Uuid{7, 8}};
  MetaProperties b = a;
  EXPECT_FALSE(check_same_node({{"/a", a}, {"/b", b}}));
  b.directory_id = Uuid{7, 9};
  EXPECT_TRUE(check_same_node({{"/a", a}, {"/b", b}}));
  b.cluster_id = "d";
  EXPECT_FALSE(check_same_node({{"/a", a}, {"/b", b}}));
  b.cluster_id = "c";
  b.node_id = BrokerId(4);
  auto r = check_same_node({{"/a", a}, {"/b", b}});
  ASSERT_FALSE(r);
  EXPECT_NE(r.error().message.find("/a and /b"), std::string::npos);
}

TEST(Checkpoints, KafkasBytes) {
  std::string text = "0\n3\n__consumer_offsets 49 7\norders 0 1500\norders 11 0\n";
  auto checkpoint = parse_offset_checkpoint(text);
  ASSERT_TRUE(checkpoint);
  EXPECT_EQ(checkpoint->size(), 3u);
  EXPECT_EQ(checkpoint->at(TopicPartition{"orders", PartitionIndex(0)}), Offset(1500));
  EXPECT_EQ(to_text(*checkpoint), text);
  EXPECT_EQ(to_text(OffsetCheckpoint{}), "0\n0\n");
  EXPECT_TRUE(parse_offset_checkpoint("")->empty());
  std::string epochs = "0\n3\n0 0\n4 1000\n5 1500\n";
  EXPECT_EQ(epoch_checkpoint_text(parse_epoch_checkpoint(epochs).value()), epochs);
  std::string metadata = "version: 0\ntopic_id: ASNFZ4mrze-Imaq7zN3u_w";
  Uuid id = parse_partition_metadata(metadata).value();
  EXPECT_EQ(partition_metadata_text(id), metadata);
  EXPECT_EQ(parse_partition_metadata("version: 1\ntopic_id: ASNFZ4mrze-Imaq7zN3u_w").value(), id);
  EXPECT_EQ(parse_partition_metadata("verrion:  0\n_: ASNFZ4mrze-Imaq7zN3u_w\nmore").value(), id);
}

TEST(Checkpoints, BadOnesAreRefused) {
  for (const char* text :
       {"1\n0\n", "0\n", "0\n2\nt 0 1\n", "0\n1\nt 0 1\nt 1 1\n", "0\n1\nt 0\n", "0\n1\nt x 1\n",
        "0\n1\nt 0 1 2\n", "0\n-1\n", "x\n0\n", "0\n1\n\n", "0\n1\nt -1 1\n", "\n"}) {
    EXPECT_FALSE(parse_offset_checkpoint(text)) << text;
  }
  EXPECT_FALSE(parse_epoch_checkpoint("0\n1\n-1 0\n"));
  EXPECT_FALSE(parse_partition_metadata("version: -1\ntopic_id: ASNFZ4mrze-Imaq7zN3u_w"));
  EXPECT_FALSE(parse_partition_metadata("version: 0x\ntopic_id: ASNFZ4mrze-Imaq7zN3u_w"));
  EXPECT_FALSE(parse_partition_metadata("version:0\ntopic_id: ASNFZ4mrze-Imaq7zN3u_w"));
  EXPECT_FALSE(parse_partition_metadata("version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA"));
  EXPECT_FALSE(parse_partition_metadata("version: 0"));
  sim::MemoryDisk disk;
  auto dir = open_dir(disk);
  EXPECT_TRUE(dir->read_checkpoint(CheckpointKind::kLogStart)->empty());
  put(disk, "/data/log-start-offset-checkpoint", "0\n7\n");
  auto bad = dir->read_checkpoint(CheckpointKind::kLogStart);
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().kind, Errc::kCorrupt);
  EXPECT_NE(bad.error().message.find("/data/log-start-offset-checkpoint"), std::string::npos);
}

TEST(Checkpoints, APowerLossLeavesTheOldOrTheNew) {
  OffsetCheckpoint old{{{"t", PartitionIndex(0)}, Offset(1)}};
  OffsetCheckpoint fresh{{{"t", PartitionIndex(0)}, Offset(2)}};
  for (uint64_t seed = 0; seed < 50; seed++) {
    sim::MemoryDisk disk;
    sim::Rng rng(seed);
    auto dir = open_dir(disk);
    disk.sync_everything();
    ASSERT_TRUE(dir->write_checkpoint(CheckpointKind::kHighWatermark, old));
    // The loss comes somewhere within the second write.
    int left = static_cast<int>(rng.below(7));
    disk.set_fault([&](sim::DiskOp, const std::string&) -> std::optional<Error> {
      if (left-- > 0) return std::nullopt;
      return Error{Errc::kIo, "gone"};
    });
    bool written = dir->write_checkpoint(CheckpointKind::kHighWatermark, fresh).has_value();
    disk.set_fault(nullptr);
    dir.reset();
    disk.power_loss(rng);
    auto found = open_dir(disk)->read_checkpoint(CheckpointKind::kHighWatermark);
    ASSERT_TRUE(found);
    EXPECT_TRUE(*found == fresh || (!written && *found == old)) << seed;
  }
}

TEST(LogDir, CleanMarkerIsTakenOnce) {
  sim::MemoryDisk disk;
  auto dir = open_dir(disk);
  EXPECT_FALSE(dir->take_clean_marker()->clean);
  ASSERT_TRUE(dir->write_clean_marker(BrokerEpoch(42)));
  EXPECT_EQ(read_small_file(disk, "/data/.kafka_cleanshutdown").value(),
            "{\"version\":0,\"brokerEpoch\":42}");
  auto marker = dir->take_clean_marker();
  ASSERT_TRUE(marker);
  EXPECT_TRUE(marker->clean);
  EXPECT_EQ(marker->broker_epoch, BrokerEpoch(42));
  EXPECT_FALSE(dir->take_clean_marker()->clean);
  put(disk, "/data/.kafka_cleanshutdown", "");  // as old brokers wrote it
  marker = dir->take_clean_marker();
  EXPECT_TRUE(marker->clean);
  EXPECT_EQ(marker->broker_epoch, BrokerEpoch(-1));
}

TEST(Folders, NamesAreUnderstood) {
  std::string id(32, 'a');
  struct Case {
    std::string name;
    FolderKind kind;
    std::string topic;
    int index;
  };
  for (const Case& c : {Case{"t-0", FolderKind::kPartition, "t", 0},
                        Case{"with-dashes-12", FolderKind::kPartition, "with-dashes", 12},
                        Case{"a.b-delete-3", FolderKind::kPartition, "a.b-delete", 3},
                        Case{"t-0." + id + "-delete", FolderKind::kDelete, "t", 0},
                        Case{"a.b-7." + id + "-future", FolderKind::kFuture, "a.b", 7},
                        Case{"t--5." + id + "-stray", FolderKind::kStray, "t-", 5}}) {
    auto folder = parse_folder_name(c.name);
    ASSERT_TRUE(folder) << c.name;
    EXPECT_EQ(folder->kind, c.kind);
    EXPECT_EQ(folder->partition, (TopicPartition{c.topic, PartitionIndex(c.index)}));
  }
  for (const char* name : {"foo", "-0", "t-", "t-x", "t-1x", "lost+found", "t-0-delete", "x-delete",
                           "t-99999999999", ".-delete", "t-0.-stray"}) {
    EXPECT_FALSE(parse_folder_name(name)) << name;
  }
}

TEST(Folders, DoomedNamesFit) {
  TopicPartition partition{std::string(249, 't'), PartitionIndex(123456)};
  std::string name = doomed_name(partition, Uuid{1, 2}, FolderKind::kDelete);
  EXPECT_EQ(name.size(), 255u);
  EXPECT_TRUE(name.ends_with("-123456.00000000000000010000000000000002-delete"));
  EXPECT_EQ(parse_folder_name(name)->partition.index, PartitionIndex(123456));
  EXPECT_EQ(doomed_name({"t", PartitionIndex(0)}, Uuid{1, 2}, FolderKind::kStray),
            "t-0.00000000000000010000000000000002-stray");
}

TEST(Folders, ListingNamesTheUnknownOne) {
  sim::MemoryDisk disk;
  auto dir = open_dir(disk);
  for (const char* name : {"b-1", "a-0", "remote-log-index-cache"}) {
    ASSERT_TRUE(disk.make_directory(std::string("/data/") + name));
  }
  put(disk, "/data/just a file", "");
  auto folders = dir->list();
  ASSERT_TRUE(folders);
  ASSERT_EQ(folders->size(), 2u);
  EXPECT_EQ((*folders)[0].name, "a-0");
  auto moved = dir->set_aside("/data/a-0", (*folders)[0].partition, Uuid{1, 2}, FolderKind::kStray);
  EXPECT_EQ(moved.value(), "/data/a-0.00000000000000010000000000000002-stray");
  EXPECT_EQ(dir->list()->at(0).kind, FolderKind::kStray);
  ASSERT_TRUE(disk.make_directory("/data/foo"));
  auto bad = dir->list();
  ASSERT_FALSE(bad);
  EXPECT_NE(bad.error().message.find("\"foo\""), std::string::npos);
}

TEST(LoadLogs, ManyInParallelInTheirOrder) {
  sim::Simulation sim(3);
  sim::SimIo& node = sim.add_node("n", 1);
  std::vector<LogOptions> options;
  for (int n = 0; n < 50; n++) {
    LogOptions o;
    o.disk = &node.disk();
    o.folder = "/data/t-" + std::to_string(n);
    o.partition = TopicPartition{"t", PartitionIndex(n)};
    options.push_back(o);
    auto log = open_or_die(o);
    for (int k = 0; k < n; k++) append(*log, make_batch({}));
  }
  put(node.disk(), "/data/t-7/partition.metadata", "rubbish");
  uint64_t checked = 0;
  for (LogOptions& o : options) {
    o.progress = [&, told = uint64_t{0}](uint64_t done, uint64_t) mutable {
      checked += done - told;
      told = done;
    };
  }
  int opened = 0;
  std::optional<LoadedLogs> logs;
  load_logs(
      node, node.loop(0), options, 3, [&] { opened++; },
      [&](LoadedLogs l) { logs = std::move(l); });
  ASSERT_TRUE(sim.run_until([&] { return logs.has_value(); }, Millis(10'000)));
  ASSERT_EQ(logs->size(), 50u);
  uint64_t bytes = 0;
  for (int n = 0; n < 50; n++) {
    auto& log = (*logs)[static_cast<size_t>(n)];
    if (n == 7) {
      EXPECT_FALSE(log);
      continue;
    }
    ASSERT_TRUE(log);
    EXPECT_EQ((*log)->end(), Offset(n));
    bytes += (*log)->size();
  }
  EXPECT_EQ(opened, 50);
  EXPECT_EQ(checked, bytes);
  bool empty_done = false;
  load_logs(node, node.loop(0), {}, 3, {}, [&](LoadedLogs l) { empty_done = l.empty(); });
  ASSERT_TRUE(sim.run_until([&] { return empty_done; }, Millis(10'000)));
}

TEST(EpochCache, NonMonotonicEntriesGo) {
  EpochCache cache(
      {{LeaderEpoch(0), Offset(0)}, {LeaderEpoch(2), Offset(10)}, {LeaderEpoch(1), Offset(20)}});
  EXPECT_EQ(cache.entries(),
            (std::vector<EpochEntry>{{LeaderEpoch(0), Offset(0)}, {LeaderEpoch(1), Offset(20)}}));
  EXPECT_FALSE(cache.unsaved_from());
  cache.assign(LeaderEpoch(3), Offset(20));  // epoch 1 wrote nothing
  EXPECT_EQ(cache.entries().back(), (EpochEntry{LeaderEpoch(3), Offset(20)}));
  EXPECT_EQ(cache.entries().size(), 2u);
  EXPECT_EQ(cache.unsaved_from(), Offset(20));
  cache.truncate_from_end(Offset(20));
  EXPECT_EQ(cache.latest(), LeaderEpoch(0));
  cache.truncate_from_start(Offset(5));
  EXPECT_EQ(cache.entries(), (std::vector<EpochEntry>{{LeaderEpoch(0), Offset(5)}}));
}

}  // namespace
}  // namespace odradek::log
