#include "log/log.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "log/batch_view.h"
#include "log/directory_file.h"
#include "log/file_names.h"
#include "log/log_dir.h"
#include "log/log_impl.h"

namespace odradek::log {

using wire::ErrorCode;

namespace {
/// Appended bytes after which the state of the producers is written inside a segment: recovery
/// reads the batch headers behind the newest snapshot.
constexpr uint64_t kSnapshotBytes = 64 << 20;
/// Appended bytes that are kept for the write-ahead file; more are read from the segment again.
constexpr size_t kKeptMax = 4 << 10;
/// Of the memory for them, what a log holds on to.
constexpr size_t kKeptIdle = 512;
}  // namespace

std::string TopicPartition::to_string() const { return fmt::format("{}-{}", topic, index.value); }

Log::Impl::Impl(LogOptions& options)
    : partition(options.partition),
      context{.disk = *options.disk,
              .folder = std::move(options.folder),
              .config = options.config,
              .logger = options.logger},
      start(options.start),
      random(options.random),
      now(options.now) {}

size_t Log::Impl::floor_segment(Offset offset) const {
  auto above = std::upper_bound(segments.begin(), segments.end(), offset,
                                [](Offset o, const auto& s) { return o < s->base(); });
  return above == segments.begin() ? 0 : static_cast<size_t>(above - segments.begin()) - 1;
}

Result<void> Log::Impl::usable() const {
  if (!broken) return {};
  return fail(Errc::kIo, context.folder + ": an earlier failed change could not be undone");
}

Log::Log(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Log::~Log() = default;

const TopicPartition& Log::partition() const { return impl_->partition; }
const Uuid& Log::topic_id() const { return impl_->topic_id; }
const std::string& Log::folder() const { return impl_->context.folder; }
const LogConfig& Log::config() const { return impl_->context.config; }
void Log::set_config(const LogConfig& config) { impl_->context.config = config; }

Offset Log::start() const { return impl_->start; }
Offset Log::end() const { return impl_->end; }
Offset Log::durable_end() const { return impl_->durable_end; }
uint64_t Log::size() const { return impl_->log_bytes; }
bool Log::starts_with_first_file() const {
  const Impl& i = *impl_;
  return i.start == i.segments.front()->base() && !i.folder_unsynced && !i.names_suspect;
}
int Log::segment_count() const { return static_cast<int>(impl_->segments.size()); }

Offset Log::recovery_point() const {
  auto unsaved = impl_->epochs.unsaved_from();
  return unsaved ? std::min(*unsaved, impl_->flushed_end) : impl_->flushed_end;
}
bool Log::ahead() const { return !impl_->in_laps.empty(); }

// ---- append

Result<AppendResult> Log::append_as_leader(MutableBytes batches, LeaderEpoch epoch,
                                           AppendOrigin origin, WallMs now,
                                           const TransactionRules& rules, WriteWhen when) {
  impl_->now = now;
  Offset first = impl_->end;
  Offset next = first;
  WallMs max_timestamp = kNoTimestamp;
  for (size_t at = 0; at < batches.size();) {
    auto batch = first_batch(batches.subspan(at));
    if (!batch) return fail(Errc::kInvalid, "append: not a row of whole record batches");
    store_be<int64_t>(batches.data() + at, next.value);
    store_be<int32_t>(batches.data() + at + 12, epoch.value);
    next = batch->last_offset() + int64_t{1};
    max_timestamp = std::max(max_timestamp, batch->max_timestamp());
    at += batch->size();
  }
  return impl_->append(batches, first, next - int64_t{1}, max_timestamp, origin, rules, when);
}

Result<AppendResult> Log::append_as_follower(ByteView batches, WallMs now) {
  impl_->now = now;
  std::optional<Offset> first;
  Offset last = impl_->end - int64_t{1};
  WallMs max_timestamp = kNoTimestamp;
  for (size_t at = 0; at < batches.size();) {
    auto batch = first_batch(batches.subspan(at));
    if (!batch) return fail(Errc::kInvalid, "append: not a row of whole record batches");
    if (batch->base_offset() <= last) {
      return fail(Errc::kInvalid, fmt::format("append: offset {} is not above {}",
                                              batch->base_offset().value, last.value));
    }
    if (!first) first = batch->base_offset();
    last = batch->last_offset();
    max_timestamp = std::max(max_timestamp, batch->max_timestamp());
    at += batch->size();
  }
  return impl_->append(batches, first.value_or(impl_->end), last, max_timestamp,
                       AppendOrigin::kReplication, {});
}

void Log::Impl::mark_suspects_unsynced() {
  names_suspect = false;
  folder_unsynced = parent_unsynced = true;
  const auto suspect = [this](const std::string& name) {
    auto file = context.disk.open(path(name), io::OpenMode::kWrite);
    if (file) unsynced_files.push_back(std::move(*file));
  };
  suspect(std::string(kPartitionMetadataFile));
  suspect(std::string(kEpochCheckpointFile));
  if (suspect_snapshot) suspect(file_name(*suspect_snapshot, kSnapshotSuffix));
}

namespace {

/// Runs the batches through the producer checks; what they change waits for commit().
AppendResult check_producers(ProducerState& producers, ByteView batches, AppendOrigin origin,
                             const TransactionRules& rules) {
  producers.begin();
  for (size_t at = 0; at < batches.size();) {
    BatchView batch(batches.data() + at);
    if (has_producer(batch)) {
      if (origin == AppendOrigin::kClient) {
        if (auto before = producers.find_duplicate(batch)) {
          return AppendResult{.error = ErrorCode::kNone,
                              .duplicate = true,
                              .first = before->first_offset(),
                              .last = before->last_offset,
                              .append_time = before->timestamp};
        }
      }
      ErrorCode error = producers.prepare(batch, batches.subspan(at, batch.size()), origin, rules);
      if (error != ErrorCode::kNone) return AppendResult{.error = error};
    }
    at += batch.size();
  }
  return AppendResult{};
}

}  // namespace

/// `kept` has all of the tail in front of `position`, and room.
bool Log::Impl::keeps(uint64_t position, size_t bytes) const {
  return tail && !data_unsynced && kept_from == tail->from && kept_from + kept.size() == position &&
         kept.size() + bytes <= kKeptMax;
}

Result<void> Log::Impl::write(ByteView batches, WriteWhen when) {
  Segment& segment = active();
  const uint64_t position = segment.size();
  if (!tail && last_crc && !data_unsynced) {
    if (auto r = write_out(); !r) return r;
    tail = Tail{position, end, *last_crc};
    kept_from = position;
    kept.clear();
  }
  const bool keep = when != WriteWhen::kNow && keeps(position, batches.size());
  const bool later = keep && when == WriteWhen::kLater;
  if (!later) {
    if (auto r = write_out(); !r) return r;
  }
  if (auto r = segment.append(batches, !later); !r) {
    broken = segment.broken();
    data_unsynced = true;  // the cut: a power loss could undo it, and later segments would go
    return r;
  }
  if (!tail) data_unsynced = true;
  if (!keep) return {};
  if (later && !unwritten) unwritten = Unwritten{position, end};
  kept.insert(kept.end(), batches.begin(), batches.end());
  return {};
}

Result<void> Log::Impl::write_marked(ByteView batches, WriteWhen when) {
  const size_t aborting = producers.aborting();
  if (aborting == 0) return write(batches, when);
  TxnIndex& index = active().txn_index();
  if (!index.exists()) folder_unsynced = true;
  Result<void> done = index.reserve(aborting);
  if (done) done = write(batches, when);
  if (!done && !index.give_back()) broken = true;
  return done;
}

Result<std::optional<io::FileWrite>> Log::Impl::to_write_out() {
  if (!unwritten) return std::nullopt;
  auto file = active().file();
  if (!file) return std::unexpected(file.error());
  const ByteView bytes = ByteView(kept).subspan(unwritten->from - kept_from);
  return io::FileWrite{file->get(), unwritten->from, bytes};
}

Result<void> Log::Impl::write_out() {
  const auto write = to_write_out();
  if (!write) return std::unexpected(write.error());
  if (!*write) return {};
  if (auto r = (*write)->file->write((*write)->position, (*write)->bytes); !r) return r;
  unwritten.reset();
  return {};
}

Result<AppendResult> Log::Impl::append(ByteView batches, Offset first, Offset last,
                                       WallMs max_timestamp, AppendOrigin origin,
                                       const TransactionRules& rules, WriteWhen when) {
  if (auto r = usable(); !r) return std::unexpected(r.error());
  if (batches.empty()) return fail(Errc::kInvalid, "append: no batches");
  if (batches.size() > static_cast<size_t>(context.config.segment_bytes)) {
    return AppendResult{.error = ErrorCode::kRecordListTooLarge};
  }
  AppendResult result = check_producers(producers, batches, origin, rules);
  if (result.error != ErrorCode::kNone || result.duplicate) return result;

  auto roll = active().should_roll(batches.size(), max_timestamp, last, now);
  if (!roll) return std::unexpected(roll.error());
  if (*roll) {
    if (auto r = roll_to(first); !r) return std::unexpected(r.error());
  }
  Segment& segment = active();
  const uint64_t position = segment.size();
  if (auto r = write_marked(batches, when); !r) return std::unexpected(r.error());
  touched = true;
  if (names_suspect) mark_suspects_unsynced();
  log_bytes += batches.size();
  end = last + int64_t{1};
  for (size_t at = 0; at < batches.size();) {
    BatchView batch(batches.data() + at);
    if (batch.leader_epoch() > epochs.latest()) {
      epochs.assign(batch.leader_epoch(), batch.base_offset());
    }
    recent.add(BatchAt{position + at, batch.size(), batch.base_offset(), batch.last_offset()});
    last_crc = batch.crc();
    at += batch.size();
  }
  // Recovery writes the index of aborted transactions anew; until then a reader of committed
  // records must not see wrong ones.
  if (auto r = index_aborted(segment, producers.commit()); !r) {
    broken = true;
    return std::unexpected(r.error());
  }
  bytes_since_snapshot += batches.size();
  if (bytes_since_snapshot >= kSnapshotBytes && write_out()) snapshot_in_between();
  BatchView head(batches.data());
  result.first = first;
  result.last = last;
  if (head.timestamp_type() == wire::TimestampType::kLogAppendTime)
    result.append_time = head.max_timestamp();
  return result;
}

Result<void> Log::Impl::index_aborted(Segment& segment, std::span<const AbortedEntry> aborted) {
  TxnIndex& index = segment.txn_index();
  if (!aborted.empty() && !index.exists()) folder_unsynced = true;
  for (const AbortedEntry& entry : aborted) {
    if (auto r = index.add(entry); !r) return r;
  }
  return {};
}

// ---- sync

bool Log::unsynced() const {
  const Impl& i = *impl_;
  return i.data_unsynced || i.tail || i.folder_unsynced || i.parent_unsynced ||
         !i.unsynced_files.empty();
}

// The file may be renamed before its content is durable: if a power loss takes it, recovery finds
// the epochs in the batches, since the recovery point waits for the sync.
Result<void> Log::Impl::write_epochs() {
  std::string file = path(kEpochCheckpointFile);
  std::string text = epoch_checkpoint_text(epochs.entries());
  if (auto r = write_text_file(context.disk, file, text, false); !r) return r;
  auto opened = context.disk.open(file, io::OpenMode::kWrite);
  if (!opened) return std::unexpected(opened.error());
  unsynced_files.push_back(std::move(*opened));
  folder_unsynced = true;
  epoch_version_written = epochs.version();
  return {};
}

void add_to(io::SyncJob& job, SyncTicket& ticket) {
  for (auto& file : ticket.files) job.files.push_back(std::move(file));
  ticket.files.clear();
  if (ticket.appended) {
    job.appended.push_back(*ticket.appended);
    ticket.appended->file.reset();
    job.bytes.insert(job.bytes.end(), ticket.carried.begin(), ticket.carried.end());
    ticket.carried = {};
  }
  if (ticket.cut) job.order = io::AheadOrder::kForget;
}

SyncTicket Log::take_unsynced() {
  Impl& i = *impl_;
  if (i.epochs.unsaved_from() && i.epoch_version_written != i.epochs.version()) {
    if (auto r = i.write_epochs(); !r) {
      i.context.logger.warn("{}: {}", i.partition.to_string(), r.error().message);
    }
  }
  if (!i.segments.empty() && i.active().txn_index().unsynced()) {
    auto index = i.active().txn_index().take_unsynced();
    if (index) {
      i.unsynced_files.push_back(std::move(*index));
    } else {
      i.context.logger.warn("{}: {}", i.partition.to_string(), index.error().message);
    }
  }
  SyncTicket ticket{.files = std::move(i.unsynced_files),
                    .appended = {},
                    .carried = {},
                    .cut = std::exchange(i.cut_unsynced, false),
                    .end = i.end,
                    .settled = i.data_unsynced || i.segments.empty() ? i.end : i.active().base(),
                    .generation = i.generation,
                    .epoch_version = i.epoch_version_written};
  i.unsynced_files.clear();
  if ((i.data_unsynced || i.tail) && !i.segments.empty()) {
    auto file = i.active().file();
    ODRADEK_CHECK(file);  // it is open: something was written to it
    const bool carried = !i.kept.empty() && i.keeps(i.active().size(), 0);
    ODRADEK_CHECK(carried || !i.unwritten);
    if (carried) ticket.carried = i.kept;
    if (i.data_unsynced) {
      ticket.files.push_back(std::move(*file));
    } else {
      ticket.appended = io::Appended{.file = std::move(*file),
                                     .from = i.tail->from,
                                     .to = i.active().size(),
                                     .topic = i.topic_id,
                                     .partition = i.partition.index,
                                     .base = i.active().base(),
                                     .before = i.tail->before,
                                     .crc = i.tail->crc,
                                     .carried = carried,
                                     .unwritten = i.unwritten.has_value()};
    }
  }
  if (i.folder_unsynced) {
    ticket.files.push_back(std::make_shared<DirectoryFile>(i.context.disk, i.context.folder));
  }
  if (i.parent_unsynced) {
    ticket.files.push_back(
        std::make_shared<DirectoryFile>(i.context.disk, parent_folder(i.context.folder)));
  }
  i.data_unsynced = i.folder_unsynced = i.parent_unsynced = false;
  i.tail.reset();
  return ticket;
}

void Log::synced(const SyncTicket& ticket, const io::Synced& where) {
  Impl& i = *impl_;
  if (ticket.epoch_version == i.epochs.version()) i.epochs.mark_saved();
  if (ticket.generation != i.generation) return;  // the log has been cut since
  i.durable_end = std::max(i.durable_end, ticket.end);
  ODRADEK_CHECK(i.durable_end <= i.end);
  if (ticket.appended && where.lap > 0) {
    if (i.in_laps.empty() || i.in_laps.back().lap != where.lap) {
      i.in_laps.push_back({where.lap, ticket.end});
    }
    i.in_laps.back().end = ticket.end;
  }
  i.flushed_to(ticket.appended && where.lap == 0 ? ticket.end : ticket.settled);
  flushed(where.flushed);
}

Result<std::optional<io::FileWrite>> Log::unwritten() const { return impl_->to_write_out(); }

void Log::wrote_out() {
  Impl& i = *impl_;
  i.unwritten.reset();
  if (i.kept.capacity() > kKeptIdle) ByteBuffer().swap(i.kept);
}

void Log::refused(const SyncTicket& ticket) {
  if (ticket.generation == impl_->generation) impl_->data_unsynced = true;
}

void Log::flushed(uint64_t lap) {
  Impl& i = *impl_;
  for (size_t n = i.in_laps.size(); n-- > 0;) {
    if (i.in_laps[n].lap <= lap) return i.flushed_to(i.in_laps[n].end);
  }
}

void Log::Impl::flushed_to(Offset offset) {
  flushed_end = std::max(flushed_end, offset);
  std::erase_if(in_laps, [this](const InLap& in) { return in.end <= flushed_end; });
  // Nothing is left that only the write-ahead file has.
  if (in_laps.empty()) flushed_end = durable_end;
}

namespace {
Result<void> sync_files(const SyncTicket& ticket) {
  for (const auto& file : ticket.files) {
    if (auto r = file->sync(); !r) return r;
  }
  return ticket.appended ? ticket.appended->file->sync() : Result<void>{};
}
}  // namespace

Result<void> Log::sync() {
  if (auto r = impl_->write_out(); !r) return r;
  const SyncTicket ticket = take_unsynced();
  if (auto r = sync_files(ticket); !r) return r;
  synced(ticket);
  return {};
}

Result<void> Log::Impl::finish_touched() {
  // From the end of what is durable in its place on, lest a ticket is still out: it may never come
  // back.
  const bool all = flushed_end == end;
  for (size_t n = all ? segments.size() - 1 : floor_segment(flushed_end); n < segments.size();
       n++) {
    auto files = segments[n]->finish();
    if (!files) return std::unexpected(files.error());
    for (auto& f : *files) unsynced_files.push_back(std::move(f));
    auto file = segments[n]->file();
    if (!file) return std::unexpected(file.error());
    if (!all && n + 1 < segments.size()) unsynced_files.push_back(std::move(*file));
  }
  for (Offset at : snapshots) {
    if (at < flushed_end) continue;
    auto file = context.disk.open(path(file_name(at, kSnapshotSuffix)), io::OpenMode::kWrite);
    if (!file) return std::unexpected(file.error());
    unsynced_files.push_back(std::move(*file));
  }
  if (!all) data_unsynced = parent_unsynced = true;
  if (auto r = write_snapshot(end); !r) return r;
  if (epochs.unsaved_from()) {
    if (auto r = write_epochs(); !r) return r;
  }
  folder_unsynced = true;
  return {};
}

Result<SyncTicket> Log::finish() {
  Impl& i = *impl_;
  if (auto r = i.usable(); !r) return std::unexpected(r.error());
  if (auto r = i.write_out(); !r) return std::unexpected(r.error());
  if (i.touched) {
    if (auto r = i.finish_touched(); !r) return std::unexpected(r.error());
    return take_unsynced();
  }
  if (i.indexes_missing) {
    if (auto files = i.active().finish(); !files) return std::unexpected(files.error());
  }
  if (i.epochs.unsaved_from() && !unsynced()) {
    // Thousands of idle partitions get a new epoch at every start: not worth a sync each. If a
    // power loss takes the file, opening finds the epochs in the batches.
    std::string text = epoch_checkpoint_text(i.epochs.entries());
    if (auto r = write_text_file(i.context.disk, i.path(kEpochCheckpointFile), text, false); !r) {
      return std::unexpected(r.error());
    }
  }
  if (unsynced()) return take_unsynced();
  return SyncTicket{.files = {},
                    .appended = {},
                    .carried = {},
                    .end = i.durable_end,
                    .settled = i.flushed_end,
                    .generation = i.generation,
                    .epoch_version = i.epoch_version_written};
}

Result<void> Log::close() {
  const Result<SyncTicket> ticket = finish();
  if (!ticket) return std::unexpected(ticket.error());
  if (auto r = sync_files(*ticket); !r) return r;
  synced(*ticket);
  return {};
}

// ---- leader epochs

LeaderEpoch Log::latest_epoch() const { return impl_->epochs.latest(); }

void Log::assign_epoch(LeaderEpoch epoch) {
  if (epoch <= impl_->epochs.latest()) return;
  impl_->epochs.assign(epoch, impl_->end);
}

EpochEnd Log::end_offset_for_epoch(LeaderEpoch requested) const {
  return impl_->epochs.end_offset_for(requested, impl_->end);
}

LeaderEpoch Log::epoch_at(Offset offset) const { return impl_->epochs.epoch_at(offset); }
const std::vector<EpochEntry>& Log::epochs() const { return impl_->epochs.entries(); }

// ---- producers

Offset Log::last_stable_offset(Offset high_watermark) {
  impl_->producers.on_high_watermark(high_watermark);
  auto unstable = impl_->producers.first_unstable();
  if (!unstable) return high_watermark;
  return std::min(high_watermark, std::max(*unstable, impl_->start));
}

std::vector<ProducerInfo> Log::producers() const {
  std::vector<ProducerInfo> all;
  for (const ProducerEntry& e : impl_->producers.entries()) {
    all.push_back(ProducerInfo{.id = e.id,
                               .epoch = e.epoch,
                               .last_sequence = e.last_sequence(),
                               .last_timestamp = e.last_timestamp,
                               .coordinator_epoch = e.coordinator_epoch,
                               .transaction_start = e.transaction_start});
  }
  return all;
}

Verification Log::begin_verification(ProducerId id, ProducerEpoch epoch, int32_t sequence,
                                     bool bumps, WallMs now) {
  return impl_->producers.begin_verification(id, epoch, sequence, bumps, now);
}

ErrorCode Log::check_transactional(ProducerId id, ProducerEpoch epoch,
                                   const TransactionRules& rules) const {
  return impl_->producers.check_transactional(id, epoch, rules);
}

ErrorCode Log::check_marker(ProducerId id, ProducerEpoch epoch, int32_t coordinator_epoch,
                            const TransactionRules& rules) const {
  return impl_->producers.check_marker(id, epoch, coordinator_epoch, rules);
}

void Log::expire_producers(WallMs now) {
  impl_->producers.expire(now, impl_->context.config.producer_expiration);
}

std::vector<std::string> Log::take_doomed() { return std::exchange(impl_->doomed, {}); }

}  // namespace odradek::log
