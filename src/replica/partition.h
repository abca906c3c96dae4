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

struct ProduceOptions {
  int16_t acks = -1;
  log::AppendOrigin origin = log::AppendOrigin::kClient;
  WallMs now{0};
};

/// A record of a refused batch (v8+ of the answer).
struct RecordError {
  int32_t index = 0;  // in the batch
  std::string message;
};

/// What became of one partition of a Produce.
struct ProduceOutcome {
  wire::ErrorCode error{};
  Offset first = kNoOffset;
  Offset end = kNoOffset;  // last offset + 1: what acks=all waits for
  WallMs append_time = kNoTimestamp;
  Offset log_start = kNoOffset;
  // only with an error
  std::string message;  // empty: none of our own
  std::vector<RecordError> record_errors;
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
  /// Checks one batch as Apache's leader does and appends it; offsets (and what LogAppendTime or
  /// compression.type demand) are written into `records` or a copy of it. Never waits; see
  /// CommitWait for acks=all.
  ProduceOutcome produce(MutableBytes records, const ProduceOptions& options);
  /// Reads as leader.
  FetchOutcome fetch(const FetchOptions& options);
  /// ListOffsets for a timestamp or one of the negative codes; does not look at the visible end for
  /// timestamps ≥ 0 and −3 (the caller does).
  Result<log::TimestampOffset> offset_for_timestamp(int64_t timestamp);
  log::EpochEnd end_offset_for_epoch(LeaderEpoch epoch) const {
    return log_->end_offset_for_epoch(epoch);
  }
  struct Deleted {
    wire::ErrorCode error{};
    Offset low_watermark = kNoOffset;
  };
  /// DeleteRecords: everything below `offset` (−1: the high watermark).
  Deleted delete_records(Offset offset);
  std::vector<log::ProducerInfo> producers() const { return log_->producers(); }

  // ---- shard
  /// New metadata. Leading in a newer epoch begins it in the log.
  void set_state(const PartitionState& state, bool is_leader);
  void set_topic(std::shared_ptr<const TopicInfo> topic);
  /// The directory has failed, or the replica goes away: everybody waiting gets `error`.
  void fail_waiters(wire::ErrorCode error);
  void set_offline();
  /// Moves the high watermark to what is durable (synced topics) or written.
  void advance_high_watermark();
  log::Log& mutable_log() { return *log_; }
  std::unique_ptr<log::Log> take_log() { return std::move(log_); }

 private:
  friend class CommitWait;
  friend class FetchWait;
  friend class SyncGroup;
  friend class Housekeeping;

  void wake_waiters();
  void appended(int64_t records);
  wire::ErrorCode disk_failed(const Error& error);

  Shard& shard_;
  std::shared_ptr<const TopicInfo> topic_;
  size_t dir_;
  std::unique_ptr<log::Log> log_;
  PartitionState state_;
  bool is_leader_ = false;
  bool offline_ = false;
  Offset high_watermark_;
  IntrusiveList<CommitTicket> tickets_;  // ascending end
  IntrusiveList<FetchWatch> watches_;
  int64_t unflushed_records_ = 0;  // since the last sync was asked for; topics not synced

  // of SyncGroup and Housekeeping
  bool dirty_ = false;    // in the directory's list of files to sync
  bool changed_ = false;  // in the list of what the next high watermark checkpoint tells
  MonoNs flush_at_{0};    // flush.ms: not before; 0: nothing to flush
};

}  // namespace odradek::replica
