// Compaction as the log sees it: what there is to clean, and new segments in the place of old ones.
// Rules: Apache's LogCleanerManager (what is cleanable) and LocalLog.replaceSegments (names).
#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "base/check.h"
#include "log/compaction.h"
#include "log/file_names.h"
#include "log/log.h"
#include "log/log_impl.h"

namespace odradek::log {

Offset Log::first_dirty() const { return std::max(impl_->first_dirty, impl_->start); }

void Log::set_first_dirty(Offset offset) {
  // Beyond the end: the log was cut since it was written down.
  impl_->first_dirty = offset > impl_->end ? impl_->start : offset;
}

Result<Cleanable> Log::cleanable(WallMs now, Offset stable) {
  Impl& i = *impl_;
  const LogConfig& config = i.context.config;
  Cleanable range{.first_dirty = first_dirty()};
  const size_t active = i.segments.size() - 1;
  const size_t dirty = i.floor_segment(range.first_dirty);
  // The first segment that may not be cleaned: it holds the last stable offset, or is the last one,
  // or too young.
  size_t stop = std::min(active, i.floor_segment(std::max(stable, range.first_dirty)));
  range.waits_for_stable = stop < active;
  for (size_t n = dirty; n < stop && config.min_compaction_lag.value > 0; n++) {
    auto newest = i.segments[n]->age_timestamp();
    if (!newest) return std::unexpected(newest.error());
    if (*newest <= now + Millis(-config.min_compaction_lag.value)) continue;
    range.waits_until = *newest + config.min_compaction_lag;
    stop = n;
    break;
  }
  range.first_uncleanable = i.segments[stop]->base();
  for (size_t n = 0; n < i.segments.size(); n++) {
    const uint64_t size = i.segments[n]->size();
    if (i.segments[n]->base() < range.first_dirty) range.clean_bytes += size;
    if (n >= dirty && n < stop) range.dirty_bytes += size;
  }
  if (config.max_compaction_lag.value == INT64_MAX) return range;
  for (size_t n = dirty; n < active; n++) {
    auto first = i.segments[n]->first_timestamp();
    if (!first) return std::unexpected(first.error());
    if (!*first || (*first)->value <= 0) continue;
    const WallMs due(
        wire::wrapping_add((*first)->value, std::max<int64_t>(config.max_compaction_lag.value, 0)));
    if (due.value >= 0 && (range.due == kNoTimestamp || due < range.due)) range.due = due;
  }
  return range;
}

CompactionPlan Log::compaction_plan(const Cleanable& range, WallMs now) const {
  const Impl& i = *impl_;
  CompactionPlan plan{.disk = &i.context.disk,
                      .folder = i.context.folder,
                      .config = i.context.config,
                      .logger = i.context.logger,
                      .first_dirty = range.first_dirty,
                      .first_uncleanable = range.first_uncleanable,
                      .now = now};
  for (const auto& segment : i.segments) {
    plan.segments.push_back({segment->base(), segment->files()});
  }
  for (const ProducerEntry& e : i.producers.entries()) {
    LastOfProducer last{.epoch = e.epoch};
    for (const ProducerBatch& batch : std::span(e.batches).first(e.batch_count)) {
      const bool durable = batch.last_offset < i.durable_end;
      if (durable) last.data = batch.last_offset;
      last.newer |= !durable;
    }
    plan.producers[e.id] = last;
  }
  return plan;
}

namespace {

constexpr std::string_view kSuffixes[] = {kLogSuffix, kIndexSuffix, kTimeIndexSuffix,
                                          kTxnIndexSuffix};

void add_renames(const std::string& folder, Offset base, std::string_view from, std::string_view to,
                 std::vector<SegmentSwap::Rename>& renames) {
  for (std::string_view suffix : kSuffixes) {
    const std::string name = folder + "/" + file_name(base, suffix);
    renames.push_back({name + std::string(from), name + std::string(to)});
  }
}

}  // namespace

Result<SegmentSwap> Log::replace_segments(CleanedSegment cleaned) {
  Impl& i = *impl_;
  ODRADEK_CHECK(!i.replacing);
  if (auto r = i.usable(); !r) return std::unexpected(r.error());
  const size_t first = i.floor_segment(cleaned.base());
  const size_t count = cleaned.replaced.size();
  bool same = first + count < i.segments.size();  // the last segment is never among them
  for (size_t n = 0; same && n < count; n++) {
    same = i.segments[first + n]->base() == cleaned.replaced[n];
  }
  if (!same)
    return fail(Errc::kInvalid, i.partition.to_string() + ": changed while it was cleaned");

  SegmentSwap swap{.steps = std::vector<std::vector<SegmentSwap::Rename>>(3),
                   .base = cleaned.base()};
  const std::string& folder = i.context.folder;
  add_renames(folder, cleaned.base(), kCleanedSuffix, kSwapSuffix, swap.steps[0]);
  for (const Offset base : cleaned.replaced) {
    add_renames(folder, base, "", kDeletedSuffix, swap.steps[1]);
  }
  // Producer snapshots from before know of transactions whose markers may be gone now: with one of
  // them, recovery would take such a transaction for open. Without them it begins at the start.
  const Offset next = i.segments[first + count]->base();
  while (!i.snapshots.empty() && i.snapshots.front() < next) {
    const std::string name = i.path(file_name(i.snapshots.front(), kSnapshotSuffix));
    swap.steps[1].push_back({name, name + std::string(kDeletedSuffix)});
    i.snapshots.erase(i.snapshots.begin());
  }
  for (const SegmentSwap::Rename& r : swap.steps[1]) swap.doomed.push_back(r.to);
  add_renames(folder, cleaned.base(), kSwapSuffix, "", swap.steps[2]);

  auto segment = std::make_unique<Segment>(i.context, cleaned.base(), cleaned.files, i.now, 0);
  segment->adopt(std::move(cleaned.log), std::move(cleaned.index), std::move(cleaned.time_index),
                 std::move(cleaned.txn_index), cleaned.modified);
  for (size_t n = 0; n < count; n++) i.log_bytes -= i.segments[first + n]->size();
  i.log_bytes += segment->size();
  const auto at = i.segments.begin() + static_cast<ptrdiff_t>(first);
  *at = std::move(segment);
  i.segments.erase(at + 1, at + static_cast<ptrdiff_t>(count));
  i.context.page.reset();
  i.replacing = true;
  return swap;
}

void Log::replaced(const SegmentSwap& swap) {
  Impl& i = *impl_;
  ODRADEK_CHECK(i.replacing);
  i.replacing = false;
  i.segments[i.floor_segment(swap.base)]->release();
  i.doomed.insert(i.doomed.end(), swap.doomed.begin(), swap.doomed.end());
}

}  // namespace odradek::log
