// Distinct types for the numbers of the field, so that an offset cannot be passed as an epoch.
//
// Every type here is a value: ordered, hashable, and printed as its number.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace odradek {

/// A number with a name. `Tag` makes two ids of the same width different types.
template <class Tag, class Rep>
struct Id {
  using rep = Rep;
  Rep value{};

  constexpr Id() = default;
  constexpr explicit Id(Rep v) : value(v) {}
  constexpr auto operator<=>(const Id&) const = default;
};

template <class Tag, class Rep>
constexpr Id<Tag, Rep> operator+(Id<Tag, Rep> a, Rep n) {
  return Id<Tag, Rep>(static_cast<Rep>(a.value + n));
}
template <class Tag, class Rep>
constexpr Id<Tag, Rep> operator-(Id<Tag, Rep> a, Rep n) {
  return Id<Tag, Rep>(static_cast<Rep>(a.value - n));
}
template <class Tag, class Rep>
constexpr Rep operator-(Id<Tag, Rep> a, Id<Tag, Rep> b) {
  return a.value - b.value;
}

/// Position of a record in a partition; −1 means none.
using Offset = Id<struct OffsetTag, int64_t>;
/// Leader epoch of a partition, or of the metadata quorum; −1 means none.
using LeaderEpoch = Id<struct LeaderEpochTag, int32_t>;
/// Node id (brokers and controllers share one number space); −1 means none.
using BrokerId = Id<struct BrokerIdTag, int32_t>;
/// Epoch that the controller gave a broker's registration; −1 means none.
using BrokerEpoch = Id<struct BrokerEpochTag, int64_t>;
/// Index of a partition within its topic.
using PartitionIndex = Id<struct PartitionIndexTag, int32_t>;
/// Id of an idempotent or transactional producer; −1 means none.
using ProducerId = Id<struct ProducerIdTag, int64_t>;
/// Epoch of a producer; −1 means none.
using ProducerEpoch = Id<struct ProducerEpochTag, int16_t>;
/// Wall clock, milliseconds since 1970 (a record's timestamp, a file's age); −1 means none.
using WallMs = Id<struct WallMsTag, int64_t>;
/// Monotonic clock, nanoseconds since an arbitrary start.
using MonoNs = Id<struct MonoNsTag, int64_t>;
/// A length of time in milliseconds.
using Millis = Id<struct MillisTag, int64_t>;

inline constexpr Offset kNoOffset{-1};
inline constexpr LeaderEpoch kNoEpoch{-1};
inline constexpr BrokerId kNoBroker{-1};
inline constexpr WallMs kNoTimestamp{-1};

constexpr WallMs operator+(WallMs t, Millis d) { return WallMs(t.value + d.value); }
constexpr MonoNs operator+(MonoNs t, Millis d) { return MonoNs(t.value + d.value * 1'000'000); }

}  // namespace odradek

template <class Tag, class Rep>
struct std::hash<odradek::Id<Tag, Rep>> {
  size_t operator()(odradek::Id<Tag, Rep> id) const noexcept { return std::hash<Rep>{}(id.value); }
};
