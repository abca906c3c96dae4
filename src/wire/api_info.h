// One row of the API table (api_keys.h).
#pragma once

#include <cstdint>
#include <string_view>

namespace odradek::wire {

enum class ApiKey : int16_t;

/// What an API is. `min` > `max`: the key is reserved, no version is valid any more.
struct ApiInfo {
  ApiKey key;
  std::string_view name;
  int16_t min;
  int16_t max;
  bool unstable_latest;    // `max` is hidden unless unstable versions are enabled
  int16_t first_flexible;  // 32767: none
  bool on_broker;
  bool on_controller;
  bool forwardable;     // a broker passes it to the active controller inside Envelope
  bool cluster_action;  // only brokers and controllers call it: needs ClusterAction on the cluster

  constexpr bool removed() const { return min > max; }
  constexpr bool has(int16_t version) const { return version >= min && version <= max; }
};

}  // namespace odradek::wire
