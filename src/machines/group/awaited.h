// Whom a group waits for: what an operator is told, read from the state and changing nothing.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "machines/group/state.h"

namespace odradek::machines::group {

/// A member, and what is expected of it.
struct Awaited {
  enum class For {
    kJoin,       // the others have come to the rebalance
    kSync,       // it leads, and has yet to assign
    kHeartbeat,  // as always; whether it is late only its timer tells
  };
  For what = For::kHeartbeat;
  std::string member;
  std::string client_id{};
  std::string client_host{};
  /// How long it may be silent; 0: not known.
  int32_t session_ms = 0;
  /// Names of the timers that give it up, whichever is first.
  std::vector<std::string> timers{};
  bool operator==(const Awaited&) const = default;
};

/// "join", "sync", "heartbeat".
std::string_view name(Awaited::For what);

/// The members of the group that owe it something, in order of their ids.
std::vector<Awaited> awaited(std::string_view id, const Group& group);

}  // namespace odradek::machines::group
