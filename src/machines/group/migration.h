// Groups change from the classic protocol to the new one and back while their members work:
// classic members stay what they are and are served by the group of the new kind
// (consumer_classic.cc).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "machines/group/consumer_edit.h"

namespace odradek::machines::group {

/// A first member of the consumer protocol comes to a classic group: what `edit` has to become. The
/// text says why it must not, and is empty if it may.
std::string upgrade(Draft& draft, ConsumerEdit& edit, const Group& group);

/// Members leave a consumer group, or are put out. If only classic ones are left, it becomes a
/// classic group, and these are asked to join again.
void drop_members(Draft& draft, const std::string& group, const std::vector<std::string>& members);

/// Whether the group may become a classic one with those members that are left, and one that joins.
bool may_downgrade(const Draft& draft, const ConsumerGroup& group,
                   const std::vector<std::string>& without, const ClassicPart* joining = nullptr);
/// Makes it one without those; with `rebalance` its members are asked to join again. It finishes
/// `edit`.
void downgrade(Draft& draft, ConsumerEdit& edit, bool rebalance,
               const std::vector<std::string>& without = {});

/// A stable classic group of consumers whose members subscribe to a partition that none of them was
/// given: a node that stopped right after a downgrade took the members' new assignment with it, and
/// they do not know that there should be one.
bool leaves_out(const ClassicGroup& group, const metadata::Image& image);

/// Amid a cooperative rebalance (KIP-429): nobody was given what the member had when it joined. It
/// gives that back and joins again, and then another is given it.
bool must_give_back(const ClassicGroup& group, const Member& member, const metadata::Image& image);

}  // namespace odradek::machines::group
