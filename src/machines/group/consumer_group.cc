#include "machines/group/consumer_group.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace odradek::machines::group {

namespace {

std::string line_of(const OwnedPartitions& owned) {
  std::string out;
  for (const auto& [topic, partitions] : owned) {
    for (const auto& [index, epoch] : partitions)
      out += fmt::format(" {}-{}@{}", topic.to_string(), index, epoch);
  }
  return out;
}

std::string_view name(MemberState state) {
  switch (state) {
    case MemberState::kStable:
      return "stable";
    case MemberState::kUnrevoked:
      return "revokes";
    case MemberState::kUnreleased:
      return "waits";
    case MemberState::kUnknown:
      break;
  }
  return "unknown";
}

}  // namespace

Partitions without_epochs(const OwnedPartitions& owned) {
  Partitions out;
  for (const auto& [topic, partitions] : owned) {
    auto& indexes = out[topic];
    for (const auto& [index, since] : partitions) indexes.insert(indexes.end(), index);
  }
  return out;
}

Partitions contents(const Target& target) {
  Partitions out;
  for (const auto& t : target) out[t.topic].insert(t.partitions.begin(), t.partitions.end());
  std::erase_if(out, [](const auto& t) { return t.second.empty(); });
  return out;
}

bool ConsumerMember::says_the_same(const ConsumerMember& o) const {
  return id == o.id && instance == o.instance && rack == o.rack && client_id == o.client_id &&
         client_host == o.client_host && topics == o.topics && regex == o.regex &&
         rebalance_timeout_ms == o.rebalance_timeout_ms && assignor == o.assignor &&
         classic == o.classic;
}

bool ConsumerGroup::operator==(const ConsumerGroup& o) const {
  const auto same = [](const auto& a, const auto& b) {
    return a.first == b.first && *a.second == *b.second;
  };
  return epoch == o.epoch && metadata_hash == o.metadata_hash &&
         assignment_epoch == o.assignment_epoch && assigned_at == o.assigned_at &&
         old_metadata == o.old_metadata && regexes == o.regexes && statics_ == o.statics_ &&
         owners_ == o.owners_ && std::ranges::equal(members_, o.members_, same) &&
         std::ranges::equal(targets, o.targets, same);
}

void ConsumerGroup::count(const ConsumerMember& member, int by) {
  for (const OwnedPartitions* owned : {&member.assigned, &member.revoking}) {
    for (const auto& [topic, partitions] : *owned) {
      auto& counts = owners_[topic];
      for (const auto& [index, since] : partitions) {
        if ((counts[index] += by) == 0) counts.erase(index);
      }
      if (counts.empty()) owners_.erase(topic);
    }
  }
}

void ConsumerGroup::set_member(ConsumerMemberPtr member) {
  erase_member(member->id);
  count(*member, 1);
  if (member->instance) statics_[*member->instance] = member->id;
  const std::string& id = member->id;
  members_.emplace(id, std::move(member));
}

void ConsumerGroup::erase_member(std::string_view id) {
  const auto at = members_.find(id);
  if (at == members_.end()) return;
  count(*at->second, -1);
  if (at->second->instance) {
    const auto known = statics_.find(*at->second->instance);
    if (known != statics_.end() && known->second == id) statics_.erase(known);
  }
  members_.erase(at);
}

const ConsumerMember* ConsumerGroup::member(std::string_view id) const {
  const auto at = members_.find(id);
  return at == members_.end() ? nullptr : at->second.get();
}

const ConsumerMember* ConsumerGroup::static_member(std::string_view instance) const {
  const auto at = statics_.find(instance);
  return at == statics_.end() ? nullptr : member(at->second);
}

const Target& ConsumerGroup::target(std::string_view member) const {
  static const Target nothing;
  const auto at = targets.find(member);
  return at == targets.end() ? nothing : *at->second;
}

bool ConsumerGroup::owned(const Uuid& topic, int32_t partition) const {
  const auto at = owners_.find(topic);
  return at != owners_.end() && at->second.contains(partition);
}

std::string_view ConsumerGroup::state() const {
  if (members_.empty()) return "Empty";
  if (epoch > assignment_epoch) return "Assigning";
  const auto reconciled = [&](const auto& m) { return m.second->reconciled_to(assignment_epoch); };
  return std::ranges::all_of(members_, reconciled) ? "Stable" : "Reconciling";
}

TopicNames ConsumerGroup::topics_of(const ConsumerMember& member) const {
  TopicNames out = member.topics;
  if (!member.has_regex()) return out;
  // One that is not resolved yet matches nothing.
  const auto at = regexes.find(*member.regex);
  if (at != regexes.end()) out.insert(at->second.topics.begin(), at->second.topics.end());
  return out;
}

TopicNames ConsumerGroup::subscribed() const {
  TopicNames out;
  for (const auto& [id, m] : members_) out.insert(m->topics.begin(), m->topics.end());
  for (const auto& [expression, count] : expressions()) {
    const auto at = regexes.find(expression);
    if (at != regexes.end()) out.insert(at->second.topics.begin(), at->second.topics.end());
  }
  return out;
}

bool ConsumerGroup::subscribed_to(std::string_view topic) const {
  const auto names = [&](const auto& m) { return m.second->topics.contains(topic); };
  const auto matches = [&](const auto& r) { return r.second.topics.contains(topic); };
  return std::ranges::any_of(members_, names) || std::ranges::any_of(regexes, matches);
}

std::map<std::string_view, size_t> ConsumerGroup::expressions() const {
  std::map<std::string_view, size_t> out;
  for (const auto& [id, m] : members_) {
    if (m->has_regex()) out[*m->regex]++;
  }
  return out;
}

std::optional<std::string> ConsumerGroup::preferred_assignor(const ConsumerGroup& before) const {
  std::map<std::string_view, size_t> votes;
  for (const auto& [id, m] : members_) {
    if (m->assignor) votes[*m->assignor]++;
  }
  const auto had_none = [&](std::string_view assignor) {
    return std::ranges::none_of(before.members_,
                                [&](const auto& m) { return m.second->assignor == assignor; });
  };
  auto best = votes.begin();
  for (auto at = votes.begin(); at != votes.end(); ++at) {
    const bool tied = at->second == best->second;
    if (at->second > best->second || (tied && !had_none(best->first))) best = at;
  }
  if (best == votes.end()) return std::nullopt;
  return std::string(best->first);
}

size_t ConsumerGroup::classic_members() const {
  return static_cast<size_t>(
      std::ranges::count_if(members_, [](const auto& m) { return m.second->classic.has_value(); }));
}

bool ConsumerGroup::supports(std::string_view protocol_type,
                             const std::vector<Protocol>& protocols) const {
  if (protocol_type != "consumer") return false;
  if (members_.empty()) return !protocols.empty();
  const auto by_all = [&](const Protocol& p) {
    return std::ranges::all_of(members_, [&](const auto& m) {
      return !m.second->classic ||
             std::ranges::any_of(m.second->classic->protocols,
                                 [&](const Protocol& other) { return other.name == p.name; });
    });
  };
  return std::ranges::any_of(protocols, by_all);
}

bool ConsumerGroup::waits_for_others(const ConsumerMember& member) const {
  if (member.state != MemberState::kUnreleased) return false;
  for (const auto& [topic, partitions] : target(member.id)) {
    const auto has = member.assigned.find(topic);
    for (const int32_t index : partitions) {
      if (has != member.assigned.end() && has->second.contains(index)) continue;
      if (owned(topic, index)) return true;
    }
  }
  return false;
}

std::string ConsumerGroup::to_line() const {
  std::string line = fmt::format("{} epoch {}, assigned at {}", state(), epoch, assignment_epoch);
  for (const auto& [id, m] : members_) {
    line += fmt::format("; {}", id);
    if (m->instance) line += " (" + *m->instance + ")";
    if (m->classic) line += " classic";
    line += fmt::format(" {} at {}", name(m->state), m->epoch);
    if (!m->assigned.empty()) line += " has" + line_of(m->assigned);
    if (!m->revoking.empty()) line += " gives up" + line_of(m->revoking);
  }
  for (const auto& [expression, r] : regexes) {
    line += fmt::format("; {} is", expression);
    for (const auto& t : r.topics) line += " " + t;
  }
  return line;
}

}  // namespace odradek::machines::group
