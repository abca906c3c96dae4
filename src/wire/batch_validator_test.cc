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
      {"a few bytes", [](ByteBuffer& b) { b.resize(12); }, ErrorCode::kCorruptMessage},
      {"cut short", [](ByteBuffer& b) { b.pop_back(); }, ErrorCode::kCorruptMessage},
      {"bytes behind it", [](ByteBuffer& b) { b.push_back(0); }, ErrorCode::kInvalidRecord},
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
      {"codec 5", [](ByteBuffer& b) { attributes(b, 5); }, ErrorCode::kUnsupportedCompressionType},
      {"no gzip stream", [](ByteBuffer& b) { attributes(b, 1); }, ErrorCode::kInvalidRecord},
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
      {"an offset delta", [](ByteBuffer& b) { b[64] = 2; }, ErrorCode::kInvalidRecord},
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
    if (batch.size() >= good_batch().size() && batch[16] == 2) seal(batch);
    const Validation v = check(batch);
    EXPECT_EQ(v.error, c.code) << c.what << ": " << v.message;
    EXPECT_FALSE(v.message.empty()) << c.what;
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
  EXPECT_EQ(check(batch, {.zstd_allowed = false, .now = kNow}).error,
            ErrorCode::kUnsupportedCompressionType);
  EXPECT_EQ(check(batch, {.decompressed_max = 20, .now = kNow}).error, ErrorCode::kMessageTooLarge);
}

}  // namespace
}  // namespace odradek::wire
