// The codecs of record batches: gzip, snappy, lz4, zstd, as Kafka's clients write them
// (docs/formats/record-batch.md).
//
// Decompressor pulls: the caller asks for the next bytes, so a batch can be walked in a small
// window without ever existing whole. `compress` and `decompress` do a buffer at once.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace odradek::wire {

/// As in the attributes of a batch; 5 to 7 are not assigned.
enum class Codec : uint8_t { kNone = 0, kGzip = 1, kSnappy = 2, kLz4 = 3, kZstd = 4 };

/// "none", "gzip", "snappy", "lz4", "zstd"; "unknown" for other values.
std::string_view name(Codec codec);
/// By its name; "uncompressed" is none as well, as in compression.type.
std::optional<Codec> parse_codec(std::string_view name);

/// Takes one compressed stream after another apart. A resource of one thread; it keeps its contexts
/// and buffers (a few hundred KiB for zstd and lz4) between streams, so keep it for the next batch.
class Decompressor {
 public:
  Decompressor();
  ~Decompressor();
  Decompressor(const Decompressor&) = delete;
  Decompressor& operator=(const Decompressor&) = delete;

  /// Begins with `input`, which must stay until the stream is done with. More than `output_max`
  /// bytes of output are an error. kUnsupported for codecs that do not exist.
  Result<void> start(Codec codec, ByteView input, uint64_t output_max);
  /// The next bytes, at least one unless the stream has ended: then 0. kCorrupt if the stream does
  /// not follow its format or stops short, kLimit if it gives more than it may.
  Result<size_t> read(MutableBytes out);

  /// A buffer that whoever reads this stream may use as its window; its contents are theirs.
  ByteBuffer& window();

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

/// All of a stream; more than `output_max` bytes are an error.
Result<ByteBuffer> decompress(Decompressor& d, Codec codec, ByteView input, uint64_t output_max);

/// Levels as in the configuration: gzip 1-9, lz4 1-17, zstd −131072 to 22; nothing: the codec's
/// default (gzip 6, lz4 9, zstd 3). Out of range levels are clamped, as the codecs themselves do.
Result<ByteBuffer> compress(Codec codec, ByteView input, std::optional<int> level = {});

}  // namespace odradek::wire
