// Uuid: 128 bits, written as 22 characters of URL-safe base64 without padding, as everywhere in
// Kafka.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace odradek {

struct Uuid {
  uint64_t high = 0;
  uint64_t low = 0;

  constexpr auto operator<=>(const Uuid&) const = default;
  constexpr bool is_zero() const { return high == 0 && low == 0; }

  /// 22 characters.
  std::string to_string() const;
  /// 32 lower-case hexadecimal digits, as in names of doomed directories.
  std::string to_hex() const;
  /// Nothing if `text` is not 22 characters of URL-safe base64 (padding is accepted).
  static std::optional<Uuid> parse(std::string_view text);
};

/// Topic id of `__cluster_metadata`.
inline constexpr Uuid kMetadataTopicId{0, 1};
/// Directory ids with a meaning of their own (the first hundred values are reserved).
inline constexpr Uuid kDirMigrating{0, 0};
inline constexpr Uuid kDirUnassigned{0, 1};
inline constexpr Uuid kDirLost{0, 2};

}  // namespace odradek

template <>
struct std::hash<odradek::Uuid> {
  size_t operator()(const odradek::Uuid& u) const noexcept {
    return u.high * 0x9E3779B97F4A7C15ULL ^ u.low;
  }
};
