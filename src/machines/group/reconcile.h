// Reconcile: the next step of one member of a consumer group towards its target. It first gives up
// what it shall not have, and says so; then it gets what is free of the rest.
#pragma once

#include <expected>

#include "machines/group/consumer_group.h"
#include "metadata/image.h"

namespace odradek::machines::group {

struct Reconciling {
  const ConsumerGroup& group;  // who holds what, what expressions match
  const metadata::Image& image;
  int32_t target_epoch = 0;
  const Target& target;
  bool subscription_changed = false;
  /// What the member says that it holds; none: nothing new.
  const std::optional<Partitions>& owned;
};

/// The member as it is next, maybe unchanged; FENCED_MEMBER_EPOCH if its state is of a later
/// version and it has to come back with nothing.
std::expected<ConsumerMember, ErrorCode> reconcile(const ConsumerMember& member,
                                                   const Reconciling& to);

}  // namespace odradek::machines::group
