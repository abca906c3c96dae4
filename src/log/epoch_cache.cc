#include "log/epoch_cache.h"

#include <algorithm>

namespace odradek::log {

EpochCache::EpochCache(const std::vector<EpochEntry>& entries) {
  for (const EpochEntry& e : entries) assign(e.epoch, e.start);
  unsaved_from_.reset();
}

void EpochCache::changed(Offset from) {
  version_++;
  unsaved_from_ = unsaved_from_ ? std::min(*unsaved_from_, from) : from;
}

void EpochCache::assign(LeaderEpoch epoch, Offset start) {
  if (epoch.value < 0 || start.value < 0) return;
  if (!entries_.empty() && entries_.back().epoch == epoch && start >= entries_.back().start) return;
  while (!entries_.empty() && (entries_.back().epoch >= epoch || entries_.back().start >= start)) {
    entries_.pop_back();
  }
  entries_.push_back(EpochEntry{epoch, start});
  changed(start);
}

void EpochCache::truncate_from_end(Offset end) {
  while (!entries_.empty() && entries_.back().start >= end) {
    entries_.pop_back();
    changed(end);
  }
}

void EpochCache::truncate_from_start(Offset start) {
  auto later = std::find_if(entries_.begin(), entries_.end(),
                            [&](const EpochEntry& e) { return e.start > start; });
  if (later == entries_.begin()) return;
  auto covering = later - 1;
  if (covering == entries_.begin() && covering->start == start) return;
  covering->start = start;
  entries_.erase(entries_.begin(), covering);
  changed(start);
}

void EpochCache::clear() {
  if (entries_.empty()) return;
  entries_.clear();
  changed(Offset(0));
}

EpochEnd EpochCache::end_offset_for(LeaderEpoch requested, Offset log_end) const {
  if (requested.value < 0) return {};
  if (!entries_.empty() && entries_.back().epoch == requested) return {requested, log_end};
  auto higher = std::find_if(entries_.begin(), entries_.end(),
                             [&](const EpochEntry& e) { return e.epoch > requested; });
  if (higher == entries_.end()) return {};
  if (higher == entries_.begin()) return {requested, higher->start};
  return {(higher - 1)->epoch, higher->start};
}

LeaderEpoch EpochCache::epoch_at(Offset offset) const {
  auto later = std::find_if(entries_.begin(), entries_.end(),
                            [&](const EpochEntry& e) { return e.start > offset; });
  return later == entries_.begin() ? kNoEpoch : (later - 1)->epoch;
}

}  // namespace odradek::log
