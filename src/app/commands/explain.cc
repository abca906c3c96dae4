// `odradek explain group NAME`: why a group does not move, in a few lines.
#include <fmt/format.h>

#include <memory>

#include "app/cli.h"
#include "app/group_facts.h"

namespace odradek::app {

namespace {

struct ExplainOptions {
  std::string group;
  std::string metrics;
  double seconds = 3;
};

void print(const Cli& cli, const GroupFacts& facts, const std::vector<Reason>& why) {
  const GroupView& group = facts.group;
  const GroupLag lag = lag_of(facts.after);
  if (cli.json) {
    boost::json::array reasons;
    for (const Reason& r : why) reasons.push_back({{"code", r.code}, {"text", r.text}});
    boost::json::object o{{"group", group.id}, {"reasons", std::move(reasons)}};
    if (group.exists()) {
      o["state"] = group.state;
      o["members"] = group.members.size();
      o["lag"] = lag.records;
      if (lag.behind_ms >= 0) o["behind_ms"] = lag.behind_ms;
    }
    return print_json(o);
  }
  if (facts.coordinator_problem.empty() && group.exists()) {
    fmt::print("group {}: {}, {} members, {} partitions, lag {}{}\n", group.id, group.state,
               group.members.size(), facts.after.size(), lag.records,
               lag.behind_ms > 0 ? ", " + duration(lag.behind_ms) + " behind" : "");
  } else {
    fmt::print("group {}\n", group.id);
  }
  for (const Reason& r : why) fmt::print("- {}\n", r.text);
}

void explain_group(Cli& cli, const ExplainOptions& options) {
  auto client = GroupClient::connect(cli.bootstrap);
  if (!client) return report(cli, client.error().message, kNoBroker);
  auto facts = gather_facts(*client, options.group, options.seconds, options.metrics);
  if (!facts) return report(cli, facts.error().message);
  print(cli, *facts, reasons(*facts));
}

}  // namespace

void add_explain(CLI::App& program, Cli& cli) {
  auto* explain = program.add_subcommand("explain", "Why something does not move");
  explain->require_subcommand(1);
  auto* group = explain->add_subcommand("group", "Why a consumer group does not move");
  auto options = std::make_shared<ExplainOptions>();
  group->add_option("group", options->group, "the group")->required();
  group->add_option("--seconds", options->seconds, "how long to watch it")
      ->capture_default_str()
      ->check(CLI::Range(0.1, 3600.0));
  group->add_option("--metrics", options->metrics,
                    "host:port of the coordinator's metrics (default: as it is configured)");
  add_client_options(*group, cli);
  group->callback([&cli, options] { explain_group(cli, *options); });
  add_explain_partition(*explain, cli);
}

}  // namespace odradek::app
