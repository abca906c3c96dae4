#include "machines/group/reconcile.h"

#include <algorithm>
#include <utility>

namespace odradek::machines::group {

namespace {

class Step {
 public:
  Step(const ConsumerMember& member, const Reconciling& to) : member_(member), to_(to) {}

  std::expected<ConsumerMember, ErrorCode> next() const {
    switch (member_.state) {
      case MemberState::kStable:
        if (member_.epoch != to_.target_epoch) return toward(member_.epoch);
        return to_.subscription_changed ? unsubscribed() : member_;
      case MemberState::kUnrevoked:
        // It says what it holds only when that has changed.
        if (holds_any(member_.revoking)) return to_.subscription_changed ? unsubscribed() : member_;
        [[fallthrough]];
      case MemberState::kUnreleased:
        return toward(member_.epoch);
      case MemberState::kUnknown:
        if (!to_.owned || !to_.owned->empty())
          return std::unexpected(ErrorCode::kFencedMemberEpoch);
        return toward(to_.target_epoch);
    }
    return member_;
  }

 private:
  bool subscribed(const Uuid& id) const {
    const metadata::Topic* topic = to_.image.topic(id);
    if (topic == nullptr) return false;
    if (member_.topics.contains(topic->name)) return true;
    if (!member_.has_regex()) return false;
    const auto at = to_.group.regexes.find(*member_.regex);
    return at != to_.group.regexes.end() && at->second.topics.contains(topic->name);
  }

  bool subscribed_to_any() const {
    return std::ranges::any_of(to_.group.topics_of(member_), [&](const std::string& name) {
      return to_.image.topic(name) != nullptr;
    });
  }

  /// Whether it may still hold one of these.
  bool holds_any(const OwnedPartitions& partitions) const {
    if (!to_.owned) return true;
    for (const auto& [topic, indexes] : *to_.owned) {
      const auto at = partitions.find(topic);
      if (at == partitions.end()) continue;
      const auto among = [&](int32_t index) { return at->second.contains(index); };
      if (std::ranges::any_of(indexes, among)) return true;
    }
    return false;
  }

  static bool has(const OwnedPartitions& partitions, const Uuid& topic, int32_t index) {
    const auto at = partitions.find(topic);
    return at != partitions.end() && at->second.contains(index);
  }

  /// Topics that it does not want anymore go at once; the rest waits for a new target.
  ConsumerMember unsubscribed() const {
    ConsumerMember next = member_;
    OwnedPartitions revoking = member_.revoking;
    for (const auto& [topic, partitions] : member_.assigned) {
      if (subscribed(topic)) continue;
      revoking[topic].insert(partitions.begin(), partitions.end());
      next.assigned.erase(topic);
    }
    // Who wants nothing at all, and has nothing, moves on as well.
    const bool empty =
        member_.epoch > 0 && member_.assigned.empty() && revoking.empty() && !subscribed_to_any();
    if (next.assigned.size() == member_.assigned.size() && !empty) return member_;
    next.previous_epoch = member_.epoch;
    if (!revoking.empty() && holds_any(revoking)) {
      next.state = MemberState::kUnrevoked;
      next.revoking = std::move(revoking);
    }
    return next;
  }

  ConsumerMember toward(int32_t epoch_while_revoking) const {
    Partitions target;
    for (const auto& t : to_.target) {
      if (subscribed(t.topic)) target[t.topic].insert(t.partitions.begin(), t.partitions.end());
    }
    ConsumerMember next = member_;
    next.assigned.clear();
    next.revoking.clear();
    for (const auto& [topic, partitions] : member_.assigned) {
      const auto wanted = target.find(topic);
      for (const auto& [index, epoch] : partitions) {
        const bool keep = wanted != target.end() && wanted->second.contains(index);
        (keep ? next.assigned : next.revoking)[topic].emplace(index, epoch);
      }
    }
    next.previous_epoch = member_.epoch;
    if (!next.revoking.empty() && holds_any(next.revoking)) {
      next.state = MemberState::kUnrevoked;
      next.epoch = epoch_while_revoking;
      return next;
    }
    next.revoking.clear();
    next.epoch = to_.target_epoch;
    next.state = take(target, next) ? MemberState::kStable : MemberState::kUnreleased;
    return next;
  }

  /// Gives it what is free; whether that is everything.
  bool take(const Partitions& target, ConsumerMember& next) const {
    bool all = true;
    for (const auto& [topic, indexes] : target) {
      for (const int32_t index : indexes) {
        if (has(next.assigned, topic, index)) continue;
        // What it has just given up itself is free.
        if (to_.group.owned(topic, index) && !has(member_.revoking, topic, index)) {
          all = false;
        } else {
          next.assigned[topic].emplace(index, to_.target_epoch);
        }
      }
    }
    return all;
  }

  const ConsumerMember& member_;
  const Reconciling& to_;
};

}  // namespace

std::expected<ConsumerMember, ErrorCode> reconcile(const ConsumerMember& member,
                                                   const Reconciling& to) {
  return Step(member, to).next();
}

}  // namespace odradek::machines::group
