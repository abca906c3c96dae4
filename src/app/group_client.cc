#include "app/group_client.h"

#include <fmt/format.h>

#include <algorithm>

#include "app/cli.h"
#include "wire/gen/consumer_group_describe.h"
#include "wire/gen/consumer_protocol_assignment.h"
#include "wire/gen/consumer_protocol_subscription.h"
#include "wire/gen/describe_groups.h"
#include "wire/gen/fetch.h"
#include "wire/gen/find_coordinator.h"
#include "wire/gen/list_offsets.h"
#include "wire/gen/metadata.h"
#include "wire/gen/offset_fetch.h"
#include "wire/record_batch.h"

namespace odradek::app {

namespace {

using wire::ErrorCode;

bool is(int16_t code, ErrorCode error) { return code == wire::wire_value(error); }

/// What a member of a consumer group has been assigned; and what it is subscribed to.
void read_member(const wire::DescribeGroupsResponse::DescribedGroupMember& m, GroupMember& out) {
  Arena arena;
  wire::Reader assigned(m.member_assignment, arena);
  const int16_t version = std::min<int16_t>(assigned.int16(), 3);
  wire::ConsumerProtocolAssignment assignment;
  if (assigned.ok() && version >= 0 && assignment.decode(assigned, version)) {
    for (const auto& t : assignment.assigned_partitions) {
      for (const int32_t p : t.partitions) out.assigned.emplace_back(t.topic, p);
    }
  }
  wire::Reader wanted(m.member_metadata, arena);
  (void)wanted.int16();  // its version: all begin with the fields of version 0
  wire::ConsumerProtocolSubscription subscription;
  if (wanted.ok() && subscription.decode(wanted, 0)) {
    out.topics.assign(subscription.topics.begin(), subscription.topics.end());
  }
}

GroupView classic_view(const wire::DescribeGroupsResponse::DescribedGroup& g) {
  GroupView out{.error = g.error_code,
                .id = std::string(g.group_id),
                .type = "classic",
                .state = std::string(g.group_state),
                .protocol_type = std::string(g.protocol_type),
                .protocol = std::string(g.protocol_data)};
  for (const auto& m : g.members) {
    GroupMember& member = out.members.emplace_back(GroupMember{.id = std::string(m.member_id)});
    if (m.group_instance_id) member.instance = std::string(*m.group_instance_id);
    member.client = m.client_id;
    member.host = m.client_host;
    if (out.protocol_type == "consumer") read_member(m, member);
  }
  return out;
}

GroupView consumer_view(const wire::ConsumerGroupDescribeResponse::DescribedGroup& g) {
  GroupView out{.error = g.error_code,
                .id = std::string(g.group_id),
                .type = "consumer",
                .state = std::string(g.group_state),
                .protocol_type = "consumer",
                .protocol = std::string(g.assignor_name)};
  for (const auto& m : g.members) {
    GroupMember& member = out.members.emplace_back(GroupMember{.id = std::string(m.member_id)});
    if (m.instance_id) member.instance = std::string(*m.instance_id);
    member.client = m.client_id;
    member.host = m.client_host;
    member.topics.assign(m.subscribed_topic_names.begin(), m.subscribed_topic_names.end());
    for (const auto& t : m.assignment.topic_partitions) {
      for (const int32_t p : t.partitions) member.assigned.emplace_back(t.topic_name, p);
    }
  }
  return out;
}

/// The time of the first batch of a fetch; −1: it has none.
int64_t first_time(const wire::FetchResponse& answer) {
  for (const auto& t : answer.responses) {
    for (const auto& p : t.partitions) {
      if (p.error_code != 0 || !p.records || p.records->pieces.empty()) continue;
      const Piece& piece = p.records->pieces[0];
      if (piece.memory.size() < wire::kBatchHeaderSize) continue;
      const wire::BatchHeader batch(piece.memory.data());
      return batch.timestamp_type() == wire::TimestampType::kLogAppendTime
                 ? batch.max_timestamp().value
                 : batch.base_timestamp().value;
    }
  }
  return -1;
}

/// Topics with their partitions, from places that are in order.
template <class Topics>
void add_places(const Offsets& places, Topics& topics, Arena& arena, auto add) {
  const std::string* last = nullptr;
  for (const auto& [place, offset] : places) {
    if (last == nullptr || *last != place.first) topics.add(arena).name = place.first;
    last = &place.first;
    add(topics.back(), place.second, offset);
  }
}

}  // namespace

int64_t GroupPartition::lag() const {
  return committed < 0 || end < 0 ? -1 : std::max<int64_t>(end - committed, 0);
}

GroupLag lag_of(const GroupPartitions& partitions) {
  GroupLag lag;
  const int64_t now = now_ms();
  for (const auto& [place, row] : partitions) {
    lag.records += std::max<int64_t>(row.lag(), 0);
    lag.unknown += row.lag() < 0 ? 1 : 0;
    if (row.waiting_since >= 0) lag.behind_ms = std::max(lag.behind_ms, now - row.waiting_since);
  }
  if (lag.records == 0) lag.behind_ms = 0;
  return lag;
}

Result<GroupClient> GroupClient::connect(const std::string& bootstrap) {
  auto client = AdminClient::connect(bootstrap);
  if (!client) return std::unexpected(client.error());
  GroupClient out;
  out.first_ = client->peer();
  out.clients_.emplace(out.first_, std::move(*client));
  auto known = out.topics({});
  if (!known) return std::unexpected(known.error());
  return out;
}

Result<AdminClient*> GroupClient::at(const std::string& address) {
  if (const auto known = clients_.find(address); known != clients_.end()) return &known->second;
  auto client = AdminClient::connect(address);
  if (!client) return std::unexpected(client.error());
  return &clients_.emplace(address, std::move(*client)).first->second;
}

Result<AdminClient*> GroupClient::broker(int32_t id) {
  const auto known = brokers_.find(id);
  if (known == brokers_.end()) return fail(Errc::kNotFound, fmt::format("broker {} is away", id));
  return at(known->second);
}

Result<AdminClient*> GroupClient::leader(const Place& place) {
  const auto known = leaders_.find(place);
  if (known == leaders_.end())
    return fail(Errc::kNotFound, fmt::format("{}-{}: there is none", place.first, place.second));
  return broker(known->second);
}

std::string GroupClient::address(int32_t id) const {
  const auto known = brokers_.find(id);
  return known == brokers_.end() ? std::string() : known->second;
}

std::vector<int32_t> GroupClient::broker_ids() const {
  std::vector<int32_t> out;
  for (const auto& [id, address] : brokers_) out.push_back(id);
  return out;
}

Result<AdminClient*> GroupClient::coordinator(const std::string& group) {
  Arena arena;
  wire::FindCoordinatorRequest request;
  request.coordinator_keys.add(arena, group);
  auto answer =
      any().call<wire::FindCoordinatorRequest, wire::FindCoordinatorResponse>(request, arena);
  if (!answer) return std::unexpected(answer.error());
  if (answer->coordinators.empty()) return fail(Errc::kUnsupported, "the broker is too old");
  const auto& c = answer->coordinators[0];
  if (c.error_code != 0) return fail(Errc::kClosed, describe_error(c.error_code, c.error_message));
  const std::string where = fmt::format("{}:{}", c.host, c.port);
  coordinator_id_ = c.node_id;
  coordinator_name_ = fmt::format("broker {} ({})", c.node_id, where);
  return at(where);
}

Result<std::map<std::string, std::vector<int32_t>>> GroupClient::topics(
    const std::set<std::string>& names) {
  Arena arena;
  wire::MetadataRequest request;
  request.allow_auto_topic_creation = false;
  request.topics.emplace();
  for (const std::string& name : names) request.topics->add(arena).name = name;
  auto answer = any().call<wire::MetadataRequest, wire::MetadataResponse>(request, arena);
  if (!answer) return std::unexpected(answer.error());
  brokers_.clear();
  for (const auto& b : answer->brokers) brokers_[b.node_id] = fmt::format("{}:{}", b.host, b.port);
  std::map<std::string, std::vector<int32_t>> out;
  for (const auto& t : answer->topics) {
    if (t.error_code != 0 || !t.name) continue;
    auto& partitions = out[std::string(*t.name)];
    for (const auto& p : t.partitions) {
      partitions.push_back(p.partition_index);
      leaders_[{std::string(*t.name), p.partition_index}] = p.leader_id;
    }
    std::ranges::sort(partitions);
  }
  return out;
}

Result<GroupView> GroupClient::describe(const std::string& group) {
  auto client = coordinator(group);
  if (!client) return std::unexpected(client.error());
  Arena arena;
  wire::DescribeGroupsRequest request;
  request.groups.add(arena, group);
  auto answer =
      (*client)->call<wire::DescribeGroupsRequest, wire::DescribeGroupsResponse>(request, arena);
  if (!answer) return std::unexpected(answer.error());
  GroupView view{.id = group, .state = "Dead"};
  for (const auto& g : answer->groups) view = classic_view(g);
  const bool none =
      view.state == "Dead" && (view.error == 0 || is(view.error, ErrorCode::kGroupIdNotFound));
  if (!none) return view;
  view.error = 0;
  // Groups of the new protocol are another API's.
  wire::ConsumerGroupDescribeRequest newer;
  newer.group_ids.add(arena, group);
  auto described =
      (*client)->call<wire::ConsumerGroupDescribeRequest, wire::ConsumerGroupDescribeResponse>(
          newer, arena);
  if (!described) return view;
  for (const auto& g : described->groups) {
    if (g.error_code == 0) view = consumer_view(g);
  }
  return view;
}

Result<Offsets> GroupClient::committed(const std::string& group) {
  auto client = coordinator(group);
  if (!client) return std::unexpected(client.error());
  Arena arena;
  wire::OffsetFetchRequest request;
  auto& g = request.groups.add(arena);
  g.group_id = group;
  g.topics = std::nullopt;
  // Version 9 still tells topics by name.
  auto answer =
      (*client)->call_up_to<wire::OffsetFetchRequest, wire::OffsetFetchResponse>(request, 9, arena);
  if (!answer) return std::unexpected(answer.error());
  Offsets out;
  for (const auto& told : answer->groups) {
    if (told.error_code != 0) return fail(Errc::kIo, describe_error(told.error_code, {}));
    for (const auto& t : told.topics) {
      for (const auto& p : t.partitions)
        out[{std::string(t.name), p.partition_index}] = p.committed_offset;
    }
  }
  return out;
}

Result<std::set<Place>> GroupClient::unstable(const std::string& group) {
  auto client = coordinator(group);
  if (!client) return std::unexpected(client.error());
  Arena arena;
  wire::OffsetFetchRequest request;
  request.require_stable = true;
  auto& g = request.groups.add(arena);
  g.group_id = group;
  g.topics = std::nullopt;
  auto answer =
      (*client)->call_up_to<wire::OffsetFetchRequest, wire::OffsetFetchResponse>(request, 9, arena);
  if (!answer) return std::unexpected(answer.error());
  std::set<Place> out;
  for (const auto& told : answer->groups) {
    for (const auto& t : told.topics) {
      for (const auto& p : t.partitions) {
        if (is(p.error_code, ErrorCode::kUnstableOffsetCommit))
          out.emplace(t.name, p.partition_index);
      }
    }
  }
  return out;
}

Result<std::map<int32_t, Offsets>> GroupClient::by_leader(const Offsets& places) {
  std::set<std::string> unknown;
  for (const auto& [place, offset] : places) {
    if (!leaders_.contains(place)) unknown.insert(place.first);
  }
  if (!unknown.empty()) {
    if (auto r = topics(unknown); !r) return std::unexpected(r.error());
  }
  std::map<int32_t, Offsets> out;
  for (const auto& [place, offset] : places) {
    const auto leader = leaders_.find(place);
    if (leader != leaders_.end() && brokers_.contains(leader->second))
      out[leader->second][place] = offset;
  }
  return out;
}

Result<Offsets> GroupClient::list_offsets(const Offsets& places, int64_t timestamp,
                                          int8_t isolation) {
  auto leaders = by_leader(places);
  if (!leaders) return std::unexpected(leaders.error());
  Offsets out;
  for (const auto& [id, theirs] : *leaders) {
    auto client = broker(id);
    if (!client) return std::unexpected(client.error());
    Arena arena;
    wire::ListOffsetsRequest request;
    request.replica_id = -1;
    request.isolation_level = isolation;
    request.timeout_ms = 30'000;
    add_places(theirs, request.topics, arena, [&](auto& topic, int32_t partition, int64_t) {
      auto& p = topic.partitions.add(arena);
      p.partition_index = partition;
      p.timestamp = timestamp;
    });
    auto answer =
        (*client)->call<wire::ListOffsetsRequest, wire::ListOffsetsResponse>(request, arena);
    if (!answer) return std::unexpected(answer.error());
    for (const auto& t : answer->topics) {
      for (const auto& p : t.partitions) {
        if (p.error_code == 0) out[{std::string(t.name), p.partition_index}] = p.offset;
      }
    }
  }
  return out;
}

Result<Offsets> GroupClient::times(const Offsets& places) {
  auto leaders = by_leader(places);
  if (!leaders) return std::unexpected(leaders.error());
  Offsets out;
  size_t asked = 0;
  for (const auto& [id, theirs] : *leaders) {
    auto client = broker(id);
    if (!client) return std::unexpected(client.error());
    for (const auto& [place, offset] : theirs) {
      if (++asked > kTimesMost) return out;
      Arena arena;
      wire::FetchRequest request;
      request.max_bytes = 1;  // a broker gives one whole batch nevertheless
      auto& topic = request.topics.add(arena);
      topic.topic = place.first;
      auto& p = topic.partitions.add(arena);
      p.partition = place.second;
      p.fetch_offset = offset;
      p.partition_max_bytes = 1;
      // Version 12 still names topics.
      auto answer =
          (*client)->call_up_to<wire::FetchRequest, wire::FetchResponse>(request, 12, arena);
      if (!answer) return std::unexpected(answer.error());
      if (const int64_t time = first_time(*answer); time >= 0) out[place] = time;
    }
  }
  return out;
}

Result<GroupPartitions> GroupClient::partitions(const GroupView& group) {
  auto offsets = committed(group.id);
  if (!offsets) return std::unexpected(offsets.error());
  GroupPartitions rows;
  Offsets places;
  for (const auto& [place, offset] : *offsets) rows[place].committed = offset;
  for (const GroupMember& m : group.members) {
    for (const Place& place : m.assigned) rows[place].member = m.name();
  }
  for (const auto& [place, row] : rows) places[place] = 0;
  auto ends = list_offsets(places, kLatest);
  if (!ends) return std::unexpected(ends.error());
  auto starts = list_offsets(places, kEarliest);
  if (!starts) return std::unexpected(starts.error());
  Offsets behind;
  for (auto& [place, row] : rows) {
    if (const auto end = ends->find(place); end != ends->end()) row.end = end->second;
    if (row.lag() > 0) behind[place] = std::max(row.committed, (*starts)[place]);
  }
  auto since = times(behind);
  if (!since) return std::unexpected(since.error());
  for (const auto& [place, time] : *since) rows[place].waiting_since = time;
  return rows;
}

}  // namespace odradek::app
