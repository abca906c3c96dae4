// Log::Impl: the inside of a Log, shared by the files that implement it (log.cc: appends and syncs;
// log_read.cc; log_trim.cc: rolling, retention, truncation; log_open.cc: opening and recovery).
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "log/epoch_cache.h"
#include "log/log.h"
#include "log/producer_state.h"
#include "log/recent_batches.h"
#include "log/segment.h"

namespace odradek::log {

struct Log::Impl {
  explicit Impl(LogOptions& options);

  // Constant after opening.
  TopicPartition partition;
  Uuid topic_id;
  SegmentContext context;

  // What is on disk. There is always at least one segment; the last one takes the appends.
  std::vector<std::unique_ptr<Segment>> segments;  // ascending
  std::vector<Offset> snapshots;                   // producer snapshots, ascending
  uint64_t log_bytes = 0;                          // size of all `.log` files
  Offset start{0};
  Offset end{0};
  Offset durable_end{0};
  Offset flushed_end{0};  // everything below is durable in its segment; at most durable_end
  struct InLap {
    uint64_t lap;
    Offset end;
  };
  std::vector<InLap> in_laps;  // what is durable in the write-ahead file only, ascending
  Offset first_dirty{0};       // for the next cleaning
  bool replacing = false;      // segments: names are being changed
  EpochCache epochs;
  ProducerState producers;
  RecentBatches recent;  // of the last segment
  uint64_t random = 0;   // for the jitter of segments to come

  // What has not reached the device.
  bool data_unsynced = false;  // the last segment's `.log`, all of it
  struct Tail {
    uint64_t from;  // position in the last segment
    Offset before;  // log end offset there
    uint32_t crc;   // of the batch before it
  };
  std::optional<Tail> tail;          // of the last segment; appended since the last ticket
  std::optional<uint32_t> last_crc;  // of the last batch, if this Log has appended it
  /// A copy of the last segment's bytes from `kept_from` on; of use while it reaches to its end.
  ByteBuffer kept;
  uint64_t kept_from = 0;
  struct Unwritten {
    uint64_t from;  // position in the last segment; behind it all are in `kept` only
    Offset before;  // log end offset there
  };
  std::optional<Unwritten> unwritten;
  bool cut_unsynced = false;     // by a truncation
  bool folder_unsynced = false;  // names in the folder
  bool parent_unsynced = false;  // the folder's own name
  /// After an unclean start nobody knows whether the names, and the snapshot that was loaded, are
  /// durable; to be synced with the next append.
  bool names_suspect = false;
  std::optional<Offset> suspect_snapshot;
  std::vector<std::shared_ptr<io::File>> unsynced_files;  // everything else
  uint64_t generation = 0;
  uint64_t epoch_version_written = 0;

  uint64_t bytes_since_snapshot = 0;

  std::vector<std::string> doomed;
  bool touched = false;          // something was written since opening
  bool indexes_missing = false;  // the last segment's indexes have no files yet
  WallMs now{0};                 // the time of the last call that told it
  bool broken = false;           // a failed write could not be undone; no more appends

  Segment& active() { return *segments.back(); }
  /// Index of the last segment whose base is at most `offset`; 0 if all lie above.
  size_t floor_segment(Offset offset) const;
  /// From where on producers can be told from the batches: the segment that holds the log start
  /// offset, and those before it as far as there is no gap (a crash may bring removed ones back).
  Offset first_replayable();
  std::string path(std::string_view name) const { return context.folder + "/" + std::string(name); }

  // log.cc
  Result<void> usable() const;
  void mark_suspects_unsynced();
  Result<AppendResult> append(ByteView batches, Offset first, Offset last, WallMs max_timestamp,
                              AppendOrigin origin, const TransactionRules& rules,
                              WriteWhen when = WriteWhen::kNow);
  /// The append itself, when all checks have passed.
  Result<void> write(ByteView batches, WriteWhen when);
  /// The same, with room in the txnindex for what is aborted by it: all or nothing.
  Result<void> write_marked(ByteView batches, WriteWhen when);
  Result<std::optional<io::FileWrite>> to_write_out();
  Result<void> write_out();
  bool keeps(uint64_t position, size_t bytes) const;
  Result<void> write_epochs();
  void flushed_to(Offset offset);
  /// What `finish` has to do for a log that was written to.
  Result<void> finish_touched();

  // log_read.cc
  Result<std::optional<BatchAt>> locate(size_t segment, Offset target);
  /// The first record of a segment, looked for from a position on, that has at least this timestamp
  /// and offset.
  Result<TimestampOffset> find_record(Segment& segment, uint64_t position, WallMs timestamp,
                                      Offset from);

  // log_trim.cc
  Result<void> roll_to(Offset base);
  Result<void> add_segment(Offset base, bool new_folder);
  Result<void> write_snapshot(Offset at);
  /// Notes in the txnindex of `segment` what has just been aborted there.
  Result<void> index_aborted(Segment& segment, std::span<const AbortedEntry> aborted);
  /// A snapshot inside the active segment, synced together with the indexes: once the recovery
  /// point is not below it, recovery need not go back to the beginning of the segment.
  void snapshot_in_between();
  void was_cut();
  /// What a log forgets when its last segment has been cut.
  Result<void> end_moved_back(Offset offset);
  Result<void> drop_segments(size_t from, size_t count);
  Result<void> drop_snapshots(Offset from, Offset to);

  // log_open.cc
  /// Producer state as of `to`: the last good snapshot, then the batches behind it.
  Result<void> rebuild_producers(Offset to);
  /// Its two halves: the last good snapshot up to `to`, if there is one, and its offset; then what
  /// the batches in [from, to) did.
  Result<std::optional<Offset>> load_producers(Offset to);
  Result<void> replay_producers(Offset from, Offset to);
};

/// Walks the batch headers of a segment from `from` on (a batch boundary or the segment's base) to
/// `to`, telling each batch and its first bytes.
Result<void> for_each_batch(Segment& segment, Offset from, Offset to,
                            const std::function<void(const BatchView&, ByteView)>& visit);

}  // namespace odradek::log
