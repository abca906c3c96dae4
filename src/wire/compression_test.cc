#include "wire/compression.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace odradek::wire {
namespace {

constexpr uint64_t kPlenty = 1 << 30;
constexpr Codec kCodecs[] = {Codec::kNone, Codec::kGzip, Codec::kSnappy, Codec::kLz4, Codec::kZstd};

/// Compressible, but not trivially.
ByteBuffer text(size_t n) {
  ByteBuffer out(n);
  uint32_t x = 1;
  for (size_t i = 0; i < n; i++) {
    x = x * 1664525 + 1013904223;
    out[i] = static_cast<uint8_t>("abcdefgh"[(x >> 28) & 7]);
  }
  return out;
}

TEST(Compression, EveryCodecGivesBackWhatItGot) {
  Decompressor d;
  for (const Codec codec : kCodecs) {
    for (const size_t n : {size_t{0}, size_t{1}, size_t{1000}, size_t{32768}, size_t{300'000}}) {
      const ByteBuffer in = text(n);
      const auto packed = compress(codec, in);
      ASSERT_TRUE(packed);
      if (n >= 1000 && codec != Codec::kNone) {
        EXPECT_LT(packed->size(), n) << name(codec);
      }
      const auto out = decompress(d, codec, *packed, kPlenty);
      ASSERT_TRUE(out) << name(codec) << ' ' << n << ' ' << out.error().message;
      EXPECT_EQ(*out, in) << name(codec) << ' ' << n;
    }
  }
}

TEST(Compression, ReadsInAnySteps) {
  Decompressor d;
  const ByteBuffer in = text(100'000);
  for (const Codec codec : kCodecs) {
    const auto packed = compress(codec, in);
    ASSERT_TRUE(d.start(codec, *packed, kPlenty));
    ByteBuffer out;
    ByteBuffer step(777);
    while (true) {
      const auto n = d.read(step);
      ASSERT_TRUE(n);
      if (*n == 0) break;
      out.insert(out.end(), step.begin(), step.begin() + *n);
    }
    EXPECT_EQ(out, in) << name(codec);
  }
}

TEST(Compression, OutputIsBounded) {
  Decompressor d;
  const ByteBuffer zeros(10 << 20, 0);
  for (const Codec codec : kCodecs) {
    const auto packed = compress(codec, zeros);
    const auto out = decompress(d, codec, *packed, 1 << 20);
    ASSERT_FALSE(out) << name(codec);
    EXPECT_EQ(out.error().kind, Errc::kLimit) << name(codec);
  }
}

TEST(Compression, AStreamThatStopsShortIsCorrupt) {
  Decompressor d;
  const ByteBuffer in = text(100'000);
  for (const Codec codec : {Codec::kGzip, Codec::kSnappy, Codec::kLz4, Codec::kZstd}) {
    const auto packed = compress(codec, in);
    for (const size_t cut : {packed->size() / 2, packed->size() - 1}) {
      const auto out = decompress(d, codec, ByteView(*packed).first(cut), kPlenty);
      EXPECT_FALSE(out) << name(codec) << " cut to " << cut;
    }
  }
}

TEST(Compression, SnappyLengthsThatCannotBeTrueTakeNoMemory) {
  Decompressor d;
  // A raw block of two bytes that claims two gigabytes.
  const ByteBuffer in = {0xff, 0xff, 0xff, 0xff, 0x07, 0x00, 0x41};
  const auto out = decompress(d, Codec::kSnappy, in, kPlenty * 4);
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().kind, Errc::kCorrupt);
}

TEST(Compression, ARawSnappyBlockIsAccepted) {
  Decompressor d;
  const ByteBuffer in = {0x03, 0x08, 'a', 'b', 'c'};  // length 3, literal of 3
  const auto out = decompress(d, Codec::kSnappy, in, kPlenty);
  ASSERT_TRUE(out);
  EXPECT_EQ(as_text(*out), "abc");
}

TEST(Compression, Lz4FramesLookLikeKafkas) {
  const auto packed = compress(Codec::kLz4, text(1000));
  const ByteBuffer head(packed->begin(), packed->begin() + 7);
  EXPECT_EQ(head, (ByteBuffer{0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82}));
}

TEST(Compression, DependentLz4BlocksAreRefused) {
  auto packed = compress(Codec::kLz4, text(1000));
  (*packed)[4] = 0x40;
  Decompressor d;
  const auto started = d.start(Codec::kLz4, *packed, kPlenty);
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().kind, Errc::kUnsupported);
}

TEST(Compression, GzipMembersMayFollowEachOther) {
  auto packed = compress(Codec::kGzip, as_bytes("one"));
  const auto second = compress(Codec::kGzip, as_bytes("two"));
  packed->insert(packed->end(), second->begin(), second->end());
  Decompressor d;
  const auto out = decompress(d, Codec::kGzip, *packed, kPlenty);
  ASSERT_TRUE(out);
  EXPECT_EQ(as_text(*out), "onetwo");
}

TEST(Compression, LevelsAreClampedAndMatter) {
  const ByteBuffer in = text(200'000);
  for (const Codec codec : {Codec::kGzip, Codec::kLz4, Codec::kZstd}) {
    const auto weak = compress(codec, in, 1);
    const auto strong = compress(codec, in, 99);
    ASSERT_TRUE(weak && strong);
    EXPECT_LE(strong->size(), weak->size()) << name(codec);
  }
}

TEST(Compression, Names) {
  for (const Codec codec : kCodecs) EXPECT_EQ(parse_codec(name(codec)), codec);
  EXPECT_EQ(parse_codec("uncompressed"), Codec::kNone);
  EXPECT_FALSE(parse_codec("producer"));
  Decompressor d;
  EXPECT_FALSE(d.start(static_cast<Codec>(5), {}, 1));
}

}  // namespace
}  // namespace odradek::wire
