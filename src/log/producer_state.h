// ProducerState: what a log knows of its idempotent and transactional producers: sequence numbers,
// the last five batches of each (to recognise repeats), open transactions. Rules: Apache's
// ProducerStateManager and ProducerAppendInfo (KIP-98, KIP-360).
//
// An append goes in two steps, so that a refusal or a failed write changes nothing:
//   begin(); prepare(batch) for each batch; write; commit().
#pragma once

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "log/batch_view.h"
#include "log/log.h"
#include "log/txn_index.h"
#include "wire/errors.h"

namespace odradek::log {

struct ProducerBatch {
  int32_t last_sequence = -1;
  int32_t offset_delta = 0;
  Offset last_offset = kNoOffset;
  WallMs timestamp = kNoTimestamp;

  Offset first_offset() const { return last_offset - int64_t{offset_delta}; }
  int32_t first_sequence() const;
  bool operator==(const ProducerBatch&) const = default;
};

struct ProducerEntry {
  static constexpr size_t kBatches = 5;

  ProducerId id;
  ProducerEpoch epoch{-1};
  int32_t coordinator_epoch = -1;
  WallMs last_timestamp = kNoTimestamp;
  Offset transaction_start = kNoOffset;
  uint32_t batch_count = 0;
  std::array<ProducerBatch, kBatches> batches;  // oldest first

  int32_t last_sequence() const {
    return batch_count == 0 ? -1 : batches[batch_count - 1].last_sequence;
  }
  void set_epoch(ProducerEpoch next);
  void add_batch(ProducerEpoch batch_epoch, const ProducerBatch& batch);
};

/// A snapshot file: `int16 1`, then ProducerSnapshot with the CRC-32C of all that follows the CRC.
ByteBuffer encode_snapshot(std::span<const ProducerEntry> entries);
/// kCorrupt if the version, the CRC or the length is wrong, or a producer is there twice.
Result<std::vector<ProducerEntry>> decode_snapshot(ByteView bytes);

class ProducerState {
 public:
  // ---- one append
  void begin();
  /// The batch of the same producer and sequence range among the last five, if it is there.
  std::optional<ProducerBatch> find_duplicate(const BatchView& batch) const;
  /// `bytes` is the beginning of the batch, of a control batch with its first record. kNone, or why
  /// the append is refused (never with kReplication).
  wire::ErrorCode prepare(const BatchView& batch, ByteView bytes, AppendOrigin origin,
                          const TransactionRules& rules = {});
  /// Transactions that what was prepared aborts: the entries that `commit` will return.
  size_t aborting() const {
    return static_cast<size_t>(std::ranges::count(completed_, true, &Completed::aborted));
  }
  /// Takes over what was prepared; returns transactions that were aborted by it, for the txnindex.
  /// The span is good until the next call.
  std::span<const AbortedEntry> commit();

  // ---- transactions that are about to begin (see Log)
  Verification begin_verification(ProducerId id, ProducerEpoch epoch, int32_t sequence, bool bumps,
                                  WallMs now);
  wire::ErrorCode check_transactional(ProducerId id, ProducerEpoch epoch,
                                      const TransactionRules& rules) const;
  wire::ErrorCode check_marker(ProducerId id, ProducerEpoch epoch, int32_t coordinator_epoch,
                               const TransactionRules& rules) const;

  // ---- offsets
  /// First offset of an open transaction, or of one whose marker is not below the high watermark.
  std::optional<Offset> first_unstable() const;
  void on_high_watermark(Offset high_watermark);

  // ---- snapshots
  std::vector<ProducerEntry> entries() const;  // by producer id
  /// Replaces everything.
  void load(std::span<const ProducerEntry> entries);
  void clear();
  void expire(WallMs now, Millis limit);
  size_t size() const { return producers_.size(); }

 private:
  struct Prepared {
    ProducerEntry entry;
    bool known;  // there was an entry with an epoch before this append
  };
  struct Completed {
    ProducerId producer;
    Offset first;
    Offset last;
    bool aborted;
  };
  struct Transaction {
    ProducerId producer;
    Offset last = kNoOffset;
  };

  /// The coordinator is asked about a transaction that is not open here.
  struct Verifying {
    uint64_t guard = 0;
    ProducerEpoch epoch;
    int32_t lowest_sequence = -1;
    bool bumps = false;
    WallMs since{0};
  };

  Prepared& prepared(ProducerId id);
  wire::ErrorCode prepare_data(Prepared& p, const BatchView& batch, AppendOrigin origin,
                               const TransactionRules& rules);
  wire::ErrorCode prepare_marker(Prepared& p, const BatchView& batch, ByteView bytes,
                                 AppendOrigin origin, const TransactionRules& rules);
  wire::ErrorCode check_first(const ProducerEntry& known, const BatchView& batch) const;
  void end_verification(const BatchView& batch);

  std::unordered_map<ProducerId, ProducerEntry> producers_;
  std::map<Offset, Transaction> ongoing_;       // by first offset
  std::map<Offset, Transaction> unreplicated_;  // complete, marker not below the high watermark
  std::vector<Prepared> prepared_;
  std::vector<Completed> completed_;
  std::vector<AbortedEntry> aborted_;
  std::unordered_map<ProducerId, Verifying> verifying_;
  std::vector<ProducerId> verified_;  // what this append ends of them
  uint64_t last_guard_ = 0;
};

}  // namespace odradek::log
