// Reading: by offset, by timestamp; aborted transactions.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "log/batch_walker.h"
#include "log/log.h"
#include "log/log_impl.h"
#include "wire/record_batch.h"

namespace odradek::log {

using wire::ErrorCode;

Result<std::optional<BatchAt>> Log::Impl::locate(size_t segment, Offset target) {
  if (segment + 1 == segments.size()) {
    if (auto found = recent.locate(target)) return found;
    if (auto r = write_out(); !r) return std::unexpected(r.error());  // the file is looked at
  }
  return segments[segment]->locate(target);
}

Result<ReadResult> Log::read(Offset from, const ReadOptions& options) {
  Impl& i = *impl_;
  if (from < i.start || from > i.end) return ReadResult{.error = ErrorCode::kOffsetOutOfRange};
  ReadResult result;
  Offset bound = std::min(options.upper_bound, i.end);
  if (from >= bound) return result;
  if (i.unwritten && bound > i.unwritten->before) {
    if (auto r = i.write_out(); !r) return std::unexpected(r.error());
  }
  // A segment may hold nothing at or behind `from` (compaction): then the next one does.
  for (size_t n = i.floor_segment(from); n < i.segments.size(); n++) {
    Segment& segment = *i.segments[n];
    auto at = i.locate(n, from);
    if (!at) return std::unexpected(at.error());
    if (!*at) continue;
    // A header that claims offsets of what follows it would make readers wait for ever.
    const Offset next = n + 1 < i.segments.size() ? i.segments[n + 1]->base() : i.end;
    if ((*at)->last >= next) {
      return fail(
          Errc::kCorrupt,
          fmt::format("{} at byte {}: a batch that ends at offset {}, but {} is behind it",
                      segment.path(kLogSuffix), (*at)->position, (*at)->last.value, next.value));
    }
    if ((*at)->last >= bound) return result;
    uint64_t stop = segment.size();
    if (i.unwritten && i.unwritten->before == bound && n + 1 == i.segments.size()) {
      stop = i.unwritten->from;
    } else if (bound < i.end && (n + 1 == i.segments.size() || bound < i.segments[n + 1]->base())) {
      auto limit = i.locate(n, bound);
      if (!limit) return std::unexpected(limit.error());
      if (*limit) stop = (*limit)->position;
    }
    uint64_t length = options.max_bytes;
    if (length < (*at)->size) length = options.at_least_one ? (*at)->size : 0;
    length = std::min(length, stop - (*at)->position);
    if (length == 0) return result;
    auto file = segment.file();
    if (!file) return std::unexpected(file.error());
    result.piece.source = std::move(*file);
    result.piece.position = (*at)->position;
    result.piece.length = length;
    result.segment_base = segment.base();
    result.position = (*at)->position;
    return result;
  }
  return result;
}

Result<ByteBuffer> read_piece(const Piece& piece) {
  if (!piece.source) return ByteBuffer(piece.memory.begin(), piece.memory.end());
  auto file = std::static_pointer_cast<io::File>(piece.source);
  ByteBuffer bytes(piece.length);
  auto n = file->read(piece.position, MutableBytes(bytes));
  if (!n) return std::unexpected(n.error());
  if (*n != bytes.size()) return fail(Errc::kCorrupt, file->path() + ": shorter than it was");
  return bytes;
}

Result<TimestampOffset> Log::Impl::find_record(Segment& segment, uint64_t position,
                                               WallMs timestamp, Offset from) {
  auto file = segment.file();
  if (!file) return std::unexpected(file.error());
  BatchWalker walker(**file, position, segment.size(), segment.base());
  wire::Decompressor decompressor;
  ByteBuffer bytes;
  while (true) {
    auto header = walker.next();
    if (!header) return std::unexpected(header.error());
    if (!*header) return TimestampOffset{};
    if ((*header)->max_timestamp() < timestamp || (*header)->last_offset() < from) continue;
    bytes.resize((*header)->size());
    auto n = (*file)->read(walker.position(), MutableBytes(bytes));
    if (!n) return std::unexpected(n.error());
    if (*n != bytes.size()) return fail(Errc::kCorrupt, (*file)->path() + ": a cut batch");
    wire::BatchHeader batch(bytes.data());
    wire::RecordIterator records(batch, decompressor);
    wire::RecordView record;
    while (true) {
      auto more = records.next(record);
      if (!more) return std::unexpected(more.error());
      if (!*more) break;
      if (record.timestamp >= timestamp && record.offset >= from) {
        return TimestampOffset{record.timestamp, record.offset, batch.leader_epoch()};
      }
    }
  }
}

Result<TimestampOffset> Log::offset_for_timestamp(WallMs timestamp) {
  Impl& i = *impl_;
  if (auto r = i.write_out(); !r) return std::unexpected(r.error());
  // Where records below the log start offset were the newest of a segment, it has nothing to offer.
  for (size_t n = i.floor_segment(i.start); n < i.segments.size(); n++) {
    Segment& segment = *i.segments[n];
    auto newest = segment.age_timestamp();
    if (!newest) return std::unexpected(newest.error());
    if (*newest < timestamp) continue;
    auto position = segment.position_for_timestamp(timestamp, i.start);
    if (!position) return std::unexpected(position.error());
    auto found = i.find_record(segment, *position, timestamp, i.start);
    if (!found || found->offset != kNoOffset) return found;
  }
  return TimestampOffset{};
}

Result<WallMs> Log::timestamp_at(Offset offset) {
  if (offset < start() || offset >= end()) return kNoTimestamp;
  auto found = read(offset, {.max_bytes = 1, .upper_bound = end(), .at_least_one = true});
  if (!found) return std::unexpected(found.error());
  if (found->piece.length == 0) return kNoTimestamp;
  std::array<uint8_t, wire::kBatchHeaderSize> bytes;
  auto file = std::static_pointer_cast<io::File>(found->piece.source);
  auto n = file->read(found->piece.position, MutableBytes(bytes));
  if (!n) return std::unexpected(n.error());
  if (*n != bytes.size()) return fail(Errc::kCorrupt, file->path() + ": a cut batch");
  const wire::BatchHeader batch(bytes.data());
  return batch.timestamp_type() == wire::TimestampType::kLogAppendTime ? batch.max_timestamp()
                                                                       : batch.base_timestamp();
}

Result<TimestampOffset> Log::max_timestamp() {
  Impl& i = *impl_;
  if (auto r = i.write_out(); !r) return std::unexpected(r.error());
  Segment* newest = nullptr;
  MaxTimestamp max;
  for (auto& segment : i.segments) {
    auto m = segment->max_timestamp();
    if (!m) return std::unexpected(m.error());
    if (m->timestamp > max.timestamp) {
      max = *m;
      newest = segment.get();
    }
  }
  if (newest == nullptr) return TimestampOffset{};
  auto position = newest->position_before(max.offset);
  if (!position) return std::unexpected(position.error());
  return i.find_record(*newest, *position, max.timestamp, i.start);
}

Result<std::vector<AbortedTransaction>> Log::aborted_transactions(Offset from, Offset upper_bound) {
  Impl& i = *impl_;
  std::vector<AbortedTransaction> found;
  for (size_t n = i.floor_segment(from); n < i.segments.size(); n++) {
    auto entries = i.segments[n]->txn_index().entries();
    if (!entries) return std::unexpected(entries.error());
    for (const AbortedEntry& e : *entries) {
      if (e.last >= from && e.first < upper_bound) {
        found.push_back(AbortedTransaction{e.producer, e.first});
      }
      // Later ones began at or behind this offset.
      if (e.last_stable >= upper_bound) return found;
    }
  }
  return found;
}

}  // namespace odradek::log
