#include "sim/classic_member.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/group_assign.h"
#include "wire/gen/heartbeat.h"
#include "wire/gen/join_group.h"
#include "wire/gen/leave_group.h"
#include "wire/gen/sync_group.h"

namespace odradek::sim {

namespace {

using wire::ErrorCode;

class ClassicMember : GroupConsumer {
 public:
  ClassicMember(GroupWorld& world, io::Loop& loop, MemberPlan plan)
      : GroupConsumer(world, loop, std::move(plan)),
        ends_(loop.clock().now() + this->plan.life),
        subscription_version_(static_cast<int16_t>(rng().between(eager() ? 0 : 1, 3))) {}

  io::Task<void> live();

 private:
  struct Joined {
    int32_t generation;
    std::string protocol;
    Assignment assignment{};  // by the leader
  };

  /// Gives everything up before it joins; else it keeps what it has.
  bool eager() const { return plan.protocols.size() > 1 || plan.protocols[0] == kRange; }
  bool done() const { return ended_ || world.over || world.failed(); }

  io::Task<void> join();
  wire::JoinGroupRequest join_request(Arena& arena, int16_t version);
  void take_join(const wire::JoinGroupResponse& answer, GroupHistory::Moment sent, bool fresh,
                 std::optional<Joined>& joined);
  void lead(const wire::JoinGroupResponse& answer, Joined& joined);
  io::Task<void> sync(Joined joined);
  io::Task<void> take_assignment(std::set<History::Partition> given);
  io::Task<void> work();
  io::Task<void> heartbeat();
  io::Task<void> misbehave();
  io::Task<void> leave();
  /// Goes on as an error demands.
  void react(const char* what, ErrorCode error);
  void forgotten(const char* what);

  MonoNs ends_;
  int16_t subscription_version_;
  bool knows_coordinator_ = false;
  bool tried_ = false;      // has joined with this id, or tried to
  bool joined_ = false;     // no rebalance is due, as far as it knows
  bool was_given_ = false;  // this id has been given something (maybe nothing)
  /// When it sent its last heartbeat that was answered well. What joins and syncs do for its
  /// session it cannot tell: who comes late is answered without it beginning anew, as at Apache.
  MonoNs in_touch_{0};
  bool ended_ = false;
  bool says_goodbye_ = false;
};

void ClassicMember::react(const char* what, ErrorCode error) {
  say(fmt::format("{} {}", what, wire::name(error)));
  const std::string before = id;
  switch (error) {
    case ErrorCode::kUnknownMemberId:
      forgotten(what);
      in_touch_ = MonoNs(0);
      id.clear();
      [[fallthrough]];
    case ErrorCode::kIllegalGeneration:
      give_up_everything();
      if (plan.mixed) world.history.gone(plan.group, before);
      joined_ = false;
      return;
    case ErrorCode::kRebalanceInProgress:
      joined_ = false;
      return;
    case ErrorCode::kFencedInstanceId:
      // Before it is given something the group may forget that it has come (as at Apache).
      if (!plan.instance ||
          (was_given_ && world.last_process[{plan.group, *plan.instance}] == plan.name))
        world.history.fail(fmt::format("{}: {} is fenced by nobody", plan.group, plan.name));
      world.fenced++;
      ended_ = true;
      return;
    default:
      knows_coordinator_ = false;
      (void)may_retry(world.clients, what, wire::wire_value(error));
  }
}

/// The group does not know the member any more: was it silent for so long?
void ClassicMember::forgotten(const char* what) {
  const bool fenced =
      plan.instance && world.last_process[{plan.group, *plan.instance}] != plan.name;
  if (was_given_ && !fenced && loop.clock().now() < in_touch_ + patience()) {
    world.history.fail(fmt::format("{}: {} ({}) was a member, and {} says it is not", plan.group,
                                   plan.name, id, what));
  }
  was_given_ = false;
}

// ---- joining

wire::JoinGroupRequest ClassicMember::join_request(Arena& arena, int16_t version) {
  wire::JoinGroupRequest request;
  request.group_id = plan.group;
  request.session_timeout_ms = plan.session_ms;
  if (version >= 1) request.rebalance_timeout_ms = plan.rebalance_ms;
  request.member_id = id;
  if (plan.instance) request.group_instance_id = *plan.instance;
  request.protocol_type = "consumer";
  const ByteBuffer metadata = encode({plan.topics, owned(), epoch}, subscription_version_);
  const std::string_view bytes = arena.copy(as_text(metadata));
  for (const std::string& name : plan.protocols) {
    auto& protocol = request.protocols.add(arena);
    protocol.name = name;
    protocol.metadata = as_bytes(bytes);
  }
  return request;
}

void ClassicMember::lead(const wire::JoinGroupResponse& answer, Joined& joined) {
  std::map<std::string, Subscription> members;
  for (const auto& m : answer.members) {
    auto subscription = decode_subscription(m.metadata);
    if (!subscription) return world.history.fail("a subscription that cannot be read");
    members[std::string(m.member_id)] = std::move(*subscription);
  }
  joined.assignment = assign(joined.protocol, world.clients.topics, members);
  for (const auto& [member, subscription] : members) joined.assignment[member];
}

void ClassicMember::take_join(const wire::JoinGroupResponse& answer, GroupHistory::Moment sent,
                              bool fresh, std::optional<Joined>& joined) {
  const auto error = static_cast<ErrorCode>(answer.error_code);
  if (error == ErrorCode::kMemberIdRequired) {
    id = std::string(answer.member_id);
    tried_ = false;
    return;
  }
  if (error != ErrorCode::kNone) return react("JoinGroup", error);
  id = std::string(answer.member_id);
  tried_ = true;
  if (!plan.mixed)
    world.history.joined(plan.group, answer.generation_id, fresh && !plan.instance, sent);
  joined = Joined{answer.generation_id, std::string(answer.protocol_name.value_or(""))};
  if (std::ranges::count(plan.protocols, joined->protocol) == 0) {
    world.history.fail(
        fmt::format("{}: {} is to use protocol '{}'", plan.group, plan.name, joined->protocol));
  }
  if (answer.leader == id && !answer.skip_assignment) lead(answer, *joined);
}

io::Task<void> ClassicMember::join() {
  if (!knows_coordinator_) {
    knows_coordinator_ =
        co_await find_coordinator(world.clients, coordinator, CoordinatorOf::kGroup, plan.group);
    if (!knows_coordinator_) co_return;
  }
  if (eager()) {
    // As a member of the generation that ends.
    co_await commit(positions, epoch);
    give_up_everything();
  }
  Arena arena;
  const auto version = static_cast<int16_t>(rng().between(plan.instance ? 5 : 0, 9));
  if (plan.instance && id.empty()) world.last_process[{plan.group, *plan.instance}] = plan.name;
  const bool fresh = id.empty() || !std::exchange(tried_, true);
  const wire::JoinGroupRequest request = join_request(arena, version);
  if (plan.mixed) world.history.returned(plan.group, id, owned());
  const GroupHistory::Moment sent = world.history.moment();
  auto reply =
      co_await coordinator.call<wire::JoinGroupRequest, wire::JoinGroupResponse>(request, version);
  if (!reply) {
    knows_coordinator_ = false;
    co_return;
  }
  std::optional<Joined> joined;
  take_join(reply->body, sent, fresh, joined);
  if (!joined) co_return;
  co_await sync(std::move(*joined));
}

io::Task<void> ClassicMember::sync(Joined joined) {
  Arena arena;
  const auto version = static_cast<int16_t>(rng().between(plan.instance ? 3 : 0, 5));
  wire::SyncGroupRequest request;
  request.group_id = plan.group;
  request.generation_id = joined.generation;
  request.member_id = id;
  if (plan.instance) request.group_instance_id = *plan.instance;
  if (version >= 5) {
    request.protocol_type = "consumer";
    request.protocol_name = joined.protocol;
  }
  for (const auto& [member, partitions] : joined.assignment) {
    auto& assignment = request.assignments.add(arena);
    assignment.member_id = member;
    const ByteBuffer bytes = encode_assignment(partitions);
    assignment.assignment = as_bytes(arena.copy(as_text(bytes)));
  }
  const GroupHistory::Moment sent = world.history.moment();
  auto reply =
      co_await coordinator.call<wire::SyncGroupRequest, wire::SyncGroupResponse>(request, version);
  if (!reply) {
    knows_coordinator_ = false;
    co_return;
  }
  const auto error = static_cast<ErrorCode>(reply->body.error_code);
  if (error != ErrorCode::kNone) co_return react("SyncGroup", error);
  auto given = decode_assignment(reply->body.assignment);
  if (!given) co_return world.history.fail("an assignment that cannot be read");
  if (plan.mixed) {
    world.history.at_epoch(plan.group, joined.generation, sent);
    world.history.given(plan.group, id, *given, loop.clock().now(), in_touch_ + patience());
  } else {
    world.history.assigned(plan.group, joined.generation, owner(), *given, sent);
  }
  was_given_ = joined_ = true;
  epoch = joined.generation;
  co_await take_assignment(std::move(*given));
}

io::Task<void> ClassicMember::take_assignment(std::set<History::Partition> given) {
  say("has " + text(given));
  Positions revoked;
  for (const auto& p : owned()) {
    if (given.contains(p)) continue;
    if (positions.contains(p)) revoked[p] = positions[p];
    give_up(p);
    joined_ = false;  // whoever is to have it gets it in the next generation
  }
  for (const auto& p : given) {
    if (!positions.contains(p)) unread.insert(p);
  }
  // In a group of both protocols a member that was given up comes back as a new one under its id,
  // and need not notice (as at Apache): what it still held may be another's.
  if (plan.mixed && loop.clock().now() >= in_touch_ + patience()) co_return;
  co_await commit(std::move(revoked), epoch);
}

// ---- working

io::Task<void> ClassicMember::heartbeat() {
  const auto version = static_cast<int16_t>(rng().between(plan.instance ? 3 : 0, 4));
  wire::HeartbeatRequest request;
  request.group_id = plan.group;
  request.generation_id = epoch;
  request.member_id = id;
  if (plan.instance) request.group_instance_id = *plan.instance;
  const MonoNs sent_at = loop.clock().now();
  const bool loaded = world.history.loaded(plan.group);
  auto reply =
      co_await coordinator.call<wire::HeartbeatRequest, wire::HeartbeatResponse>(request, version);
  if (!reply) {
    knows_coordinator_ = false;
  } else if (reply->body.error_code != 0) {
    react("Heartbeat", static_cast<ErrorCode>(reply->body.error_code));
  } else if (loaded && world.history.loaded(plan.group)) {
    in_touch_ = sent_at;
    if (plan.mixed) world.history.in_touch(plan.group, id, sent_at + patience());
  }
}

/// What a good member does not do, and what the coordinator must stand.
io::Task<void> ClassicMember::misbehave() {
  switch (rng().below(6)) {
    case 0:  // dawdles, and believes it still has what it had
      co_await loop.sleep(Millis(rng().between(0, 2 * plan.session_ms)));
      co_await commit(positions, epoch);
      break;
    case 1:
      ended_ = true;
      break;
    case 2:
      ended_ = says_goodbye_ = true;
      break;
    case 3: {  // something else to read; a static one would not be given it before a rebalance
      if (plan.instance) break;
      const auto& topics = world.clients.topics;
      plan.topics = {topics[rng().below(topics.size())].name,
                     topics[rng().below(topics.size())].name};
      world.alive[plan.name] = plan;
      say("changes its mind");
      joined_ = false;
      break;
    }
    case 4:  // in the name of an old generation
      if (epoch > 0) co_await commit(positions, epoch - 1);
      break;
    case 5:  // another connection
      coordinator.disconnect();
      break;
  }
}

io::Task<void> ClassicMember::work() {
  const Millis pause(plan.session_ms / 4);
  MonoNs due = loop.clock().now() + pause;
  while (!done() && joined_) {
    if (!knows_coordinator_)
      knows_coordinator_ =
          co_await find_coordinator(world.clients, coordinator, CoordinatorOf::kGroup, plan.group);
    co_await read_positions();
    co_await poll();
    if (rng().one_in(4)) co_await commit(positions, epoch);
    if (!world.calm && rng().one_in(50)) co_await misbehave();
    if (done() || !joined_) break;
    if (loop.clock().now() >= due) {
      co_await heartbeat();
      due = loop.clock().now() + pause;
    }
    if (!world.calm && loop.clock().now() >= ends_) {
      ended_ = true;
      says_goodbye_ = rng().one_in(2);
    }
  }
}

io::Task<void> ClassicMember::leave() {
  const auto version = static_cast<int16_t>(rng().between(plan.instance ? 3 : 0, 5));
  Arena arena;
  wire::LeaveGroupRequest request;
  request.group_id = plan.group;
  if (version < 3) {
    request.member_id = id;
  } else {
    auto& member = request.members.add(arena);
    member.member_id = id;
    if (plan.instance) member.group_instance_id = *plan.instance;
  }
  const GroupHistory::Moment sent = world.history.moment();
  if (plan.mixed) world.history.gone(plan.group, id);
  auto reply = co_await coordinator.call<wire::LeaveGroupRequest, wire::LeaveGroupResponse>(
      request, version);
  if (!reply) co_return;
  int16_t code = reply->body.error_code;
  if (code == 0 && version >= 3) code = reply->body.members[0].error_code;
  if (code != 0) co_return react("LeaveGroup", static_cast<ErrorCode>(code));
  world.history.left(plan.group, id, sent);
  if (rng().one_in(2)) co_await commit(positions, epoch);  // too late
}

io::Task<void> ClassicMember::live() {
  while (!done()) {
    if (joined_) {
      co_await work();
    } else {
      co_await join();
      if (!joined_) co_await loop.sleep(kRetryPause);
    }
  }
  const bool goodbye = says_goodbye_ || world.over;
  say(goodbye ? "leaves" : "crashes");
  if (goodbye && was_given_ && !world.failed()) co_await leave();
  if (!goodbye) world.crashes++;
}

}  // namespace

io::Task<void> run_classic_member(GroupWorld& world, io::Loop& loop, MemberPlan plan) {
  return run_member<ClassicMember>(world, loop, std::move(plan));
}

}  // namespace odradek::sim
