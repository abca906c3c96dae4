// SyncGroup, Heartbeat and LeaveGroup of classic groups, and what their timers do.
#include <algorithm>
#include <charconv>

#include "machines/group/classic_edit.h"
#include "machines/group/migration.h"
#include "wire/record_batch.h"

namespace odradek::machines::group {

namespace {

/// Both are said, and differ.
bool contradicts(const std::optional<std::string>& a, const std::optional<std::string>& b) {
  return a && b && *a != *b;
}

ErrorCode check_sync(const ClassicGroup& group, const Sync& sync) {
  const ErrorCode error = check_member(group, sync.member, sync.instance);
  if (error != ErrorCode::kNone) return error;
  if (sync.generation != group.generation) return ErrorCode::kIllegalGeneration;
  if (contradicts(sync.protocol_type, group.protocol_type) ||
      contradicts(sync.protocol, group.protocol))
    return ErrorCode::kInconsistentGroupProtocol;
  return group.state == ClassicState::kPreparingRebalance ? ErrorCode::kRebalanceInProgress
                                                          : ErrorCode::kNone;
}

/// The leader's assignment: from now on the group is stable.
void take_assignment(Draft& draft, ClassicEdit& edit, const Sync& sync) {
  ClassicEdit attempt = edit;
  const size_t messages = draft.messages.size();
  attempt.assign(sync.assignments);
  const Record record = attempt.metadata_record();
  if (wire::BatchBuilder::size_bound(as_bytes(record.stored().key),
                                     as_bytes(*record.stored().value)) >
      draft.settings.batch_bytes_max) {
    // It cannot be kept, so nobody may have it.
    draft.messages.resize(messages);
    edit.withdraw_assignments(ErrorCode::kUnknownServerError);
    edit.prepare_rebalance();
    return edit.finish();
  }
  attempt.finish();
}

LeaveAnswer leave_group(ClassicEdit& edit, const Leave& command) {
  LeaveAnswer answer;
  bool any = false;
  for (const auto& m : command.members) {
    const ClassicGroup& group = edit.group();
    ErrorCode error = ErrorCode::kNone;
    if (m.id.empty()) {
      // An operator removes a static member by its name.
      const auto at = m.instance ? group.statics.find(*m.instance) : group.statics.end();
      if (at == group.statics.end()) {
        error = ErrorCode::kUnknownMemberId;
      } else {
        edit.remove(std::string(at->second));
      }
    } else if (group.pending.contains(m.id)) {
      edit.remove(m.id);
    } else {
      error = check_member(group, m.id, m.instance);
      if (error == ErrorCode::kNone) edit.remove(m.id);
    }
    any |= error == ErrorCode::kNone;
    answer.results.push_back(error);
  }
  if (any && edit.group().state != ClassicState::kEmpty) edit.rebalance_or_complete();
  edit.finish();
  return answer;
}

void session_over(Draft& draft, const std::string& id, std::string_view member) {
  ClassicEdit edit(draft, id);
  const ClassicGroup& group = edit.group();
  const bool preparing = group.state == ClassicState::kPreparingRebalance;
  if (group.pending.contains(member)) {
    edit.remove(member);
    if (preparing && edit.all_joined()) edit.complete_join();
    return edit.finish();
  }
  const Member* m = group.member(member);
  if (m == nullptr) return;
  // Whoever waits for us cannot send heartbeats; its session begins with the answer.
  if (!m->is_new && (m->joining != 0 || m->syncing != 0)) return;
  edit.remove(member);
  if (!preparing && group.state != ClassicState::kEmpty) {
    edit.rebalance_or_complete();
  } else if (preparing && edit.all_joined()) {
    edit.complete_join();
  }
  edit.finish();
}

void join_time_over(Draft& draft, const std::string& id) {
  ClassicEdit edit(draft, id);
  if (edit.group().state != ClassicState::kPreparingRebalance) return;
  if (edit.group().previous == ClassicState::kEmpty) {
    edit.initial_delay_over();
  } else {
    edit.complete_join();
  }
  edit.finish();
}

void sync_time_over(Draft& draft, const std::string& id) {
  ClassicEdit edit(draft, id);
  const ClassicState state = edit.group().state;
  if (state != ClassicState::kCompletingRebalance && state != ClassicState::kStable) return;
  edit.sync_time_over();
  edit.finish();
}

/// Cuts `prefix` off; false if it is not there.
bool take(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

}  // namespace

Response sync(Draft& draft, const Sync& command) {
  const Group* known = draft.state.find(command.group);
  if (known == nullptr || known->is_empty())
    return SyncAnswer{.error = ErrorCode::kUnknownMemberId};
  if (known->consumer) return sync_consumer(draft, *known->consumer, command);
  const ClassicGroup& group = *known->classic;
  if (const ErrorCode error = check_sync(group, command); error != ErrorCode::kNone)
    return SyncAnswer{.error = error};
  ClassicEdit edit(draft, command.group);
  edit.synced(command.member);
  if (group.state == ClassicState::kStable) {
    SyncAnswer answer = edit.sync_answer(*edit.group().member(command.member), ErrorCode::kNone);
    edit.finish();
    return answer;
  }
  edit.wait_for_sync(command.member, command.token);
  if (group.leader == command.member) {
    take_assignment(draft, edit, command);
  } else {
    edit.finish();
  }
  return NoAnswer{};
}

HeartbeatAnswer heartbeat(Draft& draft, const Heartbeat& command) {
  const Group* known = draft.state.find(command.group);
  if (known == nullptr) return {ErrorCode::kUnknownMemberId};
  if (known->consumer) return heartbeat_consumer(draft, *known->consumer, command);
  const ClassicGroup& group = *known->classic;
  const ErrorCode error = check_member(group, command.member, command.instance);
  if (error != ErrorCode::kNone) return {error};
  if (command.generation != group.generation) return {ErrorCode::kIllegalGeneration};
  if (known->is_empty()) return {ErrorCode::kUnknownMemberId};
  draft.arm(session_timer(command.group, command.member),
            group.member(command.member)->session_timeout_ms);
  return {group.state == ClassicState::kPreparingRebalance ? ErrorCode::kRebalanceInProgress
                                                           : ErrorCode::kNone};
}

LeaveAnswer leave(Draft& draft, const Leave& command) {
  const Group* known = draft.state.find(command.group);
  if (known == nullptr)
    return {.results = std::vector<ErrorCode>(command.members.size(), ErrorCode::kUnknownMemberId)};
  if (known->consumer) return leave_consumer(draft, *known->consumer, command);
  ClassicEdit edit(draft, command.group);
  return leave_group(edit, command);
}

bool classic_timer(Draft& draft, std::string_view key) {
  const auto known = [&](std::string_view id) {
    const Group* group = draft.state.find(id);
    return group != nullptr && !group->consumer;
  };
  if (take(key, "join/")) {
    if (known(key)) join_time_over(draft, std::string(key));
  } else if (take(key, "sync/")) {
    if (known(key)) sync_time_over(draft, std::string(key));
  } else if (take(key, "session/")) {
    size_t size = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), size);
    ODRADEK_CHECK(error == std::errc());
    key.remove_prefix(static_cast<size_t>(end - key.data()) + 1);
    if (known(key.substr(0, size)))
      session_over(draft, std::string(key.substr(0, size)), key.substr(size + 1));
  } else {
    return false;
  }
  return true;
}

void classic_loaded(Draft& draft) {
  for (const auto& [id, group] : draft.state.groups()) {
    if (group.consumer) continue;
    const ClassicGroup& classic = *group.classic;
    for (const auto& [member, m] : classic.members)
      draft.arm(session_timer(id, member), m->session_timeout_ms);
    // group.max.size may have shrunk: then some will not be let in again.
    const bool too_many =
        classic.members.size() > static_cast<size_t>(std::max(draft.settings.max_size, 0));
    if (!too_many && !leaves_out(classic, *draft.state.image())) continue;
    ClassicEdit edit(draft, id);
    edit.prepare_rebalance();
    edit.finish();
  }
}

}  // namespace odradek::machines::group
