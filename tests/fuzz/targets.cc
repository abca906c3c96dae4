#include "fuzz/targets.h"

#include <algorithm>
#include <string>

#include "base/arena.h"
#include "base/check.h"
#include "wire/batch_validator.h"
#include "wire/frame.h"
#include "wire/framed_record.h"
#include "wire/json.h"
#include "wire/reader.h"
#include "wire/writer.h"

namespace odradek::fuzz {

namespace {

constexpr uint64_t kOutputMax = 4 << 20;
/// Larger outputs are not compressed again: that would only cost time.
constexpr size_t kBackMax = 64 << 10;

void decode_and_back(const wire::MessageInfo& info, int16_t version, ByteView body) {
  Arena arena;
  void* first = info.make(arena);
  wire::Reader r(body, arena);
  if (!info.decode(first, r, version)) return;
  wire::Writer w;
  info.encode(first, w, version);
  ODRADEK_CHECK(!w.error());
  const ByteBuffer again = w.take();
  void* second = info.make(arena);
  wire::Reader r2(again, arena);
  ODRADEK_CHECK(info.decode(second, r2, version).has_value());
  ODRADEK_CHECK(r2.remaining() == 0);
  ODRADEK_CHECK(to_json(info, first, version) == to_json(info, second, version));
}

void compress_and_back(wire::Decompressor& d, wire::Codec codec, ByteView bytes) {
  const auto packed = wire::compress(codec, bytes);
  ODRADEK_CHECK(packed.has_value());
  const auto back = wire::decompress(d, codec, *packed, bytes.size());
  ODRADEK_CHECK(back.has_value() &&
                std::equal(back->begin(), back->end(), bytes.begin(), bytes.end()));
}

void decompression(wire::Codec codec, ByteView input) {
  wire::Decompressor d;
  compress_and_back(d, codec, input);
  const auto out = wire::decompress(d, codec, input, kOutputMax);
  if (!out) return;
  ODRADEK_CHECK(out->size() <= kOutputMax);
  if (out->size() <= kBackMax) compress_and_back(d, codec, *out);
}

}  // namespace

void request(ByteView input) {
  Arena arena;
  wire::Reader r(input, arena);
  wire::RequestHeader header;
  if (!wire::decode_request_header(r, header)) return;
  const auto* info = wire::find_message(wire::MessageKind::kRequest, header.request_api_key);
  if (info == nullptr || header.request_api_version < info->min ||
      header.request_api_version > info->max)
    return;
  decode_and_back(*info, header.request_api_version, r.rest());
}

void message(ByteView input) {
  if (input.size() < 3) return;
  const auto all = wire::all_messages();
  const wire::MessageInfo& info = *all[load_be<uint16_t>(input.data()) % all.size()];
  const int versions = info.max - info.min + 1;
  const auto version = static_cast<int16_t>(info.min + input[2] % versions);
  decode_and_back(info, version, input.subspan(3));
}

void framed_record(ByteView input) {
  Arena arena;
  wire::Reader r(input, arena);
  const auto header = wire::decode_framed_header(r);
  if (!header || header->type > INT16_MAX) return;
  const auto* info = wire::find_record(wire::Domain::kMetadata, wire::MessageKind::kValue,
                                       static_cast<int16_t>(header->type));
  if (info != nullptr) decode_and_back(*info, header->version, r.rest());
}

void batches(ByteView input) {
  wire::Decompressor d;
  wire::BatchIterator it(input);
  for (auto batch = it.next(); batch && *batch; batch = it.next()) {
    const wire::BatchHeader& b = **batch;
    ODRADEK_CHECK(b.size() <= input.size());
    wire::RecordIterator records(b, d, kOutputMax);
    wire::RecordView r;
    int64_t count = 0;
    auto more = records.next(r);
    for (; more && *more; more = records.next(r), count++) {
      size_t bytes = 0;
      r.for_each_header([&](const wire::RecordHeader& h) {
        bytes += h.key.size() + (h.value ? h.value->size() : 0);
      });
      ODRADEK_CHECK(bytes <= r.header_bytes.size());
    }
    if (more) ODRADEK_CHECK(count == std::max(b.count(), 0));
  }
}

void validator(ByteView input) {
  if (input.empty()) return;
  const uint8_t choice = input[0];
  ByteBuffer bytes(input.begin() + 1, input.end());
  if ((choice & 1) != 0 && bytes.size() >= wire::kBatchHeaderSize) {
    store_be<int64_t>(bytes.data(), 0);
    store_be(bytes.data() + 8, static_cast<int32_t>(bytes.size() - wire::kBatchOverhead));
    bytes[16] = 2;
    store_be(bytes.data() + 17, wire::BatchHeader(bytes.data()).computed_crc());
  }
  const auto found = wire::find_produced_batch(bytes, (choice & 16) != 0 ? 6 : 9);
  if (found.error != wire::ErrorCode::kNone) return;
  ODRADEK_CHECK(found.size <= bytes.size());
  bytes.resize(found.size);
  wire::ValidationRules rules;
  rules.compacted = (choice & 2) != 0;
  rules.timestamp_type =
      (choice & 4) != 0 ? wire::TimestampType::kLogAppendTime : wire::TimestampType::kCreateTime;
  if ((choice & 8) != 0) rules.target = static_cast<wire::Codec>(choice >> 5 & 3);
  rules.now = WallMs(1'700'000'000'000);
  rules.decompressed_max = kOutputMax;
  wire::Decompressor d;
  const wire::Validation v = wire::validate_producer_batch(bytes, rules, d);
  ODRADEK_CHECK(v.ok() == v.message.empty());
  if (!v.ok()) return;
  const wire::BatchHeader b(bytes.data());
  ODRADEK_CHECK(b.crc_matches());
  ODRADEK_CHECK(b.max_timestamp() == v.max_timestamp);
  const auto check = [&](const wire::BatchHeader& batch, bool consecutive) {
    wire::RecordIterator records(batch, d, kOutputMax);
    wire::RecordView r;
    for (int32_t i = 0; i < b.count(); i++) {
      const auto more = records.next(r);
      ODRADEK_CHECK(more && *more && (!consecutive || r.offset_delta == i));
      ODRADEK_CHECK(!rules.compacted || r.key.has_value());
    }
    const auto end = records.next(r);
    ODRADEK_CHECK(end && !*end);
  };
  check(b, v.consecutive);
  if (!rules.target || *rules.target == b.codec()) return;
  auto rewrite = v.consecutive ? wire::recompress : wire::recompress_renumbered;
  const auto other = rewrite(b, *rules.target, {}, d, kOutputMax);
  ODRADEK_CHECK(other.has_value());
  const wire::BatchHeader packed(other->data());
  ODRADEK_CHECK(packed.crc_matches() && packed.count() == b.count());
  ODRADEK_CHECK(packed.last_offset_delta() + 1 == packed.count());
  ODRADEK_CHECK(packed.max_timestamp() == b.max_timestamp());
  check(packed, true);
}

void gzip(ByteView input) { decompression(wire::Codec::kGzip, input); }
void snappy(ByteView input) { decompression(wire::Codec::kSnappy, input); }
void lz4(ByteView input) { decompression(wire::Codec::kLz4, input); }
void zstd(ByteView input) { decompression(wire::Codec::kZstd, input); }

}  // namespace odradek::fuzz
