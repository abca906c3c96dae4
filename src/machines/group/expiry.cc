// Offsets and groups that go by themselves: too old, or of topics that are gone.
#include <algorithm>

#include "machines/group/draft.h"

namespace odradek::machines::group {

namespace {

/// Bytes of tombstones that one decision makes; a sweep of more goes on in the next one.
constexpr size_t kSweepBytes = 256 << 10;
constexpr Millis kSweepOn{1};

/// Counts what a decision has made, roughly.
class Room {
 public:
  bool left() const { return used_ < kSweepBytes; }
  void take(std::string_view group, std::string_view topic) {
    used_ += group.size() + topic.size() + 64;
  }

 private:
  size_t used_ = 0;
};

/// Since when an offset counts as old; none: it does not.
std::optional<WallMs> old_since(const Group& group, std::string_view topic, const Committed& c) {
  if (group.subscribed_to(topic)) return std::nullopt;
  if (group.consumer) return c.committed_at;
  const ClassicGroup& classic = *group.classic;
  if (!classic.protocol_type) return c.committed_at;
  if (group.is_empty()) return classic.since == kNoTimestamp ? c.committed_at : classic.since;
  if (classic.uses_consumer_protocol() && classic.subscribed &&
      classic.state == ClassicState::kStable)
    return c.committed_at;
  return std::nullopt;
}

bool expired(const Draft& draft, const Group& group, std::string_view topic, int32_t partition,
             const Committed& c) {
  const std::optional<WallMs> since = old_since(group, topic, c);
  if (!since || group.has_pending(topic, partition)) return false;
  const int64_t now = draft.now.wall.value;
  // Older clients said by themselves how long.
  if (c.expires_at != kNoTimestamp) return now >= c.expires_at.value;
  int64_t age = 0;  // a record may state any time
  if (__builtin_sub_overflow(now, since->value, &age)) return since->value < now;
  return age >= draft.settings.offsets_retention.value;
}

/// Whether nothing is left of the group's offsets.
bool expire_offsets(Draft& draft, const std::string& id, const Group& group, Room& room) {
  bool all = true;
  for (const auto& [topic, partitions] : group.offsets) {
    for (const auto& [index, offset] : partitions) {
      if (!room.left() || !expired(draft, group, topic, index, offset)) {
        all = false;
        continue;
      }
      draft.remove_offset(id, topic, index);
      room.take(id, topic);
    }
  }
  return all && group.transactional.empty();
}

}  // namespace

void expire(Draft& draft) {
  Room room;
  for (const auto& [id, group] : draft.state.groups()) {
    if (!room.left()) break;
    if (!expire_offsets(draft, id, group, room) || !group.is_empty()) continue;
    if (!group.classic->pending.empty()) continue;  // somebody is about to join
    draft.remove_group(id, group);
    room.take(id, "");
  }
  if (draft.state.groups().empty()) return;  // armed again with the first group
  const Millis next = room.left() ? draft.settings.retention_check : kSweepOn;
  draft.arm(std::string(kExpiryTimer), next.value);
}

TopicsDeletedAnswer topics_deleted(Draft& draft, const TopicsDeleted& command) {
  Room room;
  for (const auto& topic : command.topics) {
    const auto remove = [&](const std::string& id, const TopicOffsets& offsets) {
      const auto at = offsets.find(topic.name);
      if (at == offsets.end()) return;
      for (const auto& [index, offset] : at->second) {
        // Those of another topic of this name stay.
        if (!offset.topic_id.is_zero() && offset.topic_id != topic.id) continue;
        if (!room.left()) return;
        draft.remove_offset(id, topic.name, index);
        room.take(id, topic.name);
      }
    };
    for (const auto& [id, group] : draft.state.groups()) {
      remove(id, group.offsets);
      for (const auto& [producer, offsets] : group.transactional) remove(id, offsets);
    }
  }
  return {!room.left()};
}

}  // namespace odradek::machines::group
