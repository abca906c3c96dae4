// DescribeGroups, ListGroups, DeleteGroups.
#include <algorithm>
#include <cctype>

#include "machines/group/draft.h"

namespace odradek::machines::group {

namespace {

constexpr std::string_view kClassicType = "classic";
constexpr std::string_view kConsumerType = "consumer";

std::string_view trimmed(std::string_view text) {
  const auto space = [](char c) { return static_cast<unsigned char>(c) <= ' '; };
  while (!text.empty() && space(text.front())) text.remove_prefix(1);
  while (!text.empty() && space(text.back())) text.remove_suffix(1);
  return text;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

bool matches_type(const std::vector<std::string>& filter, std::string_view type) {
  return filter.empty() ||
         std::ranges::any_of(filter, [&](const std::string& f) { return lower(f) == type; });
}

/// Space around a state does not count, as at Apache.
bool matches_state(const std::vector<std::string>& filter, std::string_view state) {
  const std::string wanted = lower(state);
  return filter.empty() || std::ranges::any_of(filter, [&](const std::string& f) {
           return lower(trimmed(f)) == wanted;
         });
}

DescribeAnswer::Group described(const ClassicGroup& group) {
  DescribeAnswer::Group out{.found = true,
                            .state = std::string(name(group.state)),
                            .protocol_type = group.protocol_type.value_or("")};
  // Which protocol it is, and what the members say in it, is settled only then.
  const bool stable = group.state == ClassicState::kStable;
  if (stable) out.protocol = group.protocol.value_or("");
  for (const auto& [id, m] : group.members) {
    const Protocol* p = stable ? m->protocol(out.protocol) : nullptr;
    out.members.push_back({.id = id,
                           .instance = m->instance,
                           .client_id = m->client_id,
                           .client_host = m->client_host,
                           .metadata = p != nullptr ? p->metadata : "",
                           .assignment = m->assignment});
  }
  return out;
}

}  // namespace

DescribeConsumersAnswer describe_consumers(const Draft& draft, const DescribeConsumers& command) {
  DescribeConsumersAnswer answer;
  for (const std::string& id : command.groups) {
    auto& out = answer.groups.emplace_back();
    const Group* known = draft.state.find(id);
    if (known == nullptr || !known->consumer) {
      out.problem = known == nullptr ? "Group " + id + " not found."
                                     : "Group " + id + " is not a consumer group.";
      continue;
    }
    const ConsumerGroup& group = *known->consumer;
    out = {.found = true,
           .state = std::string(group.state()),
           .epoch = group.epoch,
           .assignment_epoch = group.assignment_epoch,
           .assignor = group.preferred_assignor().value_or(
               std::string(assignor::name(draft.settings.default_assignor())))};
    for (const auto& [member_id, m] : group.members()) {
      // What it has yet to give up it still has.
      Partitions held = without_epochs(m->assigned);
      for (const auto& [topic, indexes] : without_epochs(m->revoking))
        held[topic].insert(indexes.begin(), indexes.end());
      out.members.push_back({.id = member_id,
                             .instance = m->instance,
                             .rack = m->rack,
                             .epoch = m->epoch,
                             .client_id = m->client_id,
                             .client_host = m->client_host,
                             .topics = {m->topics.begin(), m->topics.end()},
                             .regex = m->regex,
                             .assigned = std::move(held),
                             .target = contents(group.target(member_id)),
                             .classic = m->classic.has_value()});
    }
  }
  return answer;
}

DescribeAnswer describe(const Draft& draft, const Describe& command) {
  DescribeAnswer answer;
  for (const std::string& id : command.groups) {
    const Group* group = draft.state.find(id);
    // One of the other kind has a request of its own, which those who know it send after this one.
    answer.groups.push_back(
        group != nullptr && !group->consumer
            ? described(*group->classic)
            : DescribeAnswer::Group{.exists = group != nullptr, .state = "Dead"});
  }
  return answer;
}

ListAnswer list(const Draft& draft, const List& command) {
  ListAnswer answer;
  const bool classic = matches_type(command.types, kClassicType);
  const bool consumer = matches_type(command.types, kConsumerType);
  for (const auto& [id, group] : draft.state.groups()) {
    if (!(group.consumer ? consumer : classic)) continue;
    const std::string_view state =
        group.consumer ? group.consumer->state() : name(group.classic->state);
    if (!matches_state(command.states, state)) continue;
    answer.groups.push_back(
        {.id = id,
         .protocol_type = group.consumer ? "consumer" : group.classic->protocol_type.value_or(""),
         .state = std::string(state),
         .type = std::string(group.consumer ? kConsumerType : kClassicType)});
  }
  return answer;
}

DeleteGroupsAnswer delete_groups(Draft& draft, const DeleteGroups& command) {
  DeleteGroupsAnswer answer;
  for (const std::string& id : command.groups) {
    const Group* group = draft.state.find(id);
    if (group == nullptr || !group->is_empty()) {
      answer.results.push_back(group == nullptr ? ErrorCode::kGroupIdNotFound
                                                : ErrorCode::kNonEmptyGroup);
      continue;
    }
    for (const auto& [topic, partitions] : group->offsets) {
      for (const auto& [index, offset] : partitions) draft.remove_offset(id, topic, index);
    }
    for (const auto& [producer, offsets] : group->transactional) {
      for (const auto& [topic, partitions] : offsets) {
        for (const auto& [index, offset] : partitions) {
          if (group->offset(topic, index) == nullptr) draft.remove_offset(id, topic, index);
        }
      }
    }
    draft.remove_group(id, *group);
    answer.results.push_back(ErrorCode::kNone);
  }
  return answer;
}

}  // namespace odradek::machines::group
