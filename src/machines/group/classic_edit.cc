#include "machines/group/classic_edit.h"

#include <algorithm>
#include <utility>

#include "base/arena.h"
#include "base/check.h"
#include "wire/java_hash.h"

namespace odradek::machines::group {

namespace {

bool supported_by_all(const ClassicGroup& group, std::string_view protocol) {
  return std::ranges::all_of(
      group.members, [&](const auto& m) { return m.second->protocol(protocol) != nullptr; });
}

std::optional<std::string_view> view(const std::optional<std::string>& text) {
  if (!text) return std::nullopt;
  return *text;
}

/// Where Java's HashMap would come across the name: decides between protocols with equal votes, as
/// at Apache.
uint32_t java_order(std::string_view name) {
  const auto hash = static_cast<uint32_t>(wire::java_hash(name));
  return (hash ^ (hash >> 16)) & 15;
}

}  // namespace

bool supports(const ClassicGroup& group, std::string_view protocol_type,
              const std::vector<Protocol>& protocols) {
  if (group.state == ClassicState::kEmpty) return !protocol_type.empty() && !protocols.empty();
  return group.protocol_type == protocol_type &&
         std::ranges::any_of(protocols,
                             [&](const Protocol& p) { return supported_by_all(group, p.name); });
}

ErrorCode check_member(const ClassicGroup& group, std::string_view member,
                       const std::optional<std::string>& instance) {
  if (instance) {
    const auto at = group.statics.find(*instance);
    if (at == group.statics.end()) return ErrorCode::kUnknownMemberId;
    if (at->second != member) return ErrorCode::kFencedInstanceId;
  }
  return group.member(member) != nullptr ? ErrorCode::kNone : ErrorCode::kUnknownMemberId;
}

ClassicEdit::ClassicEdit(Draft& draft, std::string id) : draft_(draft), id_(std::move(id)) {
  const Group* known = draft.state.find(id_);
  is_new_ = known == nullptr;
  if (is_new_) {
    group_.since = draft.now.wall;
    changed_ = true;
  } else {
    group_ = *known->classic;
  }
}

ClassicEdit::ClassicEdit(Draft& draft, std::string id, ClassicGroup group)
    : draft_(draft), id_(std::move(id)), is_new_(true), changed_(true), group_(std::move(group)) {}

// ---- members

Member& ClassicEdit::change(std::string_view id) {
  changed_ = true;
  const auto at = group_.members.find(id);
  ODRADEK_CHECK(at != group_.members.end());
  auto copy = std::make_shared<Member>(*at->second);
  Member& member = *copy;
  at->second = std::move(copy);
  return member;
}

void ClassicEdit::add(Member member, const std::string& protocol_type) {
  changed_ = true;
  if (group_.members.empty()) group_.protocol_type = protocol_type;
  if (member.instance) group_.statics[*member.instance] = member.id;
  if (group_.state == ClassicState::kPreparingRebalance && group_.previous == ClassicState::kEmpty)
    group_.member_added = true;
  if (!group_.leader) group_.leader = member.id;
  if (auto pending = group_.pending.find(member.id); pending != group_.pending.end())
    group_.pending.erase(pending);
  draft_.arm(session_timer(id_, member.id), kNewMemberJoinMs);
  const std::string id = member.id;
  group_.members[id] = std::make_shared<const Member>(std::move(member));
}

void ClassicEdit::remove(std::string_view id) {
  if (const auto at = group_.members.find(id); at != group_.members.end()) {
    Member& leaving = change(id);
    answer_join(leaving, {.error = ErrorCode::kUnknownMemberId});
    answer_sync(leaving, {.error = ErrorCode::kUnknownMemberId});
    const MemberPtr gone = at->second;
    group_.members.erase(at);
    if (gone->instance) group_.statics.erase(*gone->instance);
    if (group_.leader == gone->id) {
      group_.leader.reset();
      if (!group_.members.empty()) group_.leader = group_.members.begin()->first;
    }
  }
  if (const auto at = group_.pending.find(id); at != group_.pending.end()) {
    changed_ = true;
    group_.pending.erase(at);
  }
  draft_.disarm(session_timer(id_, id));
}

void ClassicEdit::expect(std::string member) {
  changed_ = true;
  group_.pending.insert(std::move(member));
}

void ClassicEdit::update(std::string_view id, const Join& join) {
  Member& m = change(id);
  // The same member asks again: whoever waited before has given up.
  answer_join(m, {.error = ErrorCode::kRebalanceInProgress, .member = m.id});
  m.protocols = join.protocols;
  m.rebalance_timeout_ms = join.rebalance_timeout_ms;
  m.session_timeout_ms = join.session_timeout_ms;
  m.joining = join.token;
}

void ClassicEdit::replace(const std::string& instance, std::string_view old_id,
                          std::string new_id) {
  Member& old = change(old_id);
  const std::string fenced = old.id;
  answer_join(old, {.error = ErrorCode::kFencedInstanceId, .member = fenced});
  answer_sync(old, {.error = ErrorCode::kFencedInstanceId});
  Member member = old;
  member.id = new_id;
  member.is_new = false;
  member.sync_pending = false;
  const bool leads = group_.leader == fenced;
  group_.members.erase(fenced);
  draft_.disarm(session_timer(id_, fenced));
  if (leads) group_.leader = new_id;
  group_.statics[instance] = new_id;
  arm_session(member);
  group_.members[new_id] = std::make_shared<const Member>(std::move(member));
}

void ClassicEdit::wait_for_sync(std::string_view id, Token token) {
  Member& m = change(id);
  answer_sync(m, {.error = ErrorCode::kRebalanceInProgress});
  m.syncing = token;
}

void ClassicEdit::synced(std::string_view id) {
  if (group_.member(id)->sync_pending) change(id).sync_pending = false;
  const bool all =
      std::ranges::none_of(group_.members, [](const auto& m) { return m.second->sync_pending; });
  if (all) draft_.disarm(sync_timer(id_));
}

void ClassicEdit::arm_session(const Member& member) {
  draft_.arm(session_timer(id_, member.id), member.session_timeout_ms);
}

void ClassicEdit::answer_join(Member& member, JoinAnswer answer) {
  if (const Token token = std::exchange(member.joining, 0); token != 0)
    draft_.messages.push_back({token, std::move(answer)});
}

void ClassicEdit::answer_sync(Member& member, SyncAnswer answer) {
  if (const Token token = std::exchange(member.syncing, 0); token != 0)
    draft_.messages.push_back({token, std::move(answer)});
}

// ---- phases

void ClassicEdit::move_to(ClassicState state) {
  changed_ = true;
  group_.previous = group_.state;
  group_.state = state;
  group_.since = draft_.now.wall;
}

bool ClassicEdit::all_joined() const {
  return group_.pending.empty() &&
         std::ranges::all_of(group_.members, [](const auto& m) { return m.second->joining != 0; });
}

int32_t ClassicEdit::rebalance_timeout_ms() const {
  int32_t longest = 0;
  for (const auto& [id, m] : group_.members) longest = std::max(longest, m->rebalance_timeout_ms);
  return longest;
}

void ClassicEdit::rebalance_or_complete() {
  if (group_.state == ClassicState::kPreparingRebalance) {
    complete_if_joined();
  } else {
    prepare_rebalance();
  }
}

void ClassicEdit::prepare_rebalance() {
  if (group_.state == ClassicState::kCompletingRebalance)
    withdraw_assignments(ErrorCode::kRebalanceInProgress);
  std::vector<std::string> unsynced;
  for (const auto& [id, m] : group_.members) {
    if (m->sync_pending) unsynced.push_back(id);
  }
  for (const std::string& id : unsynced) change(id).sync_pending = false;
  draft_.disarm(sync_timer(id_));

  const bool initial = group_.state == ClassicState::kEmpty;
  move_to(ClassicState::kPreparingRebalance);
  if (initial) {
    // Others of a new group may come soon: they are waited for.
    group_.member_added = false;
    group_.delay_ms = std::max(draft_.settings.initial_rebalance_delay_ms, 0);
    group_.delay_left_ms = std::max(rebalance_timeout_ms() - group_.delay_ms, 0);
    draft_.arm(join_timer(id_), group_.delay_ms);
  } else if (all_joined()) {
    complete_join();
  } else {
    draft_.arm(join_timer(id_), rebalance_timeout_ms());
  }
}

void ClassicEdit::complete_if_joined() {
  if (group_.state != ClassicState::kPreparingRebalance) return;
  if (group_.previous == ClassicState::kEmpty) return;  // the initial delay counts
  if (all_joined()) complete_join();
}

void ClassicEdit::initial_delay_over() {
  if (!group_.member_added || group_.delay_left_ms == 0) return complete_join();
  changed_ = true;
  group_.member_added = false;
  const int32_t delay =
      std::min(std::max(draft_.settings.initial_rebalance_delay_ms, 0), group_.delay_left_ms);
  group_.delay_left_ms = std::max(group_.delay_left_ms - group_.delay_ms, 0);
  group_.delay_ms = delay;
  draft_.arm(join_timer(id_), delay);
}

bool ClassicEdit::elect_joined_leader() {
  if (!group_.leader) return false;
  if (group_.member(*group_.leader)->joining != 0) return true;
  for (const auto& [id, m] : group_.members) {
    if (m->joining == 0) continue;
    changed_ = true;
    group_.leader = id;
    return true;
  }
  return false;
}

/// Dynamic members that have not joined in time are out; static ones may be away.
void ClassicEdit::drop_absent() {
  std::vector<std::string> absent;
  for (const auto& [id, m] : group_.members) {
    if (m->joining == 0 && !m->is_static()) absent.push_back(id);
  }
  for (const std::string& id : absent) remove(id);
}

void ClassicEdit::complete_join() {
  draft_.disarm(join_timer(id_));
  drop_absent();
  if (!elect_joined_leader() && !group_.members.empty()) {
    // Nobody is here, but sessions of static members have not run out.
    draft_.arm(join_timer(id_), rebalance_timeout_ms());
    return;
  }
  begin_generation();
}

void ClassicEdit::begin_generation() {
  changed_ = true;
  // A record may say any number; behind the largest comes the least, as in Java.
  group_.generation = static_cast<int32_t>(static_cast<uint32_t>(group_.generation) + 1);
  if (group_.members.empty()) {
    group_.protocol.reset();
    move_to(ClassicState::kEmpty);
    return store();
  }
  group_.protocol = selected_protocol();
  group_.subscribed = group_.subscribed_topics();
  move_to(ClassicState::kCompletingRebalance);
  std::vector<std::string> ids;
  for (const auto& [id, m] : group_.members) ids.push_back(id);
  for (const std::string& id : ids) {
    Member& m = change(id);
    answer_join(m, current(id));
    arm_session(m);
    m.is_new = false;
    m.sync_pending = true;
  }
  draft_.arm(sync_timer(id_), rebalance_timeout_ms());
}

void ClassicEdit::sync_time_over() {
  std::vector<std::string> late;
  for (const auto& [id, m] : group_.members) {
    if (m->sync_pending) late.push_back(id);
  }
  if (late.empty()) return;
  for (const std::string& id : late) remove(id);
  prepare_rebalance();
}

void ClassicEdit::assign(const std::vector<Sync::Assignment>& assignments) {
  std::map<std::string_view, const std::string*> by_member;
  for (const auto& a : assignments) by_member[a.member] = &a.bytes;
  move_to(ClassicState::kStable);
  std::vector<std::string> ids;
  for (const auto& [id, m] : group_.members) ids.push_back(id);
  for (const std::string& id : ids) {
    Member& m = change(id);
    const auto at = by_member.find(id);
    m.assignment = at != by_member.end() ? *at->second : "";
    if (m.syncing == 0) continue;
    answer_sync(m, sync_answer(m, ErrorCode::kNone));
    arm_session(m);
  }
  store();
}

void ClassicEdit::withdraw_assignments(ErrorCode error) {
  std::vector<std::string> ids;
  for (const auto& [id, m] : group_.members) ids.push_back(id);
  for (const std::string& id : ids) {
    Member& m = change(id);
    m.assignment.clear();
    if (m.syncing == 0) continue;
    answer_sync(m, sync_answer(m, error));
    arm_session(m);
  }
}

// ---- answers

std::string ClassicEdit::selected_protocol() const {
  ODRADEK_CHECK(!group_.members.empty());
  std::map<std::string_view, int> votes;
  for (const auto& [id, m] : group_.members) {
    for (const Protocol& p : m->protocols) {
      if (!supported_by_all(group_, p.name)) continue;
      votes[p.name]++;
      break;
    }
  }
  ODRADEK_CHECK(!votes.empty());
  auto best = votes.begin();
  for (auto at = std::next(best); at != votes.end(); ++at) {
    const bool earlier = java_order(at->first) < java_order(best->first);
    if (at->second > best->second || (at->second == best->second && earlier)) best = at;
  }
  return std::string(best->first);
}

std::vector<JoinAnswer::Member> ClassicEdit::members_for_leader() const {
  std::vector<JoinAnswer::Member> out;
  for (const auto& [id, m] : group_.members) {
    const Protocol* p = m->protocol(group_.protocol.value_or(""));
    out.push_back({id, m->instance, p != nullptr ? p->metadata : ""});
  }
  return out;
}

JoinAnswer ClassicEdit::current(std::string_view member) const {
  JoinAnswer answer{.generation = group_.generation,
                    .protocol_type = group_.protocol_type,
                    .protocol = group_.protocol,
                    .leader = group_.leader.value_or(""),
                    .member = std::string(member)};
  if (group_.leader == member) answer.members = members_for_leader();
  return answer;
}

SyncAnswer ClassicEdit::sync_answer(const Member& member, ErrorCode error) const {
  if (error != ErrorCode::kNone) return {.error = error, .assignment = member.assignment};
  return {.protocol_type = group_.protocol_type,
          .protocol = group_.protocol,
          .assignment = member.assignment};
}

// ---- records

Record ClassicEdit::metadata_record() const {
  Arena arena;
  wire::GroupMetadataKey key;
  key.group = id_;
  wire::GroupMetadataValue value;
  value.protocol_type = view(group_.protocol_type).value_or("");
  value.generation = group_.generation;
  value.protocol = view(group_.protocol);
  value.leader = view(group_.leader);
  value.current_state_timestamp = group_.since.value;
  value.members.reserve(arena, group_.members.size());
  for (const auto& [id, m] : group_.members) {
    auto& out = value.members.add(arena);
    out.member_id = m->id;
    if (m->instance) out.group_instance_id = *m->instance;
    out.client_id = m->client_id;
    out.client_host = m->client_host;
    out.rebalance_timeout = m->rebalance_timeout_ms;
    out.session_timeout = m->session_timeout_ms;
    const Protocol* p = m->protocol(group_.protocol.value_or(""));
    if (p != nullptr) out.subscription = as_bytes(p->metadata);
    out.assignment = as_bytes(m->assignment);
  }
  return Record::of(key, value, kGroupMetadataVersion);
}

void ClassicEdit::finish() {
  if (stored_) {
    draft_.records.push_back(metadata_record());
  } else if (is_new_) {
    // The group is there from now on, even if nobody comes back for it.
    wire::GroupMetadataKey key;
    key.group = id_;
    wire::GroupMetadataValue value;
    value.protocol = value.leader = std::nullopt;
    value.current_state_timestamp = group_.since.value;
    draft_.records.push_back(Record::of(key, value, kGroupMetadataVersion));
  }
  if (changed_)
    draft_.records.push_back(
        {SoftGroup{id_, std::make_shared<const ClassicGroup>(std::move(group_))}});
}

}  // namespace odradek::machines::group
