// `odradek group list|describe|reset|delete`: consumer groups, their members, offsets and lag.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>

#include "app/cli.h"
#include "wire/gen/consumer_protocol_assignment.h"
#include "wire/gen/delete_groups.h"
#include "wire/gen/describe_groups.h"
#include "wire/gen/find_coordinator.h"
#include "wire/gen/list_groups.h"
#include "wire/gen/list_offsets.h"
#include "wire/gen/metadata.h"
#include "wire/gen/offset_commit.h"
#include "wire/gen/offset_fetch.h"

namespace odradek::app {

namespace {

using Place = std::pair<std::string, int32_t>;  // topic, partition
using Offsets = std::map<Place, int64_t>;

constexpr int64_t kLatest = -1;
constexpr int64_t kEarliest = -2;

struct GroupOptions {
  std::vector<std::string> groups;
  std::vector<std::string> states;
  // reset
  std::vector<std::string> topics;
  std::string to;
  std::optional<int64_t> time;
  std::optional<int64_t> shift;
  bool dry_run = false;
};

bool is(int16_t code, wire::ErrorCode error) { return code == wire::wire_value(error); }

/// A connection to the broker that coordinates the group.
Result<AdminClient> connect_to_coordinator(const Cli& cli, const std::string& group) {
  auto client = AdminClient::connect(cli.bootstrap);
  if (!client) return client;
  Arena arena;
  wire::FindCoordinatorRequest request;
  request.coordinator_keys.add(arena, group);
  auto answer =
      client->call<wire::FindCoordinatorRequest, wire::FindCoordinatorResponse>(request, arena);
  if (!answer) return std::unexpected(answer.error());
  if (answer->coordinators.empty()) return fail(Errc::kUnsupported, "the broker is too old");
  const auto& at = answer->coordinators[0];
  if (at.error_code != 0) return fail(Errc::kIo, describe_error(at.error_code, at.error_message));
  const std::string where = fmt::format("{}:{}", at.host, at.port);
  return where == client->peer() ? std::move(client) : AdminClient::connect(where);
}

/// Offsets of a timestamp or of a kEarliest, kLatest; −1 where there is none.
Result<Offsets> list_offsets(AdminClient& client, const Offsets& places, int64_t timestamp) {
  Arena arena;
  wire::ListOffsetsRequest request;
  request.replica_id = -1;
  request.timeout_ms = 30'000;
  for (const auto& [place, unused] : places) {
    if (request.topics.empty() || request.topics.back().name != place.first)
      request.topics.add(arena).name = place.first;
    auto& p = request.topics.back().partitions.add(arena);
    p.partition_index = place.second;
    p.timestamp = timestamp;
  }
  auto answer = client.call<wire::ListOffsetsRequest, wire::ListOffsetsResponse>(request, arena);
  if (!answer) return std::unexpected(answer.error());
  Offsets out;
  for (const auto& t : answer->topics) {
    for (const auto& p : t.partitions) {
      if (p.error_code == 0) out[{std::string(t.name), p.partition_index}] = p.offset;
    }
  }
  return out;
}

Result<Offsets> committed(AdminClient& client, const std::string& group) {
  Arena arena;
  wire::OffsetFetchRequest request;
  // Version 9 still tells topics by name.
  auto& g = request.groups.add(arena);
  g.group_id = group;
  g.topics = std::nullopt;
  auto answer =
      client.call_up_to<wire::OffsetFetchRequest, wire::OffsetFetchResponse>(request, 9, arena);
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

// ---- list

void list_groups(Cli& cli, const GroupOptions& options) {
  auto client = connect_or_report(cli);
  if (!client) return;
  Arena arena;
  auto brokers = client->call<wire::MetadataRequest, wire::MetadataResponse>(
      {.topics = Array<wire::MetadataRequest::MetadataRequestTopic>()}, arena);
  if (!brokers) return report(cli, brokers.error().message);
  wire::ListGroupsRequest request;
  for (const auto& s : options.states) request.states_filter.add(arena, s);
  std::vector<std::vector<std::string>> rows;
  for (const auto& b : brokers->brokers) {
    auto at = AdminClient::connect(fmt::format("{}:{}", b.host, b.port));
    if (!at) return report(cli, at.error().message);
    auto answer = at->call<wire::ListGroupsRequest, wire::ListGroupsResponse>(request, arena);
    if (!answer) return report(cli, answer.error().message);
    if (answer->error_code != 0) return report(cli, describe_error(answer->error_code, {}));
    for (const auto& g : answer->groups) {
      rows.push_back({std::string(g.group_id), std::string(g.group_type),
                      std::string(g.group_state), std::string(g.protocol_type)});
    }
  }
  std::ranges::sort(rows);
  if (!cli.json) return print_table({"GROUP", "TYPE", "STATE", "PROTOCOL"}, rows);
  boost::json::array out;
  for (const auto& r : rows)
    out.push_back({{"group", r[0]}, {"type", r[1]}, {"state", r[2]}, {"protocol", r[3]}});
  print_json(out);
}

// ---- describe

using Described = wire::DescribeGroupsResponse::DescribedGroup;

/// What a member of a consumer group has been assigned.
std::vector<Place> assigned(ByteView bytes) {
  Arena arena;
  wire::Reader reader(bytes, arena);
  const int16_t version = std::min<int16_t>(reader.int16(), 3);
  wire::ConsumerProtocolAssignment assignment;
  std::vector<Place> out;
  if (!reader.ok() || version < 0 || !assignment.decode(reader, version)) return out;
  for (const auto& t : assignment.assigned_partitions) {
    for (const int32_t p : t.partitions) out.emplace_back(t.topic, p);
  }
  return out;
}

struct Row {
  int64_t committed = -1;
  int64_t end = -1;
  std::string member{};
  /// −1: not known.
  int64_t lag() const {
    return committed < 0 || end < 0 ? -1 : std::max<int64_t>(end - committed, 0);
  }
};

/// Every partition that has a committed offset or a member.
Result<std::map<Place, Row>> partitions_of(AdminClient& client, const Described& group) {
  auto offsets = committed(client, std::string(group.group_id));
  if (!offsets) return std::unexpected(offsets.error());
  std::map<Place, Row> rows;
  for (const auto& [place, offset] : *offsets) rows[place].committed = offset;
  for (const auto& m : group.members) {
    if (group.protocol_type != "consumer") break;
    for (const Place& place : assigned(m.member_assignment))
      rows[place].member = std::string(m.group_instance_id.value_or(m.member_id));
  }
  Offsets places;
  for (const auto& [place, row] : rows) places[place] = 0;
  auto ends = list_offsets(client, places, kLatest);
  if (!ends) return std::unexpected(ends.error());
  for (const auto& [place, end] : *ends) rows[place].end = end;
  return rows;
}

std::string number(int64_t n) { return n < 0 ? "-" : std::to_string(n); }

boost::json::object as_json(const Described& group, const std::map<Place, Row>& rows) {
  boost::json::array members, partitions;
  for (const auto& m : group.members) {
    boost::json::object o{
        {"member", m.member_id}, {"client", m.client_id}, {"host", m.client_host}};
    if (m.group_instance_id) o["instance"] = *m.group_instance_id;
    members.push_back(std::move(o));
  }
  for (const auto& [place, row] : rows) {
    boost::json::object o{{"topic", place.first}, {"partition", place.second}};
    if (row.committed >= 0) o["committed"] = row.committed;
    if (row.end >= 0) o["end"] = row.end;
    if (row.lag() >= 0) o["lag"] = row.lag();
    if (!row.member.empty()) o["member"] = row.member;
    partitions.push_back(std::move(o));
  }
  return {{"group", group.group_id},
          {"state", group.group_state},
          {"protocol", group.protocol_data},
          {"members", std::move(members)},
          {"partitions", std::move(partitions)}};
}

void print_group(const Described& group, const std::map<Place, Row>& rows) {
  int64_t lag = 0;
  size_t unknown = 0;
  for (const auto& [place, row] : rows) {
    lag += std::max<int64_t>(row.lag(), 0);
    unknown += row.lag() < 0 ? 1 : 0;
  }
  fmt::print("group {}: {}, {} members, lag {}{}{}\n", group.group_id, group.group_state,
             group.members.size(), lag,
             unknown == 0 ? "" : fmt::format(" and {} partitions without an offset", unknown),
             group.protocol_data.empty() ? "" : fmt::format(", protocol {}", group.protocol_data));
  std::vector<std::vector<std::string>> table;
  for (const auto& m : group.members) {
    table.push_back({std::string(m.group_instance_id.value_or(m.member_id)),
                     std::string(m.client_id), std::string(m.client_host),
                     std::to_string(assigned(m.member_assignment).size())});
  }
  if (!table.empty()) print_table({"MEMBER", "CLIENT", "HOST", "PARTITIONS"}, table);
  table.clear();
  for (const auto& [place, row] : rows) {
    table.push_back({place.first, std::to_string(place.second), number(row.committed),
                     number(row.end), number(row.lag()), row.member.empty() ? "-" : row.member});
  }
  if (!table.empty())
    print_table({"TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "MEMBER"}, table);
}

void describe_groups(Cli& cli, const GroupOptions& options) {
  boost::json::array out;
  for (const std::string& name : options.groups) {
    auto client = connect_to_coordinator(cli, name);
    if (!client) return report(cli, client.error().message);
    Arena arena;
    wire::DescribeGroupsRequest request;
    request.groups.add(arena, name);
    auto answer =
        client->call<wire::DescribeGroupsRequest, wire::DescribeGroupsResponse>(request, arena);
    if (!answer) return report(cli, answer.error().message);
    for (const auto& g : answer->groups) {
      if (g.error_code != 0 || g.group_state == "Dead") {
        report(cli, fmt::format("group {}: there is none", name));
        continue;
      }
      auto rows = partitions_of(*client, g);
      if (!rows) return report(cli, rows.error().message);
      if (cli.json) {
        out.push_back(as_json(g, *rows));
      } else {
        print_group(g, *rows);
      }
    }
  }
  if (cli.json) print_json(out);
}

// ---- reset

/// Partitions of `topic` or `topic:0,3`.
Result<void> add_topic_partitions(AdminClient& client, const std::string& text, Offsets& places) {
  const size_t colon = text.rfind(':');
  const std::string topic = text.substr(0, colon);
  if (colon != std::string::npos) {
    for (size_t at = colon + 1; at < text.size(); at = text.find(',', at) + 1) {
      places[{topic, std::atoi(&text[at])}] = 0;
      if (text.find(',', at) == std::string::npos) break;
    }
    return {};
  }
  Arena arena;
  wire::MetadataRequest request;
  request.allow_auto_topic_creation = false;
  request.topics.emplace().add(arena).name = topic;
  auto answer = client.call<wire::MetadataRequest, wire::MetadataResponse>(request, arena);
  if (!answer) return std::unexpected(answer.error());
  for (const auto& t : answer->topics) {
    if (t.error_code != 0)
      return fail(Errc::kNotFound,
                  fmt::format("topic {}: {}", topic, describe_error(t.error_code, {})));
    for (const auto& p : t.partitions) places[{topic, p.partition_index}] = 0;
  }
  return {};
}

/// Where the group is to go on, within what the partitions have.
Result<Offsets> targets(AdminClient& client, const GroupOptions& options, const Offsets& places,
                        const Offsets& now) {
  auto first = list_offsets(client, places, kEarliest);
  auto end = list_offsets(client, places, kLatest);
  if (!first) return first;
  if (!end) return end;
  Offsets out;
  if (options.time) {
    auto found = list_offsets(client, places, *options.time);
    if (!found) return found;
    out = std::move(*found);
  }
  for (const auto& [place, unused] : places) {
    if (!first->contains(place) || !end->contains(place))
      return fail(Errc::kNotFound, fmt::format("{}-{}: there is none", place.first, place.second));
    int64_t& to = out[place];
    if (options.shift) {
      const auto at = now.find(place);
      to = (at != now.end() ? at->second : (*first)[place]) + *options.shift;
    } else if (!options.time) {
      to = options.to == "earliest" ? (*first)[place]
           : options.to == "latest" ? (*end)[place]
                                    : std::atoll(options.to.c_str());
    }
    if (options.time && to < 0) to = (*end)[place];  // nothing is that new
    to = std::clamp(to, (*first)[place], (*end)[place]);
  }
  return out;
}

Result<void> commit(AdminClient& client, const std::string& group, const Offsets& offsets) {
  Arena arena;
  wire::OffsetCommitRequest request;
  request.group_id = group;
  for (const auto& [place, offset] : offsets) {
    if (request.topics.empty() || request.topics.back().name != place.first)
      request.topics.add(arena).name = place.first;
    auto& p = request.topics.back().partitions.add(arena);
    p.partition_index = place.second;
    p.committed_offset = offset;
    p.committed_metadata = "";
  }
  auto answer =
      client.call_up_to<wire::OffsetCommitRequest, wire::OffsetCommitResponse>(request, 9, arena);
  if (!answer) return std::unexpected(answer.error());
  for (const auto& t : answer->topics) {
    for (const auto& p : t.partitions) {
      if (p.error_code == 0) continue;
      if (is(p.error_code, wire::ErrorCode::kUnknownMemberId) ||
          is(p.error_code, wire::ErrorCode::kRebalanceInProgress))
        return fail(Errc::kExists, "the group has members: stop them first");
      return fail(Errc::kIo, fmt::format("{}-{}: {}", t.name, p.partition_index,
                                         describe_error(p.error_code, {})));
    }
  }
  return {};
}

void reset_offsets(Cli& cli, const GroupOptions& options) {
  if ((!options.to.empty()) + options.time.has_value() + options.shift.has_value() != 1)
    return report(cli, "reset takes one of --to, --time and --shift");
  const std::string& group = options.groups.front();
  auto client = connect_to_coordinator(cli, group);
  if (!client) return report(cli, client.error().message);
  auto now = committed(*client, group);
  if (!now) return report(cli, now.error().message);
  Offsets places = options.topics.empty() ? *now : Offsets();
  for (const std::string& text : options.topics) {
    if (auto r = add_topic_partitions(*client, text, places); !r)
      return report(cli, r.error().message);
  }
  if (places.empty())
    return report(cli, fmt::format("group {} has no offsets", group), "Name topics with --topic.");
  auto to = targets(*client, options, places, *now);
  if (!to) return report(cli, to.error().message);
  if (!options.dry_run) {
    if (auto r = commit(*client, group, *to); !r) return report(cli, r.error().message);
  }
  std::vector<std::vector<std::string>> rows;
  boost::json::array out;
  for (const auto& [place, offset] : *to) {
    const int64_t before = now->contains(place) ? now->at(place) : -1;
    rows.push_back({place.first, std::to_string(place.second), number(before), number(offset)});
    out.push_back({{"topic", place.first}, {"partition", place.second}, {"to", offset}});
    if (before >= 0) out.back().as_object()["from"] = before;
  }
  if (cli.json) return print_json(out);
  if (options.dry_run) fmt::print("not done (--dry-run):\n");
  print_table({"TOPIC", "PARTITION", "FROM", "TO"}, rows);
}

// ---- delete

void delete_groups(Cli& cli, const GroupOptions& options) {
  for (const std::string& name : options.groups) {
    auto client = connect_to_coordinator(cli, name);
    if (!client) return report(cli, client.error().message);
    Arena arena;
    wire::DeleteGroupsRequest request;
    request.groups_names.add(arena, name);
    auto answer =
        client->call<wire::DeleteGroupsRequest, wire::DeleteGroupsResponse>(request, arena);
    if (!answer) return report(cli, answer.error().message);
    for (const auto& r : answer->results) {
      if (r.error_code == 0 && !cli.json) fmt::print("Deleted group {}\n", r.group_id);
      if (r.error_code != 0)
        report(cli, fmt::format("group {}: {}", r.group_id, describe_error(r.error_code, {})),
               is(r.error_code, wire::ErrorCode::kNonEmptyGroup) ? "Stop its members first." : "");
    }
  }
}

}  // namespace

void add_group(CLI::App& program, Cli& cli) {
  auto* group = program.add_subcommand("group", "Consumer groups: members, offsets, lag");
  group->require_subcommand(1);
  const auto add = [&](const char* name, const char* text, auto run) {
    auto* command = group->add_subcommand(name, text);
    auto options = std::make_shared<GroupOptions>();
    add_client_options(*command, cli);
    command->callback([&cli, options, run] { run(cli, *options); });
    return std::pair(command, options);
  };
  auto [list, list_options] = add("list", "List groups", list_groups);
  list->add_option("--state", list_options->states, "only groups in these states");
  auto [describe, describe_options] =
      add("describe", "Show members, offsets and lag", describe_groups);
  describe->add_option("group", describe_options->groups, "groups")->required();
  auto [reset, reset_options] =
      add("reset", "Set the offsets that a group without members goes on from", reset_offsets);
  reset->add_option("group", reset_options->groups, "the group")->required()->expected(1);
  reset->add_option("--topic", reset_options->topics,
                    "topic, or topic:0,3 (default: all that the group has offsets of)");
  reset->add_option("--to", reset_options->to, "earliest, latest or an offset");
  reset->add_option("--time", reset_options->time,
                    "milliseconds since 1970: the first record at or after it");
  reset->add_option("--shift", reset_options->shift, "so many records on, or back if negative");
  reset->add_flag("--dry-run", reset_options->dry_run, "show what would be done");
  auto [remove, remove_options] =
      add("delete", "Delete groups without members, and their offsets", delete_groups);
  remove->add_option("group", remove_options->groups, "groups")->required();
}

}  // namespace odradek::app
