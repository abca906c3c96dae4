// The assignors of the broker for groups of the consumer protocol: given the members, what they
// subscribe to and what they were given before, who gets which partition now. Both give what Apache
// Kafka's assignors of the same name give for the same group.
//
// Where a member or topic has no claim over another, Apache takes them in the order in which its
// hash tables hold them. That order follows from the names, so it is a part of the answer: the
// assignors keep it (java_map.h).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/uuid.h"

namespace odradek::machines::group::assignor {

struct TopicPartitions {
  Uuid topic;
  std::vector<int32_t> partitions;
  bool operator==(const TopicPartitions&) const = default;
};
/// What one member has, in the order of its record in the log. The order matters little: it decides
/// which partitions are taken away when several could be.
using Assignment = std::vector<TopicPartitions>;

struct Topic {
  std::string name;
  int32_t partitions = 0;
};
using Topics = std::map<Uuid, Topic>;

/// A member as the assignors see it; what it points to lives as long as the call.
/// Racks are not here: Apache's assignors of 4.3 do not look at them.
struct Member {
  std::string_view id;
  std::optional<std::string_view> instance{};
  std::span<const Uuid> topics{};        // in any order; a name without a topic has a zero id
  const Assignment* assigned = nullptr;  // its target so far; null: none
  bool is_new = false;                   // it comes with this change: Apache holds it last
};

struct Group {
  std::vector<Member> members;
  /// All subscribe to the same topic names (also those that do not exist).
  bool homogeneous = true;
};

/// The new target of each member.
struct Target {
  std::vector<Assignment> assignments;  // of the member of the same index
  std::vector<uint32_t> order;          // the members in the order in which Apache writes them
};

enum class Kind { kUniform, kRange };
/// "uniform" and "range"; nothing for any other name.
std::optional<Kind> kind(std::string_view name);
std::string_view name(Kind kind);
/// Which one an entry of group.consumer.assignors means: a name, or the name of Apache's class.
/// Others are refused at start.
Kind configured(std::string_view entry);

Target assign(Kind kind, const Group& group, const Topics& topics);

}  // namespace odradek::machines::group::assignor
