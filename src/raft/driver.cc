#include "raft/driver.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "base/arena.h"
#include "base/check.h"
#include "raft/quorum_state.h"
#include "wire/errors.h"
#include "wire/gen/leader_change_message.h"
#include "wire/record_batch.h"

namespace odradek::raft {

namespace {

constexpr uint32_t kReadBytes = 1 << 20;

// Hands the batches of [from, up_to) to `sink`.
Result<Offset> read_log(log::Log& log, Offset from, Offset up_to, const BatchSink& sink) {
  while (from < up_to) {
    auto read = log.read(from, {kReadBytes, up_to, true});
    if (!read) return std::unexpected(read.error());
    if (read->error != wire::ErrorCode::kNone || read->piece.size() == 0)
      return fail(Errc::kCorrupt,
                  fmt::format("the metadata log has no batch at offset {} (it is {} to {})",
                              from.value, log.start().value, log.end().value));
    auto bytes = log::read_piece(read->piece);
    if (!bytes) return std::unexpected(bytes.error());
    wire::BatchIterator batches(*bytes);
    while (true) {
      auto header = batches.next();
      if (!header) return std::unexpected(header.error());
      if (!*header) break;
      auto batch = read_batch(**header);
      if (!batch) return std::unexpected(batch.error());
      if (auto r = sink(*batch); !r) return std::unexpected(r.error());
      from = (*header)->next_offset();
    }
  }
  return from;
}

}  // namespace

Driver::Driver(DriverOptions options, Listener& listener)
    : options_(std::move(options)),
      listener_(listener),
      folder_(fmt::format("{}/{}-0", options_.directory, kMetadataTopic)) {}

Driver::~Driver() {
  *alive_ = false;
  if (options_.loop != nullptr) options_.loop->timers().cancel(snapshot_timer_);
}

Result<std::unique_ptr<Driver>> Driver::open(DriverOptions options, Listener& listener) {
  std::unique_ptr<Driver> driver(new Driver(std::move(options), listener));
  if (auto r = driver->load(); !r) return std::unexpected(r.error());
  return driver;
}

// ------------------------------------------------------------------------------------------------
// start

Result<void> Driver::load() {
  io::Disk& disk = options_.io->disk();
  if (auto r = disk.make_directory(folder_); !r) return r;
  auto snapshots = list_snapshots(disk, folder_);
  if (!snapshots) return std::unexpected(snapshots.error());
  snapshots_ = std::move(*snapshots);

  log::LogOptions log{.disk = &disk,
                      .folder = folder_,
                      .partition = {std::string(kMetadataTopic), PartitionIndex(0)},
                      .topic_id = kMetadataTopicId,
                      .contiguous = true,
                      .now = options_.loop->clock().wall(),
                      .random = options_.loop->random().next(),
                      .logger = options_.logger};
  log.config.segment_bytes = options_.segment_bytes;
  log.config.segment_ms = options_.segment_ms;
  log.config.delete_policy = false;  // only what a snapshot covers goes
  if (!snapshots_.empty()) {
    log.start = snapshots_.front().end;
    log.recovery_point = snapshots_.back().end;  // only what was synced is in a snapshot
  }
  auto opened = log::Log::open(std::move(log));
  if (!opened) return std::unexpected(opened.error());
  log_ = std::move(*opened);

  const SnapshotId newest = snapshots_.empty() ? SnapshotId{} : snapshots_.back();
  if (log_->end() < newest.end)
    if (auto r = log_->truncate_fully_and_start_at(newest.end); !r) return r;
  if (log_->start() > newest.end)
    return fail(Errc::kCorrupt,
                fmt::format("{} begins at offset {}, and no snapshot covers what is before",
                            folder_, log_->start().value));
  sync_queue_ = options_.io->make_sync_queue("metadata");
  return load_voters();
}

Result<void> Driver::load_voters() {
  VoterHistory history;
  std::optional<VoterSet> from_snapshot;
  Offset from{0};
  if (!snapshots_.empty()) {
    const SnapshotId newest = snapshots_.back();
    auto content = read_snapshot_header(options_.io->disk(), folder_ + "/" + newest.file_name());
    if (!content) return std::unexpected(content.error());
    from_snapshot = content->voters;
    from = newest.end;
    // The 0-0 snapshot is never sent to others: its voters must get into the log.
    voters_in_log_ = from_snapshot.has_value() && newest != SnapshotId{};
  }
  auto end =
      read_log(*log_, from, log_->end(), [&](const Batch& batch) { return history.apply(batch); });
  if (!end) return std::unexpected(end.error());
  if (history.current()) {
    voters_ = *history.current();
    voters_in_log_ = true;
  } else if (from_snapshot) {
    voters_ = *from_snapshot;
  } else {
    voters_ = VoterSet{0, options_.static_voters};
  }
  return {};
}

Result<void> Driver::start() {
  auto state = read_quorum_state(options_.io->disk(), folder_);
  if (!state) return std::unexpected(state.error());
  const SnapshotId newest = snapshots_.empty() ? SnapshotId{} : snapshots_.back();
  LeaderEpoch last_epoch = log_->latest_epoch();
  if (last_epoch < newest.epoch) last_epoch = newest.epoch;
  Voter self{
      .id = options_.node, .directory = options_.directory_id, .endpoints = options_.listeners};
  auto step = Step::start({.node = options_.node,
                           .directory = options_.directory_id,
                           .state = *state,
                           .voters = voters_,
                           .self = std::move(self),
                           .voters_in_log = voters_in_log_,
                           .log_end = log_->end(),
                           .last_epoch = last_epoch});
  if (!step) return std::unexpected(step.error());
  step_ = std::move(*step);

  if (newest.end > Offset(0)) {
    listener_.begin_snapshot();
    auto content = read_snapshot(options_.io->disk(), folder_ + "/" + newest.file_name(),
                                 [&](const Batch& batch) { return listener_.on_batch(batch); });
    if (!content) return std::unexpected(content.error());
    if (auto r = listener_.end_snapshot(newest, content->last_timestamp); !r) return r;
  }
  delivered_ = newest.end;
  if (auto r = run_step(); !r) return r;  // votes, leads, appends its batch
  if (auto r = log_->sync(); !r) return r;
  step_->synced(log_->end());
  if (auto r = run_step(); !r) return r;
  arm_snapshot_timer();
  return {};
}

// ------------------------------------------------------------------------------------------------
// the step

Result<void> Driver::run_step() {
  while (auto ready = step_->take()) {
    if (ready->persist) {
      if (auto r =
              write_quorum_state(options_.io->disk(), folder_, *ready->persist, step_->voters());
          !r)
        return r;
      step_->persisted();
    }
    if (ready->append)
      if (auto r = append_leader_batch(*ready->append); !r) return r;
    if (ready->committed)
      if (auto r = deliver(*ready->committed); !r) return r;
    if (ready->role)
      options_.logger.info("metadata quorum: {} in epoch {}", name(ready->role->role),
                           ready->role->epoch.value);
  }
  const bool ours_is_committed = step_->high_watermark() > step_->epoch_start();
  if (!leader_told_ && step_->role() == Role::kLeader && ours_is_committed) {
    leader_told_ = true;
    listener_.on_leader(step_->epoch());
  }
  return {};
}

Result<void> Driver::append_leader_batch(const LeaderBatch& batch) {
  const WallMs now = options_.loop->clock().wall();
  wire::BatchBuilder builder(
      {.base_offset = batch.base, .leader_epoch = batch.epoch, .control = true});
  Arena arena;
  wire::LeaderChangeMessage change;
  change.leader_id = batch.leader.value;
  for (BrokerId id : batch.voters) change.voters.add(arena).voter_id = id.value;
  for (BrokerId id : batch.granting) change.granting_voters.add(arena).voter_id = id.value;
  builder.add_control(now, wire::ControlType::kLeaderChange, change);
  if (batch.voter_set) add_voter_records(builder, now, *batch.voter_set);
  log_->assign_epoch(batch.epoch);
  auto bytes = builder.build();
  if (!bytes) return std::unexpected(bytes.error());
  return append_bytes(*bytes, batch.base + int64_t{batch.count()});
}

Result<void> Driver::append_bytes(const ByteBuffer& batch, Offset end) {
  auto result = log_->append_as_follower(batch, options_.loop->clock().wall());
  if (!result) return std::unexpected(result.error());
  ODRADEK_CHECK(result->error == wire::ErrorCode::kNone && log_->end() == end);
  step_->appended(end);
  return {};
}

Result<void> Driver::deliver(Offset up_to) {
  auto end = read_log(*log_, delivered_, up_to, [&](const Batch& batch) {
    bytes_since_snapshot_ += batch.bytes;
    return listener_.on_batch(batch);
  });
  if (!end) return std::unexpected(end.error());
  delivered_ = *end;
  listener_.on_committed(delivered_);
  if (snapshot_due() && !failed_) listener_.on_snapshot_due();
  return {};
}

// ------------------------------------------------------------------------------------------------
// CommitLog

Result<void> Driver::can_append() const {
  if (failed_ || closed_) return fail(Errc::kClosed, "the metadata log is closed");
  if (!step_ || !step_->can_propose() || !leader_told_)
    return fail(Errc::kClosed, "this node does not lead the metadata quorum");
  return {};
}

Offset Driver::end() const { return log_->end(); }

Offset Driver::committed() const { return step_ ? step_->high_watermark() : kNoOffset; }

Offset Driver::log_start() const { return log_->start(); }

Result<Offset> Driver::append_values(std::span<const std::string> values) {
  ODRADEK_CHECK(!values.empty());
  if (auto able = can_append(); !able) return std::unexpected(able.error());
  const WallMs now = options_.loop->clock().wall();
  wire::BatchBuilder builder({.base_offset = log_->end(), .leader_epoch = step_->epoch()});
  for (const std::string& value : values) builder.add(now, std::nullopt, as_bytes(value));
  auto bytes = builder.build();
  if (!bytes) return std::unexpected(bytes.error());
  const Offset end = log_->end() + static_cast<int64_t>(values.size());
  if (auto r = append_bytes(*bytes, end); !r) return std::unexpected(r.error());
  start_sync();
  return end;
}

void Driver::start_sync() {
  if (syncing_ || failed_ || closed_ || !log_->unsynced()) return;
  syncing_ = true;
  log::SyncTicket ticket = log_->take_unsynced();
  io::SyncJob job;
  log::add_to(job, ticket);
  sync_queue_->submit(
      std::move(job), *options_.loop,
      [this, alive = alive_, ticket = std::move(ticket)](const Result<io::Synced>& result) {
        if (*alive) on_synced(ticket, result);
      });
}

void Driver::on_synced(const log::SyncTicket& ticket, const Result<io::Synced>& result) {
  syncing_ = false;
  if (failed_ || closed_) return;
  if (!result) return failed(result.error());
  log_->synced(ticket);
  step_->synced(log_->durable_end());
  if (auto r = run_step(); !r) return failed(r.error());
  start_sync();
}

void Driver::failed(const Error& error) {
  if (failed_) return;
  failed_ = true;
  step_->resign();
  options_.logger.error("metadata log: {}", error.message);
  listener_.on_failed(error);
}

Result<void> Driver::read_all(const BatchSink& snapshot, const BatchSink& log) const {
  Offset from{0};
  if (!snapshots_.empty() && snapshots_.back().end > Offset(0)) {
    auto content =
        read_snapshot(options_.io->disk(), folder_ + "/" + snapshots_.back().file_name(), snapshot);
    if (!content) return std::unexpected(content.error());
    from = snapshots_.back().end;
  }
  auto end = read_log(*log_, from, log_->end(), log);
  if (!end) return std::unexpected(end.error());
  return {};
}

Result<void> Driver::close() {
  if (closed_) return {};
  closed_ = true;
  options_.loop->timers().cancel(snapshot_timer_);
  if (step_) step_->resign();
  if (failed_) return {};
  return log_->close();
}

// ------------------------------------------------------------------------------------------------
// snapshots

bool Driver::snapshot_due() const {
  if (writing_snapshot_) return false;
  return due_by_time_ || bytes_since_snapshot_ >= options_.snapshot_bytes;
}

void Driver::arm_snapshot_timer() {
  if (options_.snapshot_interval.value <= 0) return;
  snapshot_timer_ =
      options_.loop->timers().start(options_.snapshot_interval, [this, alive = alive_] {
        if (!*alive || failed_ || closed_) return;
        due_by_time_ = bytes_since_snapshot_ > 0;
        if (snapshot_due()) listener_.on_snapshot_due();
        arm_snapshot_timer();
      });
}

void Driver::write_snapshot(Offset last, LeaderEpoch epoch, WallMs last_timestamp,
                            Produce produce) {
  const SnapshotId id{last + int64_t{1}, epoch};
  ODRADEK_CHECK(id.end <= committed());
  if (writing_snapshot_ || closed_ || (!snapshots_.empty() && id.end <= snapshots_.back().end))
    return;
  writing_snapshot_ = true;
  bytes_since_snapshot_ = 0;
  due_by_time_ = false;
  struct Job {
    io::Disk& disk;
    std::string path;
    VoterSet voters;
    Result<void> result;
  };
  auto job = std::make_shared<Job>(options_.io->disk(), folder_ + "/" + id.file_name(),
                                   step_->voters(), Result<void>());
  const WallMs now = options_.loop->clock().wall();
  auto work = [job, id, last_timestamp, now, produce = std::move(produce)]() mutable {
    auto writer =
        SnapshotWriter::create(job->disk, job->path, id.epoch, last_timestamp, job->voters, now);
    if (!writer) {
      job->result = std::unexpected(writer.error());
      return;
    }
    produce([&](ByteView value) {
      if (job->result) job->result = (*writer)->add(value);
    });
    if (job->result) job->result = (*writer)->finish();
  };
  options_.io->background(std::move(work), *options_.loop, [this, alive = alive_, job, id] {
    if (*alive) snapshot_written(id, std::move(job->result));
  });
}

void Driver::snapshot_written(SnapshotId id, Result<void> result) {
  writing_snapshot_ = false;
  if (!result) {
    // The log is still whole: try again when the next one is due.
    options_.logger.warn("snapshot {}: {}", id.file_name(), result.error().message);
    return;
  }
  snapshots_.push_back(id);
  if (closed_ || failed_) return;
  if (auto r = clean_up(); !r)
    options_.logger.warn("cleaning the metadata log: {}", r.error().message);
}

Result<void> Driver::clean_up() {
  io::Disk& disk = options_.io->disk();
  auto entries = disk.list(folder_);
  if (!entries) return std::unexpected(entries.error());
  std::map<SnapshotId, uint64_t> sizes;
  uint64_t total = log_->size();
  for (const io::DirEntry& entry : *entries) {
    const auto id = SnapshotId::parse(entry.name);
    if (!id) continue;
    sizes[*id] = entry.size;
    total += entry.size;
  }
  const WallMs now = options_.loop->clock().wall();
  while (snapshots_.size() > 1) {
    const SnapshotId oldest = snapshots_.front();
    const std::string path = folder_ + "/" + oldest.file_name();
    auto content = read_snapshot_header(disk, path);
    if (!content) return std::unexpected(content.error());
    const bool too_large =
        options_.retention_bytes >= 0 && total > static_cast<uint64_t>(options_.retention_bytes);
    const bool too_old =
        options_.retention_ms.value >= 0 && content->last_timestamp + options_.retention_ms < now;
    if (!too_large && !too_old) break;
    // The log may go up to where the next snapshot takes over.
    if (auto r = log_->advance_start(snapshots_[1].end); !r) return std::unexpected(r.error());
    auto removed = log_->apply_retention(now, committed());
    if (!removed) return std::unexpected(removed.error());
    for (const std::string& doomed : log_->take_doomed())
      if (auto r = disk.remove(doomed); !r) return r;
    if (auto r = disk.remove(path); !r) return r;
    total -= std::min(total, sizes[oldest] + removed->bytes);
    snapshots_.erase(snapshots_.begin());
  }
  return {};
}

}  // namespace odradek::raft
