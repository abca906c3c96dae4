#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "io/linux/linux_io.h"
#include "io/linux/sync_choice.h"
#include "io/linux/workers.h"
#include "io/sync_round.h"

namespace odradek::io {
namespace {

/// Counts its syncs; `fails` makes them fail.
class CountedFile : public File {
 public:
  explicit CountedFile(std::string path, bool fails = false)
      : path_(std::move(path)), fails_(fails) {}
  const std::string& path() const override { return path_; }
  Result<size_t> read(uint64_t, MutableBytes) override { return fail(Errc::kIo, path_); }
  Result<void> write(uint64_t, std::span<const ByteView>) override {
    return fail(Errc::kIo, path_);
  }
  Result<uint64_t> size() override { return fail(Errc::kIo, path_); }
  Result<void> truncate(uint64_t) override { return fail(Errc::kIo, path_); }
  Result<void> sync() override {
    syncs++;
    if (fails_once.exchange(false)) {
      ::usleep(20'000);
      return fail(Errc::kIo, path_);
    }
    return fails_ ? Result<void>(fail(Errc::kIo, path_)) : Result<void>();
  }
  std::atomic<int> syncs = 0;
  /// As the kernel: what could not be written is told to whoever syncs first.
  std::atomic<bool> fails_once = false;

 private:
  std::string path_;
  bool fails_;
};

class SyncQueueTest : public ::testing::Test {
 protected:
  SyncQueueTest() : directory_(::testing::TempDir() + "odradek-sync-queue") {
    std::filesystem::create_directories(directory_);
  }
  ~SyncQueueTest() override { std::filesystem::remove_all(directory_); }

  std::vector<std::shared_ptr<CountedFile>> make(size_t count, const std::string& directory) {
    std::vector<std::shared_ptr<CountedFile>> files;
    for (size_t i = 0; i < count; i++)
      files.push_back(std::make_shared<CountedFile>(directory + "/f" + std::to_string(i)));
    return files;
  }
  Result<void> sync(LinuxSyncQueue& queue, const std::vector<std::shared_ptr<CountedFile>>& files) {
    Result<void> result;
    LinuxIo io({});
    queue.submit({.files = {files.begin(), files.end()}}, io.loop(0), [&](Result<Synced> r) {
      if (!r) result = std::unexpected(r.error());
      io.stop();
    });
    io.run();
    return result;
  }
  static int total(const std::vector<std::shared_ptr<CountedFile>>& files) {
    int sum = 0;
    for (const auto& f : files) sum += f->syncs;
    return sum;
  }

  std::string directory_;
};

TEST_F(SyncQueueTest, SyncsAFewFilesOneByOne) {
  LinuxSyncQueue queue(directory_);
  const auto files = make(3, directory_);
  EXPECT_TRUE(sync(queue, files));
  EXPECT_EQ(total(files), 3);
  EXPECT_EQ(queue.whole_syncs(), 0U);
}

TEST_F(SyncQueueTest, SyncsManyFilesAtOnce) {
  LinuxSyncQueue queue(directory_);
  const auto files = make(1'000, directory_);
  EXPECT_TRUE(sync(queue, files));
  EXPECT_EQ(total(files), 0);
  EXPECT_EQ(queue.whole_syncs(), 1U);
}

TEST_F(SyncQueueTest, SyncsFilesOfOtherFileSystemsThemselves) {
  struct stat here{}, there{};
  if (::stat(directory_.c_str(), &here) != 0 || ::stat("/proc", &there) != 0 ||
      here.st_dev == there.st_dev) {
    GTEST_SKIP() << "one file system only";
  }
  LinuxSyncQueue queue(directory_);
  auto files = make(1'000, directory_);
  files.push_back(std::make_shared<CountedFile>("/proc/version"));
  EXPECT_TRUE(sync(queue, files));
  EXPECT_EQ(total(files), 1);
  files.push_back(std::make_shared<CountedFile>("/proc/uptime", true));
  EXPECT_FALSE(sync(queue, files));
}

TEST_F(SyncQueueTest, WithoutADirectoryEveryFileIsSynced) {
  LinuxSyncQueue queue("no such directory");
  const auto files = make(100, directory_);
  EXPECT_TRUE(sync(queue, files));
  EXPECT_EQ(total(files), 100);
}

/// Takes everything; says when it is asked for what.
class CountedAhead : public WriteAhead {
 public:
  Result<void> begin() override {
    begun++;
    return {};
  }
  bool takes(const std::vector<Appended>&) override { return begun > 0; }
  Result<uint64_t> write(const std::vector<Appended>& round) override {
    if (full) return fail(Errc::kNoSpace, "full");
    for (const Appended& each : round) files.push_back(each.file);
    rounds++;
    return lap;
  }
  void next_lap() override { lap++; }
  std::vector<FileRange> over() override {
    if (lap == 1 || flushing) return {};
    flushing = true;
    std::vector<FileRange> over;
    for (auto& file : std::exchange(files, {})) over.push_back({std::move(file), 0, 4096});
    return over;
  }
  void flushed(const Result<void>& result) override {
    done = result ? lap - 1 : 0;
    broken = result;
  }
  uint64_t flushed_lap() const override { return done; }
  Result<void> intact() const override { return broken; }
  std::vector<std::shared_ptr<File>> unflushed() override { return files; }
  Result<void> forget() override {
    files.clear();
    return {};
  }
  int begun = 0;
  Result<void> broken;
  std::atomic<int> rounds = 0;
  bool full = false;
  bool flushing = false;
  uint64_t lap = 1;
  uint64_t done = 0;
  std::vector<std::shared_ptr<File>> files;
};

class AheadQueueTest : public SyncQueueTest {
 protected:
  /// Submits one job and waits for its answer.
  Synced run(std::vector<std::shared_ptr<File>> files, std::vector<std::shared_ptr<File>> appended,
             AheadOrder order = AheadOrder::kNone) {
    SyncJob job{.files = std::move(files), .appended = {}, .order = order};
    for (auto& file : appended) job.appended.push_back({.file = file, .from = 0, .to = 1});
    Synced answer;
    LinuxIo io({});
    queue_.submit(std::move(job), io.loop(0), [&](const Result<Synced>& r) {
      EXPECT_TRUE(r);
      if (r) answer = *r;
      io.stop();
    });
    io.run();
    return answer;
  }
  std::shared_ptr<CountedFile> file_ = std::make_shared<CountedFile>(directory_ + "/f");
  std::shared_ptr<CountedAhead> ahead_ = std::make_shared<CountedAhead>();
  LinuxSyncQueue queue_{directory_, ahead_};
};

TEST_F(AheadQueueTest, AppendedBytesGoAheadOnceItHasBegun) {
  EXPECT_EQ(run({}, {file_}).lap, 0U);
  EXPECT_EQ(file_->syncs, 1);
  run({}, {}, AheadOrder::kBegin);
  EXPECT_EQ(run({}, {file_}).lap, 1U);
  EXPECT_EQ(file_->syncs, 1);
  EXPECT_EQ(run({file_}, {}).lap, 0U);
  EXPECT_EQ(file_->syncs, 2);
  ahead_->full = true;
  EXPECT_EQ(run({}, {file_}).lap, 0U);
  EXPECT_EQ(file_->syncs, 3);
}

TEST_F(AheadQueueTest, ARoundWaitsForTheBytesOfTheOneBefore) {
  run({}, {}, AheadOrder::kBegin);
  const auto written = std::make_shared<std::atomic<uint64_t>>(0);
  LinuxIo io({});
  int done = 0;
  const auto submit = [&](SyncJob job) {
    queue_.submit(std::move(job), io.loop(0), [&](const Result<Synced>& r) {
      EXPECT_TRUE(r);
      if (++done == 2) io.stop();
    });
  };
  SyncJob job;
  job.appended.push_back({.file = file_, .from = 0, .to = 1, .carried = true, .unwritten = true});
  job.bytes = {7};
  job.written = written;
  job.job = 1;
  submit(std::move(job));
  while (ahead_->rounds.load() == 0) ::usleep(1'000);
  submit({.files = {file_}});
  ::usleep(20'000);
  EXPECT_EQ(file_->syncs, 0);
  written->store(1);
  written->notify_one();
  io.run();
  EXPECT_EQ(file_->syncs, 1);
}

TEST_F(AheadQueueTest, WhatIsUnwrittenIsRefusedWhereItCannotGoAhead) {
  SyncJob job;
  job.appended.push_back({.file = file_, .from = 0, .to = 1, .carried = true, .unwritten = true});
  job.bytes = {7};
  SyncRound none(nullptr);
  none.add(job);
  none.begin();
  EXPECT_TRUE(none.files().empty());
  EXPECT_TRUE(none.finish({})->refused);
  // A file that has no room left.
  ahead_->begun = 1;
  ahead_->full = true;
  job.appended.push_back({.file = file_, .from = 0, .to = 1, .carried = true, .unwritten = true});
  job.bytes = {7};
  SyncRound full(ahead_.get());
  full.add(job);
  full.begin();
  EXPECT_TRUE(full.finish({})->refused);
  EXPECT_EQ(file_->syncs, 0);
}

TEST_F(AheadQueueTest, ALapThatIsOverIsSyncedBesideAndTold) {
  run({}, {}, AheadOrder::kBegin);
  run({}, {file_});
  run({}, {}, AheadOrder::kNextLap);
  for (int n = 0; n < 1'000 && run({}, {}).flushed == 0; n++) ::usleep(1'000);
  EXPECT_EQ(run({}, {}).flushed, 1U);
  EXPECT_EQ(file_->syncs, 1);
}

TEST_F(AheadQueueTest, AnErrorThatTheFlushOfALapHasHeardFailsTheRoundsToo) {
  run({}, {}, AheadOrder::kBegin);
  run({}, {file_});
  file_->fails_once = true;
  run({}, {}, AheadOrder::kNextLap);  // the flush begins behind it
  while (file_->fails_once) ::usleep(100);
  LinuxIo io({});
  queue_.submit({.files = {file_}}, io.loop(0), [&](const Result<Synced>& r) {
    EXPECT_FALSE(r);
    io.stop();
  });
  io.run();
}

TEST_F(AheadQueueTest, BeforeItForgetsTheFilesAreSynced) {
  run({}, {}, AheadOrder::kBegin);
  run({}, {file_});
  auto other = std::make_shared<CountedFile>(directory_ + "/g");
  EXPECT_EQ(run({}, {other}, AheadOrder::kForget).lap, 0U);
  EXPECT_EQ(file_->syncs, 1);
  EXPECT_EQ(other->syncs, 1);
  EXPECT_TRUE(ahead_->files.empty());
}

TEST(SyncChoice, TakesWhatPromisesToBeCheaper) {
  SyncChoice choice;
  EXPECT_FALSE(choice.whole(1));
  EXPECT_TRUE(choice.whole(1'000));
  // Others write much: syncfs takes a second, a file 1 ms.
  choice.took_whole(1'000'000'000);
  for (int i = 0; i < 50; i++) choice.took_each(1, 1'000'000);
  EXPECT_FALSE(choice.whole(100));
  EXPECT_TRUE(choice.whole(5'000));
  // It is tried again, but not before it is a small part of the time.
  int rounds = 0;
  for (; !choice.whole(100) && rounds < 1'000; rounds++) choice.took_each(100, 100'000'000);
  EXPECT_GT(rounds, 80);
  EXPECT_LT(rounds, 120);
  // Believed when it has become cheap.
  for (int i = 0; i < 50; i++) choice.took_whole(1'000'000);
  EXPECT_TRUE(choice.whole(10));
}

}  // namespace
}  // namespace odradek::io
