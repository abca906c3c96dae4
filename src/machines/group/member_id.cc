#include "machines/group/member_id.h"

#include <fmt/format.h>

namespace odradek::machines::group {

namespace {

/// Room for the uuid in what a record's string may hold.
constexpr size_t kNameMax = 32'767 - 37;

}  // namespace

Uuid random_uuid(uint64_t seed) {
  const auto next = [&seed] {  // SplitMix64
    uint64_t z = (seed += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  };
  Uuid id;
  id.high = (next() & ~0xF000ULL) | 0x4000ULL;
  id.low = (next() & ~(3ULL << 62)) | (2ULL << 62);
  return id;
}

std::string new_member_id(std::string_view name, uint64_t seed) {
  const auto [high, low] = random_uuid(seed);
  return fmt::format("{}-{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", name.substr(0, kNameMax), high >> 32,
                     (high >> 16) & 0xFFFF, high & 0xFFFF, low >> 48, low & 0xFFFFFFFFFFFFULL);
}

}  // namespace odradek::machines::group
