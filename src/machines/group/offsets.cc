// Committed offsets: OffsetCommit, TxnOffsetCommit, OffsetFetch, OffsetDelete.
#include <algorithm>

#include "machines/group/draft.h"

namespace odradek::machines::group {

namespace {

/// Whether whoever sent it may commit for the group, as Apache's coordinator sees it.
ErrorCode check_commit(const Group* group, const CommitOffsets& c) {
  if (group == nullptr) {
    // Offsets without members: a consumer that assigns partitions by itself, or a tool.
    if (c.generation < 0) return ErrorCode::kNone;
    return c.version >= 9 && !c.transaction ? ErrorCode::kGroupIdNotFound
                                            : ErrorCode::kIllegalGeneration;
  }
  if (group->consumer) return check_consumer_commit(*group->consumer, c);
  const ClassicGroup& classic = *group->classic;
  if (c.generation < 0 && group->is_empty()) return ErrorCode::kNone;
  if (c.generation >= 0 || !c.member.empty() || c.instance) {
    if (const ErrorCode e = check_member(classic, c.member, c.instance); e != ErrorCode::kNone)
      return e;
    if (c.generation != classic.generation) return ErrorCode::kIllegalGeneration;
  } else if (!c.transaction && !group->is_empty()) {
    return ErrorCode::kUnknownMemberId;
  }
  // Older producers do not say for which member they commit, nor do they know of a rebalance.
  if (c.transaction) return ErrorCode::kNone;
  return classic.state == ClassicState::kCompletingRebalance ? ErrorCode::kRebalanceInProgress
                                                             : ErrorCode::kNone;
}

/// Characters as Java counts them (UTF-16 units).
size_t java_length(std::string_view text) {
  size_t n = 0;
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if ((byte & 0xC0) != 0x80) n += byte >= 0xF0 ? 2 : 1;
  }
  return n;
}

Record commit_record(const CommitOffsets& c, const CommitOffsets::Topic& topic,
                     const CommitOffsets::Partition& p, WallMs now) {
  wire::OffsetCommitKey key;
  key.group = c.group;
  key.topic = topic.name;
  key.partition = p.index;
  wire::OffsetCommitValue value;
  value.offset = p.offset;
  value.leader_epoch = p.leader_epoch;
  value.metadata = p.metadata;
  value.commit_timestamp = now.value;
  if (c.retention_ms == -1) {
    // Apache stores no topic id with those of transactions.
    if (!c.transaction) value.topic_id = topic.id;
    return Record::of(key, value, kOffsetCommitVersion);
  }
  // A client may ask for any length.
  if (__builtin_add_overflow(now.value, c.retention_ms, &value.expire_timestamp))
    value.expire_timestamp = INT64_MAX;
  return Record::of(key, value, kExpiringOffsetCommitVersion);
}

FetchOffsetsAnswer::Partition told(const FetchOffsets& c, const Group& group,
                                   std::string_view topic, int32_t index, const Committed* offset,
                                   const Uuid& topic_id) {
  FetchOffsetsAnswer::Partition p{.index = index};
  if (c.require_stable && group.has_pending(topic, index)) {
    p.error = ErrorCode::kUnstableOffsetCommit;
    return p;
  }
  if (offset == nullptr) return p;
  // A topic that was deleted and made anew is another one.
  if (!offset->topic_id.is_zero() && !topic_id.is_zero() && offset->topic_id != topic_id) return p;
  p.offset = offset->offset;
  p.leader_epoch = offset->leader_epoch;
  p.metadata = offset->metadata;
  return p;
}

}  // namespace

CommitOffsetsAnswer commit_offsets(Draft& draft, const CommitOffsets& c) {
  const Group* group = draft.state.find(c.group);
  if (const ErrorCode error = check_commit(group, c); error != ErrorCode::kNone) return {error};
  if (group != nullptr && !c.transaction &&
      (group->classic->state == ClassicState::kStable ||
       group->classic->state == ClassicState::kPreparingRebalance)) {
    if (const Member* member = group->classic->member(c.member))
      draft.arm(session_timer(c.group, c.member), member->session_timeout_ms);
  }
  CommitOffsetsAnswer answer;
  const auto metadata_max = static_cast<size_t>(std::max(draft.settings.metadata_max_bytes, 0));
  for (const auto& topic : c.topics) {
    for (const auto& p : topic.partitions) {
      if (java_length(p.metadata) > metadata_max) {
        answer.results.push_back(ErrorCode::kOffsetMetadataTooLarge);
        continue;
      }
      const ErrorCode error = group != nullptr && group->consumer
                                  ? check_consumer_partition(*group->consumer, c, topic.id, p.index)
                                  : ErrorCode::kNone;
      if (error != ErrorCode::kNone) {  // then none of them is its own to commit
        draft.records.clear();
        return {error};
      }
      answer.results.push_back(ErrorCode::kNone);
      draft.records.push_back(commit_record(c, topic, p, draft.now.wall));
      if (!c.transaction) continue;
      auto& stored = std::get<Stored>(draft.records.back().body);
      stored.producer = c.transaction->producer;
      stored.epoch = c.transaction->epoch;
    }
  }
  return answer;
}

EndTransactionAnswer end_transaction(Draft& draft, const EndTransaction& c) {
  draft.records.push_back({Marker{c.producer, c.commit, c.epoch, c.coordinator_epoch, c.version}});
  return {};
}

FetchOffsetsAnswer fetch_offsets(const Draft& draft, const FetchOffsets& c) {
  static const Group nobody{std::make_shared<const ClassicGroup>()};
  const Group* known = draft.state.find(c.group);
  const Group& group = known != nullptr ? *known : nobody;
  FetchOffsetsAnswer answer;
  if (group.consumer) answer.error = check_consumer_fetch(*group.consumer, c);
  if (answer.error != ErrorCode::kNone) return answer;
  if (c.topics) {
    for (const auto& topic : *c.topics) {
      auto& t = answer.topics.emplace_back(topic.name, topic.id);
      for (const int32_t index : topic.partitions) {
        const Committed* offset = group.offset(topic.name, index);
        t.partitions.push_back(told(c, group, topic.name, index, offset, topic.id));
      }
    }
    return answer;
  }
  for (const auto& [name, partitions] : group.offsets) {
    auto& t = answer.topics.emplace_back(name);
    for (const auto& [index, offset] : partitions)
      t.partitions.push_back(told(c, group, name, index, &offset, Uuid()));
  }
  return answer;
}

DeleteOffsetsAnswer delete_offsets(Draft& draft, const DeleteOffsets& c) {
  const Group* group = draft.state.find(c.group);
  if (group == nullptr) return {ErrorCode::kGroupIdNotFound};
  const ClassicGroup& classic = *group->classic;
  if (!group->is_empty() && !group->consumer && !classic.uses_consumer_protocol())
    return {ErrorCode::kNonEmptyGroup};
  DeleteOffsetsAnswer answer;
  for (const auto& topic : c.topics) {
    const bool subscribed = group->subscribed_to(topic.name);
    for (const int32_t index : topic.partitions) {
      answer.results.push_back(subscribed ? ErrorCode::kGroupSubscribedToTopic : ErrorCode::kNone);
      if (subscribed) continue;
      if (group->offset(topic.name, index) != nullptr || group->has_pending(topic.name, index))
        draft.remove_offset(c.group, topic.name, index);
    }
  }
  return answer;
}

}  // namespace odradek::machines::group
