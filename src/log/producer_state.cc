#include "log/producer_state.h"

#include <algorithm>

#include "base/arena.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "wire/gen/producer_snapshot.h"
#include "wire/reader.h"
#include "wire/writer.h"

namespace odradek::log {

using wire::ErrorCode;

namespace {

constexpr int16_t kSnapshotVersion = 1;
constexpr size_t kSnapshotCrcAt = 2;
constexpr size_t kSnapshotBodyAt = 6;

bool in_sequence(int32_t last, int32_t next) {
  return int64_t{next} == int64_t{last} + 1 || (next == 0 && last == INT32_MAX);
}

struct Marker {
  bool commit;
  int32_t coordinator_epoch;
  WallMs timestamp;
};

/// The record of an end-transaction marker. Nothing for other control batches and for a batch whose
/// marker compaction has removed.
std::optional<Marker> read_marker(const BatchView& batch, ByteView bytes) {
  if (batch.count() < 1 || bytes.size() <= kBatchHeaderSize) return std::nullopt;
  Arena arena;
  wire::Reader r(bytes.subspan(kBatchHeaderSize), arena);
  r.varint();  // length
  r.int8();    // attributes
  int64_t timestamp_delta = r.varlong();
  r.varint();  // offset delta
  if (r.varint() < 4) return std::nullopt;
  r.int16();
  int16_t type = r.int16();
  if (r.varint() < 6 || (type != 0 && type != 1)) return std::nullopt;
  r.int16();
  int32_t coordinator_epoch = r.int32();
  if (!r.ok()) return std::nullopt;
  WallMs timestamp = batch.timestamp_type() == wire::TimestampType::kLogAppendTime
                         ? batch.max_timestamp()
                         : batch.base_timestamp() + Millis(timestamp_delta);
  return Marker{type == 1, coordinator_epoch, timestamp};
}

}  // namespace

int32_t ProducerBatch::first_sequence() const {
  if (last_sequence < 0) return -1;
  int64_t first = int64_t{last_sequence} - offset_delta;
  return static_cast<int32_t>(first < 0 ? first + INT32_MAX + 1 : first);
}

void ProducerEntry::set_epoch(ProducerEpoch next) {
  if (epoch == next) return;
  epoch = next;
  batch_count = 0;
}

void ProducerEntry::add_batch(ProducerEpoch batch_epoch, const ProducerBatch& batch) {
  set_epoch(batch_epoch);
  if (batch_count == kBatches) {
    std::move(batches.begin() + 1, batches.end(), batches.begin());
    batch_count--;
  }
  batches[batch_count++] = batch;
  last_timestamp = batch.timestamp;
}

// ---- snapshots

ByteBuffer encode_snapshot(std::span<const ProducerEntry> entries) {
  Arena arena;
  wire::ProducerSnapshot snapshot;
  snapshot.producer_entries.reserve(arena, entries.size());
  for (const ProducerEntry& e : entries) {
    bool any = e.batch_count > 0;
    const ProducerBatch last = any ? e.batches[e.batch_count - 1] : ProducerBatch{};
    snapshot.producer_entries.add(arena) = wire::ProducerSnapshot::ProducerEntry{
        .producer_id = e.id.value,
        .epoch = e.epoch.value,
        .last_sequence = last.last_sequence,
        .last_offset = last.last_offset.value,
        .offset_delta = last.offset_delta,
        .timestamp = e.last_timestamp.value,
        .coordinator_epoch = e.coordinator_epoch,
        .current_txn_first_offset = e.transaction_start.value};
  }
  wire::Writer writer;
  writer.int16(kSnapshotVersion);
  snapshot.encode(writer, kSnapshotVersion);
  ByteBuffer bytes = writer.take();
  store_be<uint32_t>(bytes.data() + kSnapshotCrcAt,
                     crc32c(ByteView(bytes).subspan(kSnapshotBodyAt)));
  return bytes;
}

Result<std::vector<ProducerEntry>> decode_snapshot(ByteView bytes) {
  if (bytes.size() < kSnapshotBodyAt) return fail(Errc::kCorrupt, "producer snapshot: too short");
  if (load_be<int16_t>(bytes.data()) != kSnapshotVersion) {
    return fail(Errc::kCorrupt, "producer snapshot: unknown version");
  }
  if (load_be<uint32_t>(bytes.data() + kSnapshotCrcAt) != crc32c(bytes.subspan(kSnapshotBodyAt))) {
    return fail(Errc::kCorrupt, "producer snapshot: wrong CRC");
  }
  Arena arena;
  wire::Reader reader(bytes.subspan(2), arena);
  wire::ProducerSnapshot snapshot;
  if (auto r = snapshot.decode(reader, kSnapshotVersion); !r) return std::unexpected(r.error());
  std::vector<ProducerEntry> entries;
  entries.reserve(snapshot.producer_entries.size());
  for (const auto& e : snapshot.producer_entries) {
    ProducerEntry entry{.id = ProducerId(e.producer_id),
                        .epoch = ProducerEpoch(e.epoch),
                        .coordinator_epoch = e.coordinator_epoch,
                        .last_timestamp = WallMs(e.timestamp),
                        .transaction_start = kNoOffset,
                        .batch_count = 0,
                        .batches = {}};
    if (e.current_txn_first_offset >= 0) {
      entry.transaction_start = Offset(e.current_txn_first_offset);
    }
    if (e.last_offset >= 0) {
      entry.batches[entry.batch_count++] = ProducerBatch{.last_sequence = e.last_sequence,
                                                         .offset_delta = e.offset_delta,
                                                         .last_offset = Offset(e.last_offset),
                                                         .timestamp = WallMs(e.timestamp)};
    }
    entries.push_back(entry);
  }
  std::vector<ProducerId> ids;
  for (const ProducerEntry& entry : entries) ids.push_back(entry.id);
  std::sort(ids.begin(), ids.end());
  if (std::adjacent_find(ids.begin(), ids.end()) != ids.end()) {
    return fail(Errc::kCorrupt, "producer snapshot: a producer twice");
  }
  return entries;
}

std::vector<ProducerEntry> ProducerState::entries() const {
  std::vector<ProducerEntry> all;
  all.reserve(producers_.size());
  for (const auto& [id, entry] : producers_) all.push_back(entry);
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  return all;
}

void ProducerState::load(std::span<const ProducerEntry> entries) {
  clear();
  for (const ProducerEntry& e : entries) {
    producers_[e.id] = e;
    if (e.transaction_start.value >= 0)
      ongoing_[e.transaction_start] = Transaction{e.id, kNoOffset};
  }
}

void ProducerState::clear() {
  producers_.clear();
  ongoing_.clear();
  unreplicated_.clear();
  verifying_.clear();
  begin();
}

namespace {
// A request that waits for its coordinator is over long before; many at a time are no client's.
constexpr Millis kVerifyingFor{15 * 60'000};
constexpr size_t kVerifyingMax = 10'000;
}  // namespace

void ProducerState::expire(WallMs now, Millis limit) {
  std::erase_if(verifying_,
                [&](const auto& v) { return now - v.second.since >= kVerifyingFor.value; });
  std::erase_if(producers_, [&](const auto& item) {
    const ProducerEntry& e = item.second;
    return e.transaction_start.value < 0 && now - e.last_timestamp >= limit.value;
  });
}

// ---- one append

void ProducerState::begin() {
  prepared_.clear();
  completed_.clear();
  aborted_.clear();
  verified_.clear();
}

std::optional<ProducerBatch> ProducerState::find_duplicate(const BatchView& batch) const {
  auto found = producers_.find(batch.producer_id());
  if (found == producers_.end() || found->second.epoch != batch.producer_epoch()) {
    return std::nullopt;
  }
  const ProducerEntry& e = found->second;
  for (uint32_t i = 0; i < e.batch_count; i++) {
    if (e.batches[i].first_sequence() == batch.base_sequence() &&
        e.batches[i].last_sequence == batch.last_sequence()) {
      return e.batches[i];
    }
  }
  return std::nullopt;
}

ProducerState::Prepared& ProducerState::prepared(ProducerId id) {
  for (Prepared& p : prepared_) {
    if (p.entry.id == id) return p;
  }
  auto found = producers_.find(id);
  if (found != producers_.end()) {
    return prepared_.emplace_back(found->second, found->second.epoch.value >= 0);
  }
  ProducerEntry fresh;
  fresh.id = id;
  return prepared_.emplace_back(fresh, false);
}

ErrorCode ProducerState::prepare(const BatchView& batch, ByteView bytes, AppendOrigin origin,
                                 const TransactionRules& rules) {
  Prepared& p = prepared(batch.producer_id());
  if (batch.is_control()) return prepare_marker(p, batch, bytes, origin, rules);
  return prepare_data(p, batch, origin, rules);
}

// ---- transactions that are about to begin

namespace {
bool is_open(const ProducerEntry& e, ProducerEpoch epoch) {
  return e.transaction_start.value >= 0 && e.epoch == epoch;
}
}  // namespace

Verification ProducerState::begin_verification(ProducerId id, ProducerEpoch epoch, int32_t sequence,
                                               bool bumps, WallMs now) {
  if (const auto known = producers_.find(id); known != producers_.end()) {
    if (epoch < known->second.epoch) return {.error = ErrorCode::kInvalidProducerEpoch};
    if (is_open(known->second, epoch)) return {};
  }
  if (verifying_.size() >= kVerifyingMax && !verifying_.contains(id)) {
    // Without its guard, the append of the oldest is refused, and its producer asks again.
    verifying_.erase(std::ranges::min_element(
        verifying_, {}, [](const auto& other) { return other.second.guard; }));
  }
  const auto [at, is_new] = verifying_.try_emplace(id);
  Verifying& v = at->second;
  if (is_new) {
    v = {++last_guard_, epoch, sequence, bumps, now};
  } else if (epoch > v.epoch) {
    v.epoch = epoch;
    v.lowest_sequence = sequence;
  } else if (epoch == v.epoch) {
    v.lowest_sequence = std::min(v.lowest_sequence, sequence);
  }
  return {.guard = v.guard};
}

ErrorCode ProducerState::check_transactional(ProducerId id, ProducerEpoch epoch,
                                             const TransactionRules& rules) const {
  if (const auto known = producers_.find(id); known != producers_.end()) {
    if (epoch < known->second.epoch) return ErrorCode::kInvalidProducerEpoch;
    if (is_open(known->second, epoch)) return ErrorCode::kNone;
  }
  if (!rules.verified_only) return ErrorCode::kNone;
  const auto v = verifying_.find(id);
  return v != verifying_.end() && v->second.guard == rules.guard ? ErrorCode::kNone
                                                                 : ErrorCode::kInvalidTxnState;
}

namespace {

/// Since transaction.version 2 every transaction has an epoch of its own, and its marker has the
/// next one: an equal epoch is a repeat, which may come when nothing is open.
ErrorCode marker_error(const ProducerEntry& e, ProducerEpoch epoch, int32_t coordinator_epoch,
                       int16_t version) {
  const bool repeat = version >= 2 && epoch == e.epoch;
  const bool allowed = e.transaction_start.value < 0 || epoch.value == INT16_MAX;
  if (epoch < e.epoch || (repeat && !allowed)) return ErrorCode::kInvalidProducerEpoch;
  return coordinator_epoch < e.coordinator_epoch ? ErrorCode::kTransactionCoordinatorFenced
                                                 : ErrorCode::kNone;
}

}  // namespace

ErrorCode ProducerState::check_marker(ProducerId id, ProducerEpoch epoch, int32_t coordinator_epoch,
                                      const TransactionRules& rules) const {
  const auto known = producers_.find(id);
  if (known == producers_.end()) return ErrorCode::kNone;
  return marker_error(known->second, epoch, coordinator_epoch, rules.marker_version);
}

/// The batch that was announced first must come first, and with transaction.version 2 a producer of
/// which nothing is known begins at 0: a later batch, sent before the answer to the first, waits.
ErrorCode ProducerState::check_first(const ProducerEntry& known, const BatchView& batch) const {
  const auto v = verifying_.find(known.id);
  if (v == verifying_.end()) return ErrorCode::kNone;
  const bool must_be_0 = v->second.bumps && known.batch_count == 0 && batch.base_sequence() != 0;
  return must_be_0 || batch.base_sequence() > v->second.lowest_sequence
             ? ErrorCode::kOutOfOrderSequenceNumber
             : ErrorCode::kNone;
}

void ProducerState::end_verification(const BatchView& batch) {
  const auto v = verifying_.find(batch.producer_id());
  if (v == verifying_.end()) return;
  // The marker of the last transaction, which has the epoch of this one.
  if (v->second.bumps && batch.is_control() && batch.producer_epoch() == v->second.epoch) return;
  verified_.push_back(batch.producer_id());
}

ErrorCode ProducerState::prepare_data(Prepared& p, const BatchView& batch, AppendOrigin origin,
                                      const TransactionRules& rules) {
  ProducerEntry& e = p.entry;
  if (batch.is_transactional() && origin != AppendOrigin::kReplication) {
    const ErrorCode error = check_transactional(e.id, batch.producer_epoch(), rules);
    if (error != ErrorCode::kNone) return error;
  }
  ProducerEpoch epoch = batch.producer_epoch();
  if (epoch < e.epoch && origin != AppendOrigin::kReplication) {
    return ErrorCode::kInvalidProducerEpoch;
  }
  if (origin == AppendOrigin::kClient) {
    if (!verifying_.empty()) {
      if (const ErrorCode out = check_first(e, batch); out != ErrorCode::kNone) return out;
    }
    int32_t first = batch.base_sequence();
    if (epoch != e.epoch) {
      // A new epoch begins at 0, unless nothing is known of the producer (its records are gone).
      if (first != 0 && e.epoch.value >= 0) return ErrorCode::kOutOfOrderSequenceNumber;
    } else if (p.known && !in_sequence(e.last_sequence(), first)) {
      return ErrorCode::kOutOfOrderSequenceNumber;
    }
  }
  e.add_batch(epoch, ProducerBatch{.last_sequence = batch.last_sequence(),
                                   .offset_delta = batch.last_offset_delta(),
                                   .last_offset = batch.last_offset(),
                                   .timestamp = batch.max_timestamp()});
  if (e.transaction_start.value >= 0 && !batch.is_transactional()) {
    if (origin != AppendOrigin::kReplication) return ErrorCode::kInvalidTxnState;
  } else if (e.transaction_start.value < 0 && batch.is_transactional()) {
    e.transaction_start = batch.base_offset();
  }
  if (batch.is_transactional()) end_verification(batch);
  return ErrorCode::kNone;
}

ErrorCode ProducerState::prepare_marker(Prepared& p, const BatchView& batch, ByteView bytes,
                                        AppendOrigin origin, const TransactionRules& rules) {
  ProducerEntry& e = p.entry;
  auto marker = read_marker(batch, bytes);
  if (!marker) {
    // A cleaning took the record and kept the header, for its epoch.
    if (batch.count() == 0 && batch.producer_epoch() >= e.epoch) {
      e.set_epoch(batch.producer_epoch());
      e.last_timestamp = std::max(e.last_timestamp, batch.max_timestamp());
    }
    return ErrorCode::kNone;
  }
  if (origin != AppendOrigin::kReplication) {
    const ErrorCode error =
        marker_error(e, batch.producer_epoch(), marker->coordinator_epoch, rules.marker_version);
    if (error != ErrorCode::kNone) return error;
  }
  end_verification(batch);
  // A marker without data has no effect on the last stable offset.
  if (e.transaction_start.value >= 0) {
    completed_.push_back(
        Completed{e.id, e.transaction_start, batch.base_offset(), !marker->commit});
  }
  e.set_epoch(batch.producer_epoch());
  e.coordinator_epoch = marker->coordinator_epoch;
  e.last_timestamp = marker->timestamp;
  e.transaction_start = kNoOffset;
  return ErrorCode::kNone;
}

std::span<const AbortedEntry> ProducerState::commit() {
  aborted_.clear();
  // Begun in this append or before: a transaction must be known before its end is looked at.
  for (const Completed& c : completed_) ongoing_.try_emplace(c.first, Transaction{c.producer});
  for (const Prepared& p : prepared_) {
    producers_[p.entry.id] = p.entry;
    if (p.entry.transaction_start.value >= 0) {
      ongoing_.try_emplace(p.entry.transaction_start, Transaction{p.entry.id});
    }
  }
  for (const Completed& c : completed_) {
    Offset stable = c.last + int64_t{1};
    for (const auto& [first, transaction] : ongoing_) {
      if (transaction.producer == c.producer) continue;
      stable = first;
      break;
    }
    if (c.aborted) aborted_.push_back(AbortedEntry{c.producer, c.first, c.last, stable});
    ongoing_.erase(c.first);
    unreplicated_[c.first] = Transaction{c.producer, c.last};
  }
  for (const ProducerId id : verified_) verifying_.erase(id);
  verified_.clear();
  prepared_.clear();
  completed_.clear();
  return aborted_;
}

// ---- offsets

std::optional<Offset> ProducerState::first_unstable() const {
  std::optional<Offset> first;
  if (!ongoing_.empty()) first = ongoing_.begin()->first;
  if (!unreplicated_.empty() && (!first || unreplicated_.begin()->first < *first)) {
    first = unreplicated_.begin()->first;
  }
  return first;
}

void ProducerState::on_high_watermark(Offset high_watermark) {
  std::erase_if(unreplicated_, [&](const auto& item) { return item.second.last < high_watermark; });
}

}  // namespace odradek::log
