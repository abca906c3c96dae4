#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <functional>

#include "io/linux/linux_file.h"
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
  std::optional<AheadWrite> prepare(const std::vector<Appended>&) override {
    if (!direct) return std::nullopt;
    return AheadWrite{direct, position, block};
  }
  Result<uint64_t> wrote(const std::vector<Appended>&, const Result<void>& result) override {
    if (!result) return std::unexpected(result.error());
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
  /// What `prepare` gives, if there is one: a block of it.
  std::shared_ptr<File> direct;
  uint64_t position = 0;
  alignas(kBlock) std::array<uint8_t, kBlock> block{};
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
  LinuxSyncQueue queue_{directory_, ahead_, false};  // by its thread
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

/// One that counts what it hears, with the write-ahead file on a real disk.
class RingTest : public SyncQueueTest {
 protected:
  RingTest() {
    ahead_->begun = 1;
    ahead_->block.fill('a');
    ahead_->direct = file("ahead");
  }
  std::shared_ptr<File> file(const std::string& name) {
    auto file = disk_.open(directory_ + "/" + name, OpenMode::kCreateDirect).value();
    EXPECT_TRUE(file->write(0, ahead_->block));
    EXPECT_TRUE(file->write(kBlock, ahead_->block));
    return file;
  }
  void SetUp() override {
    const auto* here = dynamic_cast<LinuxFile*>(ahead_->direct.get());
    if (!io_uring_available() || !here->direct()) {
      GTEST_SKIP() << "no io_uring, or nothing goes past the page cache";
    }
  }
  SyncJob job(AheadOrder order = AheadOrder::kNone) {
    SyncJob job{.files = {}, .appended = {}, .order = order};
    job.appended.push_back({.file = file_, .from = 0, .to = 1});
    return job;
  }
  /// Submits them, each when the one before has been answered; then the loops stop.
  void run(std::vector<SyncJob> jobs, size_t at = 0) {
    if (at == jobs.size()) return io_.stop();
    SyncJob next = jobs[at];
    queue_.submit(std::move(next), io_.loop(0),
                  [this, jobs = std::move(jobs), at](const Result<Synced>& r) {
                    EXPECT_TRUE(r);
                    laps_.push_back(r ? r->lap : 0);
                    rings_.push_back(queue_.ring_writes());
                    run(jobs, at + 1);
                  });
    if (at == 0) io_.run();
  }
  std::string content(uint64_t position) {
    ByteBuffer bytes(3);
    EXPECT_TRUE(disk_.open(ahead_->direct->path(), OpenMode::kRead).value()->read(position, bytes));
    return std::string(as_text(bytes));
  }

  LinuxIo io_{{.loops = 2}};
  LinuxDisk disk_;
  std::shared_ptr<CountedFile> file_ = std::make_shared<CountedFile>(directory_ + "/f");
  std::shared_ptr<CountedAhead> ahead_ = std::make_shared<CountedAhead>();
  LinuxSyncQueue queue_{directory_, ahead_};
  std::vector<uint64_t> laps_;   // of the answers
  std::vector<uint64_t> rings_;  // writes by the loop until then
};

TEST_F(RingTest, ALoopWritesASmallRoundItself) {
  ahead_->block.fill('b');
  ahead_->position = kBlock;
  // Files to be synced, and orders, are for the thread; then it is the loop's turn again.
  SyncJob file;
  file.files.push_back(file_);
  run({job(), file, job(AheadOrder::kNextLap), job()});
  EXPECT_EQ(rings_, (std::vector<uint64_t>{1, 1, 1, 2}));
  EXPECT_EQ(laps_, (std::vector<uint64_t>{1, 0, 2, 2}));
  EXPECT_EQ(file_->syncs, 1);
  EXPECT_EQ(content(kBlock), "bbb");
  EXPECT_EQ(content(0), "aaa");
}

TEST_F(RingTest, JobsThatComeMeanwhileShareTheNextRound) {
  int done = 0;
  const auto answer = [&](const Result<Synced>& r) {
    EXPECT_TRUE(r);
    if (++done == 21) io_.stop();
  };
  io_.loop(0).post([&] {
    for (int n = 0; n < 21; n++) queue_.submit(job(), io_.loop(0), answer);
    EXPECT_EQ(done, 0);
  });
  io_.run();
  EXPECT_EQ(queue_.ring_writes(), 2U);
}

TEST_F(RingTest, TwoLoopsAndTheThreadTakeTurns) {
  std::atomic<int> left = 2'000;
  std::function<void(int)> go = [&](int loop) {
    SyncJob next = job();
    if (left % 50 == 0) next.files.push_back(file_);
    queue_.submit(std::move(next), io_.loop(loop), [&, loop](const Result<Synced>& r) {
      EXPECT_TRUE(r);
      const int now = left.fetch_sub(1);
      if (now == 1) io_.stop();
      if (now > 6) go(loop);
    });
  };
  for (int loop : {0, 1}) {
    io_.loop(loop).post([&, loop] {
      for (int n = 0; n < 3; n++) go(loop);
    });
  }
  io_.run();
  EXPECT_EQ(left, 0);
  EXPECT_GT(queue_.ring_writes(), 100U);
  EXPECT_GT(file_->syncs, 0);
}

TEST_F(RingTest, WhatCannotBeWrittenFailsTheRound) {
  ahead_->position = uint64_t{1} << 62;  // larger than a file may be
  queue_.submit(job(), io_.loop(0), [&](const Result<Synced>& r) {
    EXPECT_FALSE(r);
    io_.stop();
  });
  io_.run();
}

TEST_F(RingTest, ABlockThatTheFileSystemDoesNotWantIsWrittenByTheThread) {
  ahead_->block.fill('b');
  ahead_->position = 1;
  run({job(), job()});
  EXPECT_EQ(rings_, (std::vector<uint64_t>{1, 1}));
  EXPECT_EQ(ahead_->rounds, 2);
  EXPECT_EQ(content(0), "abb");
}

TEST_F(RingTest, ARoundThatIsUnderWayEndsBeforeTheQueue) {
  int answered = 0;
  {
    LinuxSyncQueue queue(directory_, ahead_);
    for (int n = 0; n < 2; n++) {
      queue.submit(job(), io_.loop(0), [&](const Result<Synced>& r) {
        EXPECT_TRUE(r);
        if (++answered == 2) io_.stop();
      });
    }
  }
  EXPECT_EQ(ahead_->rounds, 2);
  io_.run();
  EXPECT_EQ(answered, 2);
}

TEST_F(RingTest, WithoutRingsTheThreadDoesIt) {
  LinuxSyncQueue queue(directory_, ahead_, false);
  queue.submit(job(), io_.loop(0), [&](const Result<Synced>& r) {
    EXPECT_TRUE(r);
    io_.stop();
  });
  io_.run();
  EXPECT_EQ(queue.ring_writes(), 0U);
  EXPECT_EQ(ahead_->rounds, 1);
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
