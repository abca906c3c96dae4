// Opening a log: leftovers of interrupted work, recovery of what a crash may have torn, leader
// epochs and producer state. Rules: Apache's LogLoader.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "log/batch_scanner.h"
#include "log/batch_walker.h"
#include "log/directory_file.h"
#include "log/file_names.h"
#include "log/log.h"
#include "log/log_dir.h"
#include "log/log_impl.h"
#include "log/write_ahead.h"
#include "wire/record_batch.h"

namespace odradek::log {

Result<void> for_each_batch(Segment& segment, Offset from, Offset to,
                            const std::function<void(const BatchView&, ByteView)>& visit) {
  uint64_t position = 0;
  if (from > segment.base()) {
    auto at = segment.locate(from);
    if (!at) return std::unexpected(at.error());
    if (!*at) return {};
    position = (*at)->position;
  }
  auto file = segment.file();
  if (!file) return std::unexpected(file.error());
  BatchWalker walker(**file, position, segment.size(), segment.base());
  while (true) {
    auto batch = walker.next();
    if (!batch) return std::unexpected(batch.error());
    if (!*batch || (*batch)->base_offset() >= to) return {};
    visit(**batch, walker.peek());
  }
}

namespace {

void feed(ProducerState& producers, const BatchView& batch, ByteView bytes) {
  if (!has_producer(batch)) return;
  producers.begin();
  producers.prepare(batch, bytes, AppendOrigin::kReplication);
}

void feed(EpochCache& epochs, const BatchView& batch) {
  if (batch.leader_epoch() > epochs.latest()) {
    epochs.assign(batch.leader_epoch(), batch.base_offset());
  }
}

}  // namespace

Offset Log::Impl::first_replayable() {
  size_t n = floor_segment(start);
  for (; n > 0; n--) {
    auto next = segments[n - 1]->next_offset();
    if (!next || *next != segments[n]->base()) break;
  }
  return segments[n]->base();
}

Result<std::optional<Offset>> Log::Impl::load_producers(Offset to) {
  producers.clear();
  Offset oldest = first_replayable();
  for (size_t n = snapshots.size(); n-- > 0;) {
    if (snapshots[n] > to) continue;
    if (snapshots[n] < oldest) break;
    std::string name = path(file_name(snapshots[n], kSnapshotSuffix));
    auto bytes = read_small_file(context.disk, name);
    if (!bytes && bytes.error().kind == Errc::kIo) return std::unexpected(bytes.error());
    auto entries = bytes ? decode_snapshot(as_bytes(*bytes))
                         : Result<std::vector<ProducerEntry>>(std::unexpected(bytes.error()));
    if (!entries) {
      context.logger.warn("{} is of no use and is removed: {}", name, entries.error().message);
      if (auto r = context.disk.remove(name); !r) return std::unexpected(r.error());
      snapshots.erase(snapshots.begin() + static_cast<ptrdiff_t>(n));
      continue;
    }
    producers.load(*entries);
    producers.expire(now, context.config.producer_expiration);
    return snapshots[n];
  }
  return std::nullopt;
}

Result<void> Log::Impl::rebuild_producers(Offset to) {
  auto loaded = load_producers(to);
  if (!loaded) return std::unexpected(loaded.error());
  return replay_producers(loaded->value_or(first_replayable()), to);
}

Result<void> Log::Impl::replay_producers(Offset from, Offset to) {
  for (size_t n = floor_segment(from); n < segments.size() && segments[n]->base() < to; n++) {
    auto r = for_each_batch(*segments[n], from, to, [&](const BatchView& batch, ByteView bytes) {
      feed(producers, batch, bytes);
      producers.commit();  // what was aborted is in the txnindex already
    });
    if (!r) return r;
  }
  return {};
}

namespace {

constexpr uint64_t kProgressBytes = 4 << 20;  // between two calls of `progress`

/// The steps of opening, in order. Lives as long as `Log::open`.
class Opener {
 public:
  Opener(Log::Impl& log, const LogOptions& options)
      : log_(log), options_(options), disk_(log.context.disk) {}

  Result<void> run();

 private:
  struct Found {
    SegmentFiles sizes;
    bool log = false;
    bool index = false;
    bool time_index = false;
  };

  Result<void> list();
  Result<void> refuse_old_format();
  Result<bool> clear_leftovers();
  Result<bool> complete_swaps(std::vector<std::string> swaps);
  Result<Offset> end_of_file(const std::string& name, Offset base);
  Result<void> load_segments();
  Result<void> read_topic_id();
  Result<void> load_epochs();
  Result<void> find_end();
  Result<void> recover(size_t first, Offset crc_from);
  Result<void> scan(size_t first, Offset crc_from);
  uint64_t largest_segment(size_t first) const;
  Result<void> restore_snapshot();
  Result<Segment::RecoveryStart> find_recovery_start(Segment& segment, Offset crc_from,
                                                     MutableBytes window);
  Result<bool> recover_segment(size_t n, const Segment::RecoveryStart& from, Offset crc_from,
                               MutableBytes window);
  struct Walked {
    uint64_t good;  // where the good part ends
    std::string problem;
  };
  Result<Walked> walk(Segment& segment, uint64_t from, uint64_t at, Offset crc_from,
                      MutableBytes window);
  Result<bool> restore(Segment& segment, uint64_t good);
  Result<void> drop_from(size_t segment);
  Result<void> start_over_if_behind();
  Result<void> rebuild_epochs();
  Result<void> drop_stray_snapshots();
  Result<void> remove(const std::string& name) { return disk_.remove(log_.path(name)); }

  Log::Impl& log_;
  const LogOptions& options_;
  io::Disk& disk_;
  std::vector<io::DirEntry> entries_;
  std::map<Offset, Found> found_;
  bool new_folder_ = false;
  bool epochs_lost_ = false;
  Offset producers_from_{0};  // batches below are in the producer snapshot already
  bool cut_ = false;          // recovery has removed something
  bool recovered_ = false;    // by a scan; producers are then known up to the end
  uint64_t scanned_ = 0;
  uint64_t to_scan_ = 0;
  std::optional<uint32_t> last_crc_;  // of the last good batch
};

Result<void> Opener::list() {
  auto entries = disk_.list(log_.context.folder);
  if (!entries) {
    if (entries.error().kind != Errc::kNotFound) return std::unexpected(entries.error());
    if (auto r = disk_.make_directory(log_.context.folder); !r) return r;
    log_.parent_unsynced = true;
    new_folder_ = true;
    entries_.clear();
    return {};
  }
  entries_ = std::move(*entries);
  std::erase_if(entries_, [](const io::DirEntry& e) { return e.is_directory; });
  std::sort(entries_.begin(), entries_.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return {};
}

// Old data is at the front, so the first segment tells.
Result<void> Opener::refuse_old_format() {
  for (const io::DirEntry& e : entries_) {
    auto name = parse_file_name(e.name);
    if (!name || name->suffix != kLogSuffix || e.size == 0) continue;
    auto file = disk_.open(log_.path(e.name), io::OpenMode::kRead);
    if (!file) return std::unexpected(file.error());
    std::array<uint8_t, 64> head;
    auto n = (*file)->read(0, MutableBytes(head));
    if (!n) return std::unexpected(n.error());
    if (is_old_format(ByteView(head).first(*n), name->base, e.size)) {
      return fail(Errc::kUnsupported,
                  fmt::format("{}: message format 0 or 1, written by Kafka before 0.11 or with an "
                              "old log.message.format.version; only format 2 is read",
                              log_.path(e.name)));
    }
    return {};
  }
  return {};
}

/// True if files came or went.
Result<bool> Opener::clear_leftovers() {
  std::vector<std::string> swaps, gone;
  Offset least_cleaned(INT64_MAX);
  for (const io::DirEntry& e : entries_) {
    if (e.name.ends_with(kDeletedSuffix)) {
      // Those of raft snapshots are the raft log's business.
      if (!e.name.ends_with(".checkpoint.deleted")) gone.push_back(e.name);
    } else if (e.name.ends_with(kCleanedSuffix)) {
      if (auto name = parse_file_name(e.name)) least_cleaned = std::min(least_cleaned, name->base);
      gone.push_back(e.name);
    } else if (e.name.ends_with(kSwapSuffix)) {
      swaps.push_back(e.name);
    } else if (e.name == std::string(kEpochCheckpointFile) + ".tmp" ||
               e.name == std::string(kPartitionMetadataFile) + ".tmp") {
      gone.push_back(e.name);
    }
  }
  // A swap file at or behind a cleaned one belongs to a replacement that did not get far enough.
  std::erase_if(swaps, [&](const std::string& s) {
    auto name = parse_file_name(s);
    bool drop = !name || name->base >= least_cleaned;
    if (drop) gone.push_back(s);
    return drop;
  });
  for (const std::string& name : gone) {
    if (auto r = remove(name); !r) return std::unexpected(r.error());
  }
  if (swaps.empty()) return !gone.empty();
  return complete_swaps(std::move(swaps));
}

/// The replacement was complete when it was named .swap: it takes the place of the old segments.
Result<bool> Opener::complete_swaps(std::vector<std::string> swaps) {
  Offset from(INT64_MAX), to(INT64_MIN);
  std::string log_swap = std::string(kLogSuffix) + std::string(kSwapSuffix);
  for (const std::string& swap : swaps) {
    auto name = parse_file_name(swap);
    if (name->suffix != log_swap) continue;
    auto end = end_of_file(swap, name->base);
    if (!end) return std::unexpected(end.error());
    from = std::min(from, name->base);
    to = std::max(to, *end);
  }
  for (const io::DirEntry& e : entries_) {
    auto name = parse_file_name(e.name);
    if (!name || e.name.ends_with(kSwapSuffix) || name->base >= to) continue;
    // Producer snapshots from before do not fit the new segments (Log::replace_segments).
    if (name->base < from && (name->suffix != kSnapshotSuffix || from >= to)) continue;
    if (auto r = remove(e.name); !r) return std::unexpected(r.error());
  }
  // Durable before the new ones get these names: a power loss must not bring back old segments
  // beside them.
  if (auto r = disk_.sync_directory(log_.context.folder); !r) return std::unexpected(r.error());
  std::partition(swaps.begin(), swaps.end(),
                 [&](const std::string& s) { return s.ends_with(log_swap); });
  for (const std::string& swap : swaps) {
    std::string final_name = swap.substr(0, swap.size() - kSwapSuffix.size());
    log_.context.logger.info("completing an interrupted replacement: {}", log_.path(final_name));
    if (auto r = disk_.rename(log_.path(swap), log_.path(final_name)); !r) {
      return std::unexpected(r.error());
    }
  }
  log_.folder_unsynced = true;
  return true;
}

Result<Offset> Opener::end_of_file(const std::string& name, Offset base) {
  auto file = disk_.open(log_.path(name), io::OpenMode::kRead);
  if (!file) return std::unexpected(file.error());
  auto size = (*file)->size();
  if (!size) return std::unexpected(size.error());
  BatchWalker walker(**file, 0, *size, base);
  Offset end = base;
  while (true) {
    auto batch = walker.next();
    if (!batch && batch.error().kind != Errc::kCorrupt) return std::unexpected(batch.error());
    if (!batch || !*batch) return end;
    end = (*batch)->next_offset();
  }
}

Result<void> Opener::load_segments() {
  for (const io::DirEntry& e : entries_) {
    auto name = parse_file_name(e.name);
    if (!name) continue;
    if (name->suffix == kSnapshotSuffix) {
      log_.snapshots.push_back(name->base);
      continue;
    }
    Found& f = found_[name->base];
    if (name->suffix == kLogSuffix) {
      f.sizes.log = e.size;
      f.log = true;
    } else if (name->suffix == kIndexSuffix) {
      f.sizes.index = e.size;
      f.index = true;
    } else if (name->suffix == kTimeIndexSuffix) {
      f.sizes.time_index = e.size;
      f.time_index = true;
    } else if (name->suffix == kTxnIndexSuffix) {
      f.sizes.txn_index = e.size;
    }
  }
  for (auto& [base, f] : found_) {
    if (f.log) {
      log_.log_bytes += f.sizes.log;
      log_.segments.push_back(std::make_unique<Segment>(log_.context, base, f.sizes, options_.now,
                                                        options_.random + f.sizes.log));
      continue;
    }
    for (std::string_view suffix : {kIndexSuffix, kTimeIndexSuffix, kTxnIndexSuffix}) {
      if (auto r = remove(file_name(base, suffix)); !r) return r;
    }
  }
  if (!log_.segments.empty()) return {};
  if (auto r = log_.add_segment(options_.start, new_folder_); !r) return r;
  log_.touched = false;  // a log that is never written to has nothing to finish but its indexes
  return {};
}

Result<void> Opener::read_topic_id() {
  std::string file = log_.path(kPartitionMetadataFile);
  Result<std::string> text = fail(Errc::kNotFound, file);
  if (!new_folder_) text = read_small_file(disk_, file);
  if (!text && text.error().kind != Errc::kNotFound) return std::unexpected(text.error());
  if (text && !is_blank(*text)) {
    auto id = parse_partition_metadata(*text);
    if (!id) return fail(id.error().kind, file + ": " + id.error().message);
    if (options_.topic_id && *options_.topic_id != *id) {
      return fail(Errc::kInvalid, fmt::format("{}: topic id {} instead of {}", file,
                                              id->to_string(), options_.topic_id->to_string()));
    }
    log_.topic_id = *id;
    return {};
  }
  if (!options_.topic_id) return {};
  log_.topic_id = *options_.topic_id;
  const std::string made = partition_metadata_text(log_.topic_id);
  if (auto r = write_text_file(disk_, file, made, false); !r) return r;
  auto written = disk_.open(file, io::OpenMode::kWrite);
  if (!written) return std::unexpected(written.error());
  log_.unsynced_files.push_back(std::move(*written));
  log_.folder_unsynced = true;
  return {};
}

Result<void> Opener::load_epochs() {
  auto entry = std::find_if(entries_.begin(), entries_.end(),
                            [](const io::DirEntry& e) { return e.name == kEpochCheckpointFile; });
  epochs_lost_ = entry == entries_.end() || entry->size == 0;
  if (epochs_lost_) return {};
  std::string file = log_.path(kEpochCheckpointFile);
  auto text = read_small_file(disk_, file);
  if (!text) return std::unexpected(text.error());
  auto epochs = parse_epoch_checkpoint(*text);
  if (!epochs) {
    log_.context.logger.warn("{}: {}; the epochs are taken from the batches", file,
                             epochs.error().message);
    epochs_lost_ = true;
    return {};
  }
  epochs_lost_ = epochs->empty();
  log_.epochs = EpochCache(*epochs);
  return {};
}

/// Sets `end`: from the indexes and the last batches if the log is clean, otherwise by recovery.
Result<void> Opener::find_end() {
  size_t first = options_.clean ? log_.segments.size()
                                : log_.floor_segment(std::max(options_.recovery_point, log_.start));
  for (size_t n = 0; n < first; n++) {  // recovery writes those of the others
    Segment* segment = log_.segments[n].get();
    const Found& f = found_[segment->base()];
    if (segment->size() == 0 || (f.index && f.time_index && !segment->indexes_suspect())) continue;
    log_.context.logger.warn("{} has no usable index; writing it anew", segment->path(kLogSuffix));
    if (auto r = segment->rebuild_indexes(); !r && r.error().kind != Errc::kCorrupt) return r;
  }
  if (!options_.clean) {
    return recover(first, options_.recovery_point);
  }
  auto end = log_.active().next_offset();
  if (end) {
    log_.end = *end;
    return {};
  }
  if (end.error().kind != Errc::kCorrupt) return std::unexpected(end.error());
  log_.context.logger.warn("{}; checking the segment although the stop was clean",
                           end.error().message);
  return recover(log_.segments.size() - 1, Offset(0));
}

Result<void> Opener::recover(size_t first, Offset crc_from) {
  if (auto r = scan(first, crc_from); !r) return r;
  // The scan trusted what lies below the recovery point. An end below it shows that it is not to be
  // trusted: the log was cut after the recovery point had been written.
  return log_.end < crc_from ? scan(first, Offset(0)) : Result<void>{};
}

uint64_t Opener::largest_segment(size_t first) const {
  uint64_t largest = 0;
  for (size_t n = first; n < log_.segments.size(); n++) {
    largest = std::max(largest, log_.segments[n]->size());
  }
  if (options_.ahead) largest = BatchScanner::kWindow;
  return std::max<uint64_t>(largest, BatchScanner::kPeek);
}

/// Where the recovery of the first segment begins: below the newest snapshot inside it that the
/// recovery point covers, since the indexes are durable up to there; if an index entry leads there
/// and the batch that it tells of is where it says, whole. Sets `end` to that batch.
Result<Segment::RecoveryStart> Opener::find_recovery_start(Segment& segment, Offset crc_from,
                                                           MutableBytes window) {
  log_.end = segment.base();
  const Found& found = found_[segment.base()];
  if (!found.index || !found.time_index) return Segment::RecoveryStart{};
  Offset covered = segment.base();
  for (Offset at : log_.snapshots) {
    if (at <= crc_from) covered = std::max(covered, at);
  }
  auto start = segment.recovery_start(covered);
  if (!start || start->last == kNoOffset) return start;
  auto file = segment.file();
  if (!file) return std::unexpected(file.error());
  BatchScanner scanner(**file, start->position, segment.size(), segment.base(), window);
  auto batch = scanner.next(Offset(0));
  if (!batch) return std::unexpected(batch.error());
  if (!*batch || (*batch)->last_offset() != start->last) return Segment::RecoveryStart{};
  log_.end = (*batch)->base_offset();
  return start;
}

Result<void> Opener::scan(size_t first, Offset crc_from) {
  ByteBuffer memory(std::min<uint64_t>(BatchScanner::kWindow, largest_segment(first)));
  const MutableBytes window(memory);
  auto from = find_recovery_start(*log_.segments[first], crc_from, window);
  if (!from) return std::unexpected(from.error());
  for (size_t n = first; n < log_.segments.size(); n++) to_scan_ += log_.segments[n]->size();
  to_scan_ -= from->position;
  const bool ahead = options_.ahead && options_.ahead->holds(log_.topic_id, log_.partition.index);
  if (to_scan_ == 0 && first + 1 == log_.segments.size() && !ahead) return {};
  recovered_ = true;
  log_.touched = true;
  // A snapshot below the recovery point is as good as the batches there, if need be. Those above
  // describe what is yet to be checked; they are written anew.
  const bool inside = from->last != kNoOffset;
  auto loaded = log_.load_producers(inside ? crc_from : log_.end);
  if (loaded && !*loaded && crc_from > log_.end) loaded = log_.load_producers(crc_from);
  if (!loaded) return std::unexpected(loaded.error());
  log_.suspect_snapshot = *loaded;
  producers_from_ = loaded->value_or(log_.first_replayable());
  if (producers_from_ < log_.end) {
    if (auto r = log_.replay_producers(producers_from_, log_.end); !r) return r;
  }
  producers_from_ = std::max(producers_from_, log_.end);
  if (auto r = restore_snapshot(); !r) return r;
  Offset trusted = std::max(log_.end, crc_from);
  if (auto r = log_.drop_snapshots(trusted + int64_t{1}, Offset(INT64_MAX)); !r) return r;
  for (size_t n = first; n < log_.segments.size(); n++) {
    if (n > first) {
      Offset base = log_.segments[n]->base();
      if (base < log_.end || (options_.contiguous && base != log_.end)) {
        log_.context.logger.warn("{} does not go on where the segment before it ends, at {}",
                                 log_.segments[n]->path(kLogSuffix), log_.end.value);
        return drop_from(n);
      }
      auto file = log_.segments[n - 1]->file();
      auto files = log_.segments[n - 1]->finish();
      if (!files) return std::unexpected(files.error());
      for (auto& f : *files) log_.unsynced_files.push_back(std::move(f));
      if (file) log_.unsynced_files.push_back(std::move(*file));
      if (auto r = log_.write_snapshot(log_.segments[n]->base()); !r) return r;
      log_.end = log_.segments[n]->base();
    }
    auto whole =
        recover_segment(n, n == first ? *from : Segment::RecoveryStart{}, crc_from, window);
    if (!whole) return std::unexpected(whole.error());
    if (!*whole) return drop_from(n + 1);
  }
  return {};
}

/// A segment's first snapshot may be lost; without it, what the producers did before would be
/// forgotten once retention removes the segments before.
Result<void> Opener::restore_snapshot() {
  Segment& segment = *log_.segments[log_.floor_segment(log_.end)];
  if (log_.producers.size() == 0 || segment.base() != log_.end) return {};
  return log_.write_snapshot(log_.end);
}

/// False if something was cut off.
Result<bool> Opener::recover_segment(size_t n, const Segment::RecoveryStart& from, Offset crc_from,
                                     MutableBytes window) {
  Segment& segment = *log_.segments[n];
  const uint64_t size = segment.size();
  if (auto r = segment.recovery_begin(from); !r) return std::unexpected(r.error());
  if (auto r = segment.txn_index().truncate_to(producers_from_); !r)
    return std::unexpected(r.error());
  auto walked = walk(segment, from.position, from.position, crc_from, window);
  bool restored = false;
  while (walked) {
    const uint64_t good = walked->good;
    auto more = restore(segment, good);
    if (!more) return std::unexpected(more.error());
    if (!*more) break;
    restored = true;
    walked = walk(segment, from.position, good, crc_from, window);
    if (walked && walked->good == good) break;  // no good batch there either
  }
  if (!walked) return std::unexpected(walked.error());
  const uint64_t good = walked->good;
  const bool whole = good == segment.size();
  if (!whole) {
    log_.context.logger.warn("{}: {} at byte {}; {} bytes are cut off", segment.path(kLogSuffix),
                             walked->problem, good, segment.size() - good);
  }
  if (auto r = segment.recovery_end(good); !r) return std::unexpected(r.error());
  cut_ = cut_ || !whole || restored;
  if (restored) {
    // The write-ahead files are not there for long.
    auto file = segment.file();
    if (!file) return std::unexpected(file.error());
    if (auto r = (*file)->sync(); !r) return std::unexpected(r.error());
  }
  log_.log_bytes += good - size;
  scanned_ += size - from.position;
  if (options_.progress) options_.progress(scanned_, to_scan_);
  return whole;
}

/// Takes in what stands in a segment from `at` on, as far as it is good. `from`: where its recovery
/// began.
Result<Opener::Walked> Opener::walk(Segment& segment, uint64_t from, uint64_t at, Offset crc_from,
                                    MutableBytes window) {
  auto file = segment.file();
  if (!file) return std::unexpected(file.error());
  const Offset least = at == from ? segment.base() : log_.end;
  BatchScanner scanner(**file, at, segment.size(), least, window);
  uint64_t told = scanned_;
  while (true) {
    auto batch = scanner.next(crc_from);
    if (!batch) return std::unexpected(batch.error());
    if (!*batch || (*batch)->last_offset() - segment.base() > INT32_MAX) break;
    if (options_.contiguous && (*batch)->base_offset() != log_.end) break;
    segment.recovery_batch(**batch, scanner.position());
    feed(log_.epochs, **batch);
    if ((*batch)->base_offset() >= producers_from_) feed(log_.producers, **batch, scanner.peek());
    if (auto r = log_.index_aborted(segment, log_.producers.commit()); !r)
      return std::unexpected(r.error());
    log_.end = (*batch)->next_offset();
    last_crc_ = (*batch)->crc();
    const uint64_t done = std::min(scanned_ + scanner.position() - from, to_scan_);
    if (options_.progress && done - told > kProgressBytes) {
      options_.progress(done, to_scan_);
      told = done;
    }
  }
  return Walked{scanner.position(), scanner.problem()};
}

/// Whether the bytes are whole batches.
bool whole_batches(ByteView bytes) {
  wire::BatchIterator batches(bytes);
  while (true) {
    const auto batch = batches.next();
    if (!batch) return false;
    if (!*batch) return batches.rest().empty();
  }
}

/// Brings back what the write-ahead files have of a segment from `good` on, the end of its good
/// part. False if there is nothing, or if it does not go on from what is here: then the log has
/// another history than the files know.
Result<bool> Opener::restore(Segment& segment, uint64_t good) {
  if (!options_.ahead) return false;
  const auto& ranges = options_.ahead->find(log_.topic_id, log_.partition.index, segment.base());
  auto range = std::ranges::find_if(ranges, [&](const Ahead::Range& r) { return r.to > good; });
  if (range == ranges.end() || range->from > good) return false;
  auto file = segment.file();
  if (!file) return std::unexpected(file.error());
  const bool goes_on = range->before == log_.end && range->crc == last_crc_;
  if (range->from == good && good > 0 && !goes_on) return false;
  ByteBuffer bytes;
  if (range->from < good) {
    bytes.resize(good - range->from);
    ByteBuffer here(bytes.size());
    if (auto r = options_.ahead->copy(*range, range->from, bytes); !r) {
      return std::unexpected(r.error());
    }
    auto got = (*file)->read(range->from, here);
    if (!got) return std::unexpected(got.error());
    if (*got != here.size() || here != bytes) return false;
    // A few equal bytes prove nothing: compaction writes a segment anew, shorter.
    if (!whole_batches(bytes)) return false;
  }
  uint64_t at = good;
  for (; range != ranges.end() && range->from <= at; range++) {
    bytes.resize(range->to - at);
    if (auto r = options_.ahead->copy(*range, at, bytes); !r) return std::unexpected(r.error());
    if (auto r = (*file)->write(at, ByteView(bytes)); !r) return std::unexpected(r.error());
    at = range->to;
  }
  log_.context.logger.warn("{}: {} bytes from byte {} on are taken from the write-ahead file",
                           segment.path(kLogSuffix), at - good, good);
  segment.restored(at);
  return true;
}

Result<void> Opener::drop_from(size_t segment) {
  if (segment < log_.segments.size()) cut_ = true;
  for (size_t n = segment; n < log_.segments.size(); n++) {
    log_.context.logger.warn("{} lies behind the cut and is removed",
                             log_.segments[n]->path(kLogSuffix));
  }
  while (log_.segments.size() > segment) {
    if (auto r = log_.drop_segments(log_.segments.size() - 1, 1); !r) return r;
  }
  return log_.drop_snapshots(log_.end + int64_t{1}, Offset(INT64_MAX));
}

/// The log start offset was moved beyond what is left of the log.
Result<void> Opener::start_over_if_behind() {
  if (log_.end >= log_.start) return {};
  log_.context.logger.warn("{}: the log ends at {}, below its start offset {}; it starts over",
                           log_.context.folder, log_.end.value, log_.start.value);
  if (auto r = drop_from(0); !r) return r;
  if (auto r = log_.drop_snapshots(Offset(0), Offset(INT64_MAX)); !r) return r;
  log_.epochs.clear();
  log_.producers.clear();
  log_.end = log_.start;
  return log_.add_segment(log_.start, false);
}

Result<void> Opener::rebuild_epochs() {
  if (log_.log_bytes == 0) return {};
  log_.epochs.clear();
  for (auto& segment : log_.segments) {
    auto r = for_each_batch(*segment, segment->base(), log_.end,
                            [&](const BatchView& batch, ByteView) { feed(log_.epochs, batch); });
    if (!r) return r;
  }
  return {};
}

/// Keeps the snapshots that segments begin with, the newest of all if it lies behind them, and the
/// newest that the recovery point covers.
Result<void> Opener::drop_stray_snapshots() {
  std::vector<Offset> keep;
  for (size_t n = 0; n < log_.snapshots.size(); n++) {
    Offset at = log_.snapshots[n];
    bool last = n + 1 == log_.snapshots.size();
    bool newest = last && at > log_.active().base();
    bool trusted =
        at <= options_.recovery_point && (last || log_.snapshots[n + 1] > options_.recovery_point);
    size_t s = log_.floor_segment(at);
    if (newest || trusted || log_.segments[s]->base() == at) {
      keep.push_back(at);
    } else if (auto r = remove(file_name(at, kSnapshotSuffix)); !r) {
      return r;
    }
  }
  log_.snapshots = std::move(keep);
  return {};
}

Result<void> Opener::run() {
  if (auto r = list(); !r) return r;
  if (auto r = refuse_old_format(); !r) return r;
  auto changed = clear_leftovers();
  if (!changed) return std::unexpected(changed.error());
  if (*changed) {
    if (auto r = list(); !r) return r;
  }
  if (auto r = read_topic_id(); !r) return r;
  if (auto r = load_epochs(); !r) return r;
  if (auto r = load_segments(); !r) return r;
  if (auto r = drop_stray_snapshots(); !r) return r;
  log_.start = std::max(options_.start, log_.segments.front()->base());
  if (auto r = find_end(); !r) return r;
  if (auto r = start_over_if_behind(); !r) return r;
  if (epochs_lost_) {
    if (auto r = rebuild_epochs(); !r) return r;
  }
  log_.epochs.truncate_from_end(log_.end);
  log_.epochs.truncate_from_start(log_.start);
  // After a clean stop a log without any snapshot has no producers.
  if (!recovered_ && !(options_.clean && log_.snapshots.empty())) {
    if (auto r = log_.rebuild_producers(log_.end); !r) return r;
    if (auto r = restore_snapshot(); !r) return r;
  }
  if (auto r = log_.drop_snapshots(log_.end + int64_t{1}, Offset(INT64_MAX)); !r) return r;
  log_.durable_end = options_.clean && !recovered_
                         ? log_.end
                         : std::clamp(options_.recovery_point, log_.start, log_.end);
  log_.flushed_end = log_.durable_end;
  if (!options_.clean || recovered_) {
    log_.names_suspect = true;
    if (log_.end > log_.durable_end || cut_) {
      log_.data_unsynced = true;
      log_.mark_suspects_unsynced();
    }
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Log>> Log::open(LogOptions options) {
  auto impl = std::make_unique<Impl>(options);
  Opener opener(*impl, options);
  if (auto r = opener.run(); !r) return std::unexpected(r.error());
  return std::unique_ptr<Log>(new Log(std::move(impl)));
}

}  // namespace odradek::log
