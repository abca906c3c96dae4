// PartitionLog: a partition as the CommitLog of a coordinator's machine. One append is one batch,
// committed when it is below the high watermark: on disk, if the topic is synced.
#pragma once

#include <fmt/format.h>

#include <span>

#include "base/result.h"
#include "io/io.h"
#include "replica/partition.h"
#include "wire/errors.h"
#include "wire/record_batch.h"

namespace odradek::node {

/// What the records of one append may take.
inline size_t batch_bytes_max(const replica::Partition& partition) {
  const auto max = static_cast<size_t>(partition.settings().config.max_message_bytes);
  return max > wire::kBatchHeaderSize ? max - wire::kBatchHeaderSize : 0;
}

/// Record has `stored()` with a `key` and an optional `value`.
template <class Record>
class PartitionLog {
 public:
  PartitionLog(replica::Partition& partition, const io::Clock& clock, wire::Codec codec)
      : partition_(partition), clock_(clock), codec_(codec) {}

  Result<void> can_append() const { return as_result(partition_.check_append()); }
  Offset end() const { return partition_.log_end(); }
  Offset committed() const { return partition_.high_watermark(); }
  Result<Offset> append(std::span<const Record> records) {
    const WallMs now = clock_.wall();
    Result<ByteBuffer> batch = batch_of(records, now);
    if (!batch) return std::unexpected(batch.error());
    appending_ = true;
    const replica::ProduceOutcome outcome =
        partition_.append_own(*batch, now, {.marker_version = marker_version(records.front())});
    appending_ = false;
    if (auto r = as_result(outcome.error); !r) return std::unexpected(r.error());
    return outcome.end;
  }
  size_t size_of(const Record& record) const {
    if (is_marker(record)) return kMarkerBytes;
    return wire::BatchBuilder::size_bound(key(record), value(record));
  }
  size_t batch_bytes_max() const { return node::batch_bytes_max(partition_); }
  /// An append is under way: the high watermark may move in the midst of it.
  bool appending() const { return appending_; }

 private:
  /// Larger than the one record of a marker.
  static constexpr size_t kMarkerBytes = 64;

  static bool is_marker(const Record& r) {
    if constexpr (requires { r.ending(); }) return r.ending() != nullptr;
    return false;
  }
  static int16_t marker_version(const Record& r) {
    if constexpr (requires { r.ending(); }) {
      if (r.ending() != nullptr) return r.ending()->version;
    }
    return 0;
  }
  /// Records of transactions come alone (machines::is_apart): all are of the same one, or of none.
  Result<ByteBuffer> batch_of(std::span<const Record> records, WallMs now) const {
    wire::BatchOptions options{.base_offset = end(), .codec = codec_};
    if constexpr (requires { records.front().ending(); }) {
      if (const auto* m = records.front().ending()) {
        return wire::end_transaction_batch(end(), kNoEpoch, m->producer, m->epoch, m->committed,
                                           m->coordinator_epoch, now);
      }
      options.transactional = records.front().stored().producer.value >= 0;
      options.producer_id = records.front().stored().producer;
      options.producer_epoch = records.front().stored().epoch;
      if (options.transactional) options.base_sequence = 0;  // as Apache's coordinators
    }
    wire::BatchBuilder builder(options);
    for (const Record& r : records) builder.add(now, key(r), value(r));
    return builder.build();
  }
  static ByteView key(const Record& r) { return as_bytes(r.stored().key); }
  static std::optional<ByteView> value(const Record& r) {
    if (!r.stored().value) return std::nullopt;
    return as_bytes(*r.stored().value);
  }
  static Result<void> as_result(wire::ErrorCode error) {
    using enum wire::ErrorCode;
    if (error == kNone) return {};
    const Errc kind = error == kNotEnoughReplicas   ? Errc::kLimit
                      : error == kKafkaStorageError ? Errc::kIo
                                                    : Errc::kClosed;
    return fail(kind, std::string(wire::message(error)));
  }

  replica::Partition& partition_;
  const io::Clock& clock_;
  wire::Codec codec_;
  bool appending_ = false;
};

}  // namespace odradek::node
