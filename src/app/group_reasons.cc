// What follows from the facts, in sentences.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "app/cli.h"
#include "app/group_facts.h"

namespace odradek::app {

namespace {

using Reasons = std::vector<Reason>;

std::string text_of(double seconds) { return duration(std::llround(seconds * 1e3)); }

std::string name_of(const Place& place) { return fmt::format("{}-{}", place.first, place.second); }

/// "t-0, t-1, t-2 and 7 more".
std::string list(const std::vector<Place>& places) {
  constexpr size_t kTold = 3;
  std::string out;
  for (size_t i = 0; i < std::min(places.size(), kTold); i++)
    out += (i == 0 ? "" : ", ") + name_of(places[i]);
  if (places.size() > kTold) out += fmt::format(" and {} more", places.size() - kTold);
  return out;
}

/// "1 member is", "3 members are".
std::string members_are(size_t n) {
  return n == 1 ? "1 member is" : fmt::format("{} members are", n);
}

std::string who(const AwaitedMember& m) {
  if (m.client.empty()) return fmt::format("member {}", m.member);
  return fmt::format("member {} (client {} at {})", m.member, m.client, m.host);
}

std::string last_commit(const GroupFacts& f) {
  return f.commit_age_s < 0 ? ""
                            : fmt::format("; its last commit was {} ago", text_of(f.commit_age_s));
}

// ---- members

void tell_rebalance(const GroupFacts& f, Reasons& out) {
  const bool joining = f.group.state == "PreparingRebalance";
  const std::string since = f.state_s < 0 ? "" : fmt::format(" since {}", text_of(f.state_s));
  const size_t before = out.size();
  for (const AwaitedMember& m : f.awaited) {
    if (m.what == "heartbeat") continue;
    out.push_back(
        {joining ? "joining" : "assigning",
         fmt::format("a rebalance is under way{}: {} has yet to {}; it is given up in {}", since,
                     who(m), joining ? "join again" : "assign the partitions as the leader",
                     text_of(m.left))});
  }
  if (out.size() > before) return;
  if (joining && f.has_metrics) {
    out.push_back({"joining",
                   "a new group waits a moment for more members to join "
                   "(group.initial.rebalance.delay.ms)"});
    return;
  }
  out.push_back({joining ? "joining" : "assigning",
                 fmt::format("a rebalance is under way{}: {}", since,
                             joining ? "members have yet to join again"
                                     : "the leader has yet to assign the partitions")});
}

void tell_members(const GroupFacts& f, Reasons& out) {
  const std::string& state = f.group.state;
  if (f.group.members.empty()) {
    out.push_back({"no-members", "it has no members: nobody reads" + last_commit(f)});
    return;
  }
  if (state == "PreparingRebalance" || state == "CompletingRebalance") tell_rebalance(f, out);
  if (state == "Assigning" || state == "Reconciling") {
    out.push_back({"reconciling", fmt::format("a rebalance is under way ({}): members have yet to "
                                              "give up partitions or take them over",
                                              state)});
  }
  for (const AwaitedMember& m : f.awaited) {
    if (m.what != "heartbeat") continue;
    const auto member = std::ranges::find(f.group.members, m.member, &GroupMember::name);
    const size_t owned = member == f.group.members.end() ? 0 : member->assigned.size();
    out.push_back({"silent-member",
                   fmt::format("{} has been silent for {}: if it is dead, its {} partitions wait "
                               "until its session ends in {}",
                               who(m), text_of(m.seconds), owned, text_of(m.left))});
  }
}

// ---- partitions

void tell_topics(const GroupFacts& f, Reasons& out) {
  for (const std::string& topic : f.missing) {
    out.push_back({"topic-missing",
                   fmt::format("topic {} does not exist, though {}", topic,
                               f.subscribed.contains(topic) ? "members are subscribed to it"
                                                            : "the group has offsets of it")});
  }
  std::vector<Place> leaderless;
  for (const auto& [place, row] : f.after) {
    if (row.end < 0 && f.topics.contains(place.first)) leaderless.push_back(place);
  }
  if (!leaderless.empty()) {
    out.push_back({"no-leader",
                   fmt::format("nobody can read {}: no leader answers for it", list(leaderless))});
  }
}

void tell_ranges(const GroupFacts& f, Reasons& out) {
  for (const auto& [place, row] : f.after) {
    if (row.committed < 0 || row.end < 0) continue;
    const auto start = f.starts.find(place);
    if (start != f.starts.end() && row.committed < start->second) {
      out.push_back({"below-start",
                     fmt::format("{}: its offset {} is below the log start {}: {} records were "
                                 "removed before they were read; auto.offset.reset decides where a "
                                 "member goes on",
                                 name_of(place), row.committed, start->second,
                                 start->second - row.committed)});
    }
    if (row.committed > row.end) {
      out.push_back({"beyond-end",
                     fmt::format("{}: its offset {} is beyond the end {}: the topic was made anew, "
                                 "or has lost its end; auto.offset.reset decides where a member "
                                 "goes on",
                                 name_of(place), row.committed, row.end)});
    }
  }
}

void tell_transactions(const GroupFacts& f, Reasons& out) {
  for (const auto& [place, open] : f.pinned) {
    std::string by = "a transaction";
    if (!open.id.empty()) by = fmt::format("transaction {}", open.id);
    if (open.producer >= 0)
      by += fmt::format(" of producer {} epoch {}", open.producer, open.epoch);
    std::string since;
    if (open.open_for_ms >= 0) {
      since = fmt::format(", open for {}", duration(open.open_for_ms));
    } else if (open.last_record >= 0) {
      since = fmt::format(", last heard of {} ago", duration(now_ms() - open.last_record));
    }
    out.push_back({"open-transaction",
                   fmt::format("{}: readers of committed records stop at {}, {} records before the "
                               "end, for {}{}",
                               name_of(place), open.stable,
                               f.after.contains(place) ? f.after.at(place).end - open.stable : 0,
                               by, since)});
  }
  if (f.unstable.empty()) return;
  out.push_back({"unstable-offsets",
                 fmt::format("offsets of {} were committed in a transaction that is still open: "
                             "members that start wait for its end",
                             list({f.unstable.begin(), f.unstable.end()}))});
}

void tell_owners(const GroupFacts& f, Reasons& out) {
  if (f.group.state != "Stable" || f.group.protocol_type != "consumer") return;
  std::set<Place> owned;
  for (const GroupMember& m : f.group.members) owned.insert(m.assigned.begin(), m.assigned.end());
  std::vector<Place> orphans;
  for (const std::string& topic : f.subscribed) {
    const auto known = f.topics.find(topic);
    if (known == f.topics.end()) continue;
    for (const int32_t p : known->second) {
      if (!owned.contains({topic, p})) orphans.emplace_back(topic, p);
    }
  }
  if (orphans.empty()) return;
  out.push_back(
      {"no-owner", fmt::format("{} of no member, though the group is subscribed to {}: {}",
                               orphans.size() == 1 ? "a partition is" : "partitions are",
                               orphans.size() == 1 ? "it" : "them", list(orphans))});
}

// ---- movement

/// What was committed and written while we watched.
struct Movement {
  int64_t committed = 0;
  int64_t written = 0;
  int64_t lag = 0;
  std::vector<Place> stuck{};  // something waits there, and nothing was committed
};

Movement movement(const GroupFacts& f) {
  Movement m;
  for (const auto& [place, now] : f.after) {
    const auto at = f.before.find(place);
    if (at == f.before.end() || now.end < 0) continue;
    const GroupPartition& then = at->second;
    const int64_t moved = now.committed - std::max<int64_t>(then.committed, 0);
    if (now.committed >= 0) m.committed += moved;
    m.written += std::max<int64_t>(now.end - then.end, 0);
    const int64_t waits = now.committed >= 0 ? now.lag() : now.end;
    m.lag += std::max<int64_t>(waits, 0);
    if (waits > 0 && now.committed == then.committed) m.stuck.push_back(place);
  }
  return m;
}

void tell_stuck(const GroupFacts& f, const Movement& m, Reasons& out) {
  if (m.committed == 0) {
    const bool never =
        std::ranges::none_of(f.after, [](const auto& row) { return row.second.committed >= 0; });
    out.push_back({"not-committing",
                   fmt::format("{} alive but {}, while {} records wait{}",
                               members_are(f.group.members.size()),
                               never ? "nothing was ever committed"
                                     : fmt::format("committed nothing in {}", text_of(f.watched_s)),
                               m.lag, last_commit(f))});
    return;
  }
  for (const Place& place : m.stuck) {
    const GroupPartition& row = f.after.at(place);
    if (row.member.empty()) continue;
    out.push_back(
        {"partition-stuck",
         fmt::format("{}: member {} commits nothing there, while others move; {} records "
                     "wait{}",
                     name_of(place), row.member, row.lag() < 0 ? row.end : row.lag(),
                     row.waiting_since < 0 ? ""
                                           : fmt::format(", the oldest for {}",
                                                         duration(now_ms() - row.waiting_since)))});
  }
}

void tell_movement(const GroupFacts& f, Reasons& out) {
  const Movement m = movement(f);
  if (m.lag == 0) {
    out.push_back({"at-end", "it is at the end of its partitions: nothing waits"});
    return;
  }
  if (f.group.members.empty()) return;
  if (f.group.state == "Stable" && !m.stuck.empty()) tell_stuck(f, m, out);
  if (m.committed <= 0) return;
  const double done = static_cast<double>(m.committed) / f.watched_s;
  const double come = static_cast<double>(m.written) / f.watched_s;
  const std::string rates =
      fmt::format("it moves: {:.0f} records a second are committed, {:.0f} written", done, come);
  if (done > come) {
    out.push_back({"lag-falls", fmt::format("{}; the lag falls, to the end in about {}", rates,
                                            text_of(static_cast<double>(m.lag) / (done - come)))});
  } else {
    out.push_back({"lag-grows", fmt::format("{}; the lag does not fall: it needs more or faster "
                                            "members, or more partitions",
                                            rates)});
  }
}

}  // namespace

std::vector<Reason> reasons(const GroupFacts& f) {
  Reasons out;
  if (!f.coordinator_problem.empty()) {
    out.push_back({"coordinator", fmt::format("its coordinator{}{} cannot answer: {}",
                                              f.coordinator.empty() ? "" : ", ", f.coordinator,
                                              f.coordinator_problem)});
    return out;
  }
  if (!f.group.exists()) {
    out.push_back({"no-group",
                   "there is no such group: nobody has joined it or committed an offset "
                   "under this name, or that was too long ago"});
    return out;
  }
  tell_members(f, out);
  tell_topics(f, out);
  tell_ranges(f, out);
  tell_transactions(f, out);
  tell_owners(f, out);
  tell_movement(f, out);
  if (out.empty())
    out.push_back({"unknown", "nothing that a broker tells explains it: look at its members"});
  return out;
}

}  // namespace odradek::app
