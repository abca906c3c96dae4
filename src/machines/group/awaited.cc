#include "machines/group/awaited.h"

#include "machines/group/draft.h"

namespace odradek::machines::group {

std::string_view name(Awaited::For what) {
  switch (what) {
    case Awaited::For::kJoin:
      return "join";
    case Awaited::For::kSync:
      return "sync";
    case Awaited::For::kHeartbeat:
      return "heartbeat";
  }
  return "unknown";
}

namespace {

/// Of all the next heartbeat, and of some that they give up partitions, or join again.
std::vector<Awaited> awaited_consumers(std::string_view id, const ConsumerGroup& group) {
  std::vector<Awaited> out;
  for (const auto& [member_id, m] : group.members()) {
    Awaited a{.member = m->instance.value_or(member_id),
              .client_id = m->client_id,
              .client_host = m->client_host,
              .session_ms = m->classic ? m->classic->session_timeout_ms : 0,
              .timers = {session_timer(id, member_id)}};
    if (m->state == MemberState::kUnrevoked) a.timers.push_back(rebalance_timer(id, member_id));
    if (m->classic && m->epoch < group.epoch) {
      a.what = Awaited::For::kJoin;
      a.timers.push_back(member_join_timer(id, member_id));
    }
    out.push_back(std::move(a));
  }
  return out;
}

}  // namespace

std::vector<Awaited> awaited(std::string_view id, const Group& group) {
  if (group.consumer) return awaited_consumers(id, *group.consumer);
  const ClassicGroup& classic = *group.classic;
  std::vector<Awaited> out;
  for (const auto& [member_id, m] : classic.members) {
    if (m->joining != 0 || m->syncing != 0) continue;  // it is the one that waits
    Awaited a{.member = m->instance.value_or(member_id),
              .client_id = m->client_id,
              .client_host = m->client_host,
              .session_ms = m->session_timeout_ms,
              .timers = {session_timer(id, member_id)}};
    if (classic.state == ClassicState::kPreparingRebalance) {
      a.what = Awaited::For::kJoin;
      a.timers.push_back(join_timer(id));
    } else if (classic.state == ClassicState::kCompletingRebalance && classic.leader == member_id) {
      a.what = Awaited::For::kSync;
      a.timers.push_back(sync_timer(id));
    }
    out.push_back(std::move(a));
  }
  for (const std::string& pending : classic.pending) {
    out.push_back({.what = Awaited::For::kJoin,
                   .member = pending,
                   .timers = {session_timer(id, pending), join_timer(id)}});
  }
  return out;
}

}  // namespace odradek::machines::group
