#include "machines/group/consumer_records.h"

#include <fmt/format.h>

#include <utility>

#include "base/arena.h"
#include "wire/gen/group_consumer_group_current_member_assignment.h"
#include "wire/gen/group_consumer_group_member_metadata.h"
#include "wire/gen/group_consumer_group_metadata.h"
#include "wire/gen/group_consumer_group_partition_metadata.h"
#include "wire/gen/group_consumer_group_regular_expression.h"
#include "wire/gen/group_consumer_group_target_assignment_member.h"
#include "wire/gen/group_consumer_group_target_assignment_metadata.h"

namespace odradek::machines::group {

namespace {

using AssignmentTopic = wire::ConsumerGroupCurrentMemberAssignmentValue::TopicPartitions;

std::optional<std::string> owned(const std::optional<std::string_view>& text) {
  if (!text) return std::nullopt;
  return std::string(*text);
}
std::optional<std::string_view> view(const std::optional<std::string>& text) {
  if (!text) return std::nullopt;
  return *text;
}

template <class Key>
Key group_key(std::string_view group) {
  Key key;
  key.group_id = group;
  return key;
}
template <class Key>
Key member_key(std::string_view group, std::string_view member) {
  Key key;
  key.group_id = group;
  key.member_id = member;
  return key;
}

Array<AssignmentTopic> wire_partitions(Arena& arena, const OwnedPartitions& owned) {
  Array<AssignmentTopic> out;
  out.reserve(arena, owned.size());
  for (const auto& [topic, partitions] : owned) {
    auto& t = out.add(arena);
    t.topic_id = topic;
    t.partitions.reserve(arena, partitions.size());
    auto& epochs = t.assignment_epochs.emplace();
    epochs.reserve(arena, partitions.size());
    for (const auto& [index, epoch] : partitions) {
      t.partitions.add(arena, index);
      epochs.add(arena, epoch);
    }
  }
  return out;
}

OwnedPartitions owned_partitions(const Array<AssignmentTopic>& topics, int32_t member_epoch) {
  OwnedPartitions out;
  for (const auto& t : topics) {
    auto& partitions = out[t.topic_id];
    // Before 4.3 nobody wrote since when a member has a partition.
    const bool known = t.assignment_epochs && t.assignment_epochs->size() == t.partitions.size();
    for (size_t i = 0; i < t.partitions.size(); i++)
      partitions[t.partitions[i]] = known ? (*t.assignment_epochs)[i] : member_epoch;
  }
  std::erase_if(out, [](const auto& t) { return t.second.empty(); });
  return out;
}

template <class Value>
Result<Value> value_of(wire::Reader& reader) {
  const auto version = wire::decode_record_prefix(reader);
  if (!version) return std::unexpected(version.error());
  Value value;
  if (auto r = value.decode(reader, *version); !r) return std::unexpected(r.error());
  return value;
}

void read_member(const wire::ConsumerGroupMemberMetadataValue& value, ConsumerMember& m) {
  m.instance = owned(value.instance_id);
  m.rack = owned(value.rack_id);
  m.client_id = std::string(value.client_id);
  m.client_host = std::string(value.client_host);
  for (std::string_view topic : value.subscribed_topic_names) m.topics.emplace(topic);
  m.regex = owned(value.subscribed_topic_regex);
  m.rebalance_timeout_ms = value.rebalance_timeout_ms;
  m.assignor = owned(value.server_assignor);
  m.classic.reset();
  if (!value.classic_member_metadata) return;
  m.classic.emplace().session_timeout_ms = value.classic_member_metadata->session_timeout_ms;
  for (const auto& p : value.classic_member_metadata->supported_protocols)
    m.classic->protocols.push_back({std::string(p.name), std::string(as_text(p.metadata))});
}

void read_assignment(const wire::ConsumerGroupCurrentMemberAssignmentValue& value,
                     ConsumerMember& m) {
  m.epoch = value.member_epoch;
  m.previous_epoch = value.previous_member_epoch;
  m.state = value.state >= 0 && value.state <= static_cast<int8_t>(MemberState::kUnreleased)
                ? static_cast<MemberState>(value.state)
                : MemberState::kUnknown;
  m.assigned = owned_partitions(value.assigned_partitions, m.epoch);
  m.revoking = owned_partitions(value.partitions_pending_revocation, m.epoch);
}

}  // namespace

// ---- written

Record epoch_record(std::string_view group, int32_t epoch, int64_t metadata_hash) {
  wire::ConsumerGroupMetadataValue value;
  value.epoch = epoch;
  value.metadata_hash = metadata_hash;
  return Record::of(group_key<wire::ConsumerGroupMetadataKey>(group), value, 0);
}
Record epoch_tombstone(std::string_view group) {
  return Record::tombstone(group_key<wire::ConsumerGroupMetadataKey>(group));
}
Record old_metadata_tombstone(std::string_view group) {
  return Record::tombstone(group_key<wire::ConsumerGroupPartitionMetadataKey>(group));
}

Record member_record(std::string_view group, const ConsumerMember& m) {
  Arena arena;
  wire::ConsumerGroupMemberMetadataValue value;
  value.instance_id = view(m.instance);
  value.rack_id = view(m.rack);
  value.client_id = m.client_id;
  value.client_host = m.client_host;
  value.subscribed_topic_names.reserve(arena, m.topics.size());
  for (const auto& topic : m.topics) value.subscribed_topic_names.add(arena, topic);
  value.subscribed_topic_regex = view(m.regex);
  value.rebalance_timeout_ms = m.rebalance_timeout_ms;
  value.server_assignor = view(m.assignor);
  value.classic_member_metadata.reset();
  if (m.classic) {
    auto& classic = value.classic_member_metadata.emplace();
    classic.session_timeout_ms = m.classic->session_timeout_ms;
    for (const Protocol& p : m.classic->protocols) {
      auto& out = classic.supported_protocols.add(arena);
      out.name = p.name;
      out.metadata = as_bytes(p.metadata);
    }
  }
  return Record::of(member_key<wire::ConsumerGroupMemberMetadataKey>(group, m.id), value, 0);
}
Record member_tombstone(std::string_view group, std::string_view member) {
  return Record::tombstone(member_key<wire::ConsumerGroupMemberMetadataKey>(group, member));
}

Record target_epoch_record(std::string_view group, int32_t epoch, WallMs at) {
  wire::ConsumerGroupTargetAssignmentMetadataValue value;
  value.assignment_epoch = epoch;
  value.assignment_timestamp = at.value;
  return Record::of(group_key<wire::ConsumerGroupTargetAssignmentMetadataKey>(group), value, 0);
}
Record target_epoch_tombstone(std::string_view group) {
  return Record::tombstone(group_key<wire::ConsumerGroupTargetAssignmentMetadataKey>(group));
}

Record target_record(std::string_view group, std::string_view member, const Target& target) {
  Arena arena;
  wire::ConsumerGroupTargetAssignmentMemberValue value;
  value.topic_partitions.reserve(arena, target.size());
  for (const auto& t : target) {
    auto& out = value.topic_partitions.add(arena);
    out.topic_id = t.topic;
    out.partitions.reserve(arena, t.partitions.size());
    for (const int32_t index : t.partitions) out.partitions.add(arena, index);
  }
  return Record::of(member_key<wire::ConsumerGroupTargetAssignmentMemberKey>(group, member), value,
                    0);
}
Record target_tombstone(std::string_view group, std::string_view member) {
  return Record::tombstone(member_key<wire::ConsumerGroupTargetAssignmentMemberKey>(group, member));
}

Record assignment_record(std::string_view group, const ConsumerMember& m) {
  Arena arena;
  wire::ConsumerGroupCurrentMemberAssignmentValue value;
  value.member_epoch = m.epoch;
  value.previous_member_epoch = m.previous_epoch;
  value.state = static_cast<int8_t>(m.state);
  value.assigned_partitions = wire_partitions(arena, m.assigned);
  value.partitions_pending_revocation = wire_partitions(arena, m.revoking);
  return Record::of(member_key<wire::ConsumerGroupCurrentMemberAssignmentKey>(group, m.id), value,
                    0);
}
Record assignment_tombstone(std::string_view group, std::string_view member) {
  return Record::tombstone(
      member_key<wire::ConsumerGroupCurrentMemberAssignmentKey>(group, member));
}

namespace {

wire::ConsumerGroupRegularExpressionKey regex_key(std::string_view group, std::string_view regex) {
  wire::ConsumerGroupRegularExpressionKey key;
  key.group_id = group;
  key.regular_expression = regex;
  return key;
}

}  // namespace

Record regex_record(std::string_view group, std::string_view regex, const ResolvedRegex& resolved) {
  Arena arena;
  wire::ConsumerGroupRegularExpressionValue value;
  value.topics.reserve(arena, resolved.topics.size());
  for (const auto& topic : resolved.topics) value.topics.add(arena, topic);
  value.version = resolved.version;
  value.timestamp = resolved.at.value;
  return Record::of(regex_key(group, regex), value, 0);
}
Record regex_tombstone(std::string_view group, std::string_view regex) {
  return Record::tombstone(regex_key(group, regex));
}

// ---- read

bool is_consumer_record(int16_t type) {
  return (type >= wire::ConsumerGroupMetadataKey::kRecordType &&
          type <= wire::ConsumerGroupCurrentMemberAssignmentKey::kRecordType) ||
         type == wire::ConsumerGroupRegularExpressionKey::kRecordType;
}

Result<ConsumerRecord> ConsumerRecord::read(int16_t type, wire::Reader& key,
                                            const std::optional<std::string>& value) {
  ConsumerRecord out;
  out.type_ = type;
  const auto of_group = [&](auto body) -> Result<void> {
    if (auto r = body.decode(key, 0); !r) return r;
    out.group_ = std::string(body.group_id);
    return {};
  };
  const auto of_member = [&](auto body) -> Result<void> {
    if (auto r = body.decode(key, 0); !r) return r;
    out.group_ = std::string(body.group_id);
    out.name_ = std::string(body.member_id);
    return {};
  };
  Result<void> read;
  switch (type) {
    case wire::ConsumerGroupMetadataKey::kRecordType:
    case wire::ConsumerGroupPartitionMetadataKey::kRecordType:
    case wire::ConsumerGroupTargetAssignmentMetadataKey::kRecordType:
      read = of_group(wire::ConsumerGroupMetadataKey());  // laid out alike
      break;
    case wire::ConsumerGroupRegularExpressionKey::kRecordType: {
      wire::ConsumerGroupRegularExpressionKey body;
      read = body.decode(key, 0);
      out.group_ = std::string(body.group_id);
      out.name_ = std::string(body.regular_expression);
      break;
    }
    default:
      read = of_member(wire::ConsumerGroupMemberMetadataKey());  // laid out alike
  }
  if (!read) return std::unexpected(read.error());
  out.tombstone_ = !value.has_value();
  if (value) {
    if (auto r = out.read_value(*value); !r) return std::unexpected(r.error());
  }
  return out;
}

Result<void> ConsumerRecord::read_value(const std::string& bytes) {
  Arena arena;
  wire::Reader reader(as_bytes(bytes), arena);
  const auto take = [&](auto value, auto&& use) -> Result<void> {
    const auto read = value_of<decltype(value)>(reader);
    if (!read) return std::unexpected(read.error());
    use(*read);
    return {};
  };
  switch (type_) {
    case wire::ConsumerGroupMetadataKey::kRecordType:
      return take(wire::ConsumerGroupMetadataValue(), [&](const auto& v) {
        epoch_ = v.epoch;
        hash_ = v.metadata_hash;
      });
    case wire::ConsumerGroupMemberMetadataKey::kRecordType:
      return take(wire::ConsumerGroupMemberMetadataValue(),
                  [&](const auto& v) { read_member(v, member_); });
    case wire::ConsumerGroupTargetAssignmentMetadataKey::kRecordType:
      return take(wire::ConsumerGroupTargetAssignmentMetadataValue(), [&](const auto& v) {
        epoch_ = v.assignment_epoch;
        at_ = WallMs(v.assignment_timestamp);
      });
    case wire::ConsumerGroupTargetAssignmentMemberKey::kRecordType:
      return take(wire::ConsumerGroupTargetAssignmentMemberValue(), [&](const auto& v) {
        for (const auto& t : v.topic_partitions)
          target_.push_back({t.topic_id, {t.partitions.begin(), t.partitions.end()}});
      });
    case wire::ConsumerGroupCurrentMemberAssignmentKey::kRecordType:
      return take(wire::ConsumerGroupCurrentMemberAssignmentValue(),
                  [&](const auto& v) { read_assignment(v, member_); });
    case wire::ConsumerGroupRegularExpressionKey::kRecordType:
      return take(wire::ConsumerGroupRegularExpressionValue(), [&](const auto& v) {
        regex_.topics.insert(v.topics.begin(), v.topics.end());
        regex_.version = v.version;
        regex_.at = WallMs(v.timestamp);
      });
    default:  // the metadata that older versions kept: that it is there is all that counts
      return {};
  }
}

bool ConsumerRecord::ends_group() const {
  return tombstone_ && type_ == wire::ConsumerGroupMetadataKey::kRecordType;
}

void ConsumerRecord::apply(ConsumerGroup& group) const {
  if (tombstone_) return erase(group);
  const ConsumerMember* known = group.member(name_);
  switch (type_) {
    case wire::ConsumerGroupMetadataKey::kRecordType:
      group.epoch = epoch_;
      group.metadata_hash = hash_;
      return;
    case wire::ConsumerGroupPartitionMetadataKey::kRecordType:
      group.old_metadata = true;
      return;
    case wire::ConsumerGroupMemberMetadataKey::kRecordType: {
      ConsumerMember m = member_;
      m.id = name_;
      if (known != nullptr) {
        m.epoch = known->epoch;
        m.previous_epoch = known->previous_epoch;
        m.state = known->state;
        m.assigned = known->assigned;
        m.revoking = known->revoking;
      }
      return group.set_member(std::make_shared<const ConsumerMember>(std::move(m)));
    }
    case wire::ConsumerGroupTargetAssignmentMetadataKey::kRecordType:
      group.assignment_epoch = epoch_;
      group.assigned_at = at_;
      return;
    case wire::ConsumerGroupTargetAssignmentMemberKey::kRecordType:
      group.targets.insert_or_assign(name_, std::make_shared<const Target>(target_));
      return;
    case wire::ConsumerGroupCurrentMemberAssignmentKey::kRecordType: {
      ConsumerMember m = known != nullptr ? *known : ConsumerMember{.id = name_};
      m.epoch = member_.epoch;
      m.previous_epoch = member_.previous_epoch;
      m.state = member_.state;
      m.assigned = member_.assigned;
      m.revoking = member_.revoking;
      return group.set_member(std::make_shared<const ConsumerMember>(std::move(m)));
    }
    default:
      group.regexes.insert_or_assign(name_, regex_);
  }
}

void ConsumerRecord::erase(ConsumerGroup& group) const {
  const ConsumerMember* known = group.member(name_);
  switch (type_) {
    case wire::ConsumerGroupPartitionMetadataKey::kRecordType:
      group.old_metadata = false;
      return;
    case wire::ConsumerGroupMemberMetadataKey::kRecordType:
      group.erase_member(name_);
      return;
    case wire::ConsumerGroupTargetAssignmentMetadataKey::kRecordType:
      group.assignment_epoch = -1;
      group.assigned_at = WallMs(0);
      return;
    case wire::ConsumerGroupTargetAssignmentMemberKey::kRecordType:
      group.targets.erase(name_);
      return;
    case wire::ConsumerGroupCurrentMemberAssignmentKey::kRecordType: {
      if (known == nullptr) return;
      ConsumerMember m = *known;
      m.epoch = m.previous_epoch = kLeaveEpoch;
      m.assigned.clear();
      m.revoking.clear();
      return group.set_member(std::make_shared<const ConsumerMember>(std::move(m)));
    }
    case wire::ConsumerGroupRegularExpressionKey::kRecordType:
      group.regexes.erase(name_);
      return;
    default:
      return;
  }
}

}  // namespace odradek::machines::group
