// `odradek group list|describe|reset|delete`: consumer groups, their members, offsets and lag.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "app/cli.h"
#include "app/group_client.h"
#include "wire/gen/delete_groups.h"
#include "wire/gen/list_groups.h"
#include "wire/gen/offset_commit.h"

namespace odradek::app {

namespace {

struct GroupOptions {
  std::vector<std::string> groups;
  std::vector<std::string> states;
  bool lag = false;
  // reset
  std::vector<std::string> topics;
  std::string to;
  std::optional<int64_t> time;
  std::optional<int64_t> shift;
  bool dry_run = false;
};

bool is(int16_t code, wire::ErrorCode error) { return code == wire::wire_value(error); }

/// Connects, or reports why not.
std::optional<GroupClient> connect_groups(Cli& cli) {
  auto client = GroupClient::connect(cli.bootstrap);
  if (client) return std::move(*client);
  report(cli, client.error().message, kNoBroker);
  return std::nullopt;
}

// ---- list

struct Listed {
  std::string id, type, state, protocol;
  std::optional<GroupLag> lag{};
};

Result<std::vector<Listed>> all_groups(GroupClient& client, const GroupOptions& options) {
  std::vector<Listed> out;
  Arena arena;
  wire::ListGroupsRequest request;
  for (const auto& s : options.states) request.states_filter.add(arena, s);
  for (const int32_t id : client.broker_ids()) {
    auto at = client.broker(id);
    if (!at) return std::unexpected(at.error());
    auto answer = (*at)->call<wire::ListGroupsRequest, wire::ListGroupsResponse>(request, arena);
    if (!answer) return std::unexpected(answer.error());
    if (answer->error_code != 0) return fail(Errc::kIo, describe_error(answer->error_code, {}));
    for (const auto& g : answer->groups) {
      out.push_back({std::string(g.group_id), std::string(g.group_type), std::string(g.group_state),
                     std::string(g.protocol_type)});
    }
  }
  std::ranges::sort(out, {}, &Listed::id);
  return out;
}

boost::json::object as_json(const Listed& g) {
  boost::json::object o{
      {"group", g.id}, {"type", g.type}, {"state", g.state}, {"protocol", g.protocol}};
  if (g.lag) o["lag"] = g.lag->records;
  if (g.lag && g.lag->behind_ms >= 0) o["behind_ms"] = g.lag->behind_ms;
  return o;
}

void list_groups(Cli& cli, const GroupOptions& options) {
  auto client = connect_groups(cli);
  if (!client) return;
  auto groups = all_groups(*client, options);
  if (!groups) return report(cli, groups.error().message);
  for (Listed& g : *groups) {
    if (!options.lag) break;
    auto rows = client->partitions({.id = g.id});
    if (!rows) return report(cli, rows.error().message);
    if (!rows->empty()) g.lag = lag_of(*rows);
  }
  boost::json::array out;
  std::vector<std::vector<std::string>> table;
  for (const Listed& g : *groups) {
    out.push_back(as_json(g));
    table.push_back({g.id, g.type, g.state, g.protocol});
    if (!options.lag) continue;
    table.back().push_back(g.lag ? std::to_string(g.lag->records) : "-");
    table.back().push_back(g.lag ? duration(g.lag->behind_ms) : "-");
  }
  if (cli.json) return print_json(out);
  std::vector<std::string> head{"GROUP", "TYPE", "STATE", "PROTOCOL"};
  if (options.lag) head.insert(head.end(), {"LAG", "BEHIND"});
  print_table(head, table);
}

// ---- describe

std::string number(int64_t n) { return n < 0 ? "-" : std::to_string(n); }

/// Age of what waits in a partition; 0 if nothing does, −1: not known.
int64_t behind_ms(const GroupPartition& row) {
  if (row.lag() == 0) return 0;
  return row.waiting_since < 0 ? -1 : std::max<int64_t>(now_ms() - row.waiting_since, 0);
}

boost::json::object as_json(const GroupView& group, const GroupPartitions& rows) {
  boost::json::array members, partitions;
  for (const GroupMember& m : group.members) {
    boost::json::object o{{"member", m.id}, {"client", m.client}, {"host", m.host}};
    if (m.instance) o["instance"] = *m.instance;
    members.push_back(std::move(o));
  }
  for (const auto& [place, row] : rows) {
    boost::json::object o{{"topic", place.first}, {"partition", place.second}};
    if (row.committed >= 0) o["committed"] = row.committed;
    if (row.end >= 0) o["end"] = row.end;
    if (row.lag() >= 0) o["lag"] = row.lag();
    if (behind_ms(row) >= 0) o["behind_ms"] = behind_ms(row);
    if (!row.member.empty()) o["member"] = row.member;
    partitions.push_back(std::move(o));
  }
  return {{"group", group.id},
          {"type", group.type},
          {"state", group.state},
          {"protocol", group.protocol},
          {"members", std::move(members)},
          {"partitions", std::move(partitions)}};
}

void print_group(const GroupView& group, const GroupPartitions& rows) {
  const GroupLag total = lag_of(rows);
  fmt::print(
      "group {}: {}, {} members, lag {}{}{}{}\n", group.id, group.state, group.members.size(),
      total.records, total.behind_ms > 0 ? ", " + duration(total.behind_ms) + " behind" : "",
      total.unknown == 0 ? "" : fmt::format(" and {} partitions without an offset", total.unknown),
      group.protocol.empty() ? "" : fmt::format(", protocol {}", group.protocol));
  std::vector<std::vector<std::string>> table;
  for (const GroupMember& m : group.members)
    table.push_back({m.name(), m.client, m.host, std::to_string(m.assigned.size())});
  if (!table.empty()) print_table({"MEMBER", "CLIENT", "HOST", "PARTITIONS"}, table);
  table.clear();
  for (const auto& [place, row] : rows) {
    table.push_back({place.first, std::to_string(place.second), number(row.committed),
                     number(row.end), number(row.lag()), duration(behind_ms(row)),
                     row.member.empty() ? "-" : row.member});
  }
  if (!table.empty())
    print_table({"TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "BEHIND", "MEMBER"}, table);
}

void describe_groups(Cli& cli, const GroupOptions& options) {
  auto client = connect_groups(cli);
  if (!client) return;
  boost::json::array out;
  for (const std::string& name : options.groups) {
    auto group = client->describe(name);
    if (!group) return report(cli, group.error().message);
    if (group->error != 0)
      return report(cli, fmt::format("group {}: {}", name, describe_error(group->error, {})));
    if (!group->exists()) {
      report(cli, fmt::format("group {}: there is none", name));
      continue;
    }
    auto rows = client->partitions(*group);
    if (!rows) return report(cli, rows.error().message);
    if (cli.json) {
      out.push_back(as_json(*group, *rows));
    } else {
      print_group(*group, *rows);
    }
  }
  if (cli.json) print_json(out);
}

// ---- reset

/// Partitions of `topic` or `topic:0,3`.
Result<void> add_topic_partitions(GroupClient& client, const std::string& text, Offsets& places) {
  const size_t colon = text.rfind(':');
  const std::string topic = text.substr(0, colon);
  if (colon != std::string::npos) {
    for (size_t at = colon + 1, next = 0; next != std::string::npos; at = next + 1) {
      next = text.find(',', at);
      const auto index = whole_number(std::string_view(text).substr(at, next - at));
      if (!index || *index < 0 || *index > INT32_MAX)
        return fail(Errc::kInvalid, fmt::format("{}: not a topic, or topic:0,3", text));
      places[{topic, static_cast<int32_t>(*index)}] = 0;
    }
    return {};
  }
  auto known = client.topics({topic});
  if (!known) return std::unexpected(known.error());
  if (known->empty()) return fail(Errc::kNotFound, fmt::format("topic {}: there is none", topic));
  for (const int32_t p : known->begin()->second) places[{topic, p}] = 0;
  return {};
}

/// Where the group is to go on, within what the partitions have.
Result<Offsets> targets(GroupClient& client, const GroupOptions& options, const Offsets& places,
                        const Offsets& now) {
  auto first = client.list_offsets(places, kEarliest);
  auto end = client.list_offsets(places, kLatest);
  if (!first) return first;
  if (!end) return end;
  Offsets out;
  if (options.time) {
    auto found = client.list_offsets(places, *options.time);
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
                                    : whole_number(options.to).value_or(-1);
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
  const bool is_place = options.to.empty() || options.to == "earliest" || options.to == "latest";
  if (!is_place && whole_number(options.to).value_or(-1) < 0)
    return report(cli, fmt::format("--to {}: not earliest, latest or an offset", options.to));
  const std::string& group = options.groups.front();
  auto client = connect_groups(cli);
  if (!client) return;
  auto now = client->committed(group);
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
    auto coordinator = client->coordinator(group);
    if (!coordinator) return report(cli, coordinator.error().message);
    if (auto r = commit(**coordinator, group, *to); !r) return report(cli, r.error().message);
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
  auto client = connect_groups(cli);
  if (!client) return;
  for (const std::string& name : options.groups) {
    auto coordinator = client->coordinator(name);
    if (!coordinator) return report(cli, coordinator.error().message);
    Arena arena;
    wire::DeleteGroupsRequest request;
    request.groups_names.add(arena, name);
    auto answer =
        (*coordinator)->call<wire::DeleteGroupsRequest, wire::DeleteGroupsResponse>(request, arena);
    if (!answer) return report(cli, answer.error().message);
    for (const auto& r : answer->results) {
      if (r.error_code == 0 && !cli.json) fmt::print("Deleted group {}\n", r.group_id);
      if (r.error_code != 0)
        report(cli, fmt::format("group {}: {}", r.group_id, describe_error(r.error_code, {})),
               is(r.error_code, wire::ErrorCode::kNonEmptyGroup) ? "Stop its members first." : "");
    }
  }
  if (cli.json) print_json({{"deleted", cli.exit_code == 0}});
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
  list->add_flag("--lag", list_options->lag, "show how far each is behind");
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
