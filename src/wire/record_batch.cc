#include "wire/record_batch.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/check.h"
#include "wire/reader.h"

namespace odradek::wire {

Result<BatchHeader> BatchHeader::parse(ByteView bytes) {
  if (bytes.size() < kBatchMagicEnd)
    return fail(Errc::kCorrupt, fmt::format("{} bytes are no batch", bytes.size()));
  const BatchHeader batch(bytes.data());
  if (batch.magic() == 0 || batch.magic() == 1)
    return fail(Errc::kUnsupported, fmt::format("a batch of magic {}", batch.magic()));
  if (batch.magic() != kMagic)
    return fail(Errc::kCorrupt, fmt::format("a batch of magic {}", batch.magic()));
  if (batch.length() < static_cast<int32_t>(kBatchHeaderSize - kBatchOverhead))
    return fail(Errc::kCorrupt, fmt::format("a batch of length {}", batch.length()));
  if (batch.size() > bytes.size())
    return fail(Errc::kCorrupt,
                fmt::format("a batch of {} bytes where {} are left", batch.size(), bytes.size()));
  return batch;
}

void set_max_timestamp(MutableBytes batch, TimestampType type, WallMs max_timestamp) {
  auto attributes = load_be<int16_t>(batch.data() + 21);
  // Bits without a meaning go, as they do at Apache.
  constexpr int16_t kKept = attribute::kCodec | attribute::kTransactional | attribute::kControl |
                            attribute::kDeleteHorizon;
  attributes = static_cast<int16_t>(attributes & kKept);
  if (type == TimestampType::kLogAppendTime)
    attributes = static_cast<int16_t>(attributes | attribute::kLogAppendTime);
  store_be(batch.data() + 21, attributes);
  store_be(batch.data() + 35, max_timestamp.value);
  store_be(batch.data() + 17, BatchHeader(batch.data()).computed_crc());
}

Result<std::optional<BatchHeader>> BatchIterator::next() {
  if (rest_.size() < kBatchMagicEnd) return std::nullopt;
  const BatchHeader head(rest_.data());
  const bool whole = head.length() >= 0 && head.size() <= rest_.size();
  // Of a batch that is cut off only magic and length can be wrong.
  if (head.magic() == kMagic &&
      head.length() >= static_cast<int32_t>(kBatchHeaderSize - kBatchOverhead) && !whole)
    return std::nullopt;
  auto batch = BatchHeader::parse(rest_);
  if (!batch) return std::unexpected(batch.error());
  rest_ = rest_.subspan(batch->size());
  return *batch;
}

// -- RecordSource ---------------------------------------------------------------------------------

void RecordSource::fail_with(Errc kind, std::string text) {
  if (failed_) return;
  failed_ = true;
  error_ = Error{kind, std::move(text)};
  taken_before_ = taken();
  at_ = end_ = window_from_ = nullptr;
}

// A problem of kind kInvalid is one of the records; those of the stream are kCorrupt and others.
uint8_t RecordSource::short_of() {
  fail_with(Errc::kInvalid, "the records stop short");
  return 0;
}

/// Reads up to `size` bytes of the stream; false at its end or on an error.
bool RecordSource::fetch(uint8_t* to, size_t size, size_t& got) {
  const auto n = stream_->read({to, size});
  if (!n) {
    fail_with(n.error().kind, n.error().message);
    return false;
  }
  got = *n;
  return got != 0;
}

/// Fills the window anew; false when the stream has ended.
bool RecordSource::refill() {
  if (stream_ == nullptr || failed_) return false;
  ByteBuffer& window = stream_->window();
  if (window.size() < kWindow) window.resize(kWindow);
  taken_before_ = taken();
  at_ = end_ = window_from_ = window.data();
  size_t got = 0;
  if (!fetch(window.data(), window.size(), got)) return false;
  end_ = at_ + got;
  return true;
}

uint64_t RecordSource::long_varint(int bytes_max) {
  uint64_t value = 0;
  for (int i = 0; i < bytes_max; i++) {
    const uint8_t b = byte();
    if (failed_) return 0;
    value |= static_cast<uint64_t>(b & 0x7f) << (7 * i);
    if (b < 0x80) return value;
  }
  fail_with(Errc::kInvalid, fmt::format("a varint is longer than {} bytes", bytes_max));
  return 0;
}

void RecordSource::long_skip(uint64_t n) {
  while (n != 0) {
    if (at_ == end_ && !refill()) {
      short_of();
      return;
    }
    const auto step = std::min<uint64_t>(n, static_cast<uint64_t>(end_ - at_));
    at_ += step;
    n -= step;
  }
}

ByteView RecordSource::take(uint64_t n) {
  auto have = static_cast<size_t>(end_ - at_);
  if (n > have && stream_ != nullptr && !failed_) {
    ByteBuffer& window = stream_->window();
    if (window.size() < kWindow) window.resize(kWindow);
    taken_before_ = taken();
    if (have != 0) std::memmove(window.data(), at_, have);
    // Grow as bytes arrive, not as they are announced.
    while (have < n) {
      if (have == window.size())
        window.resize(static_cast<size_t>(std::min<uint64_t>(n, window.size() * 2)));
      size_t got = 0;
      if (!fetch(window.data() + have, window.size() - have, got)) break;
      have += got;
    }
    if (!failed_) {
      at_ = window_from_ = window.data();
      end_ = at_ + have;
    }
  }
  if (failed_ || n > static_cast<uint64_t>(end_ - at_)) {
    short_of();
    return {};
  }
  at_ += n;
  return {at_ - n, static_cast<size_t>(n)};
}

// -- RecordIterator -------------------------------------------------------------------------------

namespace {

/// For callers of an iterator all that does not follow a format is kCorrupt.
std::unexpected<Error> problem_of(const RecordSource& source) {
  const Error& e = source.problem();
  return fail(e.kind == Errc::kInvalid ? Errc::kCorrupt : e.kind, e.message);
}

/// Length of a key or value: −1 null, other negatives are refused by `raw` (they are huge).
std::optional<ByteView> nullable(Reader& r) {
  const int32_t n = r.varint();
  if (n == -1) return std::nullopt;
  return r.raw(static_cast<uint32_t>(n));
}

}  // namespace

RecordHeader RecordView::take_header(ByteView& rest) {
  Arena unused;
  Reader r(rest, unused);
  RecordHeader h;
  h.key = as_text(r.raw(static_cast<uint32_t>(r.varint())));
  h.value = nullable(r);
  rest = r.rest();
  return h;
}

RecordIterator::RecordIterator(const BatchHeader& batch, Decompressor& d, uint64_t output_max)
    : batch_(batch), source_(ByteView()), left_(batch.count()) {
  if (batch.codec() == Codec::kNone) {
    source_ = RecordSource(batch.records());
    return;
  }
  source_ = RecordSource(d);
  if (auto r = d.start(batch.codec(), batch.records(), output_max); !r)
    source_.fail_with(r.error().kind, r.error().message);
}

Result<bool> RecordIterator::next(RecordView& out) {
  if (left_ <= 0) {
    if (!checked_end_ && source_.ok() && !source_.at_end())
      source_.fail_with(Errc::kCorrupt,
                        fmt::format("more bytes than the batch's {} records take", batch_.count()));
    checked_end_ = true;
    if (!source_.ok()) return problem_of(source_);
    return false;
  }
  const int32_t size = source_.varint();
  if (size < 0) source_.fail_with(Errc::kCorrupt, "a record of negative length");
  const ByteView bytes = source_.take(static_cast<uint32_t>(size));
  if (!source_.ok()) return problem_of(source_);

  Arena unused;
  Reader r(bytes, unused);
  r.int8();
  const int64_t timestamp_delta = r.varlong();
  out.offset_delta = r.varint();
  out.key = nullable(r);
  out.value = nullable(r);
  out.header_count = r.varint();
  out.header_bytes = r.rest();
  for (int32_t i = 0; i < out.header_count && r.ok(); i++) {
    r.raw(static_cast<uint32_t>(r.varint()));
    nullable(r);
  }
  if (out.header_count < 0 || !r.expect_end("record", kMagic)) {
    source_.fail_with(Errc::kCorrupt, fmt::format("record {} does not fit its length of {} bytes",
                                                  batch_.count() - left_, size));
    return problem_of(source_);
  }
  out.offset = Offset(wrapping_add(batch_.base_offset().value, out.offset_delta));
  out.timestamp = batch_.timestamp_type() == TimestampType::kLogAppendTime
                      ? batch_.max_timestamp()
                      : WallMs(wrapping_add(batch_.base_timestamp().value, timestamp_delta));
  left_--;
  return true;
}

// -- BatchBuilder ---------------------------------------------------------------------------------

namespace {

size_t varint_size(int64_t n) {
  uint64_t v = (static_cast<uint64_t>(n) << 1) ^ static_cast<uint64_t>(n >> 63);
  size_t size = 1;
  for (; v >= 0x80; v >>= 7) size++;
  return size;
}

size_t nullable_size(const std::optional<ByteView>& bytes) {
  if (!bytes) return 1;
  return varint_size(static_cast<int64_t>(bytes->size())) + bytes->size();
}

void write_nullable(Writer& w, const std::optional<ByteView>& bytes) {
  if (!bytes) return w.varint(-1);
  w.varint(static_cast<int32_t>(bytes->size()));
  w.raw(*bytes);
}

/// Key, value and headers of a record, with their lengths.
size_t content_size(const std::optional<ByteView>& key, const std::optional<ByteView>& value,
                    std::span<const RecordHeader> headers) {
  size_t n =
      nullable_size(key) + nullable_size(value) + varint_size(static_cast<int64_t>(headers.size()));
  for (const RecordHeader& h : headers)
    n += varint_size(static_cast<int64_t>(h.key.size())) + h.key.size() + nullable_size(h.value);
  return n;
}

/// Fills in everything of a header that follows from the rest of the batch.
void finish_batch(ByteBuffer& batch, int16_t attributes) {
  store_be(batch.data() + 8, static_cast<int32_t>(batch.size() - kBatchOverhead));
  store_be(batch.data() + 21, attributes);
  store_be(batch.data() + 17, BatchHeader(batch.data()).computed_crc());
}

}  // namespace

BatchBuilder::BatchBuilder(const BatchOptions& options) : options_(options) {
  const std::array<uint8_t, kBatchHeaderSize> room{};
  records_.raw(room);
}

size_t BatchBuilder::size_bound(std::optional<ByteView> key, std::optional<ByteView> value,
                                std::span<const RecordHeader> headers) {
  // Length, attributes, timestamp delta, offset delta.
  return 5 + 1 + 10 + 5 + content_size(key, value, headers);
}

void BatchBuilder::add(WallMs timestamp, std::optional<ByteView> key, std::optional<ByteView> value,
                       std::span<const RecordHeader> headers) {
  if (count_ == 0) base_timestamp_ = timestamp;
  max_timestamp_ = std::max(max_timestamp_, timestamp);
  // Modulo 2^64, as the reader adds it.
  const auto timestamp_delta = static_cast<int64_t>(static_cast<uint64_t>(timestamp.value) -
                                                    static_cast<uint64_t>(base_timestamp_.value));
  const size_t size =
      1 + varint_size(timestamp_delta) + varint_size(count_) + content_size(key, value, headers);
  Writer& w = records_;
  w.varint(static_cast<int32_t>(size));
  w.int8(0);
  w.varlong(timestamp_delta);
  w.varint(count_++);
  write_nullable(w, key);
  write_nullable(w, value);
  w.varint(static_cast<int32_t>(headers.size()));
  for (const RecordHeader& h : headers) {
    w.varint(static_cast<int32_t>(h.key.size()));
    w.raw(as_bytes(h.key));
    write_nullable(w, h.value);
  }
}

void BatchBuilder::add_control(WallMs timestamp, ControlType type, ByteView value) {
  ODRADEK_CHECK(options_.control);
  std::array<uint8_t, 4> key{};
  store_be(key.data() + 2, static_cast<int16_t>(type));
  add(timestamp, ByteView(key), value);
}

Result<ByteBuffer> BatchBuilder::build() {
  ODRADEK_CHECK(count_ > 0);
  ByteBuffer batch = records_.take();
  if (options_.codec != Codec::kNone) {
    auto packed =
        compress(options_.codec, ByteView(batch).subspan(kBatchHeaderSize), options_.level);
    if (!packed) return std::unexpected(packed.error());
    batch.resize(kBatchHeaderSize);
    batch.insert(batch.end(), packed->begin(), packed->end());
  }
  if (batch.size() - kBatchOverhead > INT32_MAX)
    return fail(Errc::kLimit, "a batch has more than 2 GiB");
  const bool append_time = options_.timestamp_type == TimestampType::kLogAppendTime;
  const WallMs max_timestamp =
      append_time && options_.append_time != kNoTimestamp ? options_.append_time : max_timestamp_;
  int attributes = static_cast<int>(options_.codec);
  if (append_time) attributes |= attribute::kLogAppendTime;
  if (options_.transactional) attributes |= attribute::kTransactional;
  if (options_.control) attributes |= attribute::kControl;
  uint8_t* p = batch.data();
  store_be(p, options_.base_offset.value);
  store_be(p + 12, options_.leader_epoch.value);
  p[16] = static_cast<uint8_t>(kMagic);
  store_be(p + 23, count_ - 1);
  store_be(p + 27, base_timestamp_.value);
  store_be(p + 35, max_timestamp.value);
  store_be(p + 43, options_.producer_id.value);
  store_be(p + 51, options_.producer_epoch.value);
  store_be(p + 53, options_.base_sequence);
  store_be(p + 57, count_);
  finish_batch(batch, static_cast<int16_t>(attributes));
  return batch;
}

ByteBuffer end_transaction_batch(Offset base_offset, LeaderEpoch leader_epoch, ProducerId id,
                                 ProducerEpoch epoch, bool commit, int32_t coordinator_epoch,
                                 WallMs timestamp) {
  BatchBuilder builder({.base_offset = base_offset,
                        .leader_epoch = leader_epoch,
                        .transactional = true,
                        .control = true,
                        .producer_id = id,
                        .producer_epoch = epoch});
  Writer value;
  value.int16(0);
  value.int32(coordinator_epoch);
  builder.add_control(timestamp, commit ? ControlType::kCommit : ControlType::kAbort, value.view());
  auto batch = builder.build();
  ODRADEK_CHECK(batch.has_value());  // uncompressed and small
  return std::move(*batch);
}

Result<ControlType> control_type(const RecordView& record) {
  if (!record.key || record.key->size() < 4)
    return fail(Errc::kCorrupt, "a control record without a type");
  return static_cast<ControlType>(load_be<int16_t>(record.key->data() + 2));
}

Result<int32_t> marker_coordinator_epoch(const RecordView& record) {
  if (!record.value || record.value->size() < 6)
    return fail(Errc::kCorrupt, "a transaction marker without a coordinator epoch");
  return load_be<int32_t>(record.value->data() + 2);
}

Result<ByteBuffer> recompress(const BatchHeader& batch, Codec codec, std::optional<int> level,
                              Decompressor& d, uint64_t output_max) {
  auto plain = decompress(d, batch.codec(), batch.records(), output_max);
  if (!plain) return std::unexpected(plain.error());
  auto packed = compress(codec, *plain, level);
  if (!packed) return std::unexpected(packed.error());
  if (packed->size() + kBatchHeaderSize - kBatchOverhead > INT32_MAX)
    return fail(Errc::kLimit, "a batch has more than 2 GiB");
  const ByteView header = batch.bytes().first(kBatchHeaderSize);
  ByteBuffer out(header.begin(), header.end());
  out.insert(out.end(), packed->begin(), packed->end());
  const int kept = batch.attributes() & (attribute::kLogAppendTime | attribute::kTransactional);
  finish_batch(out, static_cast<int16_t>(kept | static_cast<int>(codec)));
  return out;
}

}  // namespace odradek::wire
