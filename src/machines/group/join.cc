// JoinGroup: new, known and static members.
#include <algorithm>

#include "machines/group/classic_edit.h"
#include "machines/group/member_id.h"
#include "machines/group/migration.h"

namespace odradek::machines::group {

namespace {

Member member_of(const Join& join, std::string id) {
  return {.id = std::move(id),
          .instance = join.instance,
          .client_id = join.client_id,
          .client_host = join.client_host,
          .rebalance_timeout_ms = join.rebalance_timeout_ms,
          .session_timeout_ms = join.session_timeout_ms,
          .protocols = join.protocols,
          .is_new = true,
          .joining = join.token};
}

/// group.max.size: members that wait count while all join, members that are there else.
bool has_room(const ClassicGroup& group, std::string_view member, int32_t max_size) {
  const auto max = static_cast<size_t>(std::max(max_size, 0));
  const Member* known = group.member(member);
  switch (group.state) {
    case ClassicState::kEmpty:
      return true;
    case ClassicState::kPreparingRebalance: {
      const auto joining = [](const auto& m) { return m.second->joining != 0; };
      const auto count = std::ranges::count_if(group.members, joining);
      return (known != nullptr && known->joining != 0) || static_cast<size_t>(count) < max;
    }
    default:
      return known != nullptr || group.members.size() < max;
  }
}

Response add_member(ClassicEdit& edit, const Join& join, std::string id) {
  edit.add(member_of(join, std::move(id)), join.protocol_type);
  edit.rebalance_or_complete();
  return NoAnswer{};
}

/// A static member that has lost its id, or another process under its name.
Response take_over(Draft& draft, ClassicEdit& edit, const Join& join, std::string old_id,
                   std::string new_id) {
  const std::string old_leader = edit.group().leader.value_or("");
  // The new process has nothing to give back and would not join again: it would stay nobody's.
  const bool unfinished =
      must_give_back(edit.group(), *edit.group().member(old_id), *draft.state.image());
  edit.replace(*join.instance, old_id, new_id);
  const bool stable = edit.group().state == ClassicState::kStable;
  edit.update(new_id, join);
  if (!stable) {
    // The leader may be about to assign to the old id.
    if (edit.group().state == ClassicState::kCompletingRebalance) {
      edit.prepare_rebalance();
    } else {
      edit.complete_if_joined();
    }
    return NoAnswer{};
  }
  if (edit.group().protocol != edit.selected_protocol() || unfinished) {
    edit.rebalance_or_complete();
    return NoAnswer{};
  }
  // Nothing changes for the others: it gets what the old one had.
  edit.stop_waiting(new_id);
  edit.store();
  JoinAnswer answer = edit.current(new_id);
  if (join.skips_assignment) {
    answer.skip_assignment = edit.group().leader == new_id;
  } else {
    // It must not take itself for the leader: it would assign anew.
    answer.leader = old_leader;
    answer.members.clear();
  }
  return answer;
}

Response join_new(Draft& draft, ClassicEdit& edit, const Join& join) {
  if (!supports(edit.group(), join.protocol_type, join.protocols))
    return JoinAnswer{.error = ErrorCode::kInconsistentGroupProtocol};
  std::string id = new_member_id(join.instance ? *join.instance : join.client_id, draft.now.random);
  if (join.instance) {
    const auto known = edit.group().statics.find(*join.instance);
    if (known != edit.group().statics.end())
      return take_over(draft, edit, join, known->second, std::move(id));
  } else if (join.id_required) {
    if (edit.group().pending.size() >= kPendingMax)
      return JoinAnswer{.error = ErrorCode::kGroupMaxSizeReached};
    edit.expect(id);
    draft.arm(session_timer(join.group, id), join.session_timeout_ms);
    return JoinAnswer{.error = ErrorCode::kMemberIdRequired, .member = std::move(id)};
  }
  return add_member(edit, join, std::move(id));
}

Response join_known(ClassicEdit& edit, const Join& join) {
  const ClassicGroup& group = edit.group();
  const auto refuse = [&](ErrorCode error) {
    return JoinAnswer{.error = error, .member = join.member};
  };
  if (!supports(group, join.protocol_type, join.protocols))
    return refuse(ErrorCode::kInconsistentGroupProtocol);
  if (group.pending.contains(join.member)) {
    // Only dynamic members are handed out ids. Apache trips over it, so its answer is nobody's.
    if (join.instance) return JoinAnswer{.error = ErrorCode::kUnknownServerError};
    return add_member(edit, join, join.member);
  }
  const ErrorCode error = check_member(group, join.member, join.instance);
  if (error != ErrorCode::kNone) return refuse(error);
  const bool same = group.member(join.member)->protocols == join.protocols;
  const bool leads = group.leader == join.member;
  switch (group.state) {
    case ClassicState::kEmpty:
      return refuse(ErrorCode::kUnknownMemberId);
    case ClassicState::kPreparingRebalance:
      break;
    case ClassicState::kCompletingRebalance:
      // It may not have seen the answer.
      if (same) return edit.current(join.member);
      break;
    case ClassicState::kStable:
      // The leader may have seen more partitions; for others nothing has changed.
      if (same && !leads) return edit.current(join.member);
      break;
  }
  edit.update(join.member, join);
  edit.rebalance_or_complete();
  return NoAnswer{};
}

Response join_classic(Draft& draft, ClassicEdit& edit, const Join& join) {
  Response response;
  if (!has_room(edit.group(), join.member, draft.settings.max_size)) {
    edit.remove(join.member);
    response = JoinAnswer{.error = ErrorCode::kGroupMaxSizeReached};
  } else if (join.member.empty()) {
    response = join_new(draft, edit, join);
  } else {
    response = join_known(edit, join);
  }
  edit.finish();
  return response;
}

}  // namespace

Response join(Draft& draft, const Join& join) {
  const Group* known = draft.state.find(join.group);
  if (!join.member.empty() && known == nullptr)
    return JoinAnswer{.error = ErrorCode::kUnknownMemberId, .member = join.member};
  if (known == nullptr || !known->consumer) {
    ClassicEdit edit(draft, join.group);
    return join_classic(draft, edit, join);
  }
  if (!known->is_empty()) return join_consumer(draft, join);
  // Nobody is there who speaks the new protocol: it is a classic group from now on.
  draft.remove_group(join.group, *known);
  ClassicEdit edit(draft, join.group, ClassicGroup{.since = draft.now.wall});
  return join_classic(draft, edit, join);
}

}  // namespace odradek::machines::group
