// The bytes of Kafka's protocol as the load generator needs them: a growing writer, a checked
// reader, CRC-32C. Nothing of the broker's own codecs is used here, so that a fault there cannot
// hide itself.
#pragma once

#include <nmmintrin.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace load {

using Byte = uint8_t;

// A load generator that cannot go on says why and ends with status 2.
[[noreturn]] inline void die(const std::string& why) {
  fprintf(stderr, "rawperf: %s\n", why.c_str());
  exit(2);
}

inline uint32_t crc32c(const Byte* p, size_t n) {
  uint64_t wide = 0xFFFFFFFFu;
  for (; n >= 8; p += 8, n -= 8) {
    uint64_t word;
    memcpy(&word, p, 8);
    wide = _mm_crc32_u64(wide, word);
  }
  auto crc = static_cast<uint32_t>(wide);
  while (n-- > 0) crc = _mm_crc32_u8(crc, *p++);
  return crc ^ 0xFFFFFFFFu;
}

inline void put(Byte* p, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; i++) p[i] = static_cast<Byte>(value >> (8 * (bytes - 1 - i)));
}

inline uint64_t get(const Byte* p, int bytes) {
  uint64_t value = 0;
  for (int i = 0; i < bytes; i++) value = value << 8 | p[i];
  return value;
}

struct Writer {
  std::string bytes;

  void fixed(int64_t value, int size) {
    Byte raw[8];
    put(raw, static_cast<uint64_t>(value), size);
    bytes.append(reinterpret_cast<char*>(raw), static_cast<size_t>(size));
  }
  void i8(int value) { fixed(value, 1); }
  void i16(int value) { fixed(value, 2); }
  void i32(int64_t value) { fixed(value, 4); }
  void i64(int64_t value) { fixed(value, 8); }
  void uvarint(uint64_t value) {
    for (; value >= 128; value >>= 7) bytes.push_back(static_cast<char>((value & 127) | 128));
    bytes.push_back(static_cast<char>(value));
  }
  void varint(int64_t value) {
    uvarint((static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63));
  }
  void string(const std::string& text) {
    i16(static_cast<int>(text.size()));
    bytes += text;
  }
  void compact_string(const std::string& text) {
    uvarint(text.size() + 1);
    bytes += text;
  }
  void null_string() { i16(-1); }
  void no_tags() { uvarint(0); }
};

struct Reader {
  const Byte* at;
  const Byte* end;

  explicit Reader(const std::string& text)
      : at(reinterpret_cast<const Byte*>(text.data())), end(at + text.size()) {}
  Reader(const Byte* from, size_t size) : at(from), end(from + size) {}

  const Byte* take(size_t size) {
    if (static_cast<size_t>(end - at) < size) die("an answer is shorter than it says");
    at += size;
    return at - size;
  }
  void skip(size_t size) { take(size); }
  int8_t i8() { return static_cast<int8_t>(*take(1)); }
  int16_t i16() { return static_cast<int16_t>(get(take(2), 2)); }
  int32_t i32() { return static_cast<int32_t>(get(take(4), 4)); }
  int64_t i64() { return static_cast<int64_t>(get(take(8), 8)); }
  uint64_t uvarint() {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      Byte byte = *take(1);
      value |= static_cast<uint64_t>(byte & 127) << shift;
      if (byte < 128) return value;
    }
  }
  std::string text(size_t size) { return {reinterpret_cast<const char*>(take(size)), size}; }
  std::string string() {
    int size = i16();
    return size < 0 ? "" : text(static_cast<size_t>(size));
  }
  std::string compact_string() {
    uint64_t size = uvarint();
    return size == 0 ? "" : text(size - 1);
  }
  // The number of items of an array in either form.
  uint64_t count(bool flexible) {
    if (!flexible) return static_cast<uint64_t>(i32());
    uint64_t raw = uvarint();
    return raw == 0 ? 0 : raw - 1;
  }
  void tags() {
    for (uint64_t n = uvarint(); n > 0; n--) {
      uvarint();
      skip(uvarint());
    }
  }
};

}  // namespace load
