// What the leader of a classic group does: it reads what the members subscribe to and decides who
// gets what, as Java's range and cooperative-sticky assignors would.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "sim/clients.h"
#include "sim/history.h"

namespace odradek::sim {

inline constexpr const char* kRange = "range";
inline constexpr const char* kCooperative = "cooperative-sticky";

/// What a member says about itself when it joins.
struct Subscription {
  std::set<std::string> topics{};
  std::set<History::Partition> owned{};
  int32_t generation = -1;  // in which it was given them
};
ByteBuffer encode(const Subscription& subscription, int16_t version);
Result<Subscription> decode_subscription(ByteView bytes);

ByteBuffer encode_assignment(const std::set<History::Partition>& partitions);
Result<std::set<History::Partition>> decode_assignment(ByteView bytes);

using Assignment = std::map<std::string, std::set<History::Partition>>;  // by member
/// Each partition of a topic goes to somebody who subscribes to it. With kCooperative a partition
/// that moves goes to nobody while its owner has not given it back.
Assignment assign(const std::string& protocol, const std::vector<KnownTopic>& topics,
                  const std::map<std::string, Subscription>& members);

}  // namespace odradek::sim
