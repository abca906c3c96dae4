// Text as Java sees it, in UTF-16 units, and its String.hashCode, where Kafka lets it decide: which
// partition a group, transaction or share key belongs to.
#pragma once

#include <cstdint>
#include <string_view>

namespace odradek::wire {

/// Calls `unit(uint32_t)` for each UTF-16 unit of `text` (UTF-8).
template <class F>
constexpr void for_each_utf16_unit(std::string_view text, F&& unit) {
  for (size_t i = 0; i < text.size();) {
    const auto first = static_cast<uint8_t>(text[i]);
    size_t more = first < 0xC0 ? 0 : first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3;
    uint32_t point = more == 0 ? first : first & (0x3FU >> more);
    i++;
    for (; more > 0 && i < text.size(); more--, i++)
      point = point << 6 | (static_cast<uint8_t>(text[i]) & 0x3F);
    if (point < 0x10000) {
      unit(point);
    } else {
      unit(0xD800 + ((point - 0x10000) >> 10));
      unit(0xDC00 + ((point - 0x10000) & 0x3FF));
    }
  }
}

constexpr int32_t java_hash(std::string_view text) {
  uint32_t hash = 0;
  for_each_utf16_unit(text, [&](uint32_t unit) { hash = hash * 31 + unit; });
  return static_cast<int32_t>(hash);
}

/// Kafka's abs: without sign bit for all but the least number, which becomes 0.
constexpr int32_t java_partition(std::string_view key, int32_t partitions) {
  const int32_t hash = java_hash(key);
  const int32_t positive = hash == INT32_MIN ? 0 : hash < 0 ? -hash : hash;
  return positive % partitions;
}

static_assert(java_hash("") == 0);
static_assert(java_hash("hello") == 99162322);
static_assert(java_hash("\xC3\xA4") == 0xE4);                          // ä
static_assert(java_hash("\xF0\x9F\x98\x80") == 0xD83D * 31 + 0xDE00);  // U+1F600

}  // namespace odradek::wire
