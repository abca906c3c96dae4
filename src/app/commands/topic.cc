// `odradek topic create|list|describe|delete|add-partitions`
#include <fmt/format.h>

#include <memory>

#include "app/cli.h"
#include "wire/gen/create_partitions.h"
#include "wire/gen/create_topics.h"
#include "wire/gen/delete_topics.h"
#include "wire/gen/metadata.h"

namespace odradek::app {

namespace {

struct TopicOptions {
  std::vector<std::string> names;
  int32_t partitions = -1;
  int16_t replication = -1;
  std::vector<std::string> configs;
  bool if_not_exists = false;
  bool internal = false;
};

/// Splits `name=value`; nothing if there is no '='.
std::optional<std::pair<std::string, std::string>> split_config(const std::string& text) {
  size_t eq = text.find('=');
  if (eq == std::string::npos || eq == 0) return std::nullopt;
  return std::pair(text.substr(0, eq), text.substr(eq + 1));
}

void create_topics(Cli& cli, const TopicOptions& options) {
  Arena arena;
  wire::CreateTopicsRequest request;
  for (const auto& name : options.names) {
    auto& topic = request.topics.add(arena);
    topic.name = name;
    topic.num_partitions = options.partitions;
    topic.replication_factor = options.replication;
    for (const auto& text : options.configs) {
      auto pair = split_config(text);
      if (!pair) return report(cli, fmt::format("--config takes name=value, not '{}'", text));
      auto& config = topic.configs.add(arena);
      config.name = arena.copy(pair->first);
      config.value = arena.copy(pair->second);
    }
  }
  auto client = connect_or_report(cli);
  if (!client) return;
  auto answer = client->call<wire::CreateTopicsRequest, wire::CreateTopicsResponse>(request, arena);
  if (!answer) return report(cli, answer.error().message);
  boost::json::array out;
  for (const auto& t : answer->topics) {
    bool there = static_cast<wire::ErrorCode>(t.error_code) == wire::ErrorCode::kTopicAlreadyExists;
    if (t.error_code != 0 && !(there && options.if_not_exists)) {
      report(cli,
             fmt::format("topic {}: {}", t.name, describe_error(t.error_code, t.error_message)),
             there ? "Use --if-not-exists to accept that." : "");
      continue;
    }
    if (cli.json) {
      out.push_back({{"topic", t.name},
                     {"topicId", t.topic_id.to_string()},
                     {"partitions", t.num_partitions},
                     {"created", t.error_code == 0}});
    } else {
      fmt::print("{} topic {} ({} partitions)\n", there ? "Found" : "Created", t.name,
                 t.num_partitions);
    }
  }
  if (cli.json) print_json(out);
}

Result<wire::MetadataResponse> ask_metadata(AdminClient& client,
                                            const std::vector<std::string>& names, Arena& arena) {
  wire::MetadataRequest request;
  request.allow_auto_topic_creation = false;
  if (names.empty()) {
    request.topics = std::nullopt;
  } else {
    request.topics.emplace();
    for (const auto& name : names) request.topics->add(arena).name = name;
  }
  return client.call<wire::MetadataRequest, wire::MetadataResponse>(request, arena);
}

std::string join(const Array<int32_t>& ids) {
  return fmt::format("{}", fmt::join(ids.begin(), ids.end(), ","));
}

boost::json::array to_json(const Array<int32_t>& ids) {
  boost::json::array out;
  for (int32_t id : ids) out.push_back(id);
  return out;
}

void list_topics(Cli& cli, const TopicOptions& options) {
  auto client = connect_or_report(cli);
  if (!client) return;
  Arena arena;
  auto answer = ask_metadata(*client, {}, arena);
  if (!answer) return report(cli, answer.error().message);
  std::vector<std::vector<std::string>> rows;
  boost::json::array out;
  for (const auto& t : answer->topics) {
    if (t.is_internal && !options.internal) continue;
    std::string name(t.name.value_or(""));
    rows.push_back({name, std::to_string(t.partitions.size()), t.topic_id.to_string()});
    out.push_back({{"topic", name},
                   {"partitions", t.partitions.size()},
                   {"topicId", t.topic_id.to_string()}});
  }
  std::sort(rows.begin(), rows.end());
  if (cli.json) return print_json(out);
  if (rows.empty()) {
    fmt::print("No topics yet. Create one with `odradek topic create NAME`.\n");
  } else {
    print_table({"TOPIC", "PARTITIONS", "ID"}, rows);
  }
}

void describe_topics(Cli& cli, const TopicOptions& options) {
  auto client = connect_or_report(cli);
  if (!client) return;
  Arena arena;
  auto answer = ask_metadata(*client, options.names, arena);
  if (!answer) return report(cli, answer.error().message);
  boost::json::array out;
  std::vector<std::vector<std::string>> rows;
  for (const auto& t : answer->topics) {
    std::string name(t.name.value_or(""));
    if (t.error_code != 0) {
      report(cli, fmt::format("topic {}: {}", name, describe_error(t.error_code, std::nullopt)),
             "`odradek topic list` shows what there is.");
      continue;
    }
    boost::json::array partitions;
    for (const auto& p : t.partitions) {
      rows.push_back({name, std::to_string(p.partition_index), std::to_string(p.leader_id),
                      std::to_string(p.leader_epoch), join(p.replica_nodes), join(p.isr_nodes)});
      partitions.push_back({{"partition", p.partition_index},
                            {"leader", p.leader_id},
                            {"leaderEpoch", p.leader_epoch},
                            {"replicas", to_json(p.replica_nodes)},
                            {"isr", to_json(p.isr_nodes)}});
    }
    out.push_back(
        {{"topic", name}, {"topicId", t.topic_id.to_string()}, {"partitions", partitions}});
  }
  if (cli.json) return print_json(out);
  if (!rows.empty())
    print_table({"TOPIC", "PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR"}, rows);
}

void delete_topics(Cli& cli, const TopicOptions& options) {
  auto client = connect_or_report(cli);
  if (!client) return;
  Arena arena;
  wire::DeleteTopicsRequest request;
  request.timeout_ms = 60000;
  for (const auto& name : options.names) {
    request.topics.add(arena).name = name;
    request.topic_names.add(arena) = name;
  }
  auto answer = client->call<wire::DeleteTopicsRequest, wire::DeleteTopicsResponse>(request, arena);
  if (!answer) return report(cli, answer.error().message);
  for (const auto& t : answer->responses) {
    std::string_view name = t.name.value_or("");
    if (t.error_code != 0) {
      report(cli, fmt::format("topic {}: {}", name, describe_error(t.error_code, t.error_message)));
    } else if (!cli.json) {
      fmt::print("Deleted topic {}\n", name);
    }
  }
  if (cli.json) print_json({{"deleted", cli.exit_code == 0}});
}

void add_partitions(Cli& cli, const TopicOptions& options) {
  auto client = connect_or_report(cli);
  if (!client) return;
  Arena arena;
  wire::CreatePartitionsRequest request;
  request.timeout_ms = 60000;
  for (const auto& name : options.names) {
    auto& topic = request.topics.add(arena);
    topic.name = name;
    topic.count = options.partitions;
    topic.assignments = std::nullopt;
  }
  auto answer =
      client->call<wire::CreatePartitionsRequest, wire::CreatePartitionsResponse>(request, arena);
  if (!answer) return report(cli, answer.error().message);
  for (const auto& t : answer->results) {
    if (t.error_code != 0) {
      report(cli,
             fmt::format("topic {}: {}", t.name, describe_error(t.error_code, t.error_message)));
    } else if (!cli.json) {
      fmt::print("Topic {} has {} partitions now\n", t.name, options.partitions);
    }
  }
  if (cli.json) print_json({{"partitions", options.partitions}});
}

}  // namespace

void add_topic(CLI::App& program, Cli& cli) {
  auto* topic = program.add_subcommand("topic", "Create, list, describe, delete topics");
  topic->require_subcommand(1);
  auto options = std::make_shared<TopicOptions>();

  auto* create = topic->add_subcommand("create", "Create topics");
  create->add_option("name", options->names, "names")->required();
  create->add_option("-p,--partitions", options->partitions,
                     "partitions (default: the broker's num.partitions)");
  create->add_option("-r,--replication-factor", options->replication, "replicas of each partition");
  create->add_option("-c,--config", options->configs, "name=value, repeatable");
  create->add_flag("--if-not-exists", options->if_not_exists, "an existing topic is no error");
  add_client_options(*create, cli);
  create->callback([&cli, options] { create_topics(cli, *options); });

  auto* list = topic->add_subcommand("list", "List topics");
  list->add_flag("--internal", options->internal, "also internal topics");
  add_client_options(*list, cli);
  list->callback([&cli, options] { list_topics(cli, *options); });

  auto* describe =
      topic->add_subcommand("describe", "Show leaders and replicas of every partition");
  describe->add_option("name", options->names, "names (default: all)");
  add_client_options(*describe, cli);
  describe->callback([&cli, options] { describe_topics(cli, *options); });

  auto* remove = topic->add_subcommand("delete", "Delete topics and their records");
  remove->add_option("name", options->names, "names")->required();
  add_client_options(*remove, cli);
  remove->callback([&cli, options] { delete_topics(cli, *options); });

  auto* grow = topic->add_subcommand("add-partitions", "Raise the number of partitions");
  grow->add_option("name", options->names, "names")->required();
  grow->add_option("-p,--partitions", options->partitions, "the new number")->required();
  add_client_options(*grow, cli);
  grow->callback([&cli, options] { add_partitions(cli, *options); });
}

}  // namespace odradek::app
