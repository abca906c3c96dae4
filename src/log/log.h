// Log: one partition's log, in Apache Kafka's on-disk format (docs/formats/log-directory.md).
//
// A log is a row of segments in one folder. Batches enter at the end (`append_as_leader`,
// `append_as_follower`), leave at the front (`apply_retention`) or, after a change of leader, at
// the end (`truncate_to`). Beside the batches it keeps what they imply: leader epochs, the state of
// idempotent producers, open and aborted transactions.
//
// Offsets, always start ≤ durable_end ≤ end:
//   start        log start offset: first offset that may be read
//   durable_end  everything below is on the device (see SyncTicket), here or in the directory's
//                write-ahead file
//   end          log end offset: the next offset to be written
// The high watermark is the owner's.
//
// A Log is a resource of one loop (it may be opened on another thread and then handed over). Calls
// block only on the page cache. Files in a Piece or SyncTicket stay readable as long as somebody
// holds them, whatever happens to the log.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/logger.h"
#include "base/result.h"
#include "base/uuid.h"
#include "io/io.h"
#include "log/log_config.h"

namespace odradek::wire {
enum class ErrorCode : int16_t;
}

namespace odradek::log {

/// Name of a partition.
struct TopicPartition {
  std::string topic;
  PartitionIndex index;

  auto operator<=>(const TopicPartition&) const = default;
  /// `topic-index`, the name of its folder.
  std::string to_string() const;
};

class Ahead;

/// Bytes of log that recovery has scanned, and has to scan in all. Called on the opening thread.
using RecoveryProgress = std::function<void(uint64_t done, uint64_t total)>;

/// How to open a log. The folder and what is missing in it is made.
struct LogOptions {
  io::Disk* disk = nullptr;
  std::string folder;  // path of the partition's folder
  TopicPartition partition;
  /// Written to partition.metadata if that is missing; kInvalid if it holds another one. Without
  /// it: whatever the file says.
  std::optional<Uuid> topic_id;
  LogConfig config;
  Offset start{0};           // from log-start-offset-checkpoint
  Offset recovery_point{0};  // from recovery-point-offset-checkpoint
  bool clean = false;        // the directory had its clean-shutdown marker, or the log is new
  /// Recovery takes a gap between offsets for damage (the metadata log). Otherwise gaps are left to
  /// be what compaction makes.
  bool contiguous = false;
  WallMs now{0};
  uint64_t random = 0;  // for segment.jitter.ms
  /// What the directory's write-ahead files hold, for what a power loss took from the segments.
  std::shared_ptr<const Ahead> ahead;
  Logger logger;
  RecoveryProgress progress;
};

enum class AppendOrigin {
  kClient,       // sequence and epoch of producers are checked
  kCoordinator,  // records and markers written by a coordinator: epoch checked, not the sequence
  kReplication,  // nothing refused: the leader has checked
};

/// When the bytes of an append go to their file.
enum class WriteWhen : uint8_t {
  kNow,
  /// At once, with a copy kept for the write-ahead file, if they are few: else they are read again.
  kNowKept,
  /// By `unwritten` and `wrote_out`, so that the sync need not wait for it, nor each append have a
  /// write of its own. For who answers only after the sync: until then they are in memory alone.
  /// Not all appends take it; others are written at once.
  kLater,
};

/// What an append has to know of transactions.
struct TransactionRules {
  /// Of a data batch that begins a transaction here: what `begin_verification` gave. 0: nothing.
  uint64_t guard = 0;
  /// Such a batch is refused without the guard (transaction.partition.verification.enable).
  bool verified_only = false;
  /// Of a marker: the transaction.version that its coordinator ended the transaction under.
  int16_t marker_version = 0;
};

/// Whether a transaction has to be verified with its coordinator before a batch may begin it.
struct Verification {
  wire::ErrorCode error{};
  uint64_t guard = 0;  // 0: it is open already
};

/// What became of an append.
struct AppendResult {
  /// kNone, or a refusal that left the log as it was: OUT_OF_ORDER_SEQUENCE_NUMBER,
  /// INVALID_PRODUCER_EPOCH, TRANSACTION_COORDINATOR_FENCED, INVALID_TXN_STATE,
  /// RECORD_LIST_TOO_LARGE (more than a segment holds).
  wire::ErrorCode error{};
  /// The batch was there already (one of the last five of its producer); the offsets are those of
  /// the first time and nothing was written.
  bool duplicate = false;
  Offset first = kNoOffset;  // base offset of the first batch
  Offset last = kNoOffset;   // last offset of the last batch
  /// Log append time if the batches carry it (for a duplicate: of the first time), else −1.
  WallMs append_time = kNoTimestamp;
};

struct ReadOptions {
  uint32_t max_bytes = 0;
  /// Nothing at or above this offset is returned (high watermark, last stable offset, end).
  Offset upper_bound;
  /// Return the first batch whole even if it is larger than max_bytes.
  bool at_least_one = false;
};

/// A run of batches of one segment, as Apache returns them: it begins with the batch that holds
/// the offset asked for and may end in the middle of a batch, but not of the first one: if that
/// does not fit into max_bytes, nothing is returned, or with at_least_one the whole of it.
struct ReadResult {
  /// kNone or OFFSET_OUT_OF_RANGE (below start, above end).
  wire::ErrorCode error{};
  Piece piece;  // source is an io::File; size 0: nothing below the bound
  /// Where it begins: base offset of the segment and position in its file.
  Offset segment_base = kNoOffset;
  uint64_t position = 0;
};

struct TimestampOffset {
  WallMs timestamp = kNoTimestamp;
  Offset offset = kNoOffset;
  LeaderEpoch epoch = kNoEpoch;
  bool operator==(const TimestampOffset&) const = default;
};

/// Answer of OffsetForLeaderEpoch: (−1, −1) if unknown.
struct EpochEnd {
  LeaderEpoch epoch = kNoEpoch;
  Offset end = kNoOffset;
  bool operator==(const EpochEnd&) const = default;
};

struct EpochEntry {
  LeaderEpoch epoch;
  Offset start;
  bool operator==(const EpochEntry&) const = default;
};

/// What DescribeProducers tells of a producer.
struct ProducerInfo {
  ProducerId id;
  ProducerEpoch epoch;
  int32_t last_sequence = -1;
  WallMs last_timestamp = kNoTimestamp;
  int32_t coordinator_epoch = -1;
  Offset transaction_start = kNoOffset;
};

struct AbortedTransaction {
  ProducerId id;
  Offset first;
  bool operator==(const AbortedTransaction&) const = default;
};

/// What has to reach the device so that everything below `end` is durable. Sync every file (order
/// does not matter; a "file" may stand for a directory) and what was appended, then call `synced`.
struct SyncTicket {
  std::vector<std::shared_ptr<io::File>> files;
  /// Bytes of the last segment, which may also go into the directory's write-ahead file.
  std::optional<io::Appended> appended;
  ByteView carried{};  // a copy of them, if there is one; until the next call that changes the log
  /// The log was cut: what write-ahead files hold of it must be forgotten.
  bool cut = false;
  Offset end;
  Offset settled;              // everything below is in `files`, or was in segments before
  uint64_t generation = 0;     // of the log's end: a truncation begins a new one
  uint64_t epoch_version = 0;  // of the leader epochs that are among the files
};

/// Adds what a sync queue is to do for a ticket; takes the files out of it.
void add_to(io::SyncJob& job, SyncTicket& ticket);

/// What retention did.
struct Removed {
  int segments = 0;
  uint64_t bytes = 0;
};

struct CompactionPlan;
struct CleanedSegment;

/// What a cleaning would find in a log. Bytes and offsets by whole segments.
struct Cleanable {
  Offset first_dirty{0};
  Offset first_uncleanable{0};  // base of a segment
  uint64_t clean_bytes = 0;     // before first_dirty
  uint64_t dirty_bytes = 0;     // from there up to first_uncleanable
  /// Closed segments wait for the last stable offset, or (−1: none does) for this moment.
  bool waits_for_stable = false;
  WallMs waits_until = kNoTimestamp;
  /// When max.compaction.lag.ms demands a cleaning; −1: never.
  WallMs due = kNoTimestamp;

  double ratio() const {
    const uint64_t all = clean_bytes + dirty_bytes;
    return all == 0 ? 0 : static_cast<double>(dirty_bytes) / static_cast<double>(all);
  }
};

/// The renames that make a replacement of segments last, in Apache's order. Each step is to be
/// durable (sync_directory of the folder) before the next begins; a crash anywhere in between
/// leaves what opening the log can complete. A name that is not there is no error, except the first
/// of a step.
struct SegmentSwap {
  struct Rename {
    std::string from;
    std::string to;
  };
  std::vector<std::vector<Rename>> steps;
  Offset base{0};                   // of the segment that took their place
  std::vector<std::string> doomed;  // what is to be unlinked afterwards
};

class Log {
 public:
  /// Opens, and recovers if not clean. kCorrupt or kUnsupported (magic 0 or 1) with the file's name
  /// if the log cannot be served; bad bytes behind the last good batch are cut, not an error.
  static Result<std::unique_ptr<Log>> open(LogOptions options);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  const TopicPartition& partition() const;
  const Uuid& topic_id() const;  // zero if partition.metadata is missing
  const std::string& folder() const;
  const LogConfig& config() const;
  void set_config(const LogConfig& config);

  // ---- offsets
  Offset start() const;
  Offset end() const;
  Offset durable_end() const;
  /// Where an unclean start may begin to check; what recovery-point-offset-checkpoint holds.
  /// Everything below is durable in its segment.
  Offset recovery_point() const;
  /// Something is durable in the write-ahead file alone.
  bool ahead() const;
  /// Bytes of all `.log` files.
  uint64_t size() const;
  int segment_count() const;
  /// The log starts where its first file does, and a power loss cannot bring earlier files back
  /// (nor is a sync under way): log-start-offset-checkpoint needs no line for it.
  bool starts_with_first_file() const;

  // ---- append
  /// Gives offsets to batches that wire's validator has passed and appends them: base offset and
  /// leader epoch are written into `batches` in place. On an Error (disk) nothing was appended.
  Result<AppendResult> append_as_leader(MutableBytes batches, LeaderEpoch epoch,
                                        AppendOrigin origin, WallMs now,
                                        const TransactionRules& rules = {},
                                        WriteWhen when = WriteWhen::kNow);
  /// Appends batches whose offsets and epochs are given (by the leader, or by raft). The first must
  /// not lie below `end` (kInvalid); gaps are allowed. CRCs are the caller's to check.
  Result<AppendResult> append_as_follower(ByteView batches, WallMs now);

  // ---- sync
  /// True if something was written that no ticket has taken yet.
  bool unsynced() const;
  SyncTicket take_unsynced();
  /// What was to be written later, and where; to be done soon after `take_unsynced`, and told to
  /// `wrote_out`, or else it is still to be written. The bytes are valid until something is
  /// appended.
  Result<std::optional<io::FileWrite>> unwritten() const;
  void wrote_out();
  /// Removes what could not be written out: the end moves back, and the next ticket says `cut`.
  Result<void> take_back_unwritten();
  /// The ticket's appended bytes were unwritten, and a write-ahead file did not take them: their
  /// file is to be synced (Synced::refused).
  void refused(const SyncTicket& ticket);
  /// A ticket's files have been synced: moves durable_end. (If the sync failed, the directory is
  /// done for; do not call this.) `where`: what became of its appended bytes.
  void synced(const SyncTicket& ticket, const io::Synced& where = {});
  /// What went to the write-ahead file up to this lap is in the segments, too.
  void flushed(uint64_t lap);
  /// Syncs here and now (start, tests).
  Result<void> sync();

  // ---- read
  Result<ReadResult> read(Offset from, const ReadOptions& options);
  /// First record at or after `timestamp` (in log order; its timestamp, offset and epoch), or
  /// (−1, −1, −1).
  Result<TimestampOffset> offset_for_timestamp(WallMs timestamp);
  /// When the batch with the first record at or behind `offset` began (its append time, if it
  /// carries that): the age of that record to within its batch. −1 if there is none, or no time in
  /// it. Costs a look into the index and at most `index.interval.bytes` of headers.
  Result<WallMs> timestamp_at(Offset offset);
  /// The first record with the largest timestamp, or (−1, −1, −1) if there is none.
  Result<TimestampOffset> max_timestamp();

  // ---- leader epochs
  LeaderEpoch latest_epoch() const;
  /// This replica leads from `end` on in `epoch` (no effect if not newer).
  void assign_epoch(LeaderEpoch epoch);
  /// The largest epoch ≤ requested and where it ends.
  EpochEnd end_offset_for_epoch(LeaderEpoch requested) const;
  /// Epoch of the batch at `offset`; −1 if unknown.
  LeaderEpoch epoch_at(Offset offset) const;
  const std::vector<EpochEntry>& epochs() const;

  // ---- producers and transactions
  /// min(high watermark, first offset of a transaction that is open, or whose marker is not below
  /// the high watermark).
  Offset last_stable_offset(Offset high_watermark);
  /// Transactions aborted in [from, upper_bound): for a fetch with read_committed.
  Result<std::vector<AbortedTransaction>> aborted_transactions(Offset from, Offset upper_bound);
  std::vector<ProducerInfo> producers() const;
  /// A batch of a transaction is about to come, beginning with `sequence` (−1: a coordinator's). If
  /// the transaction is not open here, the guard ties what its coordinator says to this moment: a
  /// marker that comes between makes it worthless. `bumps`: the producer's epoch moves with every
  /// transaction (transaction.version 2). INVALID_PRODUCER_EPOCH if the producer is fenced.
  Verification begin_verification(ProducerId id, ProducerEpoch epoch, int32_t sequence, bool bumps,
                                  WallMs now);
  /// What an append of such a batch, or of such a marker, would be refused with.
  wire::ErrorCode check_transactional(ProducerId id, ProducerEpoch epoch,
                                      const TransactionRules& rules) const;
  wire::ErrorCode check_marker(ProducerId id, ProducerEpoch epoch, int32_t coordinator_epoch,
                               const TransactionRules& rules) const;
  /// Forgets producers that have been silent for producer.id.expiration.ms.
  void expire_producers(WallMs now);

  // ---- the front and the end
  /// Moves the log start offset up to `offset` (DeleteRecords, a raft snapshot, a follower of such
  /// a leader). Segments go with the next retention. True if it moved.
  Result<bool> advance_start(Offset offset);
  /// With the delete policy, moves the log start offset above the segments that break retention.ms
  /// or retention.bytes, but not above the high watermark. True if it moved.
  Result<bool> expire(WallMs now, Offset high_watermark);
  /// Removes whole segments below the log start offset and below `limit`: what was saved of it
  /// (after a power loss some files of many may be back, and only the log start offset tells that
  /// they do not count), not above the high watermark.
  Result<Removed> remove_expired(Offset limit);
  /// Both.
  Result<Removed> apply_retention(WallMs now, Offset high_watermark);
  /// Removes everything at and above `offset`. True if there was something. The owner writes
  /// recovery-point-offset-checkpoint before it appends again: what follows is not on the device.
  Result<bool> truncate_to(Offset offset);
  /// Empties the log; it then starts and ends at `offset`.
  Result<void> truncate_fully_and_start_at(Offset offset);
  /// Files (named `*.deleted`) that the owner unlinks after file.delete.delay; each is told once.
  std::vector<std::string> take_doomed();
  /// Starts a new segment if the active one holds anything.
  Result<void> roll(WallMs now);

  // ---- a log that changes its place
  /// The folder has been renamed to this.
  void moved_to(std::string folder);
  /// This log is a copy of `original`, to its end (else kInvalid): takes over what the batches
  /// alone do not tell (log start offset, leader epochs, producers and transactions) and writes it
  /// down, for the next sync.
  Result<void> take_over(const Log& original);

  /// Writes producer snapshot and indexes as Apache expects them after a clean stop. Only `synced`
  /// with the ticket and the destructor may follow. (Without it: as after kill -9.)
  Result<SyncTicket> finish();
  /// `finish`, and syncs here and now.
  Result<void> close();

  // ---- compaction (compaction.h)
  /// Where the next cleaning begins to look for news; what cleaner-offset-checkpoint holds. A
  /// truncation moves it back: the owner writes the checkpoint then, as the recovery point.
  Offset first_dirty() const;
  void set_first_dirty(Offset offset);
  /// What there is to clean. `stable`: the last stable offset.
  Result<Cleanable> cleanable(WallMs now, Offset stable);
  CompactionPlan compaction_plan(const Cleanable& range, WallMs now) const;
  /// Puts a cleaned segment in the place of those it replaces; readers see it from now on. Until
  /// `replaced` nothing else may be removed or cut. kInvalid if the log has changed meanwhile.
  Result<SegmentSwap> replace_segments(CleanedSegment cleaned);
  /// All renames have been done and are durable.
  void replaced(const SegmentSwap& swap);

  struct Impl;  // in log_impl.h

 private:
  explicit Log(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// The bytes of a piece that `Log::read` returned (one allocation).
Result<ByteBuffer> read_piece(const Piece& piece);

}  // namespace odradek::log
