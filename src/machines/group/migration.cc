#include "machines/group/migration.h"

#include <algorithm>
#include <utility>

#include "machines/group/classic_edit.h"
#include "machines/group/consumer_records.h"
#include "machines/group/embedded.h"
#include "machines/group/metadata_hash.h"

namespace odradek::machines::group {

namespace {

Record classic_tombstone(std::string_view group) {
  wire::GroupMetadataKey key;
  key.group = group;
  return Record::tombstone(key);
}

/// Whoever waits has to join again.
void stop_classic(ConsumerEdit& edit, const ClassicGroup& group) {
  for (const auto& [id, m] : group.members) {
    if (m->joining != 0)
      edit.tell({m->joining, JoinAnswer{.error = ErrorCode::kRebalanceInProgress, .member = id}});
    if (m->syncing != 0)
      edit.tell({m->syncing, SyncAnswer{.error = ErrorCode::kRebalanceInProgress}});
  }
  for (const std::string& id : group.pending) edit.disarm(session_timer(edit.id(), id));
  edit.disarm(join_timer(edit.id()));
  edit.disarm(sync_timer(edit.id()));
}

/// The member as one of the new kind of group; nothing if what it says cannot be read. `given` has
/// what anybody was given. What a cooperative member had when it joined, and nobody was given, is
/// what it has to give back first: it may not even have heard so yet.
std::optional<ConsumerMember> converted(const ClassicGroup& group, const Member& m,
                                        const Partitions& assigned, Partitions& given,
                                        const metadata::Image& image) {
  const Protocol* protocol = group.protocol ? m.protocol(*group.protocol) : nullptr;
  if (protocol == nullptr && !m.protocols.empty()) protocol = &m.protocols.front();
  const auto subscription = read_subscription(protocol != nullptr ? protocol->metadata : "", image);
  if (!subscription) return std::nullopt;
  ConsumerMember out{.id = m.id,
                     .instance = m.instance,
                     .rack = subscription->rack,
                     .client_id = m.client_id,
                     .client_host = m.client_host,
                     .topics = subscription->topics,
                     .rebalance_timeout_ms = m.rebalance_timeout_ms,
                     .classic = ClassicPart{m.session_timeout_ms, m.protocols},
                     .epoch = group.generation,
                     .previous_epoch = group.generation};
  for (const auto& [topic, indexes] : assigned) {
    for (const int32_t index : indexes) out.assigned[topic][index] = group.generation;
  }
  for (const auto& [topic, indexes] : subscription->owned) {
    for (const int32_t index : indexes) {
      if (given[topic].insert(index).second) out.revoking[topic][index] = group.generation;
    }
  }
  if (!out.revoking.empty()) out.state = MemberState::kUnrevoked;
  return out;
}

void add(Partitions& into, const Partitions& more) {
  for (const auto& [topic, indexes] : more) into[topic].insert(indexes.begin(), indexes.end());
}

std::string convert(ConsumerEdit& edit, const ClassicGroup& group) {
  constexpr const char* kUnreadable = "What a member of the classic group says cannot be read.";
  std::vector<Partitions> assigned;  // in the members' order
  Partitions given;
  for (const auto& [id, m] : group.members) {
    auto assignment = read_assignment(m->assignment, edit.image());
    if (!assignment) return kUnreadable;
    if (assignment->has_user_data)
      return "The classic group has a custom assignor, whose data would be lost.";
    add(given, assignment->partitions);
    assigned.push_back(std::move(assignment->partitions));
  }
  std::vector<ConsumerMember> members;
  for (const auto& [id, m] : group.members) {
    auto member = converted(group, *m, assigned[members.size()], given, edit.image());
    if (!member) return kUnreadable;
    members.push_back(std::move(*member));
  }
  TopicNames topics;
  for (const ConsumerMember& m : members) {
    topics.insert(m.topics.begin(), m.topics.end());
    edit.put_member(m);
  }
  edit.put_epoch(group.generation, metadata_hash(topics, edit.image()));
  for (const ConsumerMember& m : members) {
    Target target;
    for (const auto& [topic, indexes] : without_epochs(m.assigned))
      target.push_back({topic, {indexes.begin(), indexes.end()}});
    edit.put_target(m.id, std::move(target));
  }
  // As old as can be: the first new member need not wait for its target.
  edit.put_target_epoch(group.generation, WallMs(0));
  for (const ConsumerMember& m : members) {
    edit.put_assignment(m);
    edit.arm_session(m);
  }
  return "";
}

/// Whether classic members understand each other.
bool share_a_protocol(const std::vector<const ClassicPart*>& members) {
  const auto known_to_all = [&](const Protocol& p) {
    return std::ranges::all_of(members, [&](const ClassicPart* m) {
      return std::ranges::any_of(m->protocols, [&](const Protocol& o) { return o.name == p.name; });
    });
  };
  return !members.empty() && std::ranges::any_of(members.front()->protocols, known_to_all);
}

/// The consumer group as a stable classic one; those that do not go are all classic.
ClassicGroup classic_group(const ConsumerEdit& edit, WallMs now,
                           const std::vector<std::string>& without) {
  const ConsumerGroup& group = edit.group();
  ClassicGroup out{.state = ClassicState::kStable,
                   .previous = ClassicState::kStable,
                   .since = now,
                   .generation = group.epoch,
                   .protocol_type = "consumer"};
  for (const auto& [id, m] : group.members()) {
    if (std::ranges::find(without, id) != without.end()) continue;
    Member member{.id = id,
                  .instance = m->instance,
                  .client_id = m->client_id,
                  .client_host = m->client_host,
                  .rebalance_timeout_ms = m->rebalance_timeout_ms,
                  .session_timeout_ms = m->classic->session_timeout_ms,
                  .protocols = m->classic->protocols};
    if (m->instance) out.statics[*m->instance] = id;
    if (!out.leader) out.leader = id;
    out.members[id] = std::make_shared<const Member>(std::move(member));
  }
  return out;
}

/// What a member said when it joined; nothing if it cannot be read.
std::optional<Subscription> said(const ClassicGroup& group, const Member& m,
                                 const metadata::Image& image) {
  const Protocol* protocol = group.protocol ? m.protocol(*group.protocol) : nullptr;
  return read_subscription(protocol != nullptr ? protocol->metadata : "", image);
}

/// What members of a stable group of consumers subscribe to and nobody was given.
Partitions orphans(const ClassicGroup& group, const metadata::Image& image) {
  if (group.state != ClassicState::kStable || !group.protocol || !group.uses_consumer_protocol())
    return {};
  TopicNames topics;
  Partitions given;
  for (const auto& [id, m] : group.members) {
    const auto subscription = said(group, *m, image);
    const auto assignment = read_assignment(m->assignment, image);
    // Assignors with data of their own know what they do.
    if (m->assignment.empty() || !subscription || !assignment || assignment->has_user_data)
      return {};
    topics.insert(subscription->topics.begin(), subscription->topics.end());
    add(given, assignment->partitions);
  }
  Partitions out;
  for (const std::string& name : topics) {
    const metadata::Topic* topic = image.topic(name);
    if (topic == nullptr) continue;
    const auto& has = given[topic->id];
    for (int32_t i = 0; i < static_cast<int32_t>(topic->partitions.size()); i++) {
      if (!has.contains(i)) out[topic->id].insert(i);
    }
  }
  return out;
}

}  // namespace

std::string upgrade(Draft& draft, ConsumerEdit& edit, const Group& group) {
  const ClassicGroup& classic = *group.classic;
  if (group.is_empty()) {
    stop_classic(edit, classic);
    edit.put(classic_tombstone(edit.id()));
    return "";
  }
  if (!draft.settings.may_upgrade)
    return "The group is a classic one, and must not be changed (group.consumer.migration.policy).";
  if (!classic.uses_consumer_protocol()) return "The classic group is not one of consumers.";
  if (classic.members.size() > static_cast<size_t>(draft.settings.consumer_max_size))
    return "The classic group is larger than group.consumer.max.size.";
  stop_classic(edit, classic);
  edit.put(classic_tombstone(edit.id()));
  return convert(edit, classic);
}

bool may_downgrade(const Draft& draft, const ConsumerGroup& group,
                   const std::vector<std::string>& without, const ClassicPart* joining) {
  std::vector<const ClassicPart*> left;
  if (joining != nullptr) left.push_back(joining);
  for (const auto& [id, m] : group.members()) {
    if (std::ranges::find(without, id) != without.end()) continue;
    if (!m->classic) return false;
    left.push_back(&*m->classic);
  }
  return draft.settings.may_downgrade && share_a_protocol(left) &&
         left.size() <= static_cast<size_t>(std::max(draft.settings.max_size, 0));
}

void downgrade(Draft& draft, ConsumerEdit& edit, bool rebalance,
               const std::vector<std::string>& without) {
  ClassicGroup group = classic_group(edit, draft.now.wall, without);
  const ConsumerGroup gone = edit.group();
  const std::string id = edit.id();
  for (const auto& [member, m] : gone.members()) edit.disarm_all(member);
  edit.remove_group();
  edit.finish();
  ClassicEdit classic(draft, id, std::move(group));
  classic.adopt([&](const Member& m, const Protocol& protocol) {
    return write_assignment(without_epochs(gone.member(m.id)->assigned), protocol.metadata,
                            edit.image());
  });
  if (rebalance) classic.prepare_rebalance();
  classic.finish();
}

void drop_members(Draft& draft, const std::string& group, const std::vector<std::string>& members) {
  ConsumerEdit edit(draft, group);
  if (!may_downgrade(draft, edit.group(), members)) {
    edit.drop_members(members);
    return edit.finish();
  }
  downgrade(draft, edit, true, members);
}

bool leaves_out(const ClassicGroup& group, const metadata::Image& image) {
  return !orphans(group, image).empty();
}

bool must_give_back(const ClassicGroup& group, const Member& member, const metadata::Image& image) {
  const auto joined_with = said(group, member, image);
  if (!joined_with || joined_with->owned.empty()) return false;
  const Partitions nobodys = orphans(group, image);
  return std::ranges::any_of(joined_with->owned, [&](const auto& topic) {
    const auto found = nobodys.find(topic.first);
    return found != nobodys.end() && std::ranges::any_of(topic.second, [&](int32_t partition) {
             return found->second.contains(partition);
           });
  });
}

}  // namespace odradek::machines::group
