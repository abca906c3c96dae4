#include "machines/group/group_machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "machines/group/consumer_edit.h"

namespace odradek::machines {

namespace group {

// Names may hold any character: lengths tell where one ends.
std::string session_timer(std::string_view group, std::string_view member) {
  return fmt::format("session/{}/{}/{}", group.size(), group, member);
}
std::string join_timer(std::string_view group) { return fmt::format("join/{}", group); }
std::string sync_timer(std::string_view group) { return fmt::format("sync/{}", group); }
std::string rebalance_timer(std::string_view group, std::string_view member) {
  return fmt::format("revoke/{}/{}/{}", group.size(), group, member);
}
std::string member_join_timer(std::string_view group, std::string_view member) {
  return fmt::format("rejoin/{}/{}/{}", group.size(), group, member);
}
std::string member_sync_timer(std::string_view group, std::string_view member) {
  return fmt::format("resync/{}/{}/{}", group.size(), group, member);
}

void Draft::remove_group(std::string_view id, const Group& group) {
  if (group.consumer) {
    ConsumerEdit edit(*this, std::string(id));
    edit.remove_group();
    return edit.finish();
  }
  wire::GroupMetadataKey key;
  key.group = id;
  records.push_back(Record::tombstone(key));
}

namespace {

/// Calls the decision of a command.
struct Decide {
  Draft& d;
  Response operator()(const CommitOffsets& c) { return commit_offsets(d, c); }
  Response operator()(const FetchOffsets& c) { return fetch_offsets(d, c); }
  Response operator()(const DeleteOffsets& c) { return delete_offsets(d, c); }
  Response operator()(const TopicsDeleted& c) { return topics_deleted(d, c); }
  Response operator()(const EndTransaction& c) { return end_transaction(d, c); }
  Response operator()(const Join& c) { return join(d, c); }
  Response operator()(const Sync& c) { return sync(d, c); }
  Response operator()(const Heartbeat& c) { return heartbeat(d, c); }
  Response operator()(const Leave& c) { return leave(d, c); }
  Response operator()(const ConsumerHeartbeat& c) { return consumer_heartbeat(d, c); }
  Response operator()(const DescribeConsumers& c) { return describe_consumers(d, c); }
  Response operator()(const MetadataChanged& c) {
    d.records.push_back({SoftMetadata{c.image, c.settings, c.new_topics}});
    return NoAnswer{};
  }
  Response operator()(const Describe& c) { return describe(d, c); }
  Response operator()(const List& c) { return list(d, c); }
  Response operator()(const DeleteGroups& c) { return delete_groups(d, c); }
  Response operator()(const TimerFired& c) {
    if (c.key == kExpiryTimer) {
      expire(d);
    } else if (!consumer_timer(d, c.key)) {
      classic_timer(d, c.key);
    }
    return NoAnswer{};
  }
};

}  // namespace
}  // namespace group

GroupMachine::Decision GroupMachine::decide(const Command& command, Now now) const {
  group::Draft draft{state_, settings_, now};
  Response response = std::visit(group::Decide{draft}, command);
  // The first group brings the search for old offsets with it.
  const bool stores = std::ranges::any_of(draft.records, [](const auto& r) { return !r.soft(); });
  if (state_.groups().empty() && stores)
    draft.arm(std::string(group::kExpiryTimer), settings_.retention_check.value);
  return {std::move(draft.records), std::move(response), std::move(draft.timers),
          std::move(draft.messages)};
}

void GroupMachine::replay(Offset offset, const Record& record) {
  const auto* change = std::get_if<group::SoftMetadata>(&record.body);
  if (change != nullptr && change->settings) settings_ = *change->settings;
  state_.replay(offset, record);
}

GroupMachine::Decision GroupMachine::loaded(Now now) const {
  group::Draft draft{state_, settings_, now};
  group::classic_loaded(draft);
  group::consumer_loaded(draft);
  if (!state_.groups().empty())
    draft.arm(std::string(group::kExpiryTimer), settings_.retention_check.value);
  return {std::move(draft.records), group::NoAnswer{}, std::move(draft.timers),
          std::move(draft.messages)};
}

}  // namespace odradek::machines
