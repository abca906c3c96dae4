// What blocks a loop is done here: a queue for the syncs of a directory, with a thread of its own,
// and a pool for background work. Private to io/linux.
#pragma once

#include <sched.h>
#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "io/io.h"
#include "io/linux/sync_choice.h"
#include "io/sync_round.h"

namespace odradek::io {

class LinuxLoop;
class WriteRing;

/// Runs callbacks on its threads.
class WorkerPool {
 public:
  /// `name`: what the system calls its threads. `nice`: of these, as for nice(1).
  WorkerPool(int threads_max, const char* name, int nice = 0);
  /// Runs what is queued first.
  ~WorkerPool();
  void submit(Callback work);
  /// From now on its threads stay off that core. False: there is no other that it may use.
  bool keep_off(int cpu);

 private:
  void run();
  bool place(std::thread& thread);

  const int threads_max_;
  const char* const name_;
  const int nice_;
  cpu_set_t allowed_{};  // cores, as of the pool's beginning
  int away_from_ = -1;   // one of them
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<Callback> queue_;
  int idle_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

/// Syncs for one log directory. Takes everything that is queued at once, syncs every file once, or
/// all with one syncfs (SyncChoice), or copies what was appended into the write-ahead file and
/// makes that durable.
///
/// A round is carried out by a thread; or by a loop, if it is one small write into the write-ahead
/// file and the system has io_uring. Whose turn it is, is `owner_`: that one alone uses what is not
/// shared, and hands it over under the mutex.
class LinuxSyncQueue : public SyncQueue {
 public:
  /// Files that lie on the file system of `directory` may be synced together. `io_uring`: may be
  /// used.
  explicit LinuxSyncQueue(std::string directory, std::shared_ptr<WriteAhead> ahead = nullptr,
                          bool io_uring = true);
  /// Runs what is queued first. When no loop runs, or on the only one.
  ~LinuxSyncQueue() override;
  /// `reply_to` is a LinuxLoop.
  void submit(SyncJob job, Loop& reply_to, Done done) override;
  /// How often a round was one syncfs; and one write by a loop. For tests.
  uint64_t whole_syncs() const { return whole_syncs_.load(std::memory_order_relaxed); }
  uint64_t ring_writes() const { return ring_writes_.load(std::memory_order_relaxed); }

 private:
  using Files = std::map<File*, std::shared_ptr<File>>;
  enum class Owner : uint8_t { kNobody, kLoop, kThread };
  struct Job {
    SyncJob wanted;
    Loop* reply_to;
    Done done;
  };
  struct Round {
    std::vector<Job> jobs;
    SyncRound work;
    std::optional<Result<void>> written;  // what became of its one write
  };

  bool for_a_loop() const;
  void begin_round(std::vector<Job> jobs);
  static void answer(std::vector<Job> jobs, const Result<Synced>& result, Loop* here);
  void take_result(int result);
  void give_to_thread();

  // On a loop.
  void next_round(LinuxLoop& loop);
  WriteRing* ring_of(LinuxLoop& loop);
  void written(LinuxLoop& loop, int result);

  // On the thread.
  void run();
  Result<Synced> carry_out();

  Result<void> sync_files(const std::vector<std::shared_ptr<File>>& files);
  static Result<void> sync_each(const Files& files);
  Result<void> sync_whole(const Files& files) const;
  bool all_written() const;
  void await_written();
  void hear_flush(const std::vector<std::shared_ptr<File>>& synced);
  Result<void> write_back(const std::vector<FileRange>& lap) const;
  void flush_lap();

  const std::string name_;
  // Open from before the first write on: syncfs tells what has failed since (Linux 5.8).
  int directory_ = -1;
  dev_t device_ = 0;
  const std::shared_ptr<WriteAhead> ahead_;
  std::atomic<uint64_t> whole_syncs_{0};
  std::atomic<uint64_t> ring_writes_{0};

  std::mutex mutex_;
  std::condition_variable ready_;
  // Guarded by it.
  std::vector<Job> jobs_;
  Owner owner_ = Owner::kNobody;
  std::optional<Result<void>> flushed_;  // what became of the lap that was being flushed
  bool stopping_ = false;
  /// What is posted to a loop does nothing once this is gone.
  std::shared_ptr<LinuxSyncQueue*> self_ = std::make_shared<LinuxSyncQueue*>(this);

  // The owner's.
  SyncChoice choice_;
  std::optional<Round> round_;
  std::vector<std::pair<WrittenCount, uint64_t>> unwritten_;  // jobs of the last round
  bool io_uring_;
  std::map<LinuxLoop*, std::shared_ptr<WriteRing>> rings_;
  size_t write_bytes_ = 0;       // of the write that is under way
  Files flushing_;               // of the lap that is being flushed
  bool flushing_whole_ = false;  // with everything else on the file system

  std::atomic<bool> awaited_{false};  // a round waits for the flush of a lap
  std::thread thread_;
  /// Behind the loops and the rounds where there are fewer cores than threads that want one: it has
  /// as long as the next lap lasts. Last: it uses the others.
  WorkerPool flusher_{1, "laps", 5};
};

}  // namespace odradek::io
