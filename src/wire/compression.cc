#include "wire/compression.h"

#include <fmt/format.h>
#include <lz4frame.h>
#include <snappy.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace odradek::wire {

namespace {

constexpr std::array<std::string_view, 5> kNames = {"none", "gzip", "snappy", "lz4", "zstd"};

// snappy-java's stream: magic, version 1, lowest compatible version 1, then chunks.
constexpr std::array<uint8_t, 8> kSnappyMagic = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0};
constexpr size_t kSnappyHeader = 16;
constexpr size_t kSnappyChunk = 32768;
// A block cannot hold more than this per byte (a 3-byte copy gives 64), so a length beyond is a
// lie.
constexpr uint64_t kSnappyGrowthMax = 22;

// Byte 4 of an LZ4 frame, and its bit for blocks that do not refer to each other.
constexpr size_t kLz4FlagsAt = 4;
constexpr uint8_t kLz4Independent = 0x20;

constexpr size_t kKeptMax = 1 << 20;

std::unexpected<Error> corrupt(std::string_view codec, std::string_view what) {
  return fail(Errc::kCorrupt, fmt::format("{}: {}", codec, what));
}

}  // namespace

std::string_view name(Codec codec) {
  const auto i = static_cast<size_t>(codec);
  return i < kNames.size() ? kNames[i] : "unknown";
}

std::optional<Codec> parse_codec(std::string_view text) {
  if (text == "uncompressed") return Codec::kNone;
  const auto* it = std::find(kNames.begin(), kNames.end(), text);
  if (it == kNames.end()) return std::nullopt;
  return static_cast<Codec>(it - kNames.begin());
}

/// One state for all codecs: contexts are made when first needed and kept.
struct Decompressor::Impl {
  Codec codec = Codec::kNone;
  ByteView input;  // not yet consumed
  uint64_t output_left = 0;
  bool ended = true;
  bool frame_open = false;  // gzip, zstd: inside a member or frame
  z_stream gzip{};
  bool gzip_ready = false;
  LZ4F_dctx* lz4 = nullptr;
  ZSTD_DCtx* zstd = nullptr;
  ByteBuffer block;  // snappy: the block being handed out
  size_t block_at = 0;
  bool snappy_chunks = false;
  ByteBuffer window;

  ~Impl() {
    if (gzip_ready) inflateEnd(&gzip);
    if (lz4 != nullptr) LZ4F_freeDecompressionContext(lz4);
    if (zstd != nullptr) ZSTD_freeDCtx(zstd);
  }

  Result<void> start_gzip() {
    if (gzip_ready) {
      inflateReset(&gzip);
    } else if (inflateInit2(&gzip, 15 + 16) != Z_OK) {
      return fail(Errc::kLimit, "gzip: no memory");
    }
    gzip_ready = true;
    return {};
  }

  Result<void> start_snappy() {
    block.clear();
    block_at = 0;
    if (input.empty()) return corrupt("snappy", "the stream is empty");
    snappy_chunks = begins_with_snappy_magic();
    return snappy_chunks ? skip_snappy_header() : Result<void>{};
  }

  bool begins_with_snappy_magic() const {
    return input.size() >= kSnappyMagic.size() &&
           std::equal(kSnappyMagic.begin(), kSnappyMagic.end(), input.begin());
  }

  // Any version will do that says that a reader of version 1 may read it: snappy-java asks no more.
  Result<void> skip_snappy_header() {
    if (input.size() < kSnappyHeader) return corrupt("snappy", "the stream header is cut short");
    if (load_be<int32_t>(input.data() + 12) < 1)
      return corrupt("snappy", "the stream wants another version");
    input = input.subspan(kSnappyHeader);
    return {};
  }

  Result<void> start_lz4() {
    if (input.size() <= kLz4FlagsAt || load_be<uint32_t>(input.data()) != 0x04224d18)
      return corrupt("lz4", "this is no frame");
    if ((input[kLz4FlagsAt] & kLz4Independent) == 0)
      return fail(Errc::kUnsupported, "lz4: dependent blocks");
    if (lz4 == nullptr && LZ4F_isError(LZ4F_createDecompressionContext(&lz4, LZ4F_VERSION)))
      return fail(Errc::kLimit, "lz4: no memory");
    LZ4F_resetDecompressionContext(lz4);
    return {};
  }

  Result<void> start_zstd() {
    if (zstd == nullptr) zstd = ZSTD_createDCtx();
    if (zstd == nullptr) return fail(Errc::kLimit, "zstd: no memory");
    ZSTD_DCtx_reset(zstd, ZSTD_reset_session_only);
    return {};
  }

  Result<size_t> read_none(MutableBytes out) {
    const size_t n = std::min(out.size(), input.size());
    if (n != 0) std::memcpy(out.data(), input.data(), n);
    input = input.subspan(n);
    ended = n == 0;
    return n;
  }

  Result<size_t> read_gzip(MutableBytes out) {
    gzip.next_out = out.data();
    gzip.avail_out = static_cast<uInt>(std::min<size_t>(out.size(), UINT32_MAX));
    const auto room = gzip.avail_out;
    while (gzip.avail_out == room) {
      gzip.next_in = const_cast<Bytef*>(input.data());
      gzip.avail_in = static_cast<uInt>(input.size());
      const int rc = inflate(&gzip, Z_NO_FLUSH);
      input = input.subspan(input.size() - gzip.avail_in);
      if (rc == Z_STREAM_END) {
        // Members may follow each other; anything else behind a member is ignored, as Java does.
        if (input.size() < 2 || input[0] != 0x1f || input[1] != 0x8b) {
          ended = true;
          break;
        }
        inflateReset(&gzip);
        continue;
      }
      if (rc == Z_BUF_ERROR && input.empty()) return corrupt("gzip", "the stream stops short");
      if (rc != Z_OK) return corrupt("gzip", gzip.msg != nullptr ? gzip.msg : "bad data");
    }
    return room - gzip.avail_out;
  }

  Result<void> next_snappy_block() {
    if (snappy_chunks && begins_with_snappy_magic()) {  // streams may follow each other
      if (auto r = skip_snappy_header(); !r) return r;
      block.clear();
      block_at = 0;
      if (input.empty()) return {};
    }
    ByteView compressed = input;
    if (snappy_chunks) {
      if (input.size() < 4) return corrupt("snappy", "a chunk is cut short");
      const auto n = load_be<uint32_t>(input.data());
      if (n > input.size() - 4) return corrupt("snappy", "a chunk is longer than the stream");
      compressed = input.subspan(4, n);
      input = input.subspan(4 + n);
    } else {
      input = {};
    }
    const auto* data = reinterpret_cast<const char*>(compressed.data());
    size_t length = 0;
    if (!snappy::GetUncompressedLength(data, compressed.size(), &length))
      return corrupt("snappy", "a block without a length");
    if (length > compressed.size() * kSnappyGrowthMax + 64)
      return corrupt("snappy", "a block claims more than it can hold");
    if (length > output_left) return fail(Errc::kLimit, "snappy: more output than allowed");
    block.resize(length);
    block_at = 0;
    if (!snappy::RawUncompress(data, compressed.size(), reinterpret_cast<char*>(block.data())))
      return corrupt("snappy", "bad data");
    return {};
  }

  Result<size_t> read_snappy(MutableBytes out) {
    while (block_at == block.size()) {
      if (input.empty()) {
        ended = true;
        return 0;
      }
      if (auto r = next_snappy_block(); !r) return std::unexpected(r.error());
    }
    const size_t n = std::min(out.size(), block.size() - block_at);
    std::memcpy(out.data(), block.data() + block_at, n);
    block_at += n;
    return n;
  }

  Result<size_t> read_lz4(MutableBytes out) {
    for (;;) {
      size_t produced = out.size();
      size_t consumed = input.size();
      const size_t rc =
          LZ4F_decompress(lz4, out.data(), &produced, input.data(), &consumed, nullptr);
      if (LZ4F_isError(rc)) return corrupt("lz4", LZ4F_getErrorName(rc));
      input = input.subspan(consumed);
      if (rc == 0) ended = true;
      if (produced != 0 || ended) return produced;
      if (consumed == 0) return corrupt("lz4", "the stream stops short");
    }
  }

  Result<size_t> read_zstd(MutableBytes out) {
    ZSTD_outBuffer to{out.data(), out.size(), 0};
    while (to.pos == 0) {
      if (input.empty() && !frame_open) {
        ended = true;
        break;
      }
      ZSTD_inBuffer from{input.data(), input.size(), 0};
      const size_t rc = ZSTD_decompressStream(zstd, &to, &from);
      if (ZSTD_isError(rc)) return corrupt("zstd", ZSTD_getErrorName(rc));
      input = input.subspan(from.pos);
      frame_open = rc != 0;
      if (to.pos == 0 && from.pos == 0) return corrupt("zstd", "the stream stops short");
    }
    return to.pos;
  }

  Result<size_t> read(MutableBytes out) {
    switch (codec) {
      case Codec::kNone:
        return read_none(out);
      case Codec::kGzip:
        return read_gzip(out);
      case Codec::kSnappy:
        return read_snappy(out);
      case Codec::kLz4:
        return read_lz4(out);
      case Codec::kZstd:
        return read_zstd(out);
    }
    return fail(Errc::kUnsupported, "unknown codec");
  }
};

Decompressor::Decompressor() : impl_(std::make_unique<Impl>()) {}
Decompressor::~Decompressor() = default;

ByteBuffer& Decompressor::window() { return impl_->window; }

Result<void> Decompressor::start(Codec codec, ByteView input, uint64_t output_max) {
  Impl& d = *impl_;
  // One huge record must not keep its memory for ever.
  for (ByteBuffer* kept : {&d.window, &d.block})
    if (kept->capacity() > kKeptMax) *kept = {};
  d.codec = codec;
  d.input = input;
  d.output_left = output_max;
  d.ended = false;
  d.frame_open = false;
  switch (codec) {
    case Codec::kNone:
      return {};
    case Codec::kGzip:
      return d.start_gzip();
    case Codec::kSnappy:
      return d.start_snappy();
    case Codec::kLz4:
      return d.start_lz4();
    case Codec::kZstd:
      return d.start_zstd();
  }
  d.ended = true;
  return fail(Errc::kUnsupported, fmt::format("codec {} does not exist", static_cast<int>(codec)));
}

Result<size_t> Decompressor::read(MutableBytes out) {
  Impl& d = *impl_;
  if (d.ended || out.empty()) return 0;
  auto n = d.read(out);
  if (!n) {
    d.ended = true;
    return n;
  }
  if (*n > d.output_left) {
    d.ended = true;
    return fail(Errc::kLimit, fmt::format("{}: more output than allowed", name(d.codec)));
  }
  d.output_left -= *n;
  return n;
}

Result<ByteBuffer> decompress(Decompressor& d, Codec codec, ByteView input, uint64_t output_max) {
  if (auto r = d.start(codec, input, output_max); !r) return std::unexpected(r.error());
  ByteBuffer out(std::max<size_t>(4096, input.size() * 2));
  size_t used = 0;
  for (;;) {
    const auto n = d.read(MutableBytes(out).subspan(used));
    if (!n) return std::unexpected(n.error());
    if (*n == 0) break;
    used += *n;
    if (used == out.size()) out.resize(out.size() * 2);
  }
  out.resize(used);
  return out;
}

namespace {

Result<ByteBuffer> compress_gzip(ByteView input, int level) {
  z_stream s{};
  if (deflateInit2(&s, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    return fail(Errc::kLimit, "gzip: no memory");
  ByteBuffer out(deflateBound(&s, input.size()));
  s.next_in = const_cast<Bytef*>(input.data());
  s.avail_in = static_cast<uInt>(input.size());
  s.next_out = out.data();
  s.avail_out = static_cast<uInt>(out.size());
  const int rc = deflate(&s, Z_FINISH);
  out.resize(out.size() - s.avail_out);
  deflateEnd(&s);
  if (rc != Z_STREAM_END) return fail(Errc::kLimit, "gzip: the batch is too large");
  return out;
}

ByteBuffer compress_snappy(ByteView input) {
  ByteBuffer out(kSnappyHeader);
  std::copy(kSnappyMagic.begin(), kSnappyMagic.end(), out.begin());
  store_be<int32_t>(out.data() + 8, 1);
  store_be<int32_t>(out.data() + 12, 1);
  for (; !input.empty(); input = input.subspan(std::min(input.size(), kSnappyChunk))) {
    const ByteView chunk = input.first(std::min(input.size(), kSnappyChunk));
    const size_t at = out.size();
    out.resize(at + 4 + snappy::MaxCompressedLength(chunk.size()));
    size_t n = 0;
    snappy::RawCompress(reinterpret_cast<const char*>(chunk.data()), chunk.size(),
                        reinterpret_cast<char*>(out.data() + at + 4), &n);
    store_be(out.data() + at, static_cast<int32_t>(n));
    out.resize(at + 4 + n);
  }
  return out;
}

Result<ByteBuffer> compress_lz4(ByteView input, int level) {
  LZ4F_preferences_t preferences{};
  preferences.frameInfo.blockSizeID = LZ4F_max64KB;
  preferences.frameInfo.blockMode = LZ4F_blockIndependent;
  // Kafka's default, 9, means the fast compressor; every other level the thorough one.
  preferences.compressionLevel = level == 9 ? 0 : std::max(level, 2);
  ByteBuffer out(LZ4F_compressFrameBound(input.size(), &preferences));
  const size_t n =
      LZ4F_compressFrame(out.data(), out.size(), input.data(), input.size(), &preferences);
  if (LZ4F_isError(n)) return fail(Errc::kLimit, fmt::format("lz4: {}", LZ4F_getErrorName(n)));
  out.resize(n);
  return out;
}

Result<ByteBuffer> compress_zstd(ByteView input, int level) {
  ByteBuffer out(ZSTD_compressBound(input.size()));
  const size_t n = ZSTD_compress(out.data(), out.size(), input.data(), input.size(), level);
  if (ZSTD_isError(n)) return fail(Errc::kLimit, fmt::format("zstd: {}", ZSTD_getErrorName(n)));
  out.resize(n);
  return out;
}

}  // namespace

Result<ByteBuffer> compress(Codec codec, ByteView input, std::optional<int> level) {
  switch (codec) {
    case Codec::kNone:
      return ByteBuffer(input.begin(), input.end());
    case Codec::kGzip:
      return compress_gzip(input, std::clamp(level.value_or(-1), -1, 9));
    case Codec::kSnappy:
      return compress_snappy(input);
    case Codec::kLz4:
      return compress_lz4(input, std::clamp(level.value_or(9), 1, 17));
    case Codec::kZstd:
      return compress_zstd(input,
                           std::clamp(level.value_or(3), ZSTD_minCLevel(), ZSTD_maxCLevel()));
  }
  return fail(Errc::kUnsupported, fmt::format("codec {} does not exist", static_cast<int>(codec)));
}

}  // namespace odradek::wire
