#include "fuzz/targets.h"

#include <string>

#include "base/arena.h"
#include "base/check.h"
#include "wire/batch_validator.h"
#include "wire/framed_record.h"
#include "wire/json.h"
#include "wire/reader.h"
#include "wire/writer.h"

namespace odradek::fuzz {

namespace {

constexpr uint64_t kOutputMax = 4 << 20;

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

}  // namespace

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
  wire::ValidationRules rules;
  rules.compacted = (choice & 2) != 0;
  rules.timestamp_type =
      (choice & 4) != 0 ? wire::TimestampType::kLogAppendTime : wire::TimestampType::kCreateTime;
  rules.zstd_allowed = (choice & 8) == 0;
  rules.now = WallMs(1'700'000'000'000);
  rules.decompressed_max = kOutputMax;
  wire::Decompressor d;
  const wire::Validation v = wire::validate_producer_batch(bytes, rules, d);
  ODRADEK_CHECK(v.ok() == v.message.empty());
  if (!v.ok()) return;
  const wire::BatchHeader b(bytes.data());
  ODRADEK_CHECK(b.crc_matches());
  ODRADEK_CHECK(b.max_timestamp() == v.max_timestamp);
  wire::RecordIterator records(b, d, kOutputMax);
  wire::RecordView r;
  for (int32_t i = 0; i < b.count(); i++) {
    const auto more = records.next(r);
    ODRADEK_CHECK(more && *more && r.offset_delta == i);
    ODRADEK_CHECK(!rules.compacted || r.key.has_value());
  }
  const auto end = records.next(r);
  ODRADEK_CHECK(end && !*end);
}

void decompression(ByteView input) {
  if (input.empty()) return;
  wire::Decompressor d;
  const auto out =
      wire::decompress(d, static_cast<wire::Codec>(input[0] % 6), input.subspan(1), kOutputMax);
  ODRADEK_CHECK(!out || out->size() <= kOutputMax);
}

}  // namespace odradek::fuzz
