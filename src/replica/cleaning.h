// Cleaning: the compaction of one loop's partitions: finds the dirtiest log, cleans it on file
// threads slice by slice (log/compaction.h), and puts the new segments in the place of the old.
//
// Which log: those with cleanup.policy=compact, more of them dirty than min.cleanable.dirty.ratio
// or dirty for max.compaction.lag.ms. Looked for when something has happened (a roll, new settings,
// a cleaning done) or is due, at most once in log.cleaner.backoff.ms; an idle loop is not woken.
//
// Nothing here waits on the disk: reads, writes and syncs are file threads', renames are the
// loop's, a few in a turn. Retention leaves a log alone while it is being cleaned.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/ids.h"
#include "base/logger.h"
#include "base/metrics.h"
#include "io/io.h"
#include "log/compaction.h"
#include "replica/cleaner.h"

namespace odradek::replica {

class Partition;
class Shard;

class Cleaning {
 public:
  Cleaning(Shard& shard, io::Io& io, Logger logger);
  ~Cleaning();
  Cleaning(const Cleaning&) = delete;
  Cleaning& operator=(const Cleaning&) = delete;

  /// Before the loop runs; without it nothing is ever cleaned.
  void attach(Cleaner& cleaner, Millis backoff);
  void add_metrics(MetricSet& metrics);
  // From any loop, by Cleaner.
  void grant(const CleanerSettings& settings);
  void change_backoff(Millis backoff);

  /// Something may have become worth cleaning.
  void poke();
  /// The partition goes away, or its directory has failed: it is not touched any more.
  void forget(Partition& partition);
  /// Gives up a cleaning of the partition that is under way and begins none until `resume` (one for
  /// each pause). `paused` is called when nothing of it is under way, maybe at once; not at all if
  /// the partition is forgotten. Before a truncation, or before its folder moves.
  void pause(Partition& partition, io::Callback paused);
  void resume(Partition& partition);
  /// Gives up everything and begins nothing; calls back when nothing is under way.
  void stop(io::Callback done);

 private:
  struct Job;
  using JobPtr = std::shared_ptr<Job>;
  struct Choice {
    Partition* partition = nullptr;
    log::Cleanable range;
  };
  struct Metrics {
    Counter* runs = nullptr;
    Counter* bytes_read = nullptr;
    Counter* bytes_written = nullptr;
    Counter* records_removed = nullptr;
    Counter* failures = nullptr;
    Counter* dirty_percent = nullptr;
    Counter* uncleanable = nullptr;
    Counter* last_run = nullptr;
    Counter* kept_percent = nullptr;
  };

  void check();
  Choice choose();
  std::optional<log::Cleanable> worth(Partition& partition, WallMs now);
  void wake_at(WallMs when, WallMs now);
  void wake_in(Millis delay);
  void arm();

  void begin(const CleanerSettings& settings);
  void run(const JobPtr& job, io::Callback work, void (Cleaning::*then)(const JobPtr&));
  void step(const JobPtr& job);
  void stepped(const JobPtr& job);
  void replace(const JobPtr& job);
  void rename_some(const JobPtr& job);
  void renamed(const JobPtr& job);
  void cleaned(const JobPtr& job);
  void failed(const JobPtr& job, const Error& error);
  void end(const JobPtr& job);
  void ended(const JobPtr& job);
  void give_up(const JobPtr& job);
  void tell_progress(Job& job);
  void mark_uncleanable(Partition& partition, const Error& error);

  Shard& shard_;
  io::Io& io_;
  Logger logger_;
  Cleaner* cleaner_ = nullptr;
  Millis backoff_{15'000};
  Metrics metrics_;
  std::list<JobPtr> jobs_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  io::Callback stopped_;
  bool stopping_ = false;
  int uncleanable_ = 0;

  // when to look next
  io::TimerId timer_ = io::TimerId::kNone;
  MonoNs timer_at_{0};
  std::optional<MonoNs> wanted_;  // nothing: not before something happens
  std::optional<MonoNs> last_check_;
};

}  // namespace odradek::replica
