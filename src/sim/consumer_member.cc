#include "sim/consumer_member.h"

#include <fmt/format.h>

#include <algorithm>

#include "wire/gen/consumer_group_heartbeat.h"

namespace odradek::sim {

namespace {

using wire::ErrorCode;
using Request = wire::ConsumerGroupHeartbeatRequest;
using Response = wire::ConsumerGroupHeartbeatResponse;

constexpr int32_t kLeaves = -1;
constexpr int32_t kIsAway = -2;  // a static member that will be back

class ConsumerMember : GroupConsumer {
 public:
  ConsumerMember(GroupWorld& world, io::Loop& loop, MemberPlan plan)
      : GroupConsumer(world, loop, std::move(plan)), ends_(loop.clock().now() + this->plan.life) {
    version_ = static_cast<int16_t>(rng().between(0, 1));
    if (version_ == 1) id = this->plan.name + "-id";
    by_expression_ = version_ == 1 && rng().one_in(3);
    epoch = 0;
  }

  io::Task<void> live();

 private:
  bool done() const { return ended_ || world.over || world.failed(); }

  Request request(Arena& arena, int32_t as_epoch) const;
  io::Task<void> heartbeat();
  io::Task<void> take(const Response& answer, GroupHistory::Moment sent, MonoNs sent_at);
  io::Task<void> take_assignment(const std::set<History::Partition>& given);
  void react(ErrorCode error);
  void lose_everything();
  io::Task<void> misbehave();
  io::Task<void> leave();

  MonoNs ends_;
  int16_t version_;
  bool by_expression_;  // else it names its topics
  bool knows_coordinator_ = false;
  bool due_ = true;     // there is something to say
  MonoNs in_touch_{0};  // when it sent the last request that was answered well
  MonoNs next_{0};      // heartbeat
  int unanswered_ = 0;  // requests since then
  bool ended_ = false;
  bool says_goodbye_ = false;
};

Request ConsumerMember::request(Arena& arena, int32_t as_epoch) const {
  Request out;
  out.group_id = plan.group;
  out.member_id = id;
  out.member_epoch = as_epoch;
  if (plan.instance) out.instance_id = *plan.instance;
  if (as_epoch < 0) return out;
  out.rebalance_timeout_ms = plan.rebalance_ms;
  auto& topics = out.subscribed_topic_names.emplace();
  if (version_ == 1) out.subscribed_topic_regex = "";
  if (by_expression_) {
    out.subscribed_topic_regex =
        arena.copy(fmt::format("{}|nothing.*", fmt::join(plan.topics, "|")));
  } else {
    for (const std::string& topic : plan.topics) topics.add(arena) = topic;
  }
  auto& mine = out.topic_partitions.emplace();
  if (as_epoch == 0) return out;
  const std::string* last = nullptr;
  const auto all = owned();
  for (const auto& p : all) {
    if (last == nullptr || *last != p.topic)
      mine.add(arena).topic_id = world.clients.topic_id(p.topic);
    last = &p.topic;
    mine.back().partitions.add(arena) = p.index;
  }
  return out;
}

void ConsumerMember::lose_everything() {
  give_up_everything();
  world.history.gone(plan.group, id);
  epoch = 0;
  due_ = true;
}

void ConsumerMember::react(ErrorCode error) {
  say(fmt::format("heartbeat {}", wire::name(error)));
  switch (error) {
    case ErrorCode::kGroupIdNotFound:  // only members of the classic protocol are left
      if (!plan.mixed) world.history.fail(fmt::format("{} is not found", plan.group));
      [[fallthrough]];
    case ErrorCode::kUnknownMemberId:
    case ErrorCode::kFencedMemberEpoch:
      // A lost answer may have moved it on, and taken from it what it still says it has; two of
      // them are more than the group can know of.
      if (epoch > 0 && unanswered_ < (owned().empty() ? 2 : 1) &&
          loop.clock().now() < in_touch_ + patience()) {
        world.history.fail(fmt::format("{}: {} ({}) was a member at epoch {}, and is told {}",
                                       plan.group, plan.name, id, epoch, wire::name(error)));
      }
      lose_everything();
      return;
    case ErrorCode::kFencedInstanceId:
      if (epoch > 0 && loop.clock().now() < in_touch_ + patience())
        world.history.fail(fmt::format("{}: {} is fenced by nobody", plan.group, plan.name));
      world.fenced++;
      ended_ = true;
      return;
    case ErrorCode::kUnreleasedInstanceId:  // the process before it has not been given up yet
      due_ = true;
      return;
    case ErrorCode::kNotCoordinator:  // its append may have failed after it was in the log
      unanswered_++;
      [[fallthrough]];
    default:
      knows_coordinator_ = false;
      (void)may_retry(world.clients, "ConsumerGroupHeartbeat", wire::wire_value(error));
  }
}

io::Task<void> ConsumerMember::heartbeat() {
  if (!knows_coordinator_) {
    knows_coordinator_ =
        co_await find_coordinator(world.clients, coordinator, CoordinatorOf::kGroup, plan.group);
    if (!knows_coordinator_) co_return;
  }
  Arena arena;
  const Request body = request(arena, epoch);
  due_ = false;
  world.history.returned(plan.group, id, owned());
  const GroupHistory::Moment sent = world.history.moment();
  const MonoNs sent_at = loop.clock().now();
  auto reply = co_await coordinator.call<Request, Response>(body, version_);
  if (!reply) {
    knows_coordinator_ = false;
    due_ = true;
    unanswered_++;
    co_return;
  }
  const auto error = static_cast<ErrorCode>(reply->body.error_code);
  if (error != ErrorCode::kNone) co_return react(error);
  co_await take(reply->body, sent, sent_at);
}

io::Task<void> ConsumerMember::take(const Response& answer, GroupHistory::Moment sent,
                                    MonoNs sent_at) {
  if (answer.member_id && id.empty()) id = std::string(*answer.member_id);
  if (answer.member_epoch < epoch) {
    world.history.fail(fmt::format("{}: {} goes from epoch {} back to {}", plan.group, id, epoch,
                                   answer.member_epoch));
  }
  world.history.at_epoch(plan.group, answer.member_epoch, sent);
  epoch = answer.member_epoch;
  in_touch_ = sent_at;
  unanswered_ = 0;
  next_ = loop.clock().now() + Millis(answer.heartbeat_interval_ms);
  world.history.in_touch(plan.group, id, sent_at + patience());
  if (!answer.assignment) co_return;
  std::set<History::Partition> given;
  for (const auto& topic : answer.assignment->topic_partitions) {
    const KnownTopic* known = world.clients.topic(topic.topic_id);
    if (known == nullptr) co_return world.history.fail("an assignment of an unknown topic");
    for (const int32_t index : topic.partitions) given.insert({known->name, index});
  }
  world.history.given(plan.group, id, given, loop.clock().now(), sent_at + patience());
  co_await take_assignment(given);
}

io::Task<void> ConsumerMember::take_assignment(const std::set<History::Partition>& given) {
  say("has " + text(given));
  Positions revoked;
  for (const auto& p : owned()) {
    if (given.contains(p)) continue;
    if (positions.contains(p)) revoked[p] = positions[p];
  }
  co_await commit(revoked, epoch);
  const auto before = owned();
  for (const auto& p : before) {
    if (!given.contains(p)) give_up(p);
  }
  for (const auto& p : given) {
    if (!positions.contains(p)) unread.insert(p);
  }
  due_ = due_ || owned() != before;
}

io::Task<void> ConsumerMember::misbehave() {
  switch (rng().below(5)) {
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
    case 3: {  // something else to read; two processes of one instance want the same
      if (plan.instance) break;
      const auto& topics = world.clients.topics;
      plan.topics = {topics[rng().below(topics.size())].name,
                     topics[rng().below(topics.size())].name};
      world.alive[plan.name] = plan;
      by_expression_ = version_ == 1 && rng().one_in(3);
      say("changes its mind");
      due_ = true;
      break;
    }
    case 4:  // another connection
      coordinator.disconnect();
      break;
  }
}

io::Task<void> ConsumerMember::leave() {
  Arena arena;
  const bool away = plan.instance && !world.over && rng().one_in(2);
  const Request body = request(arena, away ? kIsAway : kLeaves);
  const GroupHistory::Moment sent = world.history.moment();
  world.history.gone(plan.group, id);
  auto reply = co_await coordinator.call<Request, Response>(body, version_);
  if (!reply || reply->body.error_code != 0) co_return;
  if (!away) world.history.left(plan.group, id, sent);
  if (rng().one_in(2)) co_await commit(positions, epoch);  // too late
}

io::Task<void> ConsumerMember::live() {
  while (!done()) {
    if (due_ || loop.clock().now() >= next_) {
      co_await heartbeat();
      if (epoch == 0) co_await loop.sleep(kRetryPause);
      continue;
    }
    co_await read_positions();
    co_await poll();
    if (rng().one_in(4)) co_await commit(positions, epoch);
    if (!world.calm && rng().one_in(50)) co_await misbehave();
    if (!world.calm && loop.clock().now() >= ends_) {
      ended_ = true;
      says_goodbye_ = rng().one_in(2);
    }
  }
  const bool goodbye = says_goodbye_ || world.over;
  say(goodbye ? "leaves" : "crashes");
  if (goodbye && epoch > 0 && !world.failed()) co_await leave();
  if (!goodbye) world.crashes++;
}

}  // namespace

io::Task<void> run_consumer_member(GroupWorld& world, io::Loop& loop, MemberPlan plan) {
  return run_member<ConsumerMember>(world, loop, std::move(plan));
}

}  // namespace odradek::sim
