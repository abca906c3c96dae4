#include "replica/cleaning.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "replica/housekeeping.h"
#include "replica/partition.h"
#include "replica/shard.h"

namespace odradek::replica {

using log::CheckpointKind;
using log::Compaction;

namespace {

/// Bytes that a file thread reads before others get their turn on it.
constexpr uint64_t kSlice = 2 << 20;
/// Renames in one turn of the loop, some microseconds each.
constexpr size_t kRenames = 32;
constexpr Millis kProgress{2'000};
constexpr Millis kLongest{3'600'000};  // the wall clock may jump: look again after so long

}  // namespace

/// One cleaning. While a file thread works on `work`, the loop keeps its hands off it.
struct Cleaning::Job {
  Partition* partition;  // null: forgotten
  log::TopicPartition name;
  size_t dir;
  std::string folder;
  Offset from;
  uint64_t total;  // bytes to go through
  std::unique_ptr<Compaction> work;
  Result<Compaction::State> state = Compaction::State::kWorking;
  Result<void> synced;
  MonoNs began;
  MonoNs told;
  uint64_t counted = 0;  // bytes told to the throttle
  io::TimerId timer = io::TimerId::kNone;
  bool give_up = false;
  std::vector<io::Callback> paused;  // who waits for the end
  // the replacement under way
  std::optional<log::SegmentSwap> swap;
  size_t swap_step = 0;
  size_t swap_done = 0;
};

Cleaning::Cleaning(Shard& shard, io::Io& io, Logger logger)
    : shard_(shard), io_(io), logger_(std::move(logger)) {}

Cleaning::~Cleaning() {
  io::Timers& timers = shard_.loop().timers();
  timers.cancel(timer_);
  for (const JobPtr& job : jobs_) timers.cancel(job->timer);
}

void Cleaning::attach(Cleaner& cleaner, Millis backoff) {
  cleaner_ = &cleaner;
  backoff_ = backoff;
}

void Cleaning::add_metrics(MetricSet& metrics) {
  const std::string loop = fmt::format("loop=\"{}\"", shard_.loop().index());
  metrics_.runs = &metrics.counter("odradek_cleaner_runs_total", "", "Logs cleaned.");
  metrics_.bytes_read =
      &metrics.counter("odradek_cleaner_read_bytes_total", "", "Bytes of log that were cleaned.");
  metrics_.bytes_written =
      &metrics.counter("odradek_cleaner_written_bytes_total", "", "Bytes that cleanings left.");
  metrics_.records_removed =
      &metrics.counter("odradek_cleaner_removed_records_total", "", "Records that went.");
  metrics_.failures =
      &metrics.counter("odradek_cleaner_failures_total", "", "Cleanings that ended with an error.");
  metrics_.dirty_percent = &metrics.gauge("odradek_cleaner_max_dirty_percent", loop,
                                          "Dirty share of the dirtiest log, when last looked.");
  metrics_.uncleanable = &metrics.gauge("odradek_cleaner_uncleanable_partitions", "",
                                        "Partitions that cannot be cleaned: see the log.");
  metrics_.last_run = &metrics.gauge("odradek_cleaner_last_run_timestamp_seconds", loop,
                                     "When a cleaning last ended; 0: none yet.");
  metrics_.kept_percent = &metrics.gauge("odradek_cleaner_kept_percent", loop,
                                         "Bytes that the last cleaning left, of those it read.");
}

// ---- when to look

void Cleaning::poke() {
  if (cleaner_ == nullptr || stopping_) return;
  wake_in(Millis(0));
  arm();
}

void Cleaning::change_backoff(Millis backoff) {
  shard_.loop().post([this, backoff, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    backoff_ = backoff;
    poke();
  });
}

void Cleaning::wake_in(Millis delay) {
  const MonoNs now = shard_.loop().clock().now();
  MonoNs at = now + Millis(std::min(delay.value, kLongest.value));
  if (last_check_) at = std::max(at, *last_check_ + backoff_);
  if (!wanted_ || at < *wanted_) wanted_ = at;
}

void Cleaning::wake_at(WallMs when, WallMs now) {
  wake_in(Millis(std::max<int64_t>(when - now, 1)));
}

void Cleaning::arm() {
  io::Timers& timers = shard_.loop().timers();
  if (timer_ != io::TimerId::kNone) {
    if (!wanted_ || timer_at_ <= *wanted_) return;
    timers.cancel(timer_);
    timer_ = io::TimerId::kNone;
  }
  if (!wanted_) return;
  timer_at_ = *wanted_;
  const int64_t left = (timer_at_ - shard_.loop().clock().now() + 999'999) / 1'000'000;
  timer_ = timers.start(Millis(std::max<int64_t>(left, 1)), [this] {
    timer_ = io::TimerId::kNone;
    check();
  });
}

void Cleaning::check() {
  if (stopping_) return;
  const Choice choice = choose();
  if (choice.partition != nullptr) cleaner_->offer(shard_.loop().index(), choice.range.ratio());
}

/// The dirtiest log of those that are worth it; sets when to look next.
Cleaning::Choice Cleaning::choose() {
  const WallMs now = shard_.loop().clock().wall();
  last_check_ = shard_.loop().clock().now();
  wanted_.reset();
  Choice best;
  double dirtiest = 0;
  for (Partition* partition : shard_.partitions()) {
    if (partition->offline() || !partition->settings().log.compact_policy) continue;
    if (partition->cleaning_ || partition->uncleanable_ || partition->cleaning_pauses_ > 0)
      continue;
    const auto range = worth(*partition, now);
    if (!range) continue;
    dirtiest = std::max(dirtiest, range->ratio());
    const bool demanded = range->due != kNoTimestamp && range->due < now && range->dirty_bytes > 0;
    if (!demanded && range->ratio() <= partition->settings().log.min_cleanable_ratio) continue;
    if (best.partition == nullptr || range->ratio() > best.range.ratio()) {
      best = {partition, *range};
    }
  }
  if (metrics_.dirty_percent) metrics_.dirty_percent->set(static_cast<uint64_t>(dirtiest * 100));
  arm();
  return best;
}

std::optional<log::Cleanable> Cleaning::worth(Partition& partition, WallMs now) {
  auto range = partition.log_->cleanable(now, partition.last_stable_offset());
  if (!range) {
    if (range.error().kind == Errc::kCorrupt) {
      mark_uncleanable(partition, range.error());
    } else {
      partition.disk_failed(range.error());
    }
    return std::nullopt;
  }
  if (range->waits_for_stable) wake_in(backoff_);
  if (range->waits_until != kNoTimestamp) wake_at(range->waits_until, now);
  if (range->due != kNoTimestamp && range->due >= now) wake_at(range->due, now);
  return *range;
}

void Cleaning::mark_uncleanable(Partition& partition, const Error& error) {
  partition.uncleanable_ = true;
  uncleanable_++;
  if (metrics_.uncleanable) metrics_.uncleanable->set(static_cast<uint64_t>(uncleanable_));
  logger_.error("{} cannot be cleaned and is left as it is until the next start: {}",
                partition.name().to_string(), error.message);
}

// ---- one cleaning

void Cleaning::grant(const CleanerSettings& settings) {
  shard_.loop().post([this, settings, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) begin(settings);
  });
}

void Cleaning::begin(const CleanerSettings& settings) {
  const Choice choice = stopping_ ? Choice{} : choose();
  if (choice.partition == nullptr) return cleaner_->give_back();
  Partition& partition = *choice.partition;
  const auto threads = static_cast<uint64_t>(std::max(settings.threads, 1));
  io::Random& random = shard_.loop().random();
  const log::CompactionLimits limits{
      .map_bytes = settings.dedupe_bytes / threads,
      .load_factor = settings.load_factor,
      .io_bytes = static_cast<size_t>(std::max<uint64_t>(settings.io_bytes / threads / 2, 4096)),
      .rewritten_max = settings.decompressed_max,
      .key0 = random.next(),
      .key1 = random.next()};
  auto work = Compaction::make(
      partition.log_->compaction_plan(choice.range, shard_.loop().clock().wall()), limits);
  if (!work) {
    logger_.error("{} is not cleaned: {}", partition.name().to_string(), work.error().message);
    wake_in(backoff_);
    arm();
    return cleaner_->give_back();
  }
  const MonoNs now = shard_.loop().clock().now();
  auto job =
      std::make_shared<Job>(Job{.partition = &partition,
                                .name = partition.name(),
                                .dir = partition.dir(),
                                .folder = partition.log().folder(),
                                .from = choice.range.first_dirty,
                                .total = choice.range.clean_bytes + 2 * choice.range.dirty_bytes,
                                .work = std::move(*work),
                                .began = now,
                                .told = now});
  partition.cleaning_ = true;
  jobs_.push_back(job);
  step(job);
  check();  // the next one may begin beside it
}

/// Runs `work` on a file thread and goes on here.
void Cleaning::run(const JobPtr& job, io::Callback work, void (Cleaning::*then)(const JobPtr&)) {
  io_.background(std::move(work), shard_.loop(), [this, job, then, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) (this->*then)(job);
  });
}

void Cleaning::step(const JobPtr& job) {
  run(job, [job] { job->state = job->work->step(kSlice); }, &Cleaning::stepped);
}

void Cleaning::stepped(const JobPtr& job) {
  if (job->partition == nullptr) return end(job);
  if (!job->state) return failed(job, job->state.error());
  if (job->give_up) return end(job);
  tell_progress(*job);
  if (*job->state == Compaction::State::kSegmentReady) return replace(job);
  if (*job->state == Compaction::State::kDone) return cleaned(job);
  const uint64_t moved = job->work->bytes_moved();
  const Millis wait =
      cleaner_->throttle(moved - std::exchange(job->counted, moved), shard_.loop().clock().now());
  if (wait.value < 1) return step(job);
  job->timer = shard_.loop().timers().start(wait, [this, job] {
    job->timer = io::TimerId::kNone;
    step(job);
  });
}

void Cleaning::tell_progress(Job& job) {
  const MonoNs now = shard_.loop().clock().now();
  if (now < job.told + kProgress) return;
  job.told = now;
  const log::CompactionStats& stats = job.work->stats();
  logger_.info("cleaning {}: {} of {} MiB read, {} MiB written", job.name.to_string(),
               (stats.mapped_bytes + stats.bytes_read) >> 20, job.total >> 20,
               stats.bytes_written >> 20);
}

// ---- the new segment takes its place

void Cleaning::replace(const JobPtr& job) {
  auto swap = job->partition->log_->replace_segments(job->work->take_segment());
  if (!swap) return failed(job, swap.error());
  job->partition->segments_ = job->partition->log_->segment_count();
  job->swap = std::move(*swap);
  job->swap_step = job->swap_done = 0;
  rename_some(job);
}

void Cleaning::rename_some(const JobPtr& job) {
  if (job->partition == nullptr) return end(job);
  const auto& renames = job->swap->steps[job->swap_step];
  const size_t until = std::min(renames.size(), job->swap_done + kRenames);
  for (; job->swap_done < until; job->swap_done++) {
    const auto& r = renames[job->swap_done];
    auto done = io_.disk().rename(r.from, r.to);
    if (done || (job->swap_done > 0 && done.error().kind == Errc::kNotFound)) continue;
    job->partition->disk_failed(done.error());
    return end(job);
  }
  if (job->swap_done < renames.size()) {
    return shard_.loop().post([this, job, alive = std::weak_ptr(alive_)] {
      if (!alive.expired()) rename_some(job);
    });
  }
  run(
      job, [&disk = io_.disk(), job] { job->synced = disk.sync_directory(job->folder); },
      &Cleaning::renamed);
}

void Cleaning::renamed(const JobPtr& job) {
  if (job->partition == nullptr) return end(job);
  if (!job->synced) {
    job->partition->disk_failed(job->synced.error());
    return end(job);
  }
  job->swap_done = 0;
  if (++job->swap_step < job->swap->steps.size()) return rename_some(job);
  Partition& partition = *job->partition;
  partition.log_->replaced(*job->swap);
  job->swap.reset();
  for (std::string& path : partition.log_->take_doomed()) {
    shard_.housekeeping().remove_later(std::move(path), Housekeeping::Kind::kFile,
                                       partition.settings().log.file_delete_delay);
  }
  job->give_up ? end(job) : step(job);
}

// ---- the end

void Cleaning::cleaned(const JobPtr& job) {
  Partition& partition = *job->partition;
  const log::CompactionStats stats = job->work->stats();
  partition.log_->set_first_dirty(job->work->end());
  shard_.report(job->dir, CheckpointKind::kCleaner, {{job->name, partition.log_->first_dirty()}});
  const int64_t ms = (shard_.loop().clock().now() - job->began) / 1'000'000;
  const uint64_t kept = stats.bytes_read == 0 ? 100 : stats.bytes_written * 100 / stats.bytes_read;
  logger_.info(
      "cleaned {}, offsets {} to {}, in {}.{:03} s: {} of {} bytes ({} %), {} of {} records left",
      job->name.to_string(), job->from.value, job->work->end().value, ms / 1000, ms % 1000,
      stats.bytes_written, stats.bytes_read, kept, stats.records_written, stats.records_read);
  if (stats.keyless > 0) {
    logger_.warn("{}: {} records without a key were removed", job->name.to_string(), stats.keyless);
  }
  if (metrics_.runs != nullptr) {
    metrics_.runs->add();
    metrics_.bytes_read->add(stats.bytes_read);
    metrics_.bytes_written->add(stats.bytes_written);
    metrics_.records_removed->add(stats.records_read - stats.records_written);
    metrics_.last_run->set(static_cast<uint64_t>(shard_.loop().clock().wall().value / 1000));
    metrics_.kept_percent->set(kept);
  }
  end(job);
}

void Cleaning::failed(const JobPtr& job, const Error& error) {
  Partition& partition = *job->partition;
  if (metrics_.failures != nullptr) metrics_.failures->add();
  switch (error.kind) {
    case Errc::kCorrupt:
    case Errc::kLimit:
    case Errc::kUnsupported:
      mark_uncleanable(partition, error);
      break;
    case Errc::kNoSpace:
    case Errc::kInvalid:
      logger_.warn("{} is not cleaned now: {}", job->name.to_string(), error.message);
      break;
    default:
      partition.disk_failed(error);
  }
  end(job);
}

/// Frees what the cleaning holds, on a file thread, and removes what it has left over.
void Cleaning::end(const JobPtr& job) {
  const bool tidy = job->partition != nullptr;
  run(
      job,
      [job, tidy] {
        if (tidy) job->work->abandon();
        job->work.reset();
      },
      &Cleaning::ended);
}

void Cleaning::ended(const JobPtr& job) {
  jobs_.remove(job);
  if (job->partition != nullptr) {
    job->partition->cleaning_ = false;
    if (!stopping_) shard_.housekeeping().retain(*job->partition);
  }
  cleaner_->give_back();
  for (io::Callback& paused : std::exchange(job->paused, {})) {
    if (job->partition != nullptr) paused();
  }
  if (stopping_) {
    if (jobs_.empty() && stopped_) std::exchange(stopped_, {})();
    return;
  }
  wake_in(Millis(0));
  arm();
}

void Cleaning::forget(Partition& partition) {
  if (std::exchange(partition.uncleanable_, false)) uncleanable_--;
  if (metrics_.uncleanable) metrics_.uncleanable->set(static_cast<uint64_t>(uncleanable_));
  for (const JobPtr& job : jobs_) {
    if (job->partition != &partition) continue;
    job->partition = nullptr;
    give_up(job);
  }
}

/// What is under way on a file thread comes back first.
void Cleaning::give_up(const JobPtr& job) {
  job->give_up = true;
  if (job->timer == io::TimerId::kNone) return;
  shard_.loop().timers().cancel(std::exchange(job->timer, io::TimerId::kNone));
  end(job);
}

void Cleaning::pause(Partition& partition, io::Callback paused) {
  partition.cleaning_pauses_++;
  for (const JobPtr& job : jobs_) {
    if (job->partition != &partition) continue;
    job->paused.push_back(std::move(paused));
    return give_up(job);
  }
  paused();
}

void Cleaning::resume(Partition& partition) {
  ODRADEK_CHECK(partition.cleaning_pauses_ > 0);
  partition.cleaning_pauses_--;
  poke();
}

void Cleaning::stop(io::Callback done) {
  stopping_ = true;
  for (const JobPtr& job : jobs_) give_up(job);
  if (jobs_.empty()) return done();
  stopped_ = std::move(done);
}

}  // namespace odradek::replica
