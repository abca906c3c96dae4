#include "replica/sync_group.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "replica/partition.h"

namespace odradek::replica {

void drop_twins(std::vector<std::shared_ptr<io::File>>& files) {
  if (files.size() < 2) return;
  const auto path = [](const auto& file) -> const std::string& { return file->path(); };
  std::ranges::sort(files, {}, path);
  const auto twins = std::ranges::unique(files, {}, path);
  files.erase(twins.begin(), twins.end());
}

SyncGroup::SyncGroup(io::Loop& loop, LogDirs& dirs)
    : loop_(loop), dirs_(dirs), by_dir_(dirs.size()) {}

void SyncGroup::mark(Partition& partition) {
  if (partition.dirty_ || partition.offline()) return;
  partition.dirty_ = true;
  by_dir_[partition.dir()].dirty.push_back(&partition);
}

void SyncGroup::submit() {
  for (size_t i = 0; i < by_dir_.size(); i++) submit(i);
}

void SyncGroup::submit(size_t index) {
  Dir& dir = by_dir_[index];
  if (dir.in_flight || dir.dirty.empty()) return;
  io::SyncJob job;
  size_t carried = 0;
  for (Partition* partition : dir.dirty) {
    partition->dirty_ = false;
    partition->unflushed_records_ = 0;
    partition->unflushed_bytes_ = 0;
    dir.syncing.push_back({partition, partition->log_->take_unsynced()});
    carried += dir.syncing.back().ticket.carried.size();
  }
  job.appended.reserve(dir.dirty.size());
  job.bytes.reserve(carried);
  for (Taken& taken : dir.syncing) log::add_to(job, taken.ticket);
  dir.dirty.clear();
  drop_twins(job.files);
  dir.in_flight = true;
  const bool unwritten = std::ranges::any_of(job.appended, &io::Appended::unwritten);
  if (unwritten) {
    job.written = dir.written;
    job.job = ++dir.jobs;
  }
  dirs_.sync_queue(index).submit(
      std::move(job), loop_,
      [this, index](const Result<io::Synced>& result) { completed(index, result); });
  if (unwritten) write_out(dir);  // while the device works
}

void SyncGroup::write_out(Dir& dir) {
  write_out(dir.syncing);
  dir.written->store(dir.jobs);
  dir.written->notify_one();
}

void SyncGroup::write_out(const std::vector<Taken>& taken) {
  for (const Taken& each : taken) {
    if (!each.ticket.appended || each.partition == nullptr || each.partition->offline()) continue;
    const auto write = each.partition->unwritten();
    if (!write) continue;
    writes_.push_back(*write);
    written_.push_back(&each);
  }
  dirs_.write_all(writes_);
  for (size_t i = 0; i < writes_.size(); i++) {
    // Gone, perhaps, because of one before it.
    Partition* const partition = written_[i]->partition;
    if (partition != nullptr) partition->wrote_out(writes_[i].result);
  }
  writes_.clear();
  written_.clear();
}

/// What was unwritten when its round came: by now it is in the files, which are to be synced.
void SyncGroup::sync_refused(std::vector<Taken>& done) {
  write_out(done);
  for (Taken& taken : done) {
    if (!taken.ticket.appended || !taken.ticket.appended->unwritten) continue;
    Partition* partition = std::exchange(taken.partition, nullptr);
    if (partition == nullptr || partition->offline()) continue;
    partition->log_->refused(taken.ticket);
    mark(*partition);
  }
}

void SyncGroup::completed(size_t index, const Result<io::Synced>& result) {
  Dir& dir = by_dir_[index];
  ODRADEK_CHECK(dir.in_flight);
  dir.in_flight = false;
  std::vector<Taken> done;
  done.swap(dir.syncing);
  if (!result) {
    // Never retried: after a failed sync nobody knows what is on the device.
    for (Partition* partition : dir.dirty) partition->dirty_ = false;
    dir.dirty.clear();
    dirs_.fail(index, result.error());
  } else {
    dir.flushed = std::max(dir.flushed, result->flushed);
    if (std::ranges::any_of(done, [](const Taken& t) { return t.ticket.appended.has_value(); })) {
      dir.ahead = result->lap > 0;
    }
    if (result->refused) sync_refused(done);
    submit(index);  // before anybody is woken: the device should not wait for us
    for (Taken& taken : done) {
      if (taken.partition == nullptr || taken.partition->offline()) continue;
      taken.partition->log_->synced(taken.ticket, *result);
      taken.partition->synced();
    }
    done.clear();
    if (dir.syncing.empty()) dir.syncing.swap(done);  // keeps its memory
  }
  if (on_idle_ && idle()) std::exchange(on_idle_, {})();
}

void SyncGroup::next_lap(size_t dir) {
  if (dirs_.offline(dir)) return;
  dirs_.sync_queue(dir).submit({.files = {}, .appended = {}, .order = io::AheadOrder::kNextLap},
                               loop_, [this, dir](const Result<io::Synced>& result) {
                                 if (result)
                                   by_dir_[dir].flushed =
                                       std::max(by_dir_[dir].flushed, result->flushed);
                                 if (!result) dirs_.fail(dir, result.error());
                               });
}

void SyncGroup::forget(Partition& partition) {
  Dir& dir = by_dir_[partition.dir()];
  if (partition.dirty_) std::erase(dir.dirty, &partition);
  partition.dirty_ = false;
  for (Taken& taken : dir.syncing) {
    if (taken.partition == &partition) taken.partition = nullptr;
  }
}

bool SyncGroup::idle() const {
  return std::ranges::all_of(by_dir_, [](const Dir& d) { return !d.in_flight && d.dirty.empty(); });
}

void SyncGroup::when_idle(io::Callback callback) {
  on_idle_ = std::move(callback);
  submit();
  if (idle()) std::exchange(on_idle_, {})();
}

}  // namespace odradek::replica
