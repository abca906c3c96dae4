// `odradek log-dirs`: the log directories of a broker: disk space, replicas with sizes and lag, and
// moves between directories; `odradek log-dirs move` begins one.
#include <fmt/format.h>

#include <map>
#include <memory>

#include "app/cli.h"
#include "wire/gen/alter_replica_log_dirs.h"
#include "wire/gen/describe_log_dirs.h"

namespace odradek::app {

namespace {

struct Options {
  std::vector<std::string> topics;
  bool replicas = false;
  std::string to;
  std::vector<std::string> moved;  // TOPIC-PARTITION
};

using Described = wire::DescribeLogDirsResponse;

std::string bytes_text(int64_t bytes) {
  if (bytes < 0) return "-";
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(kUnits); unit++) value /= 1024;
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

bool wanted(const Options& options, std::string_view topic) {
  return options.topics.empty() ||
         std::find(options.topics.begin(), options.topics.end(), topic) != options.topics.end();
}

std::string state_of(const Described::DescribeLogDirsResult& dir) {
  if (dir.error_code != 0) return describe_error(dir.error_code, {});
  return dir.is_cordoned ? "cordoned" : "online";
}

boost::json::value to_json(const Options& options, const Described& described) {
  boost::json::array dirs;
  for (const auto& d : described.results) {
    boost::json::array replicas;
    for (const auto& t : d.topics) {
      if (!wanted(options, t.name)) continue;
      for (const auto& p : t.partitions) {
        replicas.push_back({{"topic", t.name},
                            {"partition", p.partition_index},
                            {"size", p.partition_size},
                            {"offset_lag", p.offset_lag},
                            {"future", p.is_future_key}});
      }
    }
    dirs.push_back({{"path", d.log_dir},
                    {"error", d.error_code == 0 ? boost::json::value(nullptr)
                                                : boost::json::value(state_of(d))},
                    {"cordoned", d.is_cordoned},
                    {"total_bytes", d.total_bytes},
                    {"usable_bytes", d.usable_bytes},
                    {"replicas", std::move(replicas)}});
  }
  return dirs;
}

void print_dirs(const Options& options, const Described& described) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& d : described.results) {
    int64_t size = 0;
    int replicas = 0;
    int moving = 0;
    for (const auto& t : d.topics) {
      if (!wanted(options, t.name)) continue;
      for (const auto& p : t.partitions) {
        size += p.partition_size;
        (p.is_future_key ? moving : replicas)++;
      }
    }
    rows.push_back({std::string(d.log_dir), state_of(d), std::to_string(replicas),
                    std::to_string(moving), bytes_text(size), bytes_text(d.usable_bytes),
                    bytes_text(d.total_bytes)});
  }
  print_table({"DIRECTORY", "STATE", "REPLICAS", "ARRIVING", "SIZE", "FREE", "VOLUME"}, rows);
}

void print_replicas(const Options& options, const Described& described) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& d : described.results) {
    for (const auto& t : d.topics) {
      if (!wanted(options, t.name)) continue;
      for (const auto& p : t.partitions) {
        if (!options.replicas && options.topics.empty() && !p.is_future_key) continue;
        rows.push_back({std::string(t.name), std::to_string(p.partition_index),
                        std::string(d.log_dir), bytes_text(p.partition_size),
                        std::to_string(p.offset_lag), p.is_future_key ? "arriving" : "here"});
      }
    }
  }
  if (rows.empty()) return;
  std::sort(rows.begin(), rows.end());
  fmt::print("\n");
  print_table({"TOPIC", "PARTITION", "DIRECTORY", "SIZE", "LAG", "STATE"}, rows);
}

void show(Cli& cli, const Options& options) {
  auto client = connect_or_report(cli);
  if (!client) return;
  Arena arena;
  wire::DescribeLogDirsRequest request;
  request.topics = std::nullopt;
  auto described = client->call<wire::DescribeLogDirsRequest, Described>(request, arena);
  if (!described) return report(cli, described.error().message);
  if (described->error_code != 0) return report(cli, describe_error(described->error_code, {}));
  if (cli.json) return print_json(to_json(options, *described));
  print_dirs(options, *described);
  print_replicas(options, *described);
}

void move(Cli& cli, const Options& options) {
  std::map<std::string, std::vector<int32_t>> by_topic;
  for (const std::string& text : options.moved) {
    const size_t dash = text.rfind('-');
    int index = -1;
    if (dash == std::string::npos || !CLI::detail::lexical_cast(text.substr(dash + 1), index)) {
      return report(cli, fmt::format("{}: not a partition", text), "write it as TOPIC-NUMBER");
    }
    by_topic[text.substr(0, dash)].push_back(index);
  }
  auto client = connect_or_report(cli);
  if (!client) return;
  Arena arena;
  wire::AlterReplicaLogDirsRequest request;
  auto& dir = request.dirs.add(arena);
  dir.path = options.to;
  for (const auto& [name, partitions] : by_topic) {
    auto& topic = dir.topics.add(arena);
    topic.name = name;
    for (const int32_t index : partitions) topic.partitions.add(arena, index);
  }
  auto answer = client->call<wire::AlterReplicaLogDirsRequest, wire::AlterReplicaLogDirsResponse>(
      request, arena);
  if (!answer) return report(cli, answer.error().message);
  for (const auto& topic : answer->results) {
    for (const auto& p : topic.partitions) {
      if (p.error_code == 0) continue;
      report(cli, fmt::format("{}-{}: {}", topic.topic_name, p.partition_index,
                              describe_error(p.error_code, {})));
    }
  }
}

}  // namespace

void add_log_dirs(CLI::App& program, Cli& cli) {
  auto* command = program.add_subcommand(
      "log-dirs", "Show the log directories of a broker: space, sizes, moves under way");
  auto options = std::make_shared<Options>();
  command->add_option("topic", options->topics, "only replicas of these topics, one by one");
  command->add_flag("--replicas", options->replicas, "every replica, not only those that move");
  add_client_options(*command, cli);
  auto* moving = command->add_subcommand("move", "Move replicas of that broker to a directory");
  moving->add_option("partition", options->moved, "TOPIC-NUMBER…")->required();
  moving->add_option("--to", options->to, "path of the directory, as in log.dirs")->required();
  add_client_options(*moving, cli);
  moving->callback([&cli, options] { move(cli, *options); });
  command->callback([&cli, options, moving] {
    if (!moving->parsed()) show(cli, *options);
  });
}

}  // namespace odradek::app
