#include "log/batch_filter.h"

#include <algorithm>
#include <limits>

namespace odradek::log {

namespace {

void put_varlong(ByteBuffer& out, int64_t n) {
  uint64_t v = (static_cast<uint64_t>(n) << 1) ^ static_cast<uint64_t>(n >> 63);
  for (; v >= 0x80; v >>= 7) out.push_back(static_cast<uint8_t>(v | 0x80));
  out.push_back(static_cast<uint8_t>(v));
}

size_t varlong_size(int64_t n) {
  uint64_t v = (static_cast<uint64_t>(n) << 1) ^ static_cast<uint64_t>(n >> 63);
  size_t size = 1;
  for (; v >= 0x80; v >>= 7) size++;
  return size;
}

int64_t minus(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
}

WallMs timestamp_of(const BatchView& batch, const CleanRecord& record) {
  if (batch.timestamp_type() == wire::TimestampType::kLogAppendTime) return batch.max_timestamp();
  return WallMs(wire::wrapping_add(batch.base_timestamp().value, record.timestamp_delta));
}

Offset offset_of(const BatchView& batch, const CleanRecord& record) {
  return Offset(wire::wrapping_add(batch.base_offset().value, record.offset_delta));
}

}  // namespace

// ---- RecordWalker

RecordWalker::RecordWalker(const BatchView& batch, wire::Decompressor& d, uint64_t key0,
                           uint64_t key1)
    : source_(ByteView()), left_(batch.count()), key0_(key0), key1_(key1) {
  if (batch.codec() == wire::Codec::kNone) {
    source_ = wire::RecordSource(batch.records());
    return;
  }
  source_ = wire::RecordSource(d);
  auto r = d.start(batch.codec(), batch.records(), wire::RecordIterator::kOutputMax);
  if (!r) source_.fail_with(r.error().kind, r.error().message);
}

/// Passes over n bytes, telling them in pieces.
template <class F>
void RecordWalker::pass(uint64_t n, F f) {
  while (n > 0 && source_.ok()) {
    if (source_.available().empty() && source_.at_end()) {
      source_.fail_with(Errc::kCorrupt, "the records stop short");
      return;
    }
    const ByteView all = source_.available();
    const ByteView piece = all.first(static_cast<size_t>(std::min<uint64_t>(n, all.size())));
    f(piece);
    source_.skip(piece.size());
    n -= piece.size();
  }
}

Result<bool> RecordWalker::end() {
  if (source_.ok() && !source_.at_end()) {
    source_.fail_with(Errc::kCorrupt, "more bytes than the batch's records take");
  }
  if (!source_.ok()) return std::unexpected(source_.problem());
  return false;
}

Result<bool> RecordWalker::next(CleanRecord& record, ByteBuffer* content, uint64_t content_max) {
  if (left_ == 0) return end();
  left_--;
  const int32_t size = source_.varint();
  const uint64_t begin = source_.taken();
  record.attributes = source_.byte();
  record.timestamp_delta = source_.varlong();
  record.offset_delta = source_.varint();
  const auto copy = [&](ByteView piece) {
    if (content == nullptr || !source_.ok()) return;
    if (content->size() + piece.size() > content_max) {
      source_.fail_with(
          Errc::kLimit,
          "the batch's records have more bytes than odradek.max.decompressed.batch.bytes");
      return;
    }
    content->insert(content->end(), piece.begin(), piece.end());
  };
  const int32_t key = source_.varint();
  if (content != nullptr) put_varlong(*content, key);
  record.has_key = key >= 0;
  if (key >= 0) {
    KeyHasher hasher(key0_, key1_);
    pass(static_cast<uint64_t>(key), [&](ByteView piece) {
      hasher.add(piece);
      copy(piece);
    });
    record.key = hasher.finish();
  }
  const int32_t value = source_.varint();
  if (content != nullptr) put_varlong(*content, value);
  record.has_value = value >= 0;
  const uint64_t used = source_.taken() - begin;
  if (size < 0 || key < -1 || value < -1 || used > static_cast<uint64_t>(size) ||
      static_cast<uint64_t>(size) - used < static_cast<uint64_t>(std::max(value, 0))) {
    if (source_.ok()) source_.fail_with(Errc::kCorrupt, "a record does not fit its length");
  } else {
    pass(static_cast<uint64_t>(size) - used, copy);
  }
  if (!source_.ok()) return std::unexpected(source_.problem());
  return true;
}

// ---- BatchFilter

bool BatchFilter::keeps(const BatchView& batch, const CleanRecord& record) const {
  if (batch.is_control()) return true;
  const Offset offset = offset_of(batch, record);
  if (offset > known_) return true;
  if (!record.has_key) return false;
  if (offset < map_.get(record.key)) return false;
  return record.has_value || !batch.has_delete_horizon() || rules_.now < batch.base_timestamp();
}

Result<BatchFilter::Found> BatchFilter::look(const BatchView& batch, const Fate& fate,
                                             wire::Decompressor& d) {
  Found found;
  RecordWalker records(batch, d, rules_.key0, rules_.key1);
  CleanRecord record;
  found.max = kNoTimestamp;
  while (true) {
    auto more = records.next(record);
    if (!more) return std::unexpected(more.error());
    if (!*more) return found;
    read_++;
    if (fate.discard || !keeps(batch, record)) continue;
    const WallMs timestamp = timestamp_of(batch, record);
    if (found.kept == 0) found.first = timestamp;
    found.max = std::max(found.max, timestamp);
    found.tombstone |= !record.has_value;
    found.kept++;
  }
}

Result<BatchFilter::Verdict> BatchFilter::filter(const BatchView& batch, const Fate& fate,
                                                 wire::Decompressor& d) {
  read_ = kept_ = 0;
  if (fate.discard && !fate.keep_empty) {
    read_ = batch.count();
    return Verdict::kDrop;
  }
  auto found = look(batch, fate, d);
  if (!found) return std::unexpected(found.error());
  kept_ = found->kept;
  if (kept_ == 0) {
    if (!fate.keep_empty) return Verdict::kDrop;
    out_.assign(kBatchHeaderSize, 0);
    const int attributes =
        batch.attributes() & (wire::attribute::kLogAppendTime | wire::attribute::kTransactional |
                              wire::attribute::kControl);
    write_header(batch, attributes, kNoTimestamp, batch.max_timestamp(), 0);
    return Verdict::kRewritten;
  }
  const bool horizon = (found->tombstone || fate.empty_marker) && !batch.has_delete_horizon();
  if (kept_ == batch.count() && !horizon) return Verdict::kCopy;
  if (auto r = rewrite(batch, fate, *found, horizon, d); !r) return std::unexpected(r.error());
  return Verdict::kRewritten;
}

Result<void> BatchFilter::rewrite(const BatchView& batch, const Fate& fate, const Found& found,
                                  bool horizon, wire::Decompressor& d) {
  WallMs base = found.first;
  int attributes = batch.attributes() & ~wire::attribute::kDeleteHorizon;
  if (horizon || batch.has_delete_horizon()) {
    const WallMs until =
        horizon ? WallMs(wire::wrapping_add(rules_.now.value, rules_.delete_retention.value))
                : batch.base_timestamp();
    if (until.value >= 0) {  // else so far ahead that there is no such moment
      base = until;
      attributes |= wire::attribute::kDeleteHorizon;
    }
  }
  out_.assign(kBatchHeaderSize, 0);
  RecordWalker records(batch, d, rules_.key0, rules_.key1);
  CleanRecord record;
  while (true) {
    content_.clear();
    const uint64_t room = rules_.rewritten_max - std::min(rules_.rewritten_max, out_.size());
    auto more = records.next(record, &content_, room);
    if (!more) return std::unexpected(more.error());
    if (!*more) break;
    if (fate.discard || !keeps(batch, record)) continue;
    const int64_t delta = minus(timestamp_of(batch, record).value, base.value);
    const size_t size = 1 + varlong_size(delta) + varlong_size(record.offset_delta);
    put_varlong(out_, static_cast<int64_t>(size + content_.size()));
    out_.push_back(record.attributes);
    put_varlong(out_, delta);
    put_varlong(out_, record.offset_delta);
    out_.insert(out_.end(), content_.begin(), content_.end());
  }
  if (batch.codec() != wire::Codec::kNone) {
    auto packed = wire::compress(batch.codec(), ByteView(out_).subspan(kBatchHeaderSize));
    if (!packed) return std::unexpected(packed.error());
    out_.resize(kBatchHeaderSize);
    out_.insert(out_.end(), packed->begin(), packed->end());
  }
  if (out_.size() > std::numeric_limits<int32_t>::max()) {
    return fail(Errc::kLimit, "a batch of more than 2 GiB");
  }
  const bool append_time = batch.timestamp_type() == wire::TimestampType::kLogAppendTime;
  write_header(batch, attributes, base, append_time ? batch.max_timestamp() : found.max,
               found.kept);
  return {};
}

/// Fills in the header of `out_`; offsets, leader epoch and producer are those of the batch.
void BatchFilter::write_header(const BatchView& batch, int attributes, WallMs base, WallMs max,
                               int32_t count) {
  uint8_t* p = out_.data();
  std::copy_n(batch.bytes().data(), kBatchHeaderSize, p);
  store_be(p + 8, static_cast<int32_t>(out_.size() - wire::kBatchOverhead));
  store_be(p + 21, static_cast<int16_t>(attributes));
  store_be(p + 27, base.value);
  store_be(p + 35, max.value);
  store_be(p + 57, count);
  store_be(p + 17, BatchView(p).computed_crc());
}

}  // namespace odradek::log
