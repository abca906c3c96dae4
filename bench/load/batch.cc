#include "batch.h"

#include <lz4frame.h>
#include <time.h>
#include <zstd.h>

namespace load {

namespace {

constexpr int kLz4 = 3, kZstd = 4;  // in the batch's attributes
constexpr size_t kKeyBytes = 8;

// Letters drawn like those of Apache's producer benchmark, so that codecs find the same in both.
class Letters {
 public:
  std::string next(size_t size) {
    std::string text(size, 0);
    for (char& c : text) {
      x_ ^= x_ << 13;
      x_ ^= x_ >> 7;
      x_ ^= x_ << 17;
      c = static_cast<char>('A' + x_ % 26);
    }
    return text;
  }

 private:
  uint64_t x_ = 88172645463325252ULL;
};

std::string one_record(const Options& o, int number, Letters* letters) {
  Writer r;
  r.i8(0);
  r.varint(0);
  r.varint(number);
  r.varint(o.keyed ? static_cast<int64_t>(kKeyBytes) : -1);
  if (o.keyed) r.bytes += letters->next(kKeyBytes);
  r.varint(o.record_bytes);
  r.bytes += letters->next(static_cast<size_t>(o.record_bytes));
  r.varint(0);
  Writer sized;
  sized.varint(static_cast<int64_t>(r.bytes.size()));
  return sized.bytes + r.bytes;
}

std::string compress(int codec, const std::string& plain) {
  if (codec == 0) return plain;
  bool lz4 = codec == kLz4;
  std::string out(
      lz4 ? LZ4F_compressFrameBound(plain.size(), nullptr) : ZSTD_compressBound(plain.size()), 0);
  size_t size =
      lz4 ? LZ4F_compressFrame(out.data(), out.size(), plain.data(), plain.size(), nullptr)
          : ZSTD_compress(out.data(), out.size(), plain.data(), plain.size(), ZSTD_CLEVEL_DEFAULT);
  if (lz4 ? LZ4F_isError(size) != 0 : ZSTD_isError(size) != 0) die("the batch does not compress");
  out.resize(size);
  return out;
}

}  // namespace

Batch build_batch(const Options& o) {
  int codec = o.codec == "none" ? 0 : o.codec == "lz4" ? kLz4 : o.codec == "zstd" ? kZstd : -1;
  if (codec < 0) die("-z none, lz4 or zstd");
  if (o.stamped && (codec != 0 || o.record_bytes < 8)) die("--stamp needs room in plain records");
  Letters letters;
  std::string records;
  Batch batch;
  while (batch.records == 0 ||
         records.size() + kBatchHeader + static_cast<size_t>(o.record_bytes) + 12 <=
             static_cast<size_t>(o.batch_bytes)) {
    records += one_record(o, batch.records++, &letters);
  }
  records = compress(codec, records);
  int64_t time = static_cast<int64_t>(::time(nullptr)) * 1000;
  Writer w;
  w.i64(0);
  w.i32(static_cast<int64_t>(kBatchHeader - 12 + records.size()));
  w.i32(-1);
  w.i8(2);
  w.i32(0);
  w.i16(codec);
  w.i32(batch.records - 1);
  w.i64(time);
  w.i64(time);
  w.i64(-1);
  w.i16(-1);
  w.i32(-1);
  w.i32(batch.records);
  batch.bytes = w.bytes + records;
  seal_batch(reinterpret_cast<Byte*>(batch.bytes.data()), batch.bytes.size());
  return batch;
}

size_t first_value_at(const Byte* batch, size_t size) {
  Reader r(batch + kBatchHeader, size - kBatchHeader);
  r.uvarint();
  r.i8();
  r.uvarint();
  r.uvarint();
  uint64_t key = r.uvarint();
  if (key != 1) r.skip(key / 2);
  r.uvarint();
  return static_cast<size_t>(r.at - batch);
}

void seal_batch(Byte* batch, size_t size) {
  put(batch + kCrcAt, crc32c(batch + kCrcFrom, size - kCrcFrom), 4);
}

}  // namespace load
