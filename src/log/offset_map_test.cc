#include "log/offset_map.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace odradek::log {
namespace {

constexpr uint64_t kKey0 = 0x0706050403020100, kKey1 = 0x0f0e0d0c0b0a0908;

KeyHash hash(ByteView bytes, size_t piece = 1000) {
  KeyHasher h(kKey0, kKey1);
  for (size_t at = 0; at < bytes.size(); at += piece) {
    h.add(bytes.subspan(at, std::min(piece, bytes.size() - at)));
  }
  return h.finish();
}

// The first outputs of the reference implementation's test (key 00 01 … 0f, input 00 01 …).
TEST(KeyHasher, IsSipHash) {
  EXPECT_EQ(hash({}), (KeyHash{0xe6a825ba047f81a3, 0x930255c71472f66d}));
  const uint8_t one[] = {0};
  EXPECT_EQ(hash(one), (KeyHash{0x44af996bd8c187da, 0x45fc229b11597634}));
}

TEST(KeyHasher, PiecesDoNotMatter) {
  ByteBuffer bytes(100);
  for (size_t n = 0; n < bytes.size(); n++) bytes[n] = static_cast<uint8_t>(n * 7);
  for (size_t piece = 1; piece < 20; piece++) EXPECT_EQ(hash(bytes, piece), hash(bytes));
}

TEST(OffsetMap, RemembersTheNewest) {
  OffsetMap map(1 << 20, 0.9);
  std::map<std::string, int64_t> expected;
  for (int64_t n = 0; n < 60'000; n++) {
    const std::string key = std::to_string(n * n % 30'011);
    map.put(hash(as_bytes(key)), Offset(n));
    expected[key] = n;
  }
  EXPECT_EQ(map.size(), expected.size());
  for (const auto& [key, offset] : expected) EXPECT_EQ(map.get(hash(as_bytes(key))).value, offset);
  EXPECT_EQ(map.get(hash(as_bytes("another"))), kNoOffset);
}

TEST(OffsetMap, IsBounded) {
  EXPECT_EQ(OffsetMap(23, 0.9).capacity(), 0U);
  EXPECT_EQ(OffsetMap(240, 0.9).capacity(), 9U);
  EXPECT_EQ(OffsetMap(240, 1.0).capacity(), 9U);  // a search for what is not there has to end
  OffsetMap map(240, 1.0);
  for (int n = 0; !map.full(); n++) map.put(hash(as_bytes(std::to_string(n))), Offset(n));
  EXPECT_EQ(map.size(), 9U);
  EXPECT_EQ(map.get(hash(as_bytes("not there"))), kNoOffset);
  EXPECT_EQ(map.get(hash(as_bytes("0"))), Offset(0));
}

}  // namespace
}  // namespace odradek::log
