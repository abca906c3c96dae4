#include "log/compaction.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "log/batch_walker.h"
#include "log/file_names.h"

namespace odradek::log {

// ---- Reader

/// The batches of a segment, whole, in order, their CRCs checked.
class Compaction::Reader {
 public:
  Reader(std::shared_ptr<io::File> file, Offset base, uint64_t size, uint64_t position,
         ByteBuffer buffer)
      : file_(std::move(file)),
        least_(base),
        size_(size),
        position_(position),
        buffer_(std::move(buffer)) {}

  /// Good until the next call.
  Result<std::optional<BatchView>> next();
  uint64_t position() const { return position_; }
  ByteBuffer take_buffer() { return std::move(buffer_); }

 private:
  Result<ByteView> bytes(size_t n);
  std::unexpected<Error> corrupt(std::string_view what) const {
    return fail(Errc::kCorrupt, fmt::format("{} at byte {}: {}", file_->path(), position_, what));
  }

  std::shared_ptr<io::File> file_;
  Offset least_;
  uint64_t size_;
  uint64_t position_;  // of what comes next
  ByteBuffer buffer_;
  uint64_t buffer_at_ = 0;
  size_t buffered_ = 0;
};

/// At least n bytes at the position, read into the buffer together with what follows.
Result<ByteView> Compaction::Reader::bytes(size_t n) {
  if (position_ < buffer_at_ || position_ + n > buffer_at_ + buffered_) {
    if (buffer_.size() < n) buffer_.resize(n);
    const auto want = static_cast<size_t>(std::min<uint64_t>(buffer_.size(), size_ - position_));
    auto got = file_->read(position_, MutableBytes(buffer_.data(), want));
    if (!got) return std::unexpected(got.error());
    buffer_at_ = position_;
    buffered_ = *got;
    if (buffered_ < n) return corrupt("the file is shorter than it was");
  }
  return ByteView(buffer_).subspan(static_cast<size_t>(position_ - buffer_at_), n);
}

Result<std::optional<BatchView>> Compaction::Reader::next() {
  if (position_ >= size_) return std::nullopt;
  if (size_ - position_ < kBatchHeaderSize) return corrupt("a piece of a batch header");
  auto head = bytes(kBatchHeaderSize);
  if (!head) return std::unexpected(head.error());
  const BatchView header(head->data());
  if (!plausible(header)) return corrupt("not a record batch");
  if (header.size() > size_ - position_) return corrupt("the batch is longer than the file");
  if (header.base_offset() < least_) return corrupt("offsets go back");
  auto all = bytes(header.size());
  if (!all) return std::unexpected(all.error());
  const BatchView batch(all->data());
  if (!batch.crc_matches()) return corrupt("the CRC is wrong");
  least_ = batch.next_offset();
  position_ += batch.size();
  return batch;
}

// ---- Compaction

Result<std::unique_ptr<Compaction>> Compaction::make(CompactionPlan plan,
                                                     const CompactionLimits& limits) {
  if (OffsetMap(limits.map_bytes, limits.load_factor).capacity() == 0) {
    return fail(Errc::kInvalid, "log.cleaner.dedupe.buffer.size leaves no room for a single key");
  }
  return std::unique_ptr<Compaction>(new Compaction(std::move(plan), limits));
}

Compaction::Compaction(CompactionPlan plan, const CompactionLimits& limits)
    : plan_(std::move(plan)),
      limits_(limits),
      target_context_{.disk = *plan_.disk,
                      .folder = plan_.folder,
                      .config = plan_.config,
                      .logger = plan_.logger,
                      .suffix = std::string(kCleanedSuffix)},
      map_(limits.map_bytes, limits.load_factor) {
  stats_.map_capacity = map_.capacity();
  // Where the dirty part begins.
  while (segment_ + 1 < plan_.segments.size() &&
         plan_.segments[segment_ + 1].base <= plan_.first_dirty) {
    segment_++;
  }
}

Compaction::~Compaction() = default;

std::string Compaction::path(Offset base, std::string_view suffix) const {
  return plan_.folder + "/" + file_name(base, suffix);
}

Result<Compaction::State> Compaction::step(uint64_t bytes) {
  ODRADEK_CHECK(!ready_);
  const uint64_t until = bytes_moved() + bytes;
  do {
    Result<void> r;
    switch (phase_) {
      case Phase::kMap:
        r = map_step(until);
        break;
      case Phase::kGroups:
        group_segments();
        break;
      case Phase::kClean:
        r = clean_step(until);
        break;
      case Phase::kDone:
        return State::kDone;
    }
    if (!r) return std::unexpected(r.error());
    if (ready_) return State::kSegmentReady;
  } while (bytes_moved() < until);
  return phase_ == Phase::kDone ? State::kDone : State::kWorking;
}

/// Tells the transactions that were aborted and concern [from, upper): those that the indexes from
/// this segment on name.
Result<void> Compaction::collect_aborted(size_t segment, Offset from, Offset upper) {
  for (size_t n = segment; n < plan_.segments.size(); n++) {
    const PlannedSegment& s = plan_.segments[n];
    if (s.files.txn_index == 0) continue;
    TxnIndex index(*plan_.disk, path(s.base, kTxnIndexSuffix), s.files.txn_index);
    auto entries = index.entries();
    if (!entries) return std::unexpected(entries.error());
    std::erase_if(*entries,
                  [&](const AbortedEntry& e) { return e.last < from || e.first >= upper; });
    transactions_.add(*entries);
    if (!entries->empty() && entries->back().last_stable >= upper) return {};
  }
  return {};
}

Result<void> Compaction::open_segment(size_t segment) {
  const PlannedSegment& s = plan_.segments[segment];
  auto file = plan_.disk->open(path(s.base, kLogSuffix), io::OpenMode::kRead);
  if (!file) return std::unexpected(file.error());
  uint64_t position = 0;
  if (phase_ == Phase::kMap && s.base < plan_.first_dirty) {
    BatchWalker walker(**file, 0, s.files.log, s.base);
    while (true) {
      auto batch = walker.next();
      if (!batch) return std::unexpected(batch.error());
      position = walker.position();
      if (!*batch || (*batch)->last_offset() >= plan_.first_dirty) break;
    }
  }
  ByteBuffer buffer = reader_ ? reader_->take_buffer() : ByteBuffer();
  if (buffer.size() != limits_.io_bytes) buffer = ByteBuffer(limits_.io_bytes);
  reader_ =
      std::make_unique<Reader>(std::move(*file), s.base, s.files.log, position, std::move(buffer));
  return {};
}

// ---- the map

Result<void> Compaction::begin_map_segment() {
  const Offset base = plan_.segments[segment_].base;
  const bool last = segment_ + 1 == plan_.segments.size();
  const Offset upper = last ? plan_.first_uncleanable : plan_.segments[segment_ + 1].base;
  if (auto r = collect_aborted(segment_, std::max(base, plan_.first_dirty), upper); !r) return r;
  return open_segment(segment_);
}

void Compaction::end_map_segment() {
  const bool last = segment_ + 1 == plan_.segments.size();
  known_ = (last ? plan_.first_uncleanable : plan_.segments[segment_ + 1].base) - int64_t{1};
  segment_++;
}

Result<void> Compaction::map_step(uint64_t until) {
  bool full = false;
  while (!full) {
    if (!reader_) {
      if (segment_ >= plan_.segments.size() ||
          plan_.segments[segment_].base >= plan_.first_uncleanable) {
        break;
      }
      if (auto r = begin_map_segment(); !r) return r;
    }
    const uint64_t before = reader_->position();
    auto batch = reader_->next();
    if (!batch) return std::unexpected(batch.error());
    stats_.mapped_bytes += reader_->position() - before;
    if (!*batch) {
      end_map_segment();
      reader_.reset();
      continue;
    }
    auto took = map_batch(**batch);
    if (!took) return std::unexpected(took.error());
    full = !*took;
    if (!full && bytes_moved() >= until) return {};
  }
  reader_.reset();
  stats_.map_size = map_.size();
  phase_ = Phase::kGroups;
  return {};
}

std::unexpected<Error> Compaction::unreadable(const BatchView& batch, const Error& error) const {
  return fail(error.kind, fmt::format("{}: batch of offset {}: {}",
                                      path(plan_.segments[segment_].base, kLogSuffix),
                                      batch.base_offset().value, error.message));
}

/// False if the map is full.
Result<bool> Compaction::map_batch(const BatchView& batch) {
  if (batch.is_control()) {
    if (auto r = transactions_.on_control(batch); !r) return std::unexpected(r.error());
  } else if (has_producer(batch)) {
    const auto last = plan_.producers.find(batch.producer_id());
    const bool may_be_last = last != plan_.producers.end() && last->second.newer &&
                             last->second.data < batch.last_offset();
    if (may_be_last) last->second.data = batch.last_offset();
  }
  if (!batch.is_control() && !transactions_.on_records(batch)) {
    RecordWalker records(batch, decompressor_, limits_.key0, limits_.key1);
    CleanRecord record;
    while (true) {
      auto more = records.next(record);
      if (!more) return unreadable(batch, more.error());
      if (!*more) break;
      const Offset offset(wire::wrapping_add(batch.base_offset().value, record.offset_delta));
      if (!record.has_key) stats_.keyless++;
      if (!record.has_key || offset < plan_.first_dirty) continue;
      if (map_.full()) return false;
      map_.put(record.key, offset);
      known_ = offset;
    }
  }
  known_ = std::max(known_, batch.last_offset());
  return true;
}

// ---- groups

/// Neighbours are written into one segment as long as they fit by their sizes of now.
void Compaction::group_segments() {
  const Offset stop = std::min(end(), plan_.first_uncleanable);
  const auto size_max = static_cast<uint64_t>(plan_.config.segment_bytes);
  const auto index_max = static_cast<uint64_t>(plan_.config.segment_index_bytes);
  SegmentFiles sum;
  for (size_t n = 0; n < plan_.segments.size() && plan_.segments[n].base < stop; n++) {
    const PlannedSegment& s = plan_.segments[n];
    const Offset next = n + 1 < plan_.segments.size() && plan_.segments[n + 1].base < stop
                            ? plan_.segments[n + 1].base
                            : plan_.first_uncleanable;
    const bool fits =
        !groups_.empty() && sum.log + s.files.log <= size_max &&
        sum.index + s.files.index <= index_max &&
        sum.time_index + s.files.time_index <= index_max &&
        (s.files.log == 0 || next - plan_.segments[groups_.back().front()].base - 1 <= INT32_MAX);
    if (!fits) {
      groups_.emplace_back();
      sum = SegmentFiles{};
    }
    groups_.back().push_back(n);
    sum.log += s.files.log;
    sum.index += s.files.index;
    sum.time_index += s.files.time_index;
  }
  transactions_ = CleanedTransactions();
  const BatchFilter::Rules rules{.now = plan_.now,
                                 .delete_retention = plan_.config.delete_retention,
                                 .rewritten_max = limits_.rewritten_max,
                                 .key0 = limits_.key0,
                                 .key1 = limits_.key1};
  filter_ = std::make_unique<BatchFilter>(map_, known_, rules);
  phase_ = groups_.empty() ? Phase::kDone : Phase::kClean;
}

Result<void> Compaction::begin_group() {
  const Offset base = plan_.segments[groups_[group_].front()].base;
  target_ = std::make_unique<Segment>(target_context_, base, SegmentFiles{}, plan_.now, 0);
  for (std::string_view suffix : {kLogSuffix, kIndexSuffix, kTimeIndexSuffix, kTxnIndexSuffix}) {
    if (auto r = plan_.disk->remove(target_->path(suffix)); !r) return r;
  }
  in_group_ = 0;
  return {};
}

Result<void> Compaction::clean_step(uint64_t until) {
  if (!target_) {
    if (auto r = begin_group(); !r) return r;
  }
  const std::vector<size_t>& group = groups_[group_];
  while (in_group_ < group.size()) {
    segment_ = group[in_group_];
    if (!reader_) {
      const bool last = in_group_ + 1 == group.size();
      const Offset from = plan_.segments[segment_].base;
      const bool known_next = segment_ + 1 < plan_.segments.size();
      const Offset upper =
          !last || known_next ? plan_.segments[segment_ + 1].base : plan_.first_uncleanable;
      if (auto r = collect_aborted(segment_, from, upper); !r) return r;
      if (auto r = open_segment(segment_); !r) return r;
    }
    const uint64_t before = reader_->position();
    auto batch = reader_->next();
    if (!batch) return std::unexpected(batch.error());
    stats_.bytes_read += reader_->position() - before;
    if (!*batch) {
      reader_.reset();
      in_group_++;
      continue;
    }
    if (auto r = clean_batch(**batch); !r) return r;
    if (bytes_moved() >= until) return {};
  }
  return finish_group();
}

Result<BatchFilter::Fate> Compaction::fate_of(const BatchView& batch) {
  BatchFilter::Fate fate;
  if (batch.is_control()) {
    auto marker = transactions_.on_control(batch);
    if (!marker) return std::unexpected(marker.error());
    fate.empty_marker = marker->empty;
    fate.discard =
        marker->empty && batch.has_delete_horizon() && batch.base_timestamp() <= plan_.now;
    if (marker->entry) {
      if (auto r = target_->txn_index().add(*marker->entry); !r) return std::unexpected(r.error());
    }
  } else {
    fate.discard = transactions_.on_records(batch);
  }
  fate.keep_empty = has_producer(batch) && is_last_of_producer(batch);
  // The end of what was cleaned stays to be seen.
  fate.keep_empty |= batch.next_offset() == plan_.first_uncleanable;
  return fate;
}

/// Whether the producer's state hangs on it.
bool Compaction::is_last_of_producer(const BatchView& batch) const {
  const auto producer = plan_.producers.find(batch.producer_id());
  if (producer == plan_.producers.end()) return false;
  const LastOfProducer& last = producer->second;
  if (last.data != kNoOffset) return batch.last_offset() == last.data;
  // Nothing of it is in the dirty part: its header, if there is one, is the only one.
  return last.newer || (batch.is_control() && batch.producer_epoch() == last.epoch);
}

Result<void> Compaction::clean_batch(const BatchView& batch) {
  auto fate = fate_of(batch);
  if (!fate) return std::unexpected(fate.error());
  auto verdict = filter_->filter(batch, *fate, decompressor_);
  if (!verdict) return unreadable(batch, verdict.error());
  stats_.records_read += static_cast<uint64_t>(filter_->records_read());
  if (*verdict == BatchFilter::Verdict::kDrop) return {};
  stats_.records_written += static_cast<uint64_t>(filter_->records_kept());
  const ByteView bytes =
      *verdict == BatchFilter::Verdict::kCopy ? batch.bytes() : filter_->rewritten();
  if (pending_.size() + bytes.size() > limits_.io_bytes) {
    if (auto r = flush(); !r) return r;
  }
  pending_.insert(pending_.end(), bytes.begin(), bytes.end());
  return {};
}

Result<void> Compaction::flush() {
  if (pending_.empty()) return {};
  if (auto r = target_->append(ByteView(pending_)); !r) return r;
  stats_.bytes_written += pending_.size();
  pending_.clear();
  if (pending_.capacity() > 2 * limits_.io_bytes) pending_ = ByteBuffer();
  return {};
}

Result<void> Compaction::finish_group() {
  if (auto r = flush(); !r) return r;
  auto files = target_->finish();
  if (!files) return std::unexpected(files.error());
  auto file = target_->file();
  if (!file) return std::unexpected(file.error());
  const auto& group = groups_[group_];
  auto modified = plan_.disk->modified(path(plan_.segments[group.back()].base, kLogSuffix));
  if (!modified) return std::unexpected(modified.error());
  CleanedSegment cleaned{.files = target_->files(),
                         .log = *file,
                         .index = (*files)[0],
                         .time_index = (*files)[1],
                         .txn_index = files->size() > 2 ? (*files)[2] : nullptr,
                         .modified = *modified};
  files->push_back(std::move(*file));
  for (auto& f : *files) {
    if (auto r = f->sync(); !r) return r;
  }
  if (auto r = plan_.disk->set_modified(target_->path(kLogSuffix), *modified); !r) return r;
  for (size_t n : group) cleaned.replaced.push_back(plan_.segments[n].base);
  ready_ = std::move(cleaned);
  return {};
}

CleanedSegment Compaction::take_segment() {
  ODRADEK_CHECK(ready_);
  CleanedSegment taken = std::move(*ready_);
  ready_.reset();
  target_.reset();
  if (++group_ == groups_.size()) phase_ = Phase::kDone;
  return taken;
}

void Compaction::abandon() {
  reader_.reset();
  if (!target_) return;
  for (std::string_view suffix : {kLogSuffix, kIndexSuffix, kTimeIndexSuffix, kTxnIndexSuffix}) {
    const std::string leftover = target_->path(suffix);
    if (auto r = plan_.disk->remove(leftover); !r) {
      plan_.logger.warn("cannot remove {}: {}", leftover, r.error().message);
    }
  }
  target_.reset();
}

}  // namespace odradek::log
