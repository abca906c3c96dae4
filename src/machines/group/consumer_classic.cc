// JoinGroup, SyncGroup, Heartbeat and LeaveGroup of classic members in a group of the consumer
// protocol. To them it looks like a group whose leader is somebody else: a join is answered at
// once, and the coordinator has assigned. REBALANCE_IN_PROGRESS makes them join again.
#include <algorithm>
#include <utility>

#include "machines/group/consumer_edit.h"
#include "machines/group/embedded.h"
#include "machines/group/member_id.h"
#include "machines/group/migration.h"
#include "machines/group/reconcile.h"

namespace odradek::machines::group {

namespace {

constexpr std::string_view kConsumer = "consumer";

class ConsumerJoin {
 public:
  ConsumerJoin(Draft& draft, const Join& c) : edit_(draft, c.group), draft_(draft), c_(c) {}

  JoinAnswer run() {
    id_ = c_.member.empty()
              ? new_member_id(c_.instance ? *c_.instance : c_.client_id, draft_.now.random)
              : c_.member;
    if (const ErrorCode error = enter(); error != ErrorCode::kNone)
      return {.error = error, .member = error == ErrorCode::kMemberIdRequired ? id_ : ""};
    const bool bumped = update_member();
    if (downgrades_) return downgraded(bumped);
    edit_.update_target();
    reconcile_member(bumped);
    edit_.disarm(member_join_timer(c_.group, member_.id));
    edit_.disarm(rebalance_timer(c_.group, member_.id));
    edit_.arm_session(member_);
    edit_.arm(member_sync_timer(c_.group, member_.id), member_.rebalance_timeout_ms);
    edit_.finish();
    return answer();
  }

 private:
  ErrorCode enter() {
    const ConsumerGroup& group = edit_.group();
    const auto max = static_cast<size_t>(std::max(draft_.settings.consumer_max_size, 0));
    if (group.members().size() >= max && group.member(id_) == nullptr)
      return ErrorCode::kGroupMaxSizeReached;
    // group.consumer.migration.policy=disabled: the protocols are not mixed.
    const bool may_mix = draft_.settings.may_upgrade || draft_.settings.may_downgrade;
    if (!may_mix || !group.supports(c_.protocol_type, c_.protocols))
      return ErrorCode::kInconsistentGroupProtocol;
    if (c_.member.empty() && c_.id_required && !c_.instance) return ErrorCode::kMemberIdRequired;
    const auto said = read_subscription(c_.protocols.front().metadata, edit_.image());
    if (!said) return ErrorCode::kInconsistentGroupProtocol;
    subscription_ = *said;
    if (c_.instance) return enter_static();
    const ConsumerMember* known = group.member(id_);
    become(known);
    return ErrorCode::kNone;
  }

  ErrorCode enter_static() {
    const ConsumerMember* known = edit_.group().static_member(*c_.instance);
    if (!c_.member.empty()) {
      if (known == nullptr) return ErrorCode::kUnknownMemberId;
      if (known->id != c_.member) return ErrorCode::kFencedInstanceId;
      become(known);
      return ErrorCode::kNone;
    }
    if (known == nullptr) {
      become(nullptr);
      return ErrorCode::kNone;
    }
    const ConsumerMember old = *known;
    const ClassicPart part{c_.session_timeout_ms, c_.protocols};
    downgrades_ = !old.classic && may_downgrade(draft_, edit_.group(), {old.id}, &part);
    before_ = edit_.replace_static(old, id_);
    return ErrorCode::kNone;
  }

  void become(const ConsumerMember* known) {
    is_new_ = known == nullptr;
    before_ = known != nullptr ? *known : ConsumerMember{.id = id_};
  }

  /// Whether what it subscribes to is new.
  bool update_member() {
    member_ = before_;
    if (c_.instance) member_.instance = c_.instance;
    if (subscription_.rack) member_.rack = subscription_.rack;
    if (c_.rebalance_timeout_ms != -1) member_.rebalance_timeout_ms = c_.rebalance_timeout_ms;
    member_.topics = subscription_.topics;
    member_.regex = "";
    member_.client_id = c_.client_id;
    member_.client_host = c_.client_host;
    member_.classic = ClassicPart{c_.session_timeout_ms, c_.protocols};
    const bool changed = member_.topics != before_.topics || before_.has_regex();
    if (is_new_ || !member_.says_the_same(before_)) edit_.put_member(member_);
    if (before_.has_regex()) edit_.drop_unused_regexes();
    edit_.bump(changed);
    return changed;
  }

  void reconcile_member(bool subscription_changed) {
    const int32_t epoch = edit_.group().assignment_epoch;
    if (!subscription_changed && member_.reconciled_to(epoch)) return;
    const std::optional<Partitions> owned = subscription_.owned;
    auto next = reconcile(member_, {.group = edit_.group(),
                                    .image = edit_.image(),
                                    .target_epoch = epoch,
                                    .target = edit_.group().target(member_.id),
                                    .subscription_changed = subscription_changed,
                                    .owned = owned});
    if (!next || *next == member_) return;
    member_ = std::move(*next);
    edit_.put_assignment(member_);
  }

  JoinAnswer downgraded(bool subscription_changed) {
    if (!subscription_changed) reconcile_member(false);
    downgrade(draft_, edit_, subscription_changed);
    return answer();
  }

  JoinAnswer answer() const {
    return {.generation = member_.epoch,
            .protocol_type = std::string(kConsumer),
            .protocol = c_.protocols.front().name,
            .member = member_.id};
  }

  ConsumerEdit edit_;
  Draft& draft_;
  const Join& c_;
  std::string id_;
  Subscription subscription_{};
  ConsumerMember before_{};
  ConsumerMember member_{};
  bool is_new_ = false;
  bool downgrades_ = false;
};

/// The classic member that is meant; UNKNOWN_MEMBER_ID or FENCED_INSTANCE_ID.
std::expected<const ConsumerMember*, ErrorCode> find_classic(
    const ConsumerGroup& group, std::string_view id, const std::optional<std::string>& instance) {
  const ConsumerMember* m = instance ? group.static_member(*instance) : group.member(id);
  if (m != nullptr && m->id != id) return std::unexpected(ErrorCode::kFencedInstanceId);
  if (m == nullptr || !m->classic) return std::unexpected(ErrorCode::kUnknownMemberId);
  return m;
}

bool contradicts(const std::optional<std::string>& said, std::string_view known) {
  return said && *said != known;
}

}  // namespace

JoinAnswer join_consumer(Draft& draft, const Join& command) {
  return ConsumerJoin(draft, command).run();
}

SyncAnswer sync_consumer(Draft& draft, const ConsumerGroup& group, const Sync& c) {
  const auto found = find_classic(group, c.member, c.instance);
  if (!found) return {.error = found.error()};
  const ConsumerMember& m = **found;
  if (c.generation != m.epoch) return {.error = ErrorCode::kIllegalGeneration};
  if (m.classic->protocols.empty() || contradicts(c.protocol_type, kConsumer) ||
      contradicts(c.protocol, m.classic->protocols.front().name))
    return {.error = ErrorCode::kInconsistentGroupProtocol};
  ConsumerEdit edit(draft, c.group);
  SyncAnswer answer;
  if (group.epoch > m.epoch && m.state != MemberState::kUnrevoked) {
    edit.arm_if_absent(member_join_timer(c.group, m.id), m.rebalance_timeout_ms);
    answer.error = ErrorCode::kRebalanceInProgress;
  } else {
    edit.disarm(member_sync_timer(c.group, m.id));
    edit.arm_session(m);
    answer = {.protocol_type = c.protocol_type,
              .protocol = c.protocol,
              .assignment = write_assignment(without_epochs(m.assigned),
                                             m.classic->protocols.front().metadata, edit.image())};
  }
  edit.finish();
  return answer;
}

HeartbeatAnswer heartbeat_consumer(Draft& draft, const ConsumerGroup& group, const Heartbeat& c) {
  const auto found = find_classic(group, c.member, c.instance);
  if (!found) return {found.error()};
  const ConsumerMember& m = **found;
  if (c.generation != m.epoch) return {ErrorCode::kIllegalGeneration};
  ConsumerEdit edit(draft, c.group);
  edit.arm_session(m);
  // It joins again to learn of another epoch, to give up partitions, and to get those that have
  // become free.
  const bool rejoin = m.epoch < group.epoch || m.state == MemberState::kUnrevoked ||
                      (m.state == MemberState::kUnreleased && !group.waits_for_others(m));
  if (rejoin) edit.arm_if_absent(member_join_timer(c.group, m.id), m.rebalance_timeout_ms);
  edit.finish();
  return {rejoin ? ErrorCode::kRebalanceInProgress : ErrorCode::kNone};
}

LeaveAnswer leave_consumer(Draft& draft, const ConsumerGroup& group, const Leave& c) {
  LeaveAnswer answer;
  std::vector<std::string> leaving;
  for (const auto& m : c.members) {
    const ConsumerMember* known =
        m.instance ? group.static_member(*m.instance) : group.member(m.id);
    ErrorCode error = ErrorCode::kNone;
    if (known == nullptr) {
      error = ErrorCode::kUnknownMemberId;
    } else if (m.instance && !m.id.empty() && known->id != m.id) {
      error = ErrorCode::kFencedInstanceId;
    } else if (std::ranges::find(leaving, known->id) == leaving.end()) {
      leaving.push_back(known->id);
    }
    answer.results.push_back(error);
  }
  if (!leaving.empty()) drop_members(draft, c.group, leaving);
  return answer;
}

}  // namespace odradek::machines::group
