// `odradek config describe|set|delete`: settings of topics and brokers, dynamic and effective.
#include <fmt/format.h>

#include <memory>

#include "app/cli.h"
#include "wire/gen/describe_configs.h"
#include "wire/gen/incremental_alter_configs.h"

namespace odradek::app {

namespace {

constexpr int8_t kTopicResource = 2;
constexpr int8_t kBrokerResource = 4;
constexpr int8_t kSet = 0;
constexpr int8_t kDelete = 1;
constexpr int8_t kDefaultSource = 5;

struct ConfigOptions {
  std::optional<std::string> topic;
  std::optional<std::string> broker;
  bool broker_default = false;
  bool all = false;
  std::vector<std::string> items;
};

struct Target {
  int8_t type;
  std::string name;
};

std::optional<Target> target_of(Cli& cli, const ConfigOptions& options) {
  int given = (options.topic ? 1 : 0) + (options.broker ? 1 : 0) + (options.broker_default ? 1 : 0);
  if (given != 1) {
    report(cli, "name one of --topic NAME, --broker ID, --broker-default");
    return std::nullopt;
  }
  if (options.topic) return Target{kTopicResource, *options.topic};
  return Target{kBrokerResource, options.broker.value_or("")};
}

std::string_view source_name(int8_t source) {
  switch (source) {
    case 1:
      return "topic";
    case 2:
      return "broker";
    case 3:
      return "cluster";
    case 4:
      return "file";
    case 5:
      return "default";
    case 8:
      return "group";
    default:
      return "other";
  }
}

void describe(Cli& cli, const ConfigOptions& options) {
  auto target = target_of(cli, options);
  if (!target) return;
  auto client = connect_or_report(cli);
  if (!client) return;
  Arena arena;
  wire::DescribeConfigsRequest request;
  auto& resource = request.resources.add(arena);
  resource.resource_type = target->type;
  resource.resource_name = target->name;
  resource.configuration_keys = std::nullopt;
  auto answer =
      client->call<wire::DescribeConfigsRequest, wire::DescribeConfigsResponse>(request, arena);
  if (!answer) return report(cli, answer.error().message);
  for (const auto& result : answer->results) {
    if (result.error_code != 0) {
      report(cli, describe_error(result.error_code, result.error_message));
      continue;
    }
    std::vector<std::vector<std::string>> rows;
    boost::json::array out;
    for (const auto& c : result.configs) {
      if (!options.all && c.config_source == kDefaultSource) continue;
      std::string value = c.is_sensitive ? "(hidden)" : std::string(c.value.value_or("(null)"));
      rows.push_back({std::string(c.name), value, std::string(source_name(c.config_source))});
      out.push_back({{"name", c.name}, {"value", value}, {"source", source_name(c.config_source)}});
    }
    if (cli.json) {
      print_json(out);
    } else if (rows.empty()) {
      fmt::print("Everything is at its default; --all shows it.\n");
    } else {
      print_table({"NAME", "VALUE", "SOURCE"}, rows);
    }
  }
}

void alter(Cli& cli, const ConfigOptions& options, int8_t operation) {
  auto target = target_of(cli, options);
  if (!target) return;
  Arena arena;
  wire::IncrementalAlterConfigsRequest request;
  auto& resource = request.resources.add(arena);
  resource.resource_type = target->type;
  resource.resource_name = target->name;
  for (const auto& item : options.items) {
    size_t eq = item.find('=');
    if (operation == kSet && (eq == std::string::npos || eq == 0))
      return report(cli, fmt::format("`config set` takes name=value, not '{}'", item));
    auto& config = resource.configs.add(arena);
    config.name = arena.copy(item.substr(0, eq));
    config.config_operation = operation;
    if (operation == kSet) config.value = arena.copy(item.substr(eq + 1));
  }
  auto client = connect_or_report(cli);
  if (!client) return;
  auto answer =
      client->call<wire::IncrementalAlterConfigsRequest, wire::IncrementalAlterConfigsResponse>(
          request, arena);
  if (!answer) return report(cli, answer.error().message);
  for (const auto& r : answer->responses)
    if (r.error_code != 0) report(cli, describe_error(r.error_code, r.error_message));
  if (cli.exit_code == 0 && !cli.json) fmt::print("Done; it is in effect.\n");
  if (cli.json) print_json({{"changed", cli.exit_code == 0}});
}

void add_target(CLI::App& command, ConfigOptions& options, Cli& cli) {
  command.add_option("-t,--topic", options.topic, "the topic");
  command.add_option("--broker", options.broker, "the broker's id");
  command.add_flag("--broker-default", options.broker_default, "the default of all brokers");
  add_client_options(command, cli);
}

}  // namespace

void add_config(CLI::App& program, Cli& cli) {
  auto* config = program.add_subcommand("config", "Show and change settings of topics and brokers");
  config->require_subcommand(1);
  auto options = std::make_shared<ConfigOptions>();

  auto* show = config->add_subcommand("describe", "Show what is set, and where");
  show->add_flag("-a,--all", options->all, "also what is at its default");
  add_target(*show, *options, cli);
  show->callback([&cli, options] { describe(cli, *options); });

  auto* set = config->add_subcommand("set", "Set values; they take effect at once");
  set->add_option("item", options->items, "name=value")->required();
  add_target(*set, *options, cli);
  set->callback([&cli, options] { alter(cli, *options, kSet); });

  auto* remove = config->add_subcommand("delete", "Back to the default");
  remove->add_option("item", options->items, "names")->required();
  add_target(*remove, *options, cli);
  remove->callback([&cli, options] { alter(cli, *options, kDelete); });
}

}  // namespace odradek::app
