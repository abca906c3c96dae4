// Compaction: one cleaning of one log: of every key only the newest record stays. Rules: Apache's
// Cleaner (KIP-98 for transactions, KIP-534 for the delete horizon).
//
// The log's loop takes a plan (`Log::compaction_plan`), which is a value; everything else happens
// on a file thread, in slices (`step`), and never touches the Log:
//   1. the dirty segments are read into an OffsetMap;
//   2. groups of segments that fit into one are written to `<base>.log.cleaned` with its indexes,
//      and synced;
//   3. kSegmentReady: the loop puts the new segment into the log (`Log::replace_segments`), which
//      names the renames that make it last (SegmentSwap), and goes on with the next group.
// A cleaning that is given up leaves `.cleaned` files, which `abandon` removes, and so does opening
// the log.
//
// Memory: the map, two buffers of `io_bytes` that grow to the largest batch, and the records of one
// batch that is written anew.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "base/logger.h"
#include "base/result.h"
#include "io/io.h"
#include "log/batch_filter.h"
#include "log/cleaned_transactions.h"
#include "log/log.h"
#include "log/offset_map.h"
#include "log/segment.h"

namespace odradek::log {

/// The last that a live producer has written: its batch is kept even if its records are not, lest
/// the sequence is forgotten.
struct LastOfProducer {
  /// Last offset of the newest of its batches of records that no power loss can take; −1: there is
  /// none.
  Offset data = kNoOffset;
  /// There are newer ones, which may go: then the last one that is cleaned has to stay.
  bool newer = false;
  ProducerEpoch epoch{-1};
};

struct PlannedSegment {
  Offset base;
  SegmentFiles files;
};

/// What a cleaning has to know of a log.
struct CompactionPlan {
  io::Disk* disk = nullptr;
  std::string folder;
  LogConfig config;
  Logger logger;
  /// All of the log, ascending. Those at and above first_uncleanable are looked at for the
  /// transactions that end there.
  std::vector<PlannedSegment> segments;
  Offset first_dirty{0};
  Offset first_uncleanable{0};  // base of a segment
  std::unordered_map<ProducerId, LastOfProducer> producers;
  WallMs now{0};
};

struct CompactionLimits {
  uint64_t map_bytes = uint64_t{128} << 20;  // log.cleaner.dedupe.buffer.size, of one thread
  double load_factor = 0.9;                  // log.cleaner.io.buffer.load.factor
  size_t io_bytes = 256 << 10;               // log.cleaner.io.buffer.size, of one buffer
  /// Bytes of records, uncompressed, of a batch that is written anew
  /// (odradek.max.decompressed.batch.bytes).
  uint64_t rewritten_max = uint64_t{128} << 20;
  uint64_t key0 = 0;  // secret of the map's hash: random numbers
  uint64_t key1 = 0;
};

struct CompactionStats {
  uint64_t mapped_bytes = 0;
  uint64_t bytes_read = 0;  // without those that were mapped
  uint64_t bytes_written = 0;
  uint64_t records_read = 0;
  uint64_t records_written = 0;
  uint64_t keyless = 0;  // records without a key, which a compacted log must not have
  size_t map_size = 0;
  size_t map_capacity = 0;
};

/// A segment that takes the place of others, in files that are named `*.cleaned`.
struct CleanedSegment {
  std::vector<Offset> replaced;  // bases, ascending; the first is its own
  SegmentFiles files;
  std::shared_ptr<io::File> log;
  std::shared_ptr<io::File> index;
  std::shared_ptr<io::File> time_index;
  std::shared_ptr<io::File> txn_index;  // null: nothing was aborted
  WallMs modified{0};                   // of the last one that is replaced

  Offset base() const { return replaced.front(); }
};

class Compaction {
 public:
  /// kInvalid if the map has no room for a key.
  static Result<std::unique_ptr<Compaction>> make(CompactionPlan plan,
                                                  const CompactionLimits& limits);
  ~Compaction();
  Compaction(const Compaction&) = delete;
  Compaction& operator=(const Compaction&) = delete;

  enum class State { kWorking, kSegmentReady, kDone };
  /// Goes on, until about `bytes` have been read or a segment is ready. kCorrupt, kLimit: the log
  /// has bytes that cannot be cleaned. kNoSpace, kIo: as the disk says. After an error only
  /// `abandon`.
  Result<State> step(uint64_t bytes);
  /// After kSegmentReady, once. The next `step` expects it in the log, as far as names go.
  CleanedSegment take_segment();
  /// Removes what this cleaning has written and nobody has taken over.
  void abandon();

  /// After kDone: the first offset that the next cleaning finds dirty.
  Offset end() const { return known_ + int64_t{1}; }
  const CompactionStats& stats() const { return stats_; }
  /// Bytes read and written so far, for a limit of their rate.
  uint64_t bytes_moved() const {
    return stats_.mapped_bytes + stats_.bytes_read + stats_.bytes_written;
  }

 private:
  class Reader;
  enum class Phase { kMap, kGroups, kClean, kDone };

  Compaction(CompactionPlan plan, const CompactionLimits& limits);
  std::string path(Offset base, std::string_view suffix) const;
  Result<void> collect_aborted(size_t segment, Offset from, Offset upper);
  Result<void> open_segment(size_t segment);
  std::unexpected<Error> unreadable(const BatchView& batch, const Error& error) const;

  Result<void> map_step(uint64_t until);
  Result<void> begin_map_segment();
  Result<bool> map_batch(const BatchView& batch);
  void end_map_segment();

  void group_segments();
  Result<void> begin_group();
  Result<void> clean_step(uint64_t until);
  Result<void> clean_batch(const BatchView& batch);
  Result<BatchFilter::Fate> fate_of(const BatchView& batch);
  bool is_last_of_producer(const BatchView& batch) const;
  Result<void> flush();
  Result<void> finish_group();

  CompactionPlan plan_;
  CompactionLimits limits_;
  SegmentContext target_context_;
  OffsetMap map_;
  Offset known_ = kNoOffset;  // the last offset that the map knows
  wire::Decompressor decompressor_;
  CleanedTransactions transactions_;
  CompactionStats stats_;
  Phase phase_ = Phase::kMap;

  std::unique_ptr<Reader> reader_;
  size_t segment_ = 0;  // that is being read
  std::vector<std::vector<size_t>> groups_;
  size_t group_ = 0;
  size_t in_group_ = 0;
  std::unique_ptr<BatchFilter> filter_;
  std::unique_ptr<Segment> target_;
  ByteBuffer pending_;
  std::optional<CleanedSegment> ready_;
};

}  // namespace odradek::log
