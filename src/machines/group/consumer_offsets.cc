// Who may commit and fetch offsets of a group of the consumer protocol.
#include "machines/group/draft.h"

namespace odradek::machines::group {

namespace {

/// Members learn of this in the words of their protocol; producers know one word.
ErrorCode stale(const ConsumerMember& member, bool by_producer) {
  return member.classic || by_producer ? ErrorCode::kIllegalGeneration
                                       : ErrorCode::kStaleMemberEpoch;
}

/// Epoch at which it got the partition; it may have yet to give it up.
const int32_t* assigned_at(const ConsumerMember& member, const Uuid& topic, int32_t partition) {
  for (const OwnedPartitions* owned : {&member.assigned, &member.revoking}) {
    const auto t = owned->find(topic);
    if (t == owned->end()) continue;
    const auto p = t->second.find(partition);
    if (p != t->second.end()) return &p->second;
  }
  return nullptr;
}

}  // namespace

ErrorCode check_consumer_commit(const ConsumerGroup& group, const CommitOffsets& c) {
  if (c.generation < 0 && group.members().empty()) return ErrorCode::kNone;
  // Older producers do not say for which member they commit.
  if (c.transaction && c.generation == -1 && c.member.empty() && !c.instance)
    return ErrorCode::kNone;
  const ConsumerMember* member = group.member(c.member);
  if (member == nullptr) return ErrorCode::kUnknownMemberId;
  if (!c.transaction && !member->classic && c.version < 9) return ErrorCode::kUnsupportedVersion;
  return c.generation > member->epoch ? stale(*member, c.transaction.has_value())
                                      : ErrorCode::kNone;
}

ErrorCode check_consumer_partition(const ConsumerGroup& group, const CommitOffsets& c,
                                   const Uuid& topic, int32_t partition) {
  const ConsumerMember* member = group.member(c.member);
  if (member == nullptr || c.generation == member->epoch) return ErrorCode::kNone;
  // It has yet to learn of its newest epoch: what it has had since before is still its own.
  const int32_t* since = assigned_at(*member, topic, partition);
  return since != nullptr && c.generation >= *since ? ErrorCode::kNone
                                                    : stale(*member, c.transaction.has_value());
}

ErrorCode check_consumer_fetch(const ConsumerGroup& group, const FetchOffsets& c) {
  if (!c.member && c.epoch < 0) return ErrorCode::kNone;
  const ConsumerMember* member = group.member(c.member.value_or(""));
  if (member == nullptr) return ErrorCode::kUnknownMemberId;
  return c.epoch == member->epoch ? ErrorCode::kNone : stale(*member, false);
}

}  // namespace odradek::machines::group
