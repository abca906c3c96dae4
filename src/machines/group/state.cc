#include "machines/group/state.h"

#include <fmt/format.h>

#include <utility>

#include "base/arena.h"
#include "machines/group/consumer_records.h"
#include "wire/gen/consumer_protocol_subscription.h"
#include "wire/gen/group_legacy_offset_commit.h"
#include "wire/gen/group_metadata.h"
#include "wire/gen/group_offset_commit.h"
#include "wire/reader.h"

namespace odradek::machines::group {

namespace {

std::optional<std::string> owned(const std::optional<std::string_view>& text) {
  if (!text) return std::nullopt;
  return std::string(*text);
}

/// A group that nobody has joined: what committed offsets alone make.
const std::shared_ptr<const ClassicGroup>& no_members() {
  static const auto empty = std::make_shared<const ClassicGroup>();
  return empty;
}

const Committed* find_offset(const TopicOffsets& offsets, std::string_view topic,
                             int32_t partition) {
  const auto t = offsets.find(topic);
  if (t == offsets.end()) return nullptr;
  const auto p = t->second.find(partition);
  return p == t->second.end() ? nullptr : &p->second;
}

void erase_offset(TopicOffsets& offsets, std::string_view topic, int32_t partition) {
  const auto t = offsets.find(topic);
  if (t == offsets.end()) return;
  t->second.erase(partition);
  if (t->second.empty()) offsets.erase(t);
}

}  // namespace

std::string_view name(ClassicState state) {
  switch (state) {
    case ClassicState::kEmpty:
      return "Empty";
    case ClassicState::kPreparingRebalance:
      return "PreparingRebalance";
    case ClassicState::kCompletingRebalance:
      return "CompletingRebalance";
    case ClassicState::kStable:
      return "Stable";
  }
  return "Unknown";
}

const Protocol* Member::protocol(std::string_view name) const {
  for (const Protocol& p : protocols) {
    if (p.name == name) return &p;
  }
  return nullptr;
}

const Member* ClassicGroup::member(std::string_view id) const {
  const auto at = members.find(id);
  return at == members.end() ? nullptr : at->second.get();
}

std::optional<std::set<std::string, std::less<>>> ClassicGroup::subscribed_topics() const {
  if (!uses_consumer_protocol()) return std::nullopt;
  std::set<std::string, std::less<>> topics;
  if (members.empty()) return topics;
  if (!protocol) return std::nullopt;
  for (const auto& [id, member] : members) {
    const Protocol* p = member->protocol(*protocol);
    if (p == nullptr) return std::nullopt;
    Arena arena;
    wire::Reader reader(as_bytes(p->metadata), arena);
    (void)reader.int16();  // its version: all begin with the fields of version 0
    wire::ConsumerProtocolSubscription subscription;
    if (!reader.ok() || !subscription.decode(reader, 0)) return std::nullopt;
    topics.insert(subscription.topics.begin(), subscription.topics.end());
  }
  return topics;
}

std::string ClassicGroup::to_line() const {
  std::string line = fmt::format("{} generation {}", name(state), generation);
  if (protocol) line += " protocol " + *protocol;
  if (leader) line += " leader " + *leader;
  for (const auto& [id, m] : members) {
    line += "; " + id;
    if (m->instance) line += " (" + *m->instance + ")";
    if (m->joining != 0) line += " joins";
    if (m->syncing != 0) line += " waits";
    if (m->sync_pending) line += " has to sync";
    if (!m->assignment.empty()) line += " has " + m->assignment;
  }
  for (const std::string& id : pending) line += "; " + id + " is expected";
  return line;
}

const Committed* Group::offset(std::string_view topic, int32_t partition) const {
  return find_offset(offsets, topic, partition);
}

bool Group::has_pending(std::string_view topic, int32_t partition) const {
  for (const auto& [producer, waiting] : transactional) {
    if (find_offset(waiting, topic, partition) != nullptr) return true;
  }
  return false;
}

State::State(metadata::ImagePtr image)
    : image_(image ? std::move(image) : std::make_shared<const metadata::Image>()),
      topics_added_at_(image_->provenance.offset.value) {}

const Group* State::find(std::string_view id) const {
  const auto at = groups_.find(id);
  return at == groups_.end() ? nullptr : &at->second;
}

const ConsumerGroup* State::find_consumer(std::string_view id) const {
  const Group* group = find(id);
  return group != nullptr ? group->consumer.get() : nullptr;
}

Group& State::make(std::string_view id) {
  const auto at = groups_.find(id);
  if (at != groups_.end()) return at->second;
  return groups_.emplace(std::string(id), Group{no_members()}).first->second;
}

// ---- replay

void State::replay(Offset offset, const Record& record) {
  if (const auto* soft = std::get_if<SoftGroup>(&record.body)) {
    make(soft->group).classic = soft->state;
  } else if (const auto* marker = std::get_if<Marker>(&record.body)) {
    replay_marker(*marker);
  } else if (const auto* change = std::get_if<SoftMetadata>(&record.body)) {
    replay_metadata(*change);
  } else if (const auto* checked = std::get_if<SoftChecked>(&record.body)) {
    const auto at = groups_.find(checked->group);
    if (at != groups_.end() && at->second.consumer)
      at->second.consumer->checked = checked->metadata_version;
  } else {
    replay_stored(offset, record.stored());
  }
}

void State::replay_metadata(const SoftMetadata& change) {
  if (!change.image) return;
  image_ = change.image;
  metadata_version_++;
  if (change.new_topics) topics_added_at_ = image_->provenance.offset.value;
}

void State::replay_stored(Offset offset, const Stored& stored) {
  const Result<void> applied = apply(offset, stored);
  if (applied) return;
  unreadable_++;
  problem_ = applied.error().message;
}

Result<void> State::apply(Offset offset, const Stored& stored) {
  Arena arena;
  wire::Reader key(as_bytes(stored.key), arena);
  const auto type = wire::decode_record_prefix(key);
  if (!type) return std::unexpected(type.error());
  switch (*type) {
    case wire::LegacyOffsetCommitKey::kRecordType:  // laid out as the other
    case wire::OffsetCommitKey::kRecordType:
      return apply_offset(offset, stored, key);
    case wire::GroupMetadataKey::kRecordType:
      return apply_group(stored, key);
    default:
      if (is_consumer_record(*type)) return apply_consumer(*type, stored, key);
      return fail(Errc::kUnsupported, fmt::format("record type {} is not known", *type));
  }
}

Result<void> State::apply_offset(Offset at, const Stored& stored, wire::Reader& key_reader) {
  wire::OffsetCommitKey key;
  if (auto r = key.decode(key_reader, 0); !r) return r;
  if (!stored.value) {
    remove_offset(key.group, key.topic, key.partition);
    return {};
  }
  Arena arena;
  wire::Reader reader(as_bytes(*stored.value), arena);
  const auto version = wire::decode_record_prefix(reader);
  if (!version) return std::unexpected(version.error());
  wire::OffsetCommitValue value;
  if (auto r = value.decode(reader, *version); !r) return r;
  Group& group = make(key.group);
  const bool open = stored.producer.value >= 0;
  if (open) open_[stored.producer].insert(std::string(key.group));
  TopicOffsets& offsets = open ? group.transactional[stored.producer] : group.offsets;
  auto topic = offsets.find(key.topic);
  if (topic == offsets.end())
    topic = offsets.emplace(std::string(key.topic), PartitionOffsets()).first;
  Committed& c = topic->second[key.partition];
  c.offset = value.offset;
  c.leader_epoch = value.leader_epoch;
  c.committed_at = WallMs(value.commit_timestamp);
  c.expires_at = WallMs(value.expire_timestamp);
  c.topic_id = value.topic_id;
  c.record = at;
  c.metadata = std::string(value.metadata);
  return {};
}

void State::remove_offset(std::string_view id, std::string_view topic, int32_t partition) {
  const auto at = groups_.find(id);
  if (at == groups_.end()) return;
  erase_offset(at->second.offsets, topic, partition);
  auto& transactional = at->second.transactional;
  for (auto& [producer, waiting] : transactional) erase_offset(waiting, topic, partition);
  std::erase_if(transactional, [](const auto& open) { return open.second.empty(); });
}

Result<void> State::apply_group(const Stored& stored, wire::Reader& key_reader) {
  wire::GroupMetadataKey key;
  if (auto r = key.decode(key_reader, 0); !r) return r;
  if (!stored.value) {
    const auto at = groups_.find(key.group);
    if (at == groups_.end() || at->second.consumer) return {};
    at->second.classic = no_members();
    if (at->second.offsets.empty() && at->second.transactional.empty()) groups_.erase(at);
    return {};
  }
  Arena arena;
  wire::Reader reader(as_bytes(*stored.value), arena);
  const auto version = wire::decode_record_prefix(reader);
  if (!version) return std::unexpected(version.error());
  wire::GroupMetadataValue value;
  if (auto r = value.decode(reader, *version); !r) return r;
  auto group = std::make_shared<ClassicGroup>();
  group->state = value.members.empty() ? ClassicState::kEmpty : ClassicState::kStable;
  group->since = WallMs(value.current_state_timestamp);
  group->generation = value.generation;
  if (!value.protocol_type.empty()) group->protocol_type = std::string(value.protocol_type);
  group->protocol = owned(value.protocol);
  group->leader = owned(value.leader);
  for (const auto& m : value.members) {
    Member member{
        .id = std::string(m.member_id),
        .instance = owned(m.group_instance_id),
        .client_id = std::string(m.client_id),
        .client_host = std::string(m.client_host),
        .rebalance_timeout_ms = m.rebalance_timeout == -1 ? m.session_timeout : m.rebalance_timeout,
        .session_timeout_ms = m.session_timeout,
        .protocols = {{group->protocol.value_or(""), std::string(as_text(m.subscription))}},
        .assignment = std::string(as_text(m.assignment))};
    if (member.instance) group->statics[*member.instance] = member.id;
    const std::string id = member.id;
    group->members[id] = std::make_shared<const Member>(std::move(member));
  }
  // A leader that is not among the members would be nobody.
  if (group->leader && group->member(*group->leader) == nullptr) group->leader.reset();
  if (!group->leader && !group->members.empty()) group->leader = group->members.begin()->first;
  if (!group->members.empty() && !group->protocol)
    return fail(Errc::kCorrupt, "a group with members and no protocol");
  group->subscribed = group->subscribed_topics();
  Group& known = make(key.group);
  known.classic = std::move(group);
  known.consumer.reset();
  return {};
}

Result<void> State::apply_consumer(int16_t type, const Stored& stored, wire::Reader& key) {
  const auto record = ConsumerRecord::read(type, key, stored.value);
  if (!record) return std::unexpected(record.error());
  if (record->tombstone()) {
    const auto at = groups_.find(record->group());
    if (at == groups_.end() || !at->second.consumer) return {};
    if (!record->ends_group()) {
      record->apply(*at->second.consumer);
      return {};
    }
    at->second.consumer.reset();
    if (at->second.offsets.empty() && at->second.transactional.empty()) groups_.erase(at);
    return {};
  }
  Group& group = make(record->group());
  if (!group.consumer) {
    group.classic = no_members();
    group.consumer = std::make_unique<ConsumerGroup>();
  }
  record->apply(*group.consumer);
  return {};
}

void State::replay_marker(const Marker& marker) {
  const auto open = open_.extract(marker.producer);
  if (open.empty()) return;
  for (const std::string& id : open.mapped()) {
    const auto at = groups_.find(id);
    if (at == groups_.end()) continue;
    auto waiting = at->second.transactional.extract(marker.producer);
    if (waiting.empty() || !marker.committed) continue;
    for (auto& [topic, partitions] : waiting.mapped()) {
      PartitionOffsets& to = at->second.offsets[topic];
      for (auto& [index, offset] : partitions) {
        // What was committed since, outside of the transaction, is newer.
        const auto known = to.find(index);
        if (known == to.end() || known->second.record < offset.record)
          to.insert_or_assign(index, std::move(offset));
      }
    }
  }
}

}  // namespace odradek::machines::group
