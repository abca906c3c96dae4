// Partition: one replica on this node: its log, who leads it, its high watermark, and who waits.
//
// Lives on its owner loop (owner.h); nothing here may be touched from another. The high watermark
// of a synced topic (flush.messages = 1) never passes what is durable, so nobody reads what a power
// loss could remove; acks=all answers wait for it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/uuid.h"
#include "log/log.h"
#include "replica/topic_settings.h"
#include "replica/waits.h"
#include "wire/batch_validator.h"
#include "wire/errors.h"

namespace odradek::replica {

class Shard;

/// A topic as a shard knows it. Shared by its partitions.
struct TopicInfo {
  std::string name;
  Uuid id;
  TopicSettings settings;
};

/// What the metadata image says of a partition.
struct PartitionState {
  BrokerId leader = kNoBroker;
  LeaderEpoch leader_epoch = kNoEpoch;
  int32_t partition_epoch = -1;
  int32_t isr_size = 0;
  int32_t replica_count = 0;
  bool operator==(const PartitionState&) const = default;
};

/// Timestamps of ListOffsets with a meaning of their own.
inline constexpr int64_t kLatest = -1;
inline constexpr int64_t kEarliest = -2;
inline constexpr int64_t kMaxTimestamp = -3;
inline constexpr int64_t kEarliestLocal = -4;
inline constexpr int64_t kLatestTiered = -5;
inline constexpr int64_t kEarliestPendingUpload = -6;

struct ProduceOptions {
  int16_t acks = -1;
  WallMs now{0};
  log::TransactionRules rules{};  // of a transactional batch
};

/// The end of a transaction, as a partition gets to know it.
struct EndMarker {
  ProducerId producer;
  ProducerEpoch epoch;
  bool committed = false;
  int32_t coordinator_epoch = 0;
  int16_t version = 0;  // transaction.version that it was ended under
  bool operator==(const EndMarker&) const = default;
};

/// What became of one partition of a Produce.
struct ProduceOutcome {
  wire::ErrorCode error{};
  Offset first = kNoOffset;
  Offset end = kNoOffset;  // last offset + 1: what acks=all waits for
  WallMs append_time = kNoTimestamp;
  Offset log_start = kNoOffset;
  // with some errors, for version 8 on
  std::string message{};
  std::vector<wire::RecordError> record_errors{};
};

struct FetchOptions {
  Offset from;
  LeaderEpoch current_epoch = kNoEpoch;       // −1: not checked
  LeaderEpoch last_fetched_epoch = kNoEpoch;  // −1: not checked
  Visibility visibility = Visibility::kCommitted;
  uint32_t bytes_max = 0;
  bool at_least_one = false;
};

/// What one partition gives to a Fetch. With an error all offsets are −1.
struct FetchOutcome {
  wire::ErrorCode error{};
  Offset high_watermark = kNoOffset;
  Offset last_stable = kNoOffset;
  Offset log_start = kNoOffset;
  log::EpochEnd diverging;                       // epoch ≥ 0: the fetcher must truncate first
  Piece piece;                                   // may be empty
  std::vector<log::AbortedTransaction> aborted;  // with Visibility::kStable
};

/// Told of what happens to partitions, in the midst of it: a coordinator that keeps its records in
/// one (Shard::watch).
class PartitionWatcher {
 public:
  virtual ~PartitionWatcher() = default;
  /// It is there, or who leads it may have changed, or its directory has failed.
  virtual void changed(Partition& partition) = 0;
  /// Its high watermark has moved.
  virtual void committed(Partition& partition) = 0;
  /// It is about to go.
  virtual void gone(Partition& partition) = 0;
};

class Partition {
 public:
  Partition(Shard& shard, std::shared_ptr<const TopicInfo> topic, size_t dir,
            std::unique_ptr<log::Log> log, Offset high_watermark);
  ~Partition();
  Partition(const Partition&) = delete;
  Partition& operator=(const Partition&) = delete;

  const TopicInfo& topic() const { return *topic_; }
  const TopicSettings& settings() const { return topic_->settings; }
  PartitionIndex index() const { return log_->partition().index; }
  const log::TopicPartition& name() const { return log_->partition(); }
  /// Index of its directory in LogDirs.
  size_t dir() const { return dir_; }
  bool offline() const { return offline_; }
  bool is_leader() const { return is_leader_; }
  const PartitionState& state() const { return state_; }

  Offset log_start() const { return log_->start(); }
  Offset log_end() const { return log_->end(); }
  Offset high_watermark() const { return high_watermark_; }
  Offset last_stable_offset() { return log_->last_stable_offset(high_watermark_); }
  Offset visible_end(Visibility v) {
    return v == Visibility::kStable ? last_stable_offset() : high_watermark_;
  }
  const log::Log& log() const { return *log_; }

  // ---- requests
  /// kNone, KAFKA_STORAGE_ERROR, FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH, NOT_LEADER_OR_FOLLOWER.
  wire::ErrorCode check_leader(LeaderEpoch current = kNoEpoch) const;
  /// Checks one batch (wire::find_produced_batch) as Apache's leader does and appends it; offsets
  /// (and what LogAppendTime or compression.type demand) are written into `records` or a copy of
  /// it. Never waits; see CommitWait for acks=all.
  ProduceOutcome produce(MutableBytes records, const ProduceOptions& options);
  /// Why a coordinator of this node could not append now: kNone, or as `produce` with acks=all.
  wire::ErrorCode check_append() const;
  /// Appends a batch that a coordinator of this node has made.
  ProduceOutcome append_own(MutableBytes batch, WallMs now,
                            const log::TransactionRules& rules = {});
  /// A batch of a transaction is about to come (see log::Log); with the errors of `check_leader`.
  log::Verification begin_verification(ProducerId id, ProducerEpoch epoch, int32_t sequence,
                                       bool bumps, WallMs now);
  /// Appends the marker that ends a producer's transaction here.
  ProduceOutcome append_marker(const EndMarker& marker, WallMs now);
  /// Reads as leader.
  FetchOutcome fetch(const FetchOptions& options);
  /// The first record at or after a timestamp ≥ 0, or what a negative code but kLatest stands for;
  /// (−1, −1, −1) if there is none. What is not visible yet may be found too.
  Result<log::TimestampOffset> offset_for_timestamp(int64_t timestamp);
  /// Of the record at an offset, to within its batch; −1: not known (Log::timestamp_at).
  Result<WallMs> timestamp_at(Offset offset) { return log_->timestamp_at(offset); }
  log::EpochEnd end_offset_for_epoch(LeaderEpoch epoch) const {
    return log_->end_offset_for_epoch(epoch);
  }
  struct Deleted {
    wire::ErrorCode error{};
    Offset low_watermark = kNoOffset;
  };
  /// DeleteRecords: everything below `offset` (−1: the high watermark). A crash may bring it back
  /// until LogDirs::when_saved tells that log-start-offset-checkpoint is written.
  Deleted delete_records(Offset offset);
  std::vector<log::ProducerInfo> producers() const { return log_->producers(); }

  // ---- shard
  /// New metadata. Leading in a newer epoch begins it in the log.
  void set_state(const PartitionState& state, bool is_leader);
  void set_topic(std::shared_ptr<const TopicInfo> topic);
  /// Everybody who waits is told `error`; fetches read again and find out.
  void fail_waiters(wire::ErrorCode error);
  /// Its directory has failed: from now on every answer is KAFKA_STORAGE_ERROR.
  void set_offline();
  /// Moves the high watermark to what is durable (synced topics) or written.
  void advance_high_watermark();
  /// A sync has reached the device and the log knows.
  void synced();
  /// What the log was to write later. None: nothing, or it could not even be tried.
  std::optional<io::FileWrite> unwritten();
  /// It has been written; or it has not: then it is taken back and its waiters hear of it.
  void wrote_out(const Result<void>& result);
  /// Takes the directory offline, unless the disk is only full; KAFKA_STORAGE_ERROR.
  wire::ErrorCode disk_failed(const Error& error);
  log::Log& mutable_log() { return *log_; }
  /// Its replica is being copied to another directory.
  bool moving() const { return moving_; }
  /// Another log with the same content, in that directory, is the replica from now on. The caller
  /// sees to syncs and checkpoints. Returns the old one.
  std::unique_ptr<log::Log> replace_log(std::unique_ptr<log::Log> log, size_t dir);
  /// While held, the high watermark stays where it is.
  void hold();
  void release();

 private:
  friend class Cleaning;
  friend class CommitWait;
  friend class FetchWait;
  friend class SyncGroup;
  friend class Housekeeping;
  friend class DirMoves;
  friend class Shard;

  void add(CommitTicket& ticket);
  void remove(CommitTicket& ticket) { tickets_.remove(ticket); }
  void add(FetchWatch& watch) {
    watch.partition = this;
    watches_.push_back(watch);
  }
  void remove(FetchWatch& watch) { watches_.remove(watch); }
  void wake_watches();
  /// Do appends go into the directory's write-ahead file, as far as is known?
  bool writes_ahead() const;
  ProduceOutcome append(MutableBytes batch, log::AppendOrigin origin, WallMs now,
                        const log::TransactionRules& rules,
                        log::WriteWhen when = log::WriteWhen::kNow);
  ProduceOutcome refused(wire::ErrorCode error) const;
  ProduceOutcome refused(wire::Validation validation) const;
  /// Marks what an append has to set in motion: sync, high watermark, checkpoints.
  void appended(int64_t records, uint64_t bytes);
  Shard& shard_;
  std::shared_ptr<const TopicInfo> topic_;
  size_t dir_;
  std::unique_ptr<log::Log> log_;
  PartitionState state_;
  PartitionWatcher* watcher_ = nullptr;
  bool is_leader_ = false;
  bool offline_ = false;
  Offset high_watermark_;
  IntrusiveList<CommitTicket> tickets_;  // ascending end
  IntrusiveList<FetchWatch> watches_;
  int64_t unflushed_records_ = 0;  // topics that are not synced: since the last sync
  uint64_t unflushed_bytes_ = 0;   // the same
  int segments_ = 0;               // as of the last append: a roll asks for a sync

  // of Cleaning
  bool cleaning_ = false;     // segments may be replaced: nothing else removes or cuts
  bool uncleanable_ = false;  // a cleaning found something wrong with it
  int cleaning_pauses_ = 0;   // for as long as this is not 0, none begins

  // of Shard and DirMoves
  Uuid known_dir_;  // the directory that the image names
  Uuid told_dir_;   // the directory that the controller was told last; zero: none
  bool moving_ = false;
  bool held_ = false;

  // of SyncGroup and Housekeeping
  bool dirty_ = false;          // in the list of what the next sync takes
  bool flush_waits_ = false;    // in the list of flush.ms
  MonoNs flush_at_{0};          // when it is due there
  uint8_t checkpoint_due_ = 0;  // bit per CheckpointKind: in the list of changes
  Offset saved_start_;          // what the checkpoint says, at least: removed is only what is below
};

}  // namespace odradek::replica
