#include "replica/housekeeping.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/check.h"
#include "replica/partition.h"
#include "replica/shard.h"
#include "replica/sync_group.h"

namespace odradek::replica {
namespace {

using log::CheckpointKind;

/// Bytes of all partitions of a loop after which recovery points are reported, and how much later
/// they probably are on the device.
constexpr uint64_t kWrittenMax = 64 << 20;
constexpr Millis kSyncedBy{50};

uint8_t bit(CheckpointKind kind) { return static_cast<uint8_t>(1U << static_cast<int>(kind)); }

}  // namespace

Offset Housekeeping::offset_of(const Partition& partition, CheckpointKind kind) {
  switch (kind) {
    case CheckpointKind::kRecoveryPoint:
      return partition.log().recovery_point();
    case CheckpointKind::kLogStart:
      return partition.log_start();
    default:
      return partition.high_watermark();
  }
}

Housekeeping::Housekeeping(Shard& shard, io::Io& io, Logger logger)
    : shard_(shard), io_(io), timers_(shard.loop().timers()), logger_(std::move(logger)) {
  retention_timer_ = timers_.start(shard_.settings().retention_check, [this] { retention(); });
  producers_timer_ =
      timers_.start(shard_.settings().producer_expiration_check, [this] { expire_producers(); });
}

Housekeeping::~Housekeeping() {
  stop();
  for (Due& due : due_) timers_.cancel(due.timer);
  timers_.cancel(removal_timer_);
}

void Housekeeping::stop() {
  stopped_ = true;
  for (io::TimerId* timer : {&flush_timer_, &retention_timer_, &producers_timer_}) {
    timers_.cancel(std::exchange(*timer, io::TimerId::kNone));
  }
}

void Housekeeping::changed(Partition& partition, CheckpointKind kind) {
  if ((partition.checkpoint_due_ & bit(kind)) != 0) return;
  partition.checkpoint_due_ |= bit(kind);
  Due& due = due_[static_cast<size_t>(kind)];
  due.partitions.push_back(&partition);
  if (due.timer != io::TimerId::kNone) return;
  const ShardSettings& s = shard_.settings();
  const Millis delay = kind == CheckpointKind::kHighWatermark   ? s.high_watermark_checkpoint
                       : kind == CheckpointKind::kRecoveryPoint ? s.recovery_point_checkpoint
                                                                : s.log_start_checkpoint;
  due.timer = timers_.start(delay, [this, kind] { report(kind); });
}

void Housekeeping::written(uint64_t bytes) {
  written_ += bytes;
  if (written_ < kWrittenMax) return;
  written_ = 0;
  Due& due = due_[static_cast<size_t>(CheckpointKind::kRecoveryPoint)];
  timers_.cancel(due.timer);
  due.timer = timers_.start(kSyncedBy, [this] { report(CheckpointKind::kRecoveryPoint); });
}

void Housekeeping::report_now(CheckpointKind kind) {
  timers_.cancel(due_[static_cast<size_t>(kind)].timer);
  report(kind);
}

void Housekeeping::report(CheckpointKind kind) {
  Due& due = due_[static_cast<size_t>(kind)];
  due.timer = io::TimerId::kNone;
  const SyncGroup& syncs = shard_.sync_group();
  std::map<size_t, std::vector<CheckpointChange>> by_dir;
  std::vector<Partition*> ahead;
  for (Partition* partition : std::exchange(due.partitions, {})) {
    partition->checkpoint_due_ &= static_cast<uint8_t>(~bit(kind));
    if (partition->offline()) continue;
    if (kind == CheckpointKind::kRecoveryPoint) {
      partition->log_->flushed(syncs.flushed_lap(partition->dir()));
      if (partition->log_->ahead() && !stopped_) ahead.push_back(partition);
    }
    by_dir[partition->dir()].push_back({partition->name(), offset_of(*partition, kind)});
  }
  for (auto& [dir, changes] : by_dir) shard_.report(dir, kind, std::move(changes));
  // Their recovery points follow once the write-ahead file has been emptied.
  std::set<size_t> dirs;
  for (Partition* partition : ahead) {
    changed(*partition, kind);
    dirs.insert(partition->dir());
  }
  for (size_t dir : dirs) shard_.sync_group().next_lap(dir);
}

void Housekeeping::report_all() {
  for (size_t i = 0; i < kKinds; i++) {
    timers_.cancel(due_[i].timer);
    due_[i].timer = io::TimerId::kNone;
    for (Partition* partition : std::exchange(due_[i].partitions, {})) {
      partition->checkpoint_due_ = 0;
    }
  }
  for (const CheckpointKind kind : {CheckpointKind::kRecoveryPoint, CheckpointKind::kLogStart,
                                    CheckpointKind::kHighWatermark}) {
    std::map<size_t, std::vector<CheckpointChange>> by_dir;
    for (Partition* partition : shard_.partitions()) {
      if (partition->offline()) continue;
      std::optional<Offset> line = offset_of(*partition, kind);
      // Apache has no line for what the files say by themselves.
      if (kind == CheckpointKind::kLogStart && partition->log().starts_with_first_file()) {
        line.reset();
      }
      by_dir[partition->dir()].push_back({partition->name(), line});
    }
    for (auto& [dir, changes] : by_dir) shard_.report(dir, kind, std::move(changes));
  }
}

void Housekeeping::retention() {
  retention_timer_ = timers_.start(shard_.settings().retention_check, [this] { retention(); });
  Unsaved unsaved;
  for (Partition* partition : shard_.partitions()) expire(*partition, unsaved);
  save_starts(std::move(unsaved));
}

void Housekeeping::retain(Partition& partition) {
  Unsaved unsaved;
  expire(partition, unsaved);
  save_starts(std::move(unsaved));
}

void Housekeeping::expire(Partition& partition, Unsaved& unsaved) {
  // While a log is being cleaned, its segments stay; its turn comes at the end of that.
  if (partition.offline() || partition.cleaning_) return;
  Result<bool> moved =
      partition.log_->expire(shard_.loop().clock().wall(), partition.high_watermark());
  if (!moved) {
    (void)partition.disk_failed(moved.error());
    return;
  }
  if (*moved) changed(partition, CheckpointKind::kLogStart);
  // A segment may have been rolled to be removed.
  if (partition.log_->unsynced() && partition.settings().synced()) shard_.sync_soon(partition);
  if (partition.saved_start_ >= partition.log_start() || shard_.dirs().full(partition.dir())) {
    return remove_expired(partition, partition.log_start());
  }
  unsaved[partition.dir()].push_back(
      {partition.topic().id, partition.index(), partition.log_start()});
}

void Housekeeping::save_starts(Unsaved unsaved) {
  if (unsaved.empty()) return;
  report_now(CheckpointKind::kLogStart);
  for (auto& [dir, starts] : unsaved) {
    shard_.dirs().when_saved(
        dir, CheckpointKind::kLogStart, shard_.loop(),
        [this, alive = std::weak_ptr(alive_), at = dir, saved = std::move(starts)] {
          if (!alive.expired()) starts_saved(at, saved);
        });
  }
}

void Housekeeping::starts_saved(size_t dir, const std::vector<Start>& starts) {
  if (stopped_ || shard_.dirs().offline(dir)) return;
  for (const Start& start : starts) {
    Partition* partition = shard_.find(start.topic, start.index);
    if (partition == nullptr || partition->dir() != dir || partition->offline()) continue;
    partition->saved_start_ = std::max(partition->saved_start_, start.offset);
    if (!partition->cleaning_) remove_expired(*partition, partition->saved_start_);
  }
}

void Housekeeping::remove_expired(Partition& partition, Offset limit) {
  Result<log::Removed> removed =
      partition.log_->remove_expired(std::min(limit, partition.high_watermark()));
  if (!removed) {
    (void)partition.disk_failed(removed.error());
    return;
  }
  if (removed->segments > 0) {
    logger_.info("{}: removed {} segments, {} bytes; log start offset {}",
                 partition.name().to_string(), removed->segments, removed->bytes,
                 partition.log_start().value);
  }
  for (std::string& path : partition.log_->take_doomed()) {
    remove_later(std::move(path), Kind::kFile, partition.settings().log.file_delete_delay);
  }
  if (partition.log_->unsynced() && partition.settings().synced()) shard_.sync_soon(partition);
}

void Housekeeping::expire_producers() {
  producers_timer_ =
      timers_.start(shard_.settings().producer_expiration_check, [this] { expire_producers(); });
  const WallMs now = shard_.loop().clock().wall();
  for (Partition* partition : shard_.partitions()) {
    if (!partition->offline()) partition->log_->expire_producers(now);
  }
}

// ---- flush.ms

void Housekeeping::flush_by(Partition& partition, MonoNs when) {
  if (partition.flush_waits_) return;
  partition.flush_waits_ = true;
  partition.flush_at_ = when;
  flush_.push_back(&partition);
  arm_flush();
}

void Housekeeping::arm_flush() {
  if (flush_timer_ != io::TimerId::kNone || flush_.empty()) return;
  const auto first = std::ranges::min_element(flush_, {}, &Partition::flush_at_);
  const int64_t left = ((*first)->flush_at_ - shard_.loop().clock().now() + 999'999) / 1'000'000;
  flush_timer_ = timers_.start(Millis(std::max<int64_t>(left, 1)), [this] { flush_due(); });
}

void Housekeeping::flush_due() {
  flush_timer_ = io::TimerId::kNone;
  const MonoNs now = shard_.loop().clock().now();
  std::erase_if(flush_, [&](Partition* partition) {
    if (partition->flush_at_ > now) return false;
    partition->flush_waits_ = false;
    if (partition->log_->unsynced()) shard_.sync_soon(*partition);
    return true;
  });
  arm_flush();
}

void Housekeeping::forget(Partition& partition) {
  for (Due& due : due_) std::erase(due.partitions, &partition);
  partition.checkpoint_due_ = 0;
  if (partition.flush_waits_) std::erase(flush_, &partition);
  partition.flush_waits_ = false;
}

// ---- removal

void Housekeeping::remove_later(std::string path, Kind kind, Millis delay) {
  const auto at =
      doomed_.emplace(shard_.loop().clock().now() + delay, Doomed{std::move(path), kind});
  if (at != doomed_.begin()) return;
  timers_.cancel(removal_timer_);
  arm_removal();
}

void Housekeeping::arm_removal() {
  removal_timer_ = io::TimerId::kNone;
  if (doomed_.empty()) return;
  const int64_t left = (doomed_.begin()->first - shard_.loop().clock().now() + 999'999) / 1'000'000;
  removal_timer_ = timers_.start(Millis(std::max<int64_t>(left, 0)), [this] { remove_due(); });
}

void Housekeeping::remove_due() {
  std::vector<Doomed> due;
  const MonoNs now = shard_.loop().clock().now();
  while (!doomed_.empty() && doomed_.begin()->first <= now) {
    due.push_back(std::move(doomed_.begin()->second));
    doomed_.erase(doomed_.begin());
  }
  arm_removal();
  if (due.empty()) return;
  io_.background(
      [&disk = io_.disk(), logger = logger_, due = std::move(due)] {
        for (const Doomed& d : due) {
          Result<void> r = d.kind == Kind::kFile ? disk.remove(d.path) : disk.remove_tree(d.path);
          if (!r) logger.warn("cannot remove {}: {}", d.path, r.error().message);
        }
      },
      shard_.loop(), [] {});
}

}  // namespace odradek::replica
