#include "replica/partition.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "replica/housekeeping.h"
#include "replica/shard.h"
#include "replica/sync_group.h"
#include "wire/record_batch.h"

namespace odradek::replica {

using log::CheckpointKind;
using wire::ErrorCode;

// flush.ms above this (292 years in nanoseconds) never comes.
inline constexpr Millis kNever{9'000'000'000'000};
// What recovery may have to check of a partition that nobody asks to sync. Nothing waits for that
// sync; the system would write the bytes soon anyway.
inline constexpr uint64_t kUnflushedBytesMax = 128 << 20;

Partition::Partition(Shard& shard, std::shared_ptr<const TopicInfo> topic, size_t dir,
                     std::unique_ptr<log::Log> log, Offset high_watermark)
    : shard_(shard),
      topic_(std::move(topic)),
      dir_(dir),
      log_(std::move(log)),
      high_watermark_(std::clamp(high_watermark, log_->start(), log_->end())),
      segments_(log_->segment_count()),
      saved_start_(log_->start()) {}

Partition::~Partition() {
  // Who still waits (the node ends without a clean stop) is left alone, but not with a dead link.
  while (CommitTicket* ticket = tickets_.front()) {
    tickets_.remove(*ticket);
    ticket->partition = nullptr;
  }
  while (FetchWatch* watch = watches_.front()) {
    watches_.remove(*watch);
    watch->partition = nullptr;
  }
}

// ---- requests

ErrorCode Partition::check_leader(LeaderEpoch current) const {
  if (offline_) return ErrorCode::kKafkaStorageError;
  if (current != kNoEpoch && current != state_.leader_epoch) {
    return current < state_.leader_epoch ? ErrorCode::kFencedLeaderEpoch
                                         : ErrorCode::kUnknownLeaderEpoch;
  }
  return is_leader_ ? ErrorCode::kNone : ErrorCode::kNotLeaderOrFollower;
}

namespace {

std::optional<wire::Codec> codec_of(metadata::CompressionType type) {
  using metadata::CompressionType;
  switch (type) {
    case CompressionType::kProducer:
      return std::nullopt;
    case CompressionType::kUncompressed:
      return wire::Codec::kNone;
    case CompressionType::kGzip:
      return wire::Codec::kGzip;
    case CompressionType::kSnappy:
      return wire::Codec::kSnappy;
    case CompressionType::kLz4:
      return wire::Codec::kLz4;
    case CompressionType::kZstd:
      return wire::Codec::kZstd;
  }
  return std::nullopt;
}

std::optional<int> level_of(const metadata::ResolvedTopicConfig& config, wire::Codec codec) {
  if (codec == wire::Codec::kGzip && config.gzip_level > 0) return config.gzip_level;
  if (codec == wire::Codec::kLz4) return config.lz4_level;
  if (codec == wire::Codec::kZstd) return config.zstd_level;
  return std::nullopt;
}

wire::ValidationRules rules_for(const metadata::ResolvedTopicConfig& config,
                                const ProduceOptions& options, uint64_t decompressed_max) {
  return {.compacted = config.cleanup_compact,
          .timestamp_type = config.timestamp_type == metadata::TimestampType::kLogAppendTime
                                ? wire::TimestampType::kLogAppendTime
                                : wire::TimestampType::kCreateTime,
          .timestamp_before_max = config.timestamp_before_max,
          .timestamp_after_max = config.timestamp_after_max,
          .max_message_bytes = config.max_message_bytes,
          .target = codec_of(config.compression),
          .decompressed_max = decompressed_max,
          .now = options.now};
}

}  // namespace

ProduceOutcome Partition::produce(MutableBytes records, const ProduceOptions& options) {
  ProduceOutcome out;
  out.error = check_leader();
  if (out.error != ErrorCode::kNone) return out;
  if (!shard_.dirs().has_room(dir_, records.size())) {
    return {.error = ErrorCode::kKafkaStorageError, .message = shard_.dirs().full_message(dir_)};
  }
  const metadata::ResolvedTopicConfig& config = settings().config;
  const int32_t isr_min = std::min(config.min_insync_replicas, state_.replica_count);
  if (options.acks == -1 && state_.isr_size < isr_min) {
    return refused(ErrorCode::kNotEnoughReplicas);
  }
  wire::Decompressor& decompressor = shard_.decompressor();
  const uint64_t decompressed_max = shard_.settings().decompressed_max;
  wire::Validation validation = wire::validate_producer_batch(
      records, rules_for(config, options, decompressed_max), decompressor);
  if (!validation.ok()) return refused(std::move(validation));

  MutableBytes batch = records;
  ByteBuffer rewritten;
  const wire::BatchHeader header(batch.data());
  const std::optional<wire::Codec> codec = codec_of(config.compression);
  if (codec && *codec != header.codec()) {
    // What is stored as it is must not unpack to more than may be stored.
    const auto bytes_max = static_cast<uint64_t>(config.max_message_bytes);
    const uint64_t unpacked_max =
        *codec == wire::Codec::kNone ? std::min(decompressed_max, bytes_max) : decompressed_max;
    auto rewrite = validation.consecutive ? wire::recompress : wire::recompress_renumbered;
    Result<ByteBuffer> r =
        rewrite(header, *codec, level_of(config, *codec), decompressor, unpacked_max);
    if (!r) {
      return refused(r.error().kind == Errc::kLimit ? ErrorCode::kMessageTooLarge
                                                    : ErrorCode::kUnknownServerError);
    }
    rewritten = std::move(*r);
    if (rewritten.size() > bytes_max) return refused(ErrorCode::kMessageTooLarge);
    batch = rewritten;
  }
  const bool later = options.acks == -1 && writes_ahead();
  return append(batch, log::AppendOrigin::kClient, options.now, options.rules,
                later ? log::WriteWhen::kLater : log::WriteWhen::kNow);
}

bool Partition::writes_ahead() const { return settings().synced() && shard_.writes_ahead(dir_); }

ErrorCode Partition::check_append() const {
  if (const ErrorCode error = check_leader(); error != ErrorCode::kNone) return error;
  if (!shard_.dirs().has_room(dir_, 1)) return ErrorCode::kKafkaStorageError;
  const int32_t isr_min = std::min(settings().config.min_insync_replicas, state_.replica_count);
  return state_.isr_size < isr_min ? ErrorCode::kNotEnoughReplicas : ErrorCode::kNone;
}

ProduceOutcome Partition::append_own(MutableBytes batch, WallMs now,
                                     const log::TransactionRules& rules) {
  if (const ErrorCode error = check_append(); error != ErrorCode::kNone) return {.error = error};
  if (!shard_.dirs().has_room(dir_, batch.size()))
    return {.error = ErrorCode::kKafkaStorageError, .message = shard_.dirs().full_message(dir_)};
  return append(batch, log::AppendOrigin::kCoordinator, now, rules,
                writes_ahead() ? log::WriteWhen::kNowKept : log::WriteWhen::kNow);
}

log::Verification Partition::begin_verification(ProducerId id, ProducerEpoch epoch,
                                                int32_t sequence, bool bumps, WallMs now) {
  if (const ErrorCode error = check_leader(); error != ErrorCode::kNone) return {.error = error};
  return log_->begin_verification(id, epoch, sequence, bumps, now);
}

ProduceOutcome Partition::append_marker(const EndMarker& marker, WallMs now) {
  ByteBuffer batch =
      wire::end_transaction_batch(log_->end(), state_.leader_epoch, marker.producer, marker.epoch,
                                  marker.committed, marker.coordinator_epoch, now);
  return append_own(batch, now, {.marker_version = marker.version});
}

ProduceOutcome Partition::append(MutableBytes batch, log::AppendOrigin origin, WallMs now,
                                 const log::TransactionRules& rules, log::WriteWhen when) {
  const int64_t count = wire::BatchHeader(batch.data()).count();
  Result<log::AppendResult> appended =
      log_->append_as_leader(batch, state_.leader_epoch, origin, now, rules, when);
  if (!appended) return {.error = disk_failed(appended.error())};
  if (appended->error != ErrorCode::kNone) return refused(appended->error);
  ProduceOutcome out;
  out.first = appended->first;
  out.end = appended->last + int64_t{1};
  out.append_time = appended->append_time;
  out.log_start = log_->start();
  if (!appended->duplicate) this->appended(count, batch.size());
  return out;
}

ProduceOutcome Partition::refused(ErrorCode error) const {
  ProduceOutcome out;
  out.error = error;
  // Apache names the log start offset with some errors and not with others.
  const bool bare = error == ErrorCode::kMessageTooLarge ||
                    error == ErrorCode::kRecordListTooLarge || error == ErrorCode::kCorruptMessage;
  if (!bare) out.log_start = log_->start();
  return out;
}

ProduceOutcome Partition::refused(wire::Validation validation) const {
  ProduceOutcome out = refused(validation.error);
  if (validation.error == ErrorCode::kInvalidRecord ||
      validation.error == ErrorCode::kInvalidTimestamp) {
    out.message = std::move(validation.message);
    out.record_errors = std::move(validation.records);
  }
  return out;
}

FetchOutcome Partition::fetch(const FetchOptions& options) {
  FetchOutcome out;
  out.error = check_leader(options.current_epoch);
  if (out.error != ErrorCode::kNone) return out;
  const auto failed = [](ErrorCode error) { return FetchOutcome{.error = error}; };
  if (options.last_fetched_epoch != kNoEpoch) {
    const log::EpochEnd end = log_->end_offset_for_epoch(options.last_fetched_epoch);
    // The fetcher has to truncate to where our epochs part, unless that is below our start.
    if (end.end == kNoOffset || end.epoch == kNoEpoch || options.from < log_->start()) {
      return failed(ErrorCode::kOffsetOutOfRange);
    }
    if (end.epoch < options.last_fetched_epoch || end.end < options.from) out.diverging = end;
  }
  out.high_watermark = high_watermark_;
  out.last_stable = last_stable_offset();
  out.log_start = log_->start();
  if (out.diverging.epoch != kNoEpoch) return out;
  const Offset bound =
      options.visibility == Visibility::kStable ? out.last_stable : out.high_watermark;
  Result<log::ReadResult> read = log_->read(
      options.from,
      {.max_bytes = options.bytes_max, .upper_bound = bound, .at_least_one = options.at_least_one});
  if (!read) return failed(disk_failed(read.error()));
  if (read->error != ErrorCode::kNone) return failed(read->error);
  out.piece = std::move(read->piece);
  if (options.visibility == Visibility::kStable && out.piece.size() > 0) {
    auto aborted = log_->aborted_transactions(options.from, bound);
    if (!aborted) return failed(disk_failed(aborted.error()));
    out.aborted = std::move(*aborted);
  }
  return out;
}

Result<log::TimestampOffset> Partition::offset_for_timestamp(int64_t timestamp) {
  if (timestamp >= 0) return log_->offset_for_timestamp(WallMs(timestamp));
  if (timestamp == kMaxTimestamp) return log_->max_timestamp();
  log::TimestampOffset out;
  if (timestamp == kEarliest || timestamp == kEarliestLocal) {
    out.offset = log_->start();
    const auto& epochs = log_->epochs();
    if (!epochs.empty() && epochs.front().start <= out.offset) out.epoch = epochs.front().epoch;
  }
  return out;  // nothing is in a remote tier
}

Partition::Deleted Partition::delete_records(Offset offset) {
  Deleted out;
  out.error = check_leader();
  if (out.error != ErrorCode::kNone) return out;
  if (!settings().log.delete_policy) return {ErrorCode::kPolicyViolation};
  const Offset target = offset == kNoOffset ? high_watermark_ : offset;
  if (target < Offset(0) || target > high_watermark_) return {ErrorCode::kOffsetOutOfRange};
  Result<bool> moved = log_->advance_start(target);
  if (!moved) return {disk_failed(moved.error())};
  if (*moved) shard_.report(dir_, CheckpointKind::kLogStart, {{name(), log_->start()}});
  out.low_watermark = log_->start();
  return out;
}

void Partition::appended(int64_t records, uint64_t bytes) {
  const TopicSettings& s = settings();
  Housekeeping& housekeeping = shard_.housekeeping();
  const bool rolled = log_->segment_count() != segments_;
  segments_ = log_->segment_count();
  if (rolled && s.log.compact_policy) shard_.cleaning().poke();
  housekeeping.written(bytes);
  if (s.synced()) {
    shard_.sync_soon(*this);
    return;  // the high watermark follows the disk
  }
  unflushed_records_ += records;
  unflushed_bytes_ += bytes;
  // A full segment is synced as at Apache, so that recovery begins behind it, and long before one
  // of the default size is full.
  if (rolled || unflushed_records_ >= s.config.flush_messages ||
      unflushed_bytes_ >= kUnflushedBytesMax) {
    shard_.sync_soon(*this);
  } else if (s.config.flush_interval.value < kNever.value) {
    housekeeping.flush_by(*this, shard_.loop().clock().now() + s.config.flush_interval);
  }
  advance_high_watermark();
}

ErrorCode Partition::disk_failed(const Error& error) {
  shard_.disk_failed(dir_, error);
  return ErrorCode::kKafkaStorageError;
}

std::optional<io::FileWrite> Partition::unwritten() {
  const auto write = log_->unwritten();
  if (write) return *write;
  wrote_out(std::unexpected(write.error()));
  return std::nullopt;
}

void Partition::wrote_out(const Result<void>& written) {
  if (written) return log_->wrote_out();
  const Result<void> cut = log_->take_back_unwritten();
  disk_failed(cut ? written.error() : Error{Errc::kIo, cut.error().message});
  while (!tickets_.empty() && tickets_.back()->end > log_->end()) {
    CommitTicket& ticket = *tickets_.back();
    tickets_.remove(ticket);
    ticket.wait->settled(ticket, ErrorCode::kKafkaStorageError);
  }
  shard_.sync_soon(*this);  // the cut
}

// ---- waiting

void Partition::add(CommitTicket& ticket) {
  ticket.partition = this;
  CommitTicket* at = tickets_.back();
  while (at != nullptr && at->end > ticket.end) at = at->previous;  // a duplicate may lie below
  tickets_.insert_after(at, ticket);
}

void Partition::advance_high_watermark() {
  if (!is_leader_ || offline_ || held_) return;
  const Offset reached = settings().synced() ? log_->durable_end() : log_->end();
  if (reached <= high_watermark_) return;
  high_watermark_ = reached;
  shard_.housekeeping().changed(*this, CheckpointKind::kHighWatermark);
  while (!tickets_.empty() && tickets_.front()->end <= high_watermark_) {
    CommitTicket& ticket = *tickets_.front();
    tickets_.remove(ticket);
    ticket.wait->settled(ticket, ErrorCode::kNone);  // the waiter goes on here
  }
  for (FetchWatch* w = watches_.front(); w != nullptr; w = w->next) w->wait->progress(*w);
  if (watcher_ != nullptr) watcher_->committed(*this);
}

void Partition::synced() {
  shard_.housekeeping().changed(*this, CheckpointKind::kRecoveryPoint);
  if (settings().synced()) advance_high_watermark();
}

void Partition::wake_watches() {
  // Waiters go on at the end of the turn: nobody leaves the list here.
  for (FetchWatch* w = watches_.front(); w != nullptr; w = w->next) w->wait->wake();
}

void Partition::fail_waiters(ErrorCode error) {
  while (!watches_.empty()) {
    FetchWatch& watch = *watches_.front();
    watches_.remove(watch);
    watch.partition = nullptr;  // this partition may be gone when the waiter goes on
    watch.wait->wake();
  }
  while (!tickets_.empty()) {
    CommitTicket& ticket = *tickets_.front();
    tickets_.remove(ticket);
    ticket.wait->settled(ticket, error);
  }
}

// ---- shard

void Partition::set_state(const PartitionState& state, bool is_leader) {
  // Older news than what is known (a registration may come late): ignored.
  if (state.partition_epoch < state_.partition_epoch || state == state_) return;
  const bool new_epoch = state.leader_epoch != state_.leader_epoch;
  const bool was_leader = std::exchange(is_leader_, is_leader);
  state_ = state;
  if (offline_) return;
  if (is_leader && (new_epoch || !was_leader)) log_->assign_epoch(state.leader_epoch);
  if (was_leader && !is_leader) {
    fail_waiters(ErrorCode::kNotLeaderOrFollower);
  } else if (new_epoch) {
    wake_watches();  // they may carry an epoch that is fenced now
  }
  advance_high_watermark();
}

void Partition::set_topic(std::shared_ptr<const TopicInfo> topic) {
  const bool new_config = !(topic->settings.log == topic_->settings.log);
  topic_ = std::move(topic);
  if (new_config) log_->set_config(settings().log);
  if (offline_) return;
  // flush.messages may have become 1: what waits in the page cache has to follow.
  if (settings().synced() && log_->unsynced()) shard_.sync_soon(*this);
  advance_high_watermark();
}

void Partition::set_offline() {
  if (offline_) return;
  offline_ = true;
  fail_waiters(ErrorCode::kKafkaStorageError);
}

// ---- moves between directories

std::unique_ptr<log::Log> Partition::replace_log(std::unique_ptr<log::Log> log, size_t dir) {
  ODRADEK_CHECK(log->end() == log_->end());
  dir_ = dir;
  saved_start_ = Offset(0);  // in that directory's checkpoint
  segments_ = log->segment_count();
  return std::exchange(log_, std::move(log));
}

void Partition::hold() { held_ = true; }

void Partition::release() {
  if (!std::exchange(held_, false)) return;
  advance_high_watermark();
}

}  // namespace odradek::replica
