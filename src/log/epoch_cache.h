// EpochCache: which leader epoch begins at which offset of a log; what `leader-epoch-checkpoint`
// holds.
//
// Changes happen in memory. `unsaved_from` says from which offset on the file does not know yet:
// recovery finds epochs again in the batches, so the recovery point must not pass that offset.
#pragma once

#include <optional>
#include <vector>

#include "base/ids.h"
#include "log/log.h"

namespace odradek::log {

class EpochCache {
 public:
  EpochCache() = default;
  /// Entries of a checkpoint file, in its order; those that contradict later ones go.
  explicit EpochCache(const std::vector<EpochEntry>& entries);

  const std::vector<EpochEntry>& entries() const { return entries_; }
  LeaderEpoch latest() const { return entries_.empty() ? kNoEpoch : entries_.back().epoch; }

  /// A new epoch begins at `start`. Entries with a higher or equal epoch or start are dropped; no
  /// effect if it is the latest epoch already.
  void assign(LeaderEpoch epoch, Offset start);
  void truncate_from_end(Offset end);
  /// The entry that covers `start` then begins there.
  void truncate_from_start(Offset start);
  void clear();

  EpochEnd end_offset_for(LeaderEpoch requested, Offset log_end) const;
  LeaderEpoch epoch_at(Offset offset) const;

  /// Grows with every change.
  uint64_t version() const { return version_; }
  std::optional<Offset> unsaved_from() const { return unsaved_from_; }
  /// The file holds what is here now.
  void mark_saved() { unsaved_from_.reset(); }

 private:
  void changed(Offset from);

  std::vector<EpochEntry> entries_;  // ascending in both
  std::optional<Offset> unsaved_from_;
  uint64_t version_ = 0;
};

}  // namespace odradek::log
