#include "sim/memory_disk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace odradek::sim {
namespace {

using io::OpenMode;

std::string content(MemoryDisk& disk, const std::string& path) {
  auto file = disk.open(path, OpenMode::kRead);
  if (!file) return "<missing>";
  ByteBuffer bytes(*(*file)->size());
  EXPECT_EQ(*(*file)->read(0, bytes), bytes.size());
  return std::string(as_text(bytes));
}

std::shared_ptr<io::File> create(MemoryDisk& disk, const std::string& path, std::string_view text) {
  auto file = disk.open(path, OpenMode::kCreate);
  EXPECT_TRUE(file);
  EXPECT_TRUE((*file)->write(0, as_bytes(text)));
  return *file;
}

TEST(MemoryDisk, ReadsWhatWasWritten) {
  MemoryDisk disk;
  ASSERT_TRUE(disk.make_directory("/a/b"));
  auto file = create(disk, "/a/b/f", "hello");
  ASSERT_TRUE(file->write(7, as_bytes("x")));
  EXPECT_EQ(content(disk, "/a/b/f"), std::string("hello\0\0x", 8));
  ASSERT_TRUE(file->truncate(2));
  EXPECT_EQ(content(disk, "/a/b/f"), "he");
  uint8_t b[4];
  EXPECT_EQ(*file->read(1, b), 1u);
  EXPECT_EQ(*file->read(5, b), 0u);
  EXPECT_EQ(disk.open("/a/none/f", OpenMode::kCreate).error().kind, Errc::kNotFound);
  EXPECT_EQ(disk.open("/a/b/g", OpenMode::kWrite).error().kind, Errc::kNotFound);
  EXPECT_FALSE((*disk.open("/a/b/f", OpenMode::kRead))->write(0, as_bytes("z")));
}

TEST(MemoryDisk, RenamedAndRemovedFilesStayReadable) {
  MemoryDisk disk;
  auto file = create(disk, "f", "hello");
  create(disk, "g", "old");
  ASSERT_TRUE(disk.rename("f", "g"));
  EXPECT_EQ(content(disk, "f"), "<missing>");
  EXPECT_EQ(content(disk, "g"), "hello");
  ASSERT_TRUE(disk.remove("g"));
  uint8_t b[5];
  EXPECT_EQ(*file->read(0, b), 5u);
  EXPECT_TRUE(disk.remove("g"));
  EXPECT_FALSE(disk.exists("g"));
  ASSERT_TRUE(disk.make_directory("d/e"));
  EXPECT_FALSE(disk.remove("d"));
  EXPECT_TRUE(disk.remove_tree("d"));
  EXPECT_TRUE(disk.list("/")->empty());
}

TEST(MemoryDisk, PowerLossKeepsWhatWasSynced) {
  for (uint64_t seed = 0; seed < 200; seed++) {
    MemoryDisk disk;
    Rng rng(seed);
    auto file = create(disk, "f", "synced");
    ASSERT_TRUE(file->sync());
    ASSERT_TRUE(disk.sync_directory("/"));
    ASSERT_TRUE(file->write(6, as_bytes(" and not")));
    disk.power_loss(rng);
    EXPECT_THAT(content(disk, "f"), testing::StartsWith("synced"));
    EXPECT_EQ(file->sync().error().kind, Errc::kClosed) << "a file of a dead process";
  }
}

TEST(MemoryDisk, PowerLossLosesTearsOrKeepsTheRest) {
  std::set<std::string> seen;
  std::string block(600, 'x');
  for (uint64_t seed = 0; seed < 300; seed++) {
    MemoryDisk disk;
    Rng rng(seed);
    auto file = create(disk, "f", "");
    ASSERT_TRUE(disk.sync_directory("/"));
    ASSERT_TRUE(file->write(0, as_bytes(block)));
    disk.power_loss(rng);
    std::string left = content(disk, "f");
    seen.insert(left == block                    ? "whole"
                : left.empty()                   ? "nothing"
                : left == std::string(512, 'x')  ? "first sector"
                : left == std::string(600, '\0') ? "zeros"
                                                 : "other");
  }
  EXPECT_THAT(seen, testing::IsSupersetOf({"whole", "nothing", "first sector", "zeros"}));
}

TEST(MemoryDisk, NamesNeedTheirDirectorySynced) {
  std::set<std::string> seen;
  for (uint64_t seed = 0; seed < 200; seed++) {
    MemoryDisk disk;
    Rng rng(seed);
    ASSERT_TRUE(create(disk, "old", "1")->sync());
    ASSERT_TRUE(disk.sync_directory("/"));
    ASSERT_TRUE(create(disk, "new", "2")->sync());
    ASSERT_TRUE(disk.rename("new", "old"));
    ASSERT_TRUE(create(disk, "third", "3")->sync());
    disk.power_loss(rng);
    EXPECT_FALSE(disk.exists("new") && content(disk, "old") == "2") << "one file, two names";
    EXPECT_THAT(content(disk, "old"), testing::AnyOf("1", "2"));
    seen.insert(content(disk, "old") + content(disk, "new") + content(disk, "third"));
  }
  EXPECT_THAT(seen, testing::IsSupersetOf({"1<missing><missing>", "2<missing><missing>",
                                           "2<missing>3", "12<missing>"}));
}

TEST(MemoryDisk, SyncedNamesStay) {
  for (uint64_t seed = 0; seed < 50; seed++) {
    MemoryDisk disk;
    Rng rng(seed);
    ASSERT_TRUE(disk.make_directory("a"));
    ASSERT_TRUE(disk.make_directory("b"));
    ASSERT_TRUE(create(disk, "a/f", "1")->sync());
    ASSERT_TRUE(disk.rename("a/f", "b/f"));
    ASSERT_TRUE(disk.sync_directory("b"));
    ASSERT_TRUE(disk.sync_directory("/"));
    disk.power_loss(rng);
    EXPECT_EQ(content(disk, "b/f"), "1");
    EXPECT_FALSE(disk.exists("a/f"));
  }
}

TEST(MemoryDisk, AFailedSyncLosesForGood) {
  MemoryDisk disk;
  auto file = create(disk, "f", "lost");
  ASSERT_TRUE(disk.sync_directory("/"));
  bool failing = true;
  disk.set_fault([&](DiskOp op, const std::string&) -> std::optional<Error> {
    if (op == DiskOp::kSync && failing) return Error{Errc::kIo, "no"};
    return std::nullopt;
  });
  EXPECT_FALSE(file->sync());
  failing = false;
  EXPECT_TRUE(file->sync());
  Rng rng(1);
  disk.power_loss(rng);
  EXPECT_EQ(content(disk, "f"), "");
}

TEST(MemoryDisk, FullDiskWritesHalf) {
  MemoryDisk disk;
  disk.set_space(10);
  auto file = create(disk, "f", "12345678");
  EXPECT_EQ(file->write(8, as_bytes("abcd")).error().kind, Errc::kNoSpace);
  EXPECT_EQ(content(disk, "f"), "12345678ab");
  EXPECT_EQ(disk.space("/")->free, 0u);
  ASSERT_TRUE(disk.remove("f"));
  EXPECT_EQ(disk.space("/")->free, 10u);
}

TEST(MemoryDisk, AFlippedBitStaysFlipped) {
  MemoryDisk disk;
  auto file = create(disk, "f", "abc");
  EXPECT_TRUE(disk.flip_bit("f", 1, 0));
  EXPECT_FALSE(disk.flip_bit("f", 3, 0));
  EXPECT_EQ(content(disk, "f"), "acc");
  disk.sync_everything();
  Rng rng(1);
  disk.power_loss(rng);
  EXPECT_EQ(content(disk, "f"), "acc");
}

TEST(MemoryDisk, LocksAreExclusiveUntilTheProcessDies) {
  MemoryDisk disk;
  auto lock = disk.lock("/.lock");
  ASSERT_TRUE(lock);
  EXPECT_EQ(disk.lock(".lock").error().kind, Errc::kExists);
  disk.process_died();
  auto second = disk.lock("/.lock");
  ASSERT_TRUE(second);
  lock->reset();  // of the dead process: frees nothing
  EXPECT_FALSE(disk.lock("/.lock"));
  second->reset();
  EXPECT_TRUE(disk.lock("/.lock"));
}

}  // namespace
}  // namespace odradek::sim
