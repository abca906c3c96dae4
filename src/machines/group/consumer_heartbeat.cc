// ConsumerGroupHeartbeat: members of the consumer protocol join, report, learn what they have, and
// leave; and what happens when their times run out.
#include <algorithm>
#include <charconv>
#include <utility>

#include "machines/group/consumer_edit.h"
#include "machines/group/member_id.h"
#include "machines/group/migration.h"
#include "machines/group/reconcile.h"
#include "machines/group/topic_regex.h"

namespace odradek::machines::group {

namespace {

using Answer = ConsumerHeartbeatAnswer;

Answer refuse(ErrorCode error, std::string message) {
  return {.error = error, .message = std::move(message)};
}

/// It holds nothing but what it was given: an answer with a new epoch may have been lost.
bool holds_its_own(const std::optional<Partitions>& owned, const ConsumerMember& member) {
  if (!owned) return false;
  for (const auto& [topic, partitions] : *owned) {
    const auto at = member.assigned.find(topic);
    if (at == member.assigned.end()) return false;
    for (const int32_t index : partitions) {
      if (!at->second.contains(index)) return false;
    }
  }
  return true;
}

ErrorCode check_epoch(const ConsumerHeartbeat& c, const ConsumerMember& member) {
  if (c.epoch == 0 || c.epoch == member.epoch) return ErrorCode::kNone;
  const bool late =
      c.epoch < member.epoch && c.epoch == member.previous_epoch && holds_its_own(c.owned, member);
  return late ? ErrorCode::kNone : ErrorCode::kFencedMemberEpoch;
}

/// One heartbeat of a member that does not leave.
class Beat {
 public:
  Beat(Draft& draft, const ConsumerHeartbeat& c) : edit_(draft, c.group), draft_(draft), c_(c) {}

  Answer run() {
    if (Answer refused = enter(); refused.error != ErrorCode::kNone) return refused;
    if (Answer refused = check_expression(); refused.error != ErrorCode::kNone) return refused;
    update_member();
    edit_.bump(wants_epoch_);
    edit_.update_target();
    if (!reconcile_member())
      return refuse(ErrorCode::kFencedMemberEpoch, "The member's state is unknown: rejoin.");
    edit_.arm_session(member_);
    edit_.finish();
    return answer();
  }

 private:
  /// The group and the member that this is about.
  Answer enter() {
    if (Answer refused = enter_group(); refused.error != ErrorCode::kNone) return refused;
    const auto max = static_cast<size_t>(std::max(draft_.settings.consumer_max_size, 0));
    if (edit_.group().members().size() >= max && edit_.group().member(c_.member) == nullptr)
      return refuse(ErrorCode::kGroupMaxSizeReached,
                    "The group has its maximum of " + std::to_string(max) + " members.");
    return c_.instance ? enter_static() : enter_dynamic();
  }

  Answer enter_group() {
    const Group* known = draft_.state.find(c_.group);
    if (known != nullptr && known->consumer) return {};
    if (c_.epoch != 0)
      return refuse(ErrorCode::kGroupIdNotFound,
                    known == nullptr ? "The group does not exist." : "It is a classic group.");
    if (known == nullptr) return {};
    const std::string problem = upgrade(draft_, edit_, *known);
    return problem.empty() ? Answer{} : refuse(ErrorCode::kGroupIdNotFound, problem);
  }

  Answer enter_dynamic() {
    const ConsumerMember* known = edit_.group().member(c_.member);
    if (known == nullptr && c_.epoch != 0)
      return refuse(ErrorCode::kUnknownMemberId, "The member is not in the group.");
    if (known == nullptr) return become_new();
    if (check_epoch(c_, *known) != ErrorCode::kNone) return fenced(*known);
    before_ = *known;
    return {};
  }

  Answer enter_static() {
    const ConsumerMember* known = edit_.group().static_member(*c_.instance);
    if (c_.epoch == 0) {
      if (known == nullptr) return enter_dynamic();
      // While another process has the name, nobody may take it; a classic one cannot tell us.
      if (!known->classic && known->epoch != kStaticLeaveEpoch)
        return refuse(ErrorCode::kUnreleasedInstanceId,
                      "The instance id is that of member " + known->id + ".");
      const ConsumerMember old = *known;
      before_ = edit_.replace_static(old, c_.member.empty() ? fresh_id() : c_.member);
      return {};
    }
    if (known == nullptr)
      return refuse(ErrorCode::kUnknownMemberId, "The instance id is not in the group.");
    if (known->id != c_.member)
      return refuse(ErrorCode::kFencedInstanceId,
                    "The instance id is that of member " + known->id + ".");
    if (check_epoch(c_, *known) != ErrorCode::kNone) return fenced(*known);
    before_ = *known;
    return {};
  }

  Answer become_new() {
    before_ = {.id = c_.member.empty() ? fresh_id() : c_.member};
    is_new_ = true;
    return {};
  }
  std::string fresh_id() const { return random_uuid(draft_.now.random).to_string(); }
  Answer fenced(const ConsumerMember& known) const {
    return refuse(ErrorCode::kFencedMemberEpoch,
                  "The member is at epoch " + std::to_string(known.epoch) + ", not " +
                      std::to_string(c_.epoch) + ": it must give up its partitions and rejoin.");
  }

  Answer check_expression() const {
    if (!c_.regex || c_.regex->empty() || edit_.group().regexes.contains(*c_.regex)) return {};
    const auto checked = check_regex(*c_.regex);
    if (checked) return {};
    return refuse(ErrorCode::kInvalidRegularExpression,
                  "SubscribedTopicRegex is not valid: " + checked.error().message);
  }

  void update_member() {
    member_ = before_;
    if (c_.instance) member_.instance = c_.instance;
    if (c_.rack) member_.rack = c_.rack;
    if (c_.rebalance_timeout_ms != -1) member_.rebalance_timeout_ms = c_.rebalance_timeout_ms;
    if (c_.assignor) member_.assignor = c_.assignor;
    if (c_.topics) member_.topics = TopicNames(c_.topics->begin(), c_.topics->end());
    if (c_.regex) member_.regex = c_.regex;
    member_.client_id = c_.client_id;
    member_.client_host = c_.client_host;
    member_.classic.reset();
    const bool names_changed = member_.topics != before_.topics;
    const bool regex_changed = member_.regex.value_or("") != before_.regex.value_or("");
    if (is_new_ || !member_.says_the_same(before_)) edit_.put_member(member_);
    if (before_.classic) {
      edit_.disarm(member_join_timer(c_.group, member_.id));
      edit_.disarm(member_sync_timer(c_.group, member_.id));
    }
    subscription_changed_ = names_changed || regex_changed;
    wants_epoch_ = subscription_changed_;
    if (regex_changed) edit_.drop_unused_regexes();
    if (member_.has_regex() && edit_.refresh_regexes()) wants_epoch_ = true;
  }

  /// False: it has to come back with nothing.
  bool reconcile_member() {
    const int32_t epoch = edit_.group().assignment_epoch;
    if (!subscription_changed_ && member_.reconciled_to(epoch)) return true;
    const auto next = reconcile(member_, {.group = edit_.group(),
                                          .image = edit_.image(),
                                          .target_epoch = epoch,
                                          .target = edit_.group().target(member_.id),
                                          .subscription_changed = subscription_changed_,
                                          .owned = c_.owned});
    if (!next) return false;
    if (*next == member_) return true;
    member_ = *next;
    edit_.put_assignment(member_);
    edit_.arm_rebalance(member_);
    return true;
  }

  Answer answer() const {
    Answer out{.member = member_.id,
               .epoch = member_.epoch,
               .interval_ms =
                   group_setting(draft_, c_.group, metadata::GroupKey::kConsumerHeartbeatIntervalMs,
                                 draft_.settings.consumer_heartbeat_interval_ms)};
    const bool full = c_.rebalance_timeout_ms != -1 && (c_.topics || c_.regex) && c_.owned;
    Partitions assigned = without_epochs(member_.assigned);
    if (c_.epoch == 0 || full || assigned != without_epochs(before_.assigned))
      out.assignment = std::move(assigned);
    return out;
  }

  ConsumerEdit edit_;
  Draft& draft_;
  const ConsumerHeartbeat& c_;
  ConsumerMember before_{};
  ConsumerMember member_{};
  bool is_new_ = false;
  bool subscription_changed_ = false;
  bool wants_epoch_ = false;
};

Answer leave_static(Draft& draft, const ConsumerHeartbeat& c, const ConsumerMember& known) {
  ConsumerEdit edit(draft, c.group);
  ConsumerMember away = known;
  away.epoch = kStaticLeaveEpoch;
  away.revoking.clear();
  // Who comes back in its place is given them anew.
  for (auto& [topic, partitions] : away.assigned) {
    for (auto& [index, epoch] : partitions) epoch = 0;
  }
  edit.put_assignment(away);
  edit.disarm(rebalance_timer(c.group, away.id));
  edit.finish();
  return {.member = away.id, .epoch = kStaticLeaveEpoch};
}

Answer leave_group(Draft& draft, const ConsumerHeartbeat& c) {
  const ConsumerGroup* group = draft.state.find_consumer(c.group);
  if (group == nullptr)
    return refuse(ErrorCode::kGroupIdNotFound, "There is no such consumer group.");
  const ConsumerMember* known =
      c.instance ? group->static_member(*c.instance) : group->member(c.member);
  if (known == nullptr)
    return refuse(ErrorCode::kUnknownMemberId, "The member is not in the group.");
  if (c.instance && known->id != c.member)
    return refuse(ErrorCode::kFencedInstanceId,
                  "The instance id is that of member " + known->id + ".");
  if (c.instance && c.epoch == kStaticLeaveEpoch) return leave_static(draft, c, *known);
  drop_members(draft, c.group, {known->id});
  return {.member = c.member, .epoch = c.epoch};
}

/// Cuts `prefix/size/group/member` into its names; false if the prefix is another.
bool take(std::string_view key, std::string_view prefix, std::string& group, std::string& member) {
  if (!key.starts_with(prefix)) return false;
  key.remove_prefix(prefix.size());
  size_t size = 0;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), size);
  ODRADEK_CHECK(error == std::errc());
  key.remove_prefix(static_cast<size_t>(end - key.data()) + 1);
  group = std::string(key.substr(0, size));
  member = std::string(key.substr(size + 1));
  return true;
}

}  // namespace

ConsumerHeartbeatAnswer consumer_heartbeat(Draft& draft, const ConsumerHeartbeat& command) {
  if (command.epoch < 0) return leave_group(draft, command);
  return Beat(draft, command).run();
}

bool consumer_timer(Draft& draft, std::string_view key) {
  std::string id;
  std::string member;
  const bool session = take(key, "session/", id, member);
  const bool revoke = take(key, "revoke/", id, member);
  if (!session && !revoke && !take(key, "rejoin/", id, member) && !take(key, "resync/", id, member))
    return false;
  const ConsumerGroup* group = draft.state.find_consumer(id);
  // Sessions of classic groups have the same name.
  if (group == nullptr) return !session;
  const ConsumerMember* m = group->member(member);
  if (m == nullptr || (revoke && m->state != MemberState::kUnrevoked)) return true;
  drop_members(draft, id, {member});
  return true;
}

void consumer_loaded(Draft& draft) {
  for (const auto& [id, group] : draft.state.groups()) {
    if (!group.consumer) continue;
    ConsumerEdit edit(draft, id);
    for (const auto& [member, m] : group.consumer->members()) {
      edit.arm_session(*m);
      if (m->state == MemberState::kUnrevoked && !m->classic) edit.arm_rebalance(*m);
    }
    edit.finish();
  }
}

}  // namespace odradek::machines::group
