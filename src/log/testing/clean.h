// Cleaning a log in a test, as its owner does it, and looking at what is left.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "log/compaction.h"
#include "log/log.h"
#include "wire/record_batch.h"

namespace odradek::log::testing {

/// Does the renames of a swap, each step durable before the next.
inline Result<void> do_swap(io::Disk& disk, const std::string& folder, const SegmentSwap& swap) {
  for (const auto& step : swap.steps) {
    for (size_t n = 0; n < step.size(); n++) {
      auto r = disk.rename(step[n].from, step[n].to);
      if (!r && (n == 0 || r.error().kind != Errc::kNotFound)) return r;
    }
    if (auto r = disk.sync_directory(folder); !r) return r;
  }
  return {};
}

/// One cleaning from beginning to end. Nothing: there was nothing to clean.
inline Result<std::optional<CompactionStats>> clean(Log& log, io::Disk& disk, WallMs now,
                                                    const CompactionLimits& limits = {},
                                                    uint64_t slice = 1 << 20) {
  auto range = log.cleanable(now, log.last_stable_offset(log.end()));
  if (!range) return std::unexpected(range.error());
  if (range->dirty_bytes == 0) return std::nullopt;
  auto work = Compaction::make(log.compaction_plan(*range, now), limits);
  if (!work) return std::unexpected(work.error());
  while (true) {
    auto state = (*work)->step(slice);
    if (!state) {
      (*work)->abandon();
      return std::unexpected(state.error());
    }
    if (*state == Compaction::State::kDone) break;
    if (*state != Compaction::State::kSegmentReady) continue;
    auto swap = log.replace_segments((*work)->take_segment());
    if (!swap) return std::unexpected(swap.error());
    if (auto r = do_swap(disk, log.folder(), *swap); !r) return std::unexpected(r.error());
    log.replaced(*swap);
  }
  log.set_first_dirty((*work)->end());
  return (*work)->stats();
}

struct SeenRecord {
  int64_t offset = 0;
  int64_t timestamp = 0;
  std::optional<std::string> key;
  std::optional<std::string> value;
  bool operator==(const SeenRecord&) const = default;
};

struct SeenBatch {
  int64_t base = 0;
  int64_t last = 0;
  int32_t epoch = 0;
  int64_t producer = -1;
  int16_t producer_epoch = -1;
  int32_t sequence = -1;
  bool transactional = false;
  bool control = false;
  int64_t horizon = -1;
  int64_t max_timestamp = -1;
  std::vector<SeenRecord> records;
  bool operator==(const SeenBatch&) const = default;
};

inline std::string text(const SeenBatch& b) {
  std::string out =
      fmt::format("[{}..{} epoch {} producer {}/{} seq {}{}{} horizon {} max {}:", b.base, b.last,
                  b.epoch, b.producer, b.producer_epoch, b.sequence, b.transactional ? " txn" : "",
                  b.control ? " control" : "", b.horizon, b.max_timestamp);
  for (const SeenRecord& r : b.records) {
    out += fmt::format(" {}@{} {}={}", r.offset, r.timestamp, b.control ? "-" : r.key.value_or("∅"),
                       b.control ? "-" : r.value.value_or("∅"));
  }
  return out + "]";
}
inline void PrintTo(const SeenBatch& b, std::ostream* out) { *out << text(b); }

inline SeenBatch see(const wire::BatchHeader& batch, wire::Decompressor& d) {
  SeenBatch seen{.base = batch.base_offset().value,
                 .last = batch.last_offset().value,
                 .epoch = batch.leader_epoch().value,
                 .producer = batch.producer_id().value,
                 .producer_epoch = batch.producer_epoch().value,
                 .sequence = batch.base_sequence(),
                 .transactional = batch.is_transactional(),
                 .control = batch.is_control(),
                 .horizon = batch.has_delete_horizon() ? batch.base_timestamp().value : -1,
                 .max_timestamp = batch.max_timestamp().value};
  const auto copy = [](const std::optional<ByteView>& b) {
    return b ? std::optional<std::string>(as_text(*b)) : std::nullopt;
  };
  wire::RecordIterator records(batch, d);
  wire::RecordView record;
  while (true) {
    auto more = records.next(record);
    EXPECT_TRUE(more) << (more ? "" : more.error().message);
    if (!more || !*more) break;
    seen.records.push_back(
        {record.offset.value, record.timestamp.value, copy(record.key), copy(record.value)});
  }
  return seen;
}

/// All batches of a log.
inline std::vector<SeenBatch> see_all(Log& log) {
  std::vector<SeenBatch> all;
  wire::Decompressor decompressor;
  Offset from = log.start();
  while (from < log.end()) {
    auto r = log.read(from, {.max_bytes = 1 << 20, .upper_bound = log.end(), .at_least_one = true});
    EXPECT_TRUE(r) << (r ? "" : r.error().message);
    if (!r || r->piece.size() == 0) break;
    auto bytes = read_piece(r->piece);
    EXPECT_TRUE(bytes) << (bytes ? "" : bytes.error().message);
    if (!bytes) break;
    wire::BatchIterator batches{ByteView(*bytes)};
    while (true) {
      auto batch = batches.next();
      if (!batch || !*batch) break;
      EXPECT_TRUE((*batch)->crc_matches());
      all.push_back(see(**batch, decompressor));
      from = (*batch)->next_offset();
    }
  }
  return all;
}

}  // namespace odradek::log::testing
