// Placement: which brokers get the replicas of new partitions.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "machines/controller/context.h"

namespace odradek::machines::control {

/// Spreads leaders and replicas over racks, then over brokers: each partition begins one rack
/// further, unfenced brokers before fenced ones, never the same broker twice. After as many
/// partitions as there are unfenced brokers the order is shuffled. Brokers that are shutting down,
/// or all of whose directories are cordoned, get nothing.
class Placement {
 public:
  explicit Placement(Context& context);

  /// Replicas of `count` partitions, leader first. kInvalid with the reason (Apache's words) when
  /// there are too few brokers.
  Result<std::vector<std::vector<BrokerId>>> place(int32_t count, int16_t replication_factor);

 private:
  // Brokers of one kind in one rack, taken in turn from a place that moves with each round.
  struct Ring {
    std::vector<BrokerId> brokers;
    size_t index = 0;
    size_t offset = 0;
    int round = 0;
    std::optional<BrokerId> next(int now);
  };
  struct Rack {
    Ring unfenced;
    Ring fenced;
  };

  std::vector<BrokerId> place_one(int16_t replication_factor);
  void shuffle();

  Choices& choices_;
  std::vector<Rack> racks_;  // by name, those without one first
  size_t brokers_ = 0;
  size_t unfenced_ = 0;
  size_t first_rack_ = 0;
  int round_ = 0;
};

}  // namespace odradek::machines::control
