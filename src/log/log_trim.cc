// The ends of a log: rolling, retention, log start offset, truncation.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/check.h"
#include "log/file_names.h"
#include "log/log.h"
#include "log/log_impl.h"

namespace odradek::log {

namespace {
/// A new number for the jitter of the next segment, from the last one (splitmix64).
uint64_t next_random(uint64_t& state) {
  uint64_t z = (state += 0x9E3779B97F4A7C15ULL);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}
}  // namespace

// ---- rolling

Result<void> Log::Impl::add_segment(Offset base, bool new_folder) {
  for (std::string_view suffix : {kLogSuffix, kIndexSuffix, kTimeIndexSuffix, kTxnIndexSuffix}) {
    std::string leftover = path(file_name(base, suffix));
    if (new_folder || !context.disk.exists(leftover)) continue;
    context.logger.warn("{} is in the way of a new segment and is removed", leftover);
    if (auto r = context.disk.remove(leftover); !r) return r;
  }
  auto segment = std::make_unique<Segment>(context, base, SegmentFiles{}, now, next_random(random));
  if (auto file = segment->file(); !file) return std::unexpected(file.error());
  segments.push_back(std::move(segment));
  recent.clear();
  folder_unsynced = true;
  indexes_missing = true;
  touched = true;
  return {};
}

Result<void> Log::Impl::roll_to(Offset base) {
  Segment& old = active();
  if (old.size() == 0 && old.base() == base) return {};
  ODRADEK_CHECK(base > old.base());
  if (auto r = write_out(); !r) return r;
  auto files = old.finish();
  if (!files) return std::unexpected(files.error());
  auto file = old.file();
  if (!file) return std::unexpected(file.error());
  if (auto r = write_snapshot(base); !r) return r;
  if (auto r = add_segment(base, false); !r) return r;
  if (data_unsynced || tail || flushed_end < end) files->push_back(std::move(*file));
  for (auto& f : *files) unsynced_files.push_back(std::move(f));
  data_unsynced = true;  // the new file itself
  tail.reset();
  return {};
}

Result<void> Log::roll(WallMs now) {
  if (auto r = impl_->usable(); !r) return r;
  impl_->now = now;
  return impl_->roll_to(impl_->end);
}

Result<void> Log::Impl::write_snapshot(Offset at) {
  if (!snapshots.empty() && snapshots.back() >= at) return {};
  std::string file = path(file_name(at, kSnapshotSuffix));
  auto opened = context.disk.open(file, io::OpenMode::kCreate);
  if (!opened) return std::unexpected(opened.error());
  ByteBuffer content = encode_snapshot(producers.entries());
  if (auto r = (*opened)->truncate(0); !r) return r;
  if (auto r = (*opened)->write(0, ByteView(content)); !r) return r;
  snapshots.push_back(at);
  unsynced_files.push_back(std::move(*opened));
  folder_unsynced = true;
  bytes_since_snapshot = 0;
  return {};
}

void Log::Impl::snapshot_in_between() {
  bytes_since_snapshot = 0;
  auto indexes = active().write_indexes();
  Result<void> done = indexes ? write_snapshot(end) : std::unexpected(indexes.error());
  if (done) std::ranges::move(*indexes, std::back_inserter(unsynced_files));
  // Of those inside a segment the newest durable one is enough.
  for (size_t n = 0; n + 1 < snapshots.size() && done; n++) {
    const Offset at = snapshots[n];
    if (snapshots[n + 1] > flushed_end || segments[floor_segment(at)]->base() == at) continue;
    done = context.disk.remove(path(file_name(at, kSnapshotSuffix)));
    if (done) snapshots.erase(snapshots.begin() + static_cast<ptrdiff_t>(n--));
  }
  if (!done) context.logger.warn("{}: {}", partition.to_string(), done.error().message);
}

// ---- dropping

Result<void> Log::Impl::drop_segments(size_t from, size_t count) {
  context.page.reset();
  for (size_t n = 0; n < count; n++) {
    Segment& segment = *segments[from];
    if (auto r = segment.doom(doomed); !r) return r;
    log_bytes -= segment.size();
    segments.erase(segments.begin() + static_cast<ptrdiff_t>(from));
  }
  if (count > 0) folder_unsynced = true;
  return {};
}

// Snapshots with from ≤ offset < to.
Result<void> Log::Impl::drop_snapshots(Offset from, Offset to) {
  for (size_t n = 0; n < snapshots.size();) {
    if (snapshots[n] < from || snapshots[n] >= to) {
      n++;
      continue;
    }
    if (auto r = context.disk.remove(path(file_name(snapshots[n], kSnapshotSuffix))); !r) return r;
    snapshots.erase(snapshots.begin() + static_cast<ptrdiff_t>(n));
    folder_unsynced = true;  // it must not be back once the recovery point has passed it
  }
  return {};
}

Result<bool> Log::advance_start(Offset offset) {
  Impl& i = *impl_;
  if (offset > i.end) {
    return fail(Errc::kInvalid, fmt::format("{}: log start offset {} is above the end {}",
                                            i.partition.to_string(), offset.value, i.end.value));
  }
  if (offset <= i.start) return false;
  i.start = offset;
  i.durable_end = std::max(i.durable_end, offset);
  i.flushed_to(offset);
  i.epochs.truncate_from_start(offset);
  i.producers.on_high_watermark(offset);
  return true;
}

Result<bool> Log::expire(WallMs now, Offset high_watermark) {
  Impl& i = *impl_;
  if (auto r = i.usable(); !r) return std::unexpected(r.error());
  i.now = now;
  const LogConfig& config = i.context.config;
  if (!config.delete_policy) return false;
  uint64_t excess = 0;
  if (config.retention_bytes >= 0 && i.log_bytes > static_cast<uint64_t>(config.retention_bytes)) {
    excess = i.log_bytes - static_cast<uint64_t>(config.retention_bytes);
  }
  // Whole segments from the front, as long as one of the rules asks for it.
  size_t count = 0;
  for (; count < i.segments.size(); count++) {
    Segment& segment = *i.segments[count];
    const bool last = count + 1 == i.segments.size();
    const Offset upper = last ? i.end : i.segments[count + 1]->base();
    if (upper > high_watermark || (last && segment.size() == 0)) break;
    bool remove = (!last && upper <= i.start) || (excess >= segment.size() && excess > 0);
    if (!remove && config.retention_ms.value >= 0) {
      auto age = segment.age_timestamp();
      if (!age) return std::unexpected(age.error());
      remove = now - *age > config.retention_ms.value;
    }
    if (!remove) break;
    excess -= std::min(excess, segment.size());
  }
  if (count == 0) return false;
  if (count == i.segments.size()) {
    if (auto r = i.roll_to(i.end); !r) return std::unexpected(r.error());
  }
  return advance_start(i.segments[count]->base());
}

Result<Removed> Log::remove_expired(Offset limit) {
  Impl& i = *impl_;
  ODRADEK_CHECK(!i.replacing);
  if (auto r = i.usable(); !r) return std::unexpected(r.error());
  limit = std::min(i.start, limit);
  size_t count = 0;
  while (count + 1 < i.segments.size() && i.segments[count + 1]->base() <= limit) count++;
  if (count == 0) return Removed{};
  const Offset new_front = i.segments[count]->base();
  // What the producers did is in that snapshot only, once the batches are gone.
  if (i.producers.size() > 0 && new_front >= i.durable_end) {
    auto snapshot =
        i.context.disk.open(i.path(file_name(new_front, kSnapshotSuffix)), io::OpenMode::kWrite);
    if (snapshot) {
      if (auto r = (*snapshot)->sync(); !r) return std::unexpected(r.error());
      if (auto r = i.context.disk.sync_directory(i.context.folder); !r) {
        return std::unexpected(r.error());
      }
    }
  }
  const uint64_t before = i.log_bytes;
  if (auto r = i.drop_segments(0, count); !r) return std::unexpected(r.error());
  if (auto r = i.drop_snapshots(Offset(0), new_front); !r) return std::unexpected(r.error());
  return Removed{.segments = static_cast<int>(count), .bytes = before - i.log_bytes};
}

Result<Removed> Log::apply_retention(WallMs now, Offset high_watermark) {
  if (auto r = expire(now, high_watermark); !r) return std::unexpected(r.error());
  return remove_expired(high_watermark);
}

// ---- truncation

/// The end lies where durable_end says at most; the file wants a sync as a whole.
void Log::Impl::was_cut() {
  flushed_end = std::min(flushed_end, durable_end);
  in_laps.clear();
  generation++;
  data_unsynced = true;
  tail.reset();
  unwritten.reset();
  last_crc.reset();
  cut_unsynced = true;
}

Result<bool> Log::truncate_to(Offset offset) {
  Impl& i = *impl_;
  ODRADEK_CHECK(!i.replacing);
  if (auto r = i.usable(); !r) return std::unexpected(r.error());
  if (offset.value < 0) return fail(Errc::kInvalid, "truncate: a negative offset");
  if (offset >= i.end) return false;
  if (auto r = i.write_out(); !r) return std::unexpected(r.error());
  if (offset < i.segments.front()->base()) {
    if (auto r = truncate_fully_and_start_at(offset); !r) return std::unexpected(r.error());
    return true;
  }
  size_t keep = i.floor_segment(offset) + 1;
  // Later segments first: a crash in between must not leave a hole.
  while (i.segments.size() > keep) {
    if (auto r = i.drop_segments(i.segments.size() - 1, 1); !r) return std::unexpected(r.error());
  }
  Segment& segment = i.active();
  uint64_t before = segment.size();
  if (auto r = segment.truncate_to(offset); !r) return std::unexpected(r.error());
  i.log_bytes -= before - segment.size();
  if (auto r = i.end_moved_back(offset); !r) return std::unexpected(r.error());
  return true;
}

Result<void> Log::Impl::end_moved_back(Offset offset) {
  recent.clear();
  end = offset;
  start = std::min(start, offset);
  durable_end = std::min(durable_end, offset);
  first_dirty = std::min(first_dirty, offset);
  was_cut();
  touched = true;
  epochs.truncate_from_end(offset);
  if (auto r = drop_snapshots(offset + int64_t{1}, Offset(INT64_MAX)); !r) return r;
  return rebuild_producers(offset);
}

Result<void> Log::take_back_unwritten() {
  Impl& i = *impl_;
  if (!i.unwritten) return {};
  const Impl::Unwritten lost = *i.unwritten;
  Segment& segment = i.active();
  i.log_bytes -= segment.size() - lost.from;
  i.unwritten.reset();
  Result<void> done = segment.cut(lost.before, lost.from);
  if (done) done = i.end_moved_back(lost.before);
  i.broken |= !done;
  return done;
}

Result<void> Log::truncate_fully_and_start_at(Offset offset) {
  Impl& i = *impl_;
  ODRADEK_CHECK(!i.replacing);
  if (auto r = i.usable(); !r) return r;
  i.touched = true;
  while (!i.segments.empty()) {
    if (auto r = i.drop_segments(i.segments.size() - 1, 1); !r) {
      i.broken = true;
      return r;
    }
  }
  if (auto r = i.drop_snapshots(Offset(0), Offset(INT64_MAX)); !r) return r;
  i.producers.clear();
  i.epochs.clear();
  i.recent.clear();
  i.start = i.end = i.durable_end = i.first_dirty = offset;
  i.was_cut();
  if (auto r = i.add_segment(offset, false); !r) {
    i.broken = true;
    return r;
  }
  return {};
}

// ---- another place

void Log::moved_to(std::string folder) {
  Impl& i = *impl_;
  i.context.folder = std::move(folder);
  for (auto& segment : i.segments) segment->folder_renamed();
  i.folder_unsynced = i.parent_unsynced = true;
  i.touched = true;
}

Result<void> Log::take_over(const Log& original) {
  Impl& i = *impl_;
  const Impl& from = *original.impl_;
  if (i.end != from.end || i.segments.front()->base() > from.start) {
    return fail(Errc::kInvalid, fmt::format("{}: not a copy of {}", folder(), original.folder()));
  }
  i.start = from.start;
  i.durable_end = std::max(i.durable_end, i.start);
  i.flushed_to(i.start);
  i.producers = from.producers;
  i.epochs = from.epochs;
  i.first_dirty = from.first_dirty;
  i.touched = true;
  if (auto r = i.write_epochs(); !r) return r;
  // One of the same name knows only the producers whose batches were copied.
  if (auto r = i.drop_snapshots(i.end, i.end + int64_t{1}); !r) return r;
  return i.write_snapshot(i.end);
}

}  // namespace odradek::log
