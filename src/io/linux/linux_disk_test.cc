#include "io/linux/linux_disk.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <thread>

namespace odradek::io {
namespace {

class LinuxDiskTest : public testing::Test {
 protected:
  LinuxDiskTest() {
    std::string pattern = testing::TempDir() + "odradek-disk-XXXXXX";
    dir_ = ::mkdtemp(pattern.data());
  }
  ~LinuxDiskTest() override { EXPECT_TRUE(LinuxDisk().remove_tree(dir_)); }

  std::string at(const std::string& name) const { return dir_ + "/" + name; }

  static std::shared_ptr<File> create(LinuxDisk& disk, const std::string& path,
                                      std::string_view text) {
    auto file = disk.open(path, OpenMode::kCreate);
    EXPECT_TRUE(file) << file.error().message;
    EXPECT_TRUE((*file)->write(0, as_bytes(text)));
    return *file;
  }
  static std::string content(File& file) {
    ByteBuffer bytes(100);
    auto n = file.read(0, bytes);
    return n ? std::string(as_text(ByteView(bytes).first(*n))) : n.error().message;
  }

  std::string dir_;
};

TEST_F(LinuxDiskTest, WritesAllPiecesAtAPosition) {
  LinuxDisk disk;
  auto file = create(disk, at("f"), "");
  std::vector<std::string> texts(200);
  std::vector<ByteView> pieces;
  std::string all;
  for (size_t i = 0; i < texts.size(); i++) {
    texts[i] = std::string(i % 7, static_cast<char>('a' + i % 26));
    pieces.push_back(as_bytes(texts[i]));
    all += texts[i];
  }
  ASSERT_TRUE(file->write(5, pieces));
  ASSERT_EQ(*file->size(), all.size() + 5);
  ByteBuffer bytes(all.size() + 50);
  EXPECT_EQ(*file->read(5, bytes), all.size());
  EXPECT_EQ(as_text(ByteView(bytes).first(all.size())), all);
  ASSERT_TRUE(file->truncate(2));
  EXPECT_EQ(*file->size(), 2u);
  EXPECT_TRUE(file->sync());
}

TEST_F(LinuxDiskTest, WhatIsNoWholeBlockIsWrittenAllTheSame) {
  LinuxDisk disk;
  auto file = disk.open(at("f"), OpenMode::kCreateDirect).value();
  alignas(kBlock) std::array<uint8_t, kBlock> block;
  block.fill('a');
  ASSERT_TRUE(file->write(0, block));
  ASSERT_TRUE(file->write(0, as_bytes(std::string("bcd"))));  // some file systems refuse this
  ASSERT_TRUE(file->write(kBlock, block));
  ASSERT_TRUE(file->sync());
  EXPECT_EQ(*file->size(), 2 * kBlock);
  EXPECT_EQ(content(*file), "bcd" + std::string(97, 'a'));
}

TEST_F(LinuxDiskTest, SaysWhatIsWrong) {
  LinuxDisk disk;
  EXPECT_EQ(disk.open(at("none"), OpenMode::kWrite).error().kind, Errc::kNotFound);
  EXPECT_THAT(disk.open(at("none"), OpenMode::kRead).error().message,
              testing::EndsWith("none: No such file or directory"));
  EXPECT_FALSE(disk.open(dir_, OpenMode::kRead));
  EXPECT_FALSE(disk.list(at("none")));
  EXPECT_TRUE(disk.remove(at("none")));
  EXPECT_TRUE(disk.remove_tree(at("none")));
  create(disk, at("f"), "x");
  EXPECT_FALSE(disk.make_directory(at("f")));
  EXPECT_FALSE((*disk.open(at("f"), OpenMode::kRead))->write(0, as_bytes("y")));
}

TEST_F(LinuxDiskTest, DirectoriesAndListings) {
  LinuxDisk disk;
  ASSERT_TRUE(disk.make_directory(at("a/b/c")));
  ASSERT_TRUE(disk.make_directory(at("a/b/c")));
  create(disk, at("a/f"), "12345");
  auto list = disk.list(at("a"));
  ASSERT_TRUE(list);
  std::ranges::sort(*list, {}, &DirEntry::name);
  ASSERT_EQ(list->size(), 2u);
  EXPECT_TRUE(list->at(0).is_directory);
  EXPECT_EQ(list->at(1).name, "f");
  EXPECT_EQ(list->at(1).size, 5u);
  EXPECT_FALSE(disk.remove(at("a")));
  EXPECT_TRUE(disk.sync_directory(at("a")));
  EXPECT_TRUE(disk.remove_tree(at("a")));
  EXPECT_FALSE(disk.exists(at("a")));
  EXPECT_GT(disk.space(dir_)->total, disk.space(dir_)->free);
  create(disk, at("g"), "");
  EXPECT_GT(*disk.modified(at("g")), WallMs(1'700'000'000'000));
  EXPECT_TRUE(disk.set_modified(at("g"), WallMs(1'234'567)));
  EXPECT_EQ(*disk.modified(at("g")), WallMs(1'234'567));
}

TEST_F(LinuxDiskTest, MoreFilesThanDescriptors) {
  LinuxDisk disk(4);
  std::vector<std::shared_ptr<File>> files;
  for (int i = 0; i < 20; i++) {
    files.push_back(create(disk, at(std::to_string(i)), std::to_string(i)));
    EXPECT_LE(disk.open_descriptors(), 4u);
  }
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 20; i++) EXPECT_EQ(content(*files[i]), std::to_string(i));
  }
  EXPECT_LE(disk.open_descriptors(), 4u);
  EXPECT_GT(disk.reopened_descriptors(), 40u);
}

TEST_F(LinuxDiskTest, FilesSurviveRenamesAndRemovalsWithoutADescriptor) {
  LinuxDisk disk(2);
  ASSERT_TRUE(disk.make_directory(at("d")));
  auto moved = create(disk, at("d/moved"), "moved");
  auto removed = create(disk, at("d/removed"), "removed");
  auto replaced = create(disk, at("d/replaced"), "replaced");
  auto by = create(disk, at("d/by"), "by");
  ASSERT_TRUE(disk.rename(at("d/moved"), at("d/moved2")));
  ASSERT_TRUE(disk.remove(at("d/removed")));
  ASSERT_TRUE(disk.rename(at("d/by"), at("d/replaced")));
  ASSERT_TRUE(disk.rename(at("d"), at("e")));
  for (int i = 0; i < 5; i++) create(disk, at("other" + std::to_string(i)), "x");
  for (int round = 0; round < 2; round++) {
    EXPECT_EQ(content(*moved), "moved");
    EXPECT_EQ(content(*removed), "removed");
    EXPECT_EQ(content(*replaced), "replaced");
    EXPECT_EQ(content(*by), "by");
  }
  ASSERT_TRUE(disk.remove_tree(at("e")));
  EXPECT_EQ(content(*moved), "moved");
  moved.reset();
  removed.reset();
  replaced.reset();
  by.reset();
  EXPECT_LE(disk.open_descriptors(), 2u);
}

TEST_F(LinuxDiskTest, AFileThatAnotherProcessReplacedIsNotTakenForTheOldOne) {
  LinuxDisk disk(1);
  auto file = create(disk, at("f"), "old");
  create(disk, at("other"), "x");
  ASSERT_EQ(::rename(at("other").c_str(), at("f").c_str()), 0);
  EXPECT_THAT(content(*file), testing::HasSubstr("Stale"));
}

TEST_F(LinuxDiskTest, ManyThreadsShareFewDescriptors) {
  LinuxDisk disk(3);
  std::vector<std::shared_ptr<File>> files;
  for (int i = 0; i < 8; i++) files.push_back(create(disk, at(std::to_string(i)), "xxxxxxxx"));
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; t++) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 300; i++) {
        File& file = *files[static_cast<size_t>(i * (t + 1)) % files.size()];
        if (content(file) != "xxxxxxxx") wrong++;
        if (i % 50 == 0 && !file.sync()) wrong++;
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(LinuxDiskTest, LocksHoldWithinAndBetweenProcesses) {
  LinuxDisk disk;
  auto lock = disk.lock(at(".lock"));
  ASSERT_TRUE(lock);
  EXPECT_EQ(disk.lock(at(".lock")).error().kind, Errc::kExists);
  auto held_for_others = [&] {
    pid_t child = ::fork();
    if (child == 0) {
      int fd = ::open(at(".lock").c_str(), O_RDWR);
      struct flock whole{};
      whole.l_type = F_WRLCK;
      ::_exit(::fcntl(fd, F_SETLK, &whole) == 0 ? 0 : 1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WEXITSTATUS(status) == 1;
  };
  EXPECT_TRUE(held_for_others()) << "the refused second lock must not have dropped the first";
  lock->reset();
  EXPECT_FALSE(held_for_others());
  EXPECT_TRUE(disk.lock(at(".lock")));
}

}  // namespace
}  // namespace odradek::io
