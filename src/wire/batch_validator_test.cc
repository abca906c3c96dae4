#include "wire/batch_validator.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

namespace odradek::wire {
namespace {

constexpr WallMs kNow{1'700'000'000'000};

ByteBuffer good_batch(Codec codec = Codec::kNone, int count = 5) {
  BatchBuilder b({.codec = codec});
  for (int i = 0; i < count; i++) {
    const RecordHeader headers[] = {{"h", as_bytes("x")}};
    // The third record is the newest.
    b.add(kNow + Millis(i == 2 ? 100 : i), as_bytes("key"), as_bytes("value"), headers);
  }
  return b.build().value();
}

/// Recomputes the checksum after a change.
void seal(ByteBuffer& batch) {
  store_be(batch.data() + 17, BatchHeader(batch.data()).computed_crc());
}

Validation check(ByteBuffer& batch, ValidationRules rules = {.now = kNow}) {
  Decompressor d;
  return validate_producer_batch(batch, rules, d);
}

/// What a producer is told: by the frame of the records first, then by the partition.
ErrorCode answer(ByteBuffer records, int16_t version = 9, ValidationRules rules = {.now = kNow}) {
  const ProducedBatch found = find_produced_batch(records, version);
  if (found.error != ErrorCode::kNone) return found.error;
  records.resize(found.size);
  const Validation v = check(records, rules);
  EXPECT_EQ(v.ok(), v.message.empty());
  return v.error;
}

TEST(BatchValidator, PassesGoodBatchesUntouched) {
  for (const Codec codec :
       {Codec::kNone, Codec::kGzip, Codec::kSnappy, Codec::kLz4, Codec::kZstd}) {
    ByteBuffer batch = good_batch(codec);
    const ByteBuffer before = batch;
    const Validation v = check(batch);
    EXPECT_TRUE(v.ok()) << v.message;
    EXPECT_FALSE(v.stamped);
    EXPECT_EQ(batch, before);
    EXPECT_EQ(v.max_timestamp, kNow + Millis(100));
    EXPECT_EQ(v.max_timestamp_offset_delta, 2);
  }
}

struct Bad {
  const char* what;
  std::function<void(ByteBuffer&)> spoil;  // the checksum is made right afterwards
  ErrorCode code;
};

void attributes(ByteBuffer& b, int16_t bits) { store_be(b.data() + 21, bits); }

TEST(BatchValidator, RefusesBadHeaders) {
  const Bad cases[] = {
      {"empty", [](ByteBuffer& b) { b.clear(); }, ErrorCode::kInvalidRecord},
      {"a few bytes", [](ByteBuffer& b) { b.resize(12); }, ErrorCode::kInvalidRecord},
      {"cut short", [](ByteBuffer& b) { b.pop_back(); }, ErrorCode::kInvalidRecord},
      {"bytes behind it", [](ByteBuffer& b) { b.push_back(0); }, ErrorCode::kNone},
      {"half a batch behind it",
       [](ByteBuffer& b) {
         const ByteBuffer half(b.begin(), b.begin() + 40);
         b.insert(b.end(), half.begin(), half.end());
       },
       ErrorCode::kNone},
      {"zeros behind it", [](ByteBuffer& b) { b.resize(b.size() + 12); },
       ErrorCode::kCorruptMessage},
      {"two batches",
       [](ByteBuffer& b) {
         const ByteBuffer once = b;
         b.insert(b.end(), once.begin(), once.end());
       },
       ErrorCode::kInvalidRecord},
      {"length 13", [](ByteBuffer& b) { store_be<int32_t>(b.data() + 8, 13); },
       ErrorCode::kCorruptMessage},
      {"the greatest length", [](ByteBuffer& b) { store_be<int32_t>(b.data() + 8, INT32_MAX); },
       ErrorCode::kUnknownServerError},
      {"magic 1", [](ByteBuffer& b) { b[16] = 1; }, ErrorCode::kInvalidRecord},
      {"magic 3", [](ByteBuffer& b) { b[16] = 3; }, ErrorCode::kCorruptMessage},
      {"base offset", [](ByteBuffer& b) { b[7] = 1; }, ErrorCode::kInvalidRecord},
      {"count 0", [](ByteBuffer& b) { store_be<int32_t>(b.data() + 57, 0); },
       ErrorCode::kInvalidRecord},
      {"count against last offset delta",
       [](ByteBuffer& b) { store_be<int32_t>(b.data() + 57, 4); }, ErrorCode::kInvalidRecord},
      {"huge count", [](ByteBuffer& b) { store_be<int32_t>(b.data() + 57, INT32_MAX); },
       ErrorCode::kInvalidRecord},
      {"control", [](ByteBuffer& b) { attributes(b, 0x20); }, ErrorCode::kInvalidRecord},
      {"producer without sequence", [](ByteBuffer& b) { store_be<int64_t>(b.data() + 43, 7); },
       ErrorCode::kInvalidRecord},
      {"codec 5", [](ByteBuffer& b) { attributes(b, 5); }, ErrorCode::kUnknownServerError},
      {"no gzip stream", [](ByteBuffer& b) { attributes(b, 1); }, ErrorCode::kUnknownServerError},
      {"more records than counted",
       [](ByteBuffer& b) {
         store_be<int32_t>(b.data() + 57, 4);
         store_be<int32_t>(b.data() + 23, 3);
       },
       ErrorCode::kInvalidRecord},
      {"fewer records than counted",
       [](ByteBuffer& b) {
         store_be<int32_t>(b.data() + 57, 6);
         store_be<int32_t>(b.data() + 23, 5);
       },
       ErrorCode::kInvalidRecord},
      {"a record's length", [](ByteBuffer& b) { b[61] += 2; }, ErrorCode::kInvalidRecord},
      {"an offset delta", [](ByteBuffer& b) { b[64] = 2; }, ErrorCode::kNone},
      {"a header without key", [](ByteBuffer& b) { b[76] = 1; }, ErrorCode::kInvalidRecord},
      {"LogAppendTime from a producer",
       [](ByteBuffer& b) {
         attributes(b, 8);
         store_be<int64_t>(b.data() + 35, -1);
       },
       ErrorCode::kInvalidTimestamp},
  };
  for (const Bad& c : cases) {
    ByteBuffer batch = good_batch();
    c.spoil(batch);
    const bool whole = batch.size() == good_batch().size() && batch[16] == 2;
    if (whole && BatchHeader(batch.data()).size() == batch.size()) seal(batch);
    EXPECT_EQ(answer(batch), c.code) << c.what;
  }
}

TEST(BatchValidator, ChecksTheChecksum) {
  ByteBuffer batch = good_batch();
  batch.back() ^= 1;
  EXPECT_EQ(check(batch).error, ErrorCode::kCorruptMessage);
}

TEST(BatchValidator, SizeLimit) {
  ByteBuffer batch = good_batch();
  const auto size = static_cast<int32_t>(batch.size());
  EXPECT_TRUE(check(batch, {.max_message_bytes = size, .now = kNow}).ok());
  EXPECT_EQ(check(batch, {.max_message_bytes = size - 1, .now = kNow}).error,
            ErrorCode::kMessageTooLarge);
}

TEST(BatchValidator, CompactedTopicsNeedKeysAndEveryRecordIsNamed) {
  BatchBuilder b({});
  b.add(kNow, std::nullopt, as_bytes("v"));
  b.add(kNow, as_bytes("k"), std::nullopt);
  b.add(kNow, std::nullopt, as_bytes("v"));
  ByteBuffer batch = b.build().value();
  EXPECT_TRUE(check(batch).ok());
  const Validation v = check(batch, {.compacted = true, .now = kNow});
  EXPECT_EQ(v.error, ErrorCode::kInvalidRecord);
  ASSERT_EQ(v.records.size(), 2U);
  EXPECT_EQ(v.records[0].batch_index, 0);
  EXPECT_EQ(v.records[1].batch_index, 2);
}

TEST(BatchValidator, AWrongTimestampDecidesTheCode) {
  BatchBuilder b({});
  b.add(kNow, std::nullopt, as_bytes("v"));
  b.add(kNow + Millis(10'000'000), as_bytes("k"), as_bytes("v"));
  b.add(kNow, std::nullopt, as_bytes("v"));
  const ValidationRules rules{.compacted = true, .now = kNow};
  ByteBuffer batch = b.build().value();
  const Validation v = check(batch, rules);
  EXPECT_EQ(v.error, ErrorCode::kInvalidTimestamp);
  EXPECT_EQ(v.records.size(), 3U);
}

TEST(BatchValidator, OffsetDeltasMayBeWrongWhereApacheLetsThem) {
  for (const Codec codec : {Codec::kNone, Codec::kGzip}) {
    BatchBuilder b({});
    for (int i = 0; i < 3; i++) b.add(kNow, as_bytes("k"), as_bytes("v"));
    ByteBuffer batch = b.build().value();
    batch[64] = 8;  // the first record's is 4
    seal(batch);
    Decompressor d;
    batch = recompress(BatchHeader(batch.data()), codec, {}, d).value();
    EXPECT_EQ(check(batch).error,
              codec == Codec::kNone ? ErrorCode::kNone : ErrorCode::kUnknownServerError);
    const Validation v = check(batch, {.target = Codec::kZstd, .now = kNow});
    EXPECT_TRUE(v.ok());
    EXPECT_FALSE(v.consecutive);
    const auto packed = recompress_renumbered(BatchHeader(batch.data()), Codec::kZstd, {}, d);
    ASSERT_TRUE(packed);
    RecordIterator records(BatchHeader(packed->data()), d);
    RecordView r;
    for (int i = 0; i < 3; i++) {
      ASSERT_TRUE(records.next(r).value());
      EXPECT_EQ(r.offset_delta, i);
      EXPECT_EQ(r.timestamp, kNow);
    }
  }
}

TEST(BatchValidator, TimestampBounds) {
  const ValidationRules rules{
      .timestamp_before_max = Millis(1000), .timestamp_after_max = Millis(50), .now = kNow};
  for (const auto& [shift, good] : std::initializer_list<std::pair<int64_t, bool>>{
           {-1000, true}, {-1001, false}, {50, true}, {51, false}}) {
    BatchBuilder b({});
    b.add(kNow + Millis(shift), std::nullopt, as_bytes("v"));
    ByteBuffer batch = b.build().value();
    EXPECT_EQ(check(batch, rules).error, good ? ErrorCode::kNone : ErrorCode::kInvalidTimestamp)
        << shift;
  }
  // No timestamp at all is fine; the ends of the range do not overflow.
  for (const int64_t t : {int64_t{-1}, INT64_MIN, INT64_MAX}) {
    BatchBuilder b({});
    b.add(WallMs(t), std::nullopt, as_bytes("v"));
    ByteBuffer batch = b.build().value();
    EXPECT_EQ(check(batch, rules).ok(), t == -1) << t;
  }
}

TEST(BatchValidator, LogAppendTimeIsStamped) {
  for (const Codec codec : {Codec::kNone, Codec::kZstd}) {
    ByteBuffer batch = good_batch(codec);
    const Validation v =
        check(batch, {.timestamp_type = TimestampType::kLogAppendTime, .now = kNow + Millis(5)});
    ASSERT_TRUE(v.ok()) << v.message;
    EXPECT_TRUE(v.stamped);
    EXPECT_EQ(v.max_timestamp, kNow + Millis(5));
    const BatchHeader h(batch.data());
    EXPECT_TRUE(h.crc_matches());
    EXPECT_EQ(h.timestamp_type(), TimestampType::kLogAppendTime);
    EXPECT_EQ(h.max_timestamp(), kNow + Millis(5));
  }
}

TEST(BatchValidator, AWrongMaxTimestampIsPutRight) {
  ByteBuffer batch = good_batch();
  store_be<int64_t>(batch.data() + 35, 12345);
  seal(batch);
  const Validation v = check(batch);
  ASSERT_TRUE(v.ok());
  EXPECT_TRUE(v.stamped);
  EXPECT_EQ(BatchHeader(batch.data()).max_timestamp(), kNow + Millis(100));
  EXPECT_TRUE(BatchHeader(batch.data()).crc_matches());
}

TEST(BatchValidator, ZstdNeedsProduce7AndOutputIsBounded) {
  ByteBuffer batch = good_batch(Codec::kZstd);
  EXPECT_EQ(answer(batch, 6), ErrorCode::kUnsupportedCompressionType);
  EXPECT_EQ(answer(batch, 7), ErrorCode::kNone);
  EXPECT_EQ(check(batch, {.decompressed_max = 20, .now = kNow}).error, ErrorCode::kMessageTooLarge);
}

}  // namespace
}  // namespace odradek::wire
