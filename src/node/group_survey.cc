#include "node/group_survey.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "http/prometheus.h"
#include "metadata/image.h"
#include "node/group_host.h"
#include "replica/owner.h"

namespace odradek::node {

namespace {

/// Work between two turns of a loop: offsets that are copied, and looks into an index.
constexpr size_t kOffsetsAtATime = 2'000;
constexpr size_t kLooksAtATime = 32;

/// A member is late for its heartbeat when half of its session is over: most send three in that
/// time.
std::optional<LateMember> late(const Coordinator<machines::GroupMachine>& coordinator,
                               const machines::group::Awaited& awaited, Millis in_state) {
  Millis left{INT64_MAX};
  for (const std::string& timer : awaited.timers)
    left = std::min(left, coordinator.timer_left(timer).value_or(left));
  if (left.value == INT64_MAX) return std::nullopt;
  LateMember late{.member = awaited, .silent = in_state, .left = left};
  if (awaited.what != machines::group::Awaited::For::kHeartbeat) return late;
  late.silent = Millis(awaited.session_ms - left.value);
  if (late.silent.value * 2 < awaited.session_ms) return std::nullopt;
  return late;
}

/// A group and its offsets, as far as there is room.
void add_to(GroupSurvey& survey, const std::string& id, const machines::group::Group& group,
            const Coordinator<machines::GroupMachine>& coordinator, size_t limit, WallMs now) {
  const machines::group::ClassicGroup& classic = *group.classic;
  const auto* consumer = group.consumer.get();
  const std::string_view state =
      consumer != nullptr ? consumer->state() : machines::group::name(classic.state);
  const WallMs since = consumer != nullptr ? consumer->assigned_at : classic.since;
  survey.states[state]++;
  size_t offsets = 0;
  for (const auto& [topic, partitions] : group.offsets) offsets += partitions.size();
  if (survey.groups.size() >= limit || survey.offsets.size() + offsets > limit) {
    survey.omitted += offsets;
    return;
  }
  SurveyedGroup told{
      .id = id,
      .state = state,
      .since = since,
      .members = consumer != nullptr ? consumer->members().size() : classic.members.size()};
  for (const auto& [topic, partitions] : group.offsets) {
    for (const auto& [index, c] : partitions) {
      told.committed_at = std::max(told.committed_at, c.committed_at);
      survey.offsets.push_back({.group = survey.groups.size(),
                                .topic = topic,
                                .topic_id = c.topic_id,
                                .partition = index,
                                .committed = Offset(c.offset)});
    }
  }
  for (const auto& awaited : machines::group::awaited(id, group)) {
    if (survey.late >= limit) break;
    auto member = late(coordinator, awaited, Millis(now - since));
    if (!member) continue;
    told.late.push_back(std::move(*member));
    survey.late++;
  }
  survey.groups.push_back(std::move(told));
}

/// Gives each offset the topic that it is of; without one (deleted, made anew) it is forgotten.
void resolve_topics(GroupSurvey& survey, const metadata::Image& image) {
  std::erase_if(survey.offsets, [&](SurveyedOffset& o) {
    const metadata::Topic* topic = image.topic(o.topic);
    if (topic == nullptr || topic->partition(o.partition) == nullptr) return true;
    if (!o.topic_id.is_zero() && o.topic_id != topic->id) return true;
    o.topic_id = topic->id;
    return false;
  });
}

/// True if that took a look into the log.
bool look(replica::Shard& shard, SurveyedOffset& o) {
  replica::Partition* partition = shard.find(o.topic_id, PartitionIndex(o.partition));
  if (partition == nullptr || !partition->is_leader() || partition->offline()) return false;
  o.end = partition->high_watermark();
  if (o.committed >= o.end) return false;
  const auto time = partition->timestamp_at(std::max(o.committed, partition->log_start()));
  if (time) o.waiting_since = *time;
  return true;
}

double seconds(Millis ms) { return static_cast<double>(std::max<int64_t>(ms.value, 0)) / 1e3; }
double seconds_since(WallMs then, WallMs now) { return seconds(Millis(now - then)); }

}  // namespace

bool GroupHost::survey(SurveyCursor& cursor, GroupSurvey& survey, size_t limit,
                       size_t at_a_time) const {
  size_t left = at_a_time;
  for (auto at = hosted_.lower_bound(cursor.partition); at != hosted_.end(); ++at) {
    if (at->first != cursor.partition) cursor = {.partition = at->first};
    const auto& coordinator = *at->second->coordinator;
    if (!coordinator.active()) continue;  // what it knows may not be committed
    const auto& groups = coordinator.machine().state().groups();
    for (auto g = groups.upper_bound(cursor.group); g != groups.end(); ++g) {
      if (left == 0) return true;
      const size_t before = survey.offsets.size();
      add_to(survey, g->first, g->second, coordinator, limit, shard_.loop().clock().wall());
      left -= std::min(left, 1 + survey.offsets.size() - before);
      cursor.group = g->first;
    }
  }
  return false;
}

io::Task<GroupSurvey> survey_groups(const std::vector<std::unique_ptr<LoopParts>>& parts,
                                    size_t limit, std::function<bool()> stopping) {
  GroupSurvey survey;
  for (const auto& part : parts) {
    SurveyCursor cursor;
    do {
      co_await part->loop.hop();
    } while (!stopping() && part->groups.survey(cursor, survey, limit, kOffsetsAtATime));
  }
  co_await parts[0]->loop.hop();
  resolve_topics(survey, *parts[0]->services.image);
  const int loops = static_cast<int>(parts.size());
  for (int i = 0; i < loops; i++) {
    LoopParts& part = *parts[static_cast<size_t>(i)];
    co_await part.loop.hop();
    size_t looks = 0;
    for (SurveyedOffset& o : survey.offsets) {
      if (stopping()) break;
      if (replica::owner_loop(o.topic_id, PartitionIndex(o.partition), loops) != i) continue;
      if (look(part.shard, o) && ++looks % kLooksAtATime == 0) co_await part.loop.hop();
    }
  }
  co_await parts[0]->loop.hop();
  co_return survey;
}

std::string prometheus_text(const GroupSurvey& survey, WallMs now) {
  using http::Gauge;
  using http::label;
  Gauge states("odradek_groups", "Groups by their state.");
  for (const auto& [state, n] : survey.states) states.add(label("state", state), double(n));
  Gauge members("odradek_group_members", "Members of a group.");
  Gauge in_state("odradek_group_state_seconds", "How long a group has been in its state.");
  Gauge commit_age("odradek_group_commit_age_seconds", "Time since the last commit of a group.");
  Gauge late("odradek_group_awaited_seconds",
             "How long a group has waited for a member, while it does.");
  Gauge left("odradek_group_awaited_left_seconds", "Until that member is given up.");
  std::vector<std::string> names;
  for (const SurveyedGroup& g : survey.groups) {
    const std::string name = label("group", g.id);
    names.push_back(name);
    members.add(name, double(g.members));
    if (g.since != kNoTimestamp)
      in_state.add(name + "," + label("state", g.state), seconds_since(g.since, now));
    if (g.committed_at != kNoTimestamp) commit_age.add(name, seconds_since(g.committed_at, now));
    for (const LateMember& m : g.late) {
      const std::string who =
          fmt::format("{},{},{},{},{}", name, label("member", m.member.member),
                      label("client", m.member.client_id), label("host", m.member.client_host),
                      label("for", machines::group::name(m.member.what)));
      late.add(who, seconds(m.silent));
      left.add(who, seconds(m.left));
    }
  }
  Gauge records("odradek_group_lag_records", "Records between a group's offset and the end.");
  Gauge behind("odradek_group_lag_seconds", "Age of the oldest record not committed past.");
  for (const SurveyedOffset& o : survey.offsets) {
    if (o.end == kNoOffset) continue;
    const std::string where =
        fmt::format("{},{},partition=\"{}\"", names[o.group], label("topic", o.topic), o.partition);
    const int64_t lag = std::max<int64_t>(o.end - o.committed, 0);
    records.add(where, double(lag));
    if (lag == 0) {
      behind.add(where, 0);
    } else if (o.waiting_since != kNoTimestamp) {
      behind.add(where, seconds_since(o.waiting_since, now));
    }
  }
  Gauge omitted("odradek_group_lag_omitted",
                "Committed offsets without a series (odradek.group.metrics.max).");
  omitted.add("", double(survey.omitted));
  return states.text() + members.text() + in_state.text() + commit_age.text() + late.text() +
         left.text() + records.text() + behind.text() + omitted.text();
}

}  // namespace odradek::node
