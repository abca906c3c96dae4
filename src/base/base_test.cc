#include <gtest/gtest.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/metrics.h"
#include "base/uuid.h"

namespace odradek {
namespace {

TEST(Uuid, TextIsUrlSafeBase64) {
  EXPECT_EQ(kMetadataTopicId.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
  auto u = Uuid::parse("AAAAAAAAAAAAAAAAAAAAAQ");
  ASSERT_TRUE(u);
  EXPECT_EQ(*u, kMetadataTopicId);
  Uuid wide{0xfedcba9876543210, 0x0123456789abcdef};
  EXPECT_EQ(Uuid::parse(wide.to_string()), wide);
  EXPECT_EQ(wide.to_hex(), "fedcba98765432100123456789abcdef");
  EXPECT_FALSE(Uuid::parse("short"));
  EXPECT_FALSE(Uuid::parse("AAAAAAAAAAAAAAAAAAAA+Q"));
}

TEST(Crc32c, KnownValuesAndEveryLength) {
  EXPECT_EQ(crc32c(as_bytes("123456789")), 0xE3069283u);
  ByteBuffer data(1000);
  for (size_t i = 0; i < data.size(); i++) data[i] = static_cast<uint8_t>(i * 7);
  for (size_t n = 0; n <= data.size(); n++) {
    uint32_t whole = crc32c(ByteView(data).first(n));
    uint32_t bytewise = 0;
    for (size_t i = 0; i < n; i++) bytewise = crc32c(ByteView(data).subspan(i, 1), bytewise);
    ASSERT_EQ(whole, bytewise) << n;
  }
}

TEST(Arena, GrowsAndResets) {
  Arena arena;
  Array<int> list;
  for (int i = 0; i < 10000; i++) list.add(arena, i);
  for (int i = 0; i < 10000; i++) ASSERT_EQ(list[static_cast<size_t>(i)], i);
  EXPECT_GT(arena.reserved(), 40000u);
  arena.reset();
  EXPECT_LE(arena.reserved(), 8192u);
  EXPECT_EQ(arena.copy("odradek"), "odradek");
}

TEST(Bytes, BigEndian) {
  uint8_t b[8];
  store_be<int32_t>(b, -2);
  EXPECT_EQ(b[0], 0xff);
  EXPECT_EQ(b[3], 0xfe);
  EXPECT_EQ(load_be<int32_t>(b), -2);
  store_be<uint64_t>(b, 0x0102030405060708);
  EXPECT_EQ(b[0], 1);
  EXPECT_EQ(load_be<uint64_t>(b), 0x0102030405060708u);
}

TEST(Histogram, BucketsArePowersOfTwo) {
  Histogram h;
  h.record(1);
  h.record(1024);
  h.record(1025);
  h.record(uint64_t{1} << 60);
  EXPECT_EQ(h.bucket(0), 2u);
  EXPECT_EQ(h.bucket(1), 1u);
  EXPECT_EQ(h.bucket(Histogram::kBuckets - 1), 1u);
}

}  // namespace
}  // namespace odradek
