// `odradek format`: makes directories those of a node, as `kafka-storage format` does.
#include <fmt/format.h>

#include <memory>

#include "app/cli.h"
#include "app/properties_file.h"
#include "io/linux/linux_io.h"
#include "log/log_dir.h"
#include "metadata/broker_config.h"
#include "metadata/features.h"
#include "raft/format.h"

namespace odradek::app {

namespace {

struct FormatArguments {
  std::string config;
  std::vector<std::string> overrides;
  std::string cluster_id;
  std::string release;
  std::vector<std::string> features;
  bool standalone = false;
  bool ignore_formatted = false;
  bool random_id = false;
};

/// Levels of the release, with `name=level` on top.
Result<std::map<std::string, int16_t>> levels_of(const FormatArguments& args) {
  const auto version = args.release.empty()
                           ? metadata::MetadataVersion(metadata::MetadataVersion::kLatest)
                           : metadata::MetadataVersion::parse(args.release);
  if (!version)
    return fail(Errc::kInvalid, fmt::format("--release-version: no release '{}'", args.release));
  auto levels = metadata::default_levels(*version);
  for (const auto& item : args.features) {
    const size_t eq = item.find('=');
    const auto* info = metadata::find_feature(item.substr(0, eq));
    const int level = eq == std::string::npos ? -1 : std::atoi(item.c_str() + eq + 1);
    if (info == nullptr || level < info->min || level > info->max)
      return fail(Errc::kInvalid, fmt::format("--feature takes name=level, not '{}'", item));
    levels[std::string(info->name)] = static_cast<int16_t>(level);
  }
  if (auto r = metadata::check_dependencies(levels); !r) return std::unexpected(r.error());
  return levels;
}

Result<raft::FormatOptions> options_of(const FormatArguments& args,
                                       const metadata::BrokerConfig& config) {
  raft::FormatOptions options;
  options.directories = config.log_dirs();
  options.metadata_directory = config.metadata_log_dir();
  if (std::find(options.directories.begin(), options.directories.end(),
                options.metadata_directory) == options.directories.end())
    options.directories.push_back(options.metadata_directory);
  options.cluster_id = args.cluster_id;
  options.node = config.node_id();
  options.ignore_formatted = args.ignore_formatted;
  auto levels = levels_of(args);
  if (!levels) return std::unexpected(levels.error());
  for (const auto& record : metadata::bootstrap_records(*levels))
    options.bootstrap.push_back(record.to_value());
  if (args.standalone && !config.quorum_voters().empty())
    return fail(Errc::kInvalid, "--standalone does not go with controller.quorum.voters");
  if (!args.standalone && config.quorum_voters().empty())
    return fail(Errc::kInvalid, "without controller.quorum.voters, format needs --standalone");
  if (args.standalone) {
    raft::Voter self;
    self.id = config.node_id();
    for (const auto& e : config.advertised_controller_listeners())
      self.endpoints.push_back({e.name, e.host, e.port});
    options.voters.emplace({std::move(self)});
  }
  return options;
}

void format(Cli& cli, const FormatArguments& args) {
  io::LinuxIo io({.loops = 1});
  io::Loop& loop = io.loop(0);
  if (args.random_id) {
    fmt::print("{}\n", raft::new_cluster_id(loop.random()));
    return;
  }
  if (args.config.empty() || args.cluster_id.empty())
    return report(cli, "format needs --config FILE and --cluster-id ID",
                  "`odradek format --random-id` prints a fresh id.");
  auto properties = load_properties(args.config, args.overrides);
  if (!properties) return report(cli, properties.error().message);
  auto loaded = metadata::BrokerConfig::load(std::move(*properties));
  if (!loaded) return report(cli, loaded.error().message);
  auto options = options_of(args, *loaded->config);
  if (!options) return report(cli, options.error().message);
  for (const auto& directory : options->directories) {
    if (auto r = log::make_durable_directory(io.disk(), directory); !r)
      return report(cli, r.error().message);
  }
  auto r = raft::format(io.disk(), loop.random(), loop.clock().wall(), *options);
  if (!r) {
    return report(cli, r.error().message,
                  r.error().kind == Errc::kExists
                      ? "Use --ignore-formatted to leave formatted directories as they are."
                      : "");
  }
  if (cli.json) {
    print_json({{"clusterId", args.cluster_id}, {"formatted", true}});
  } else {
    fmt::print("Formatted {} for cluster {}\n", fmt::join(options->directories, ", "),
               args.cluster_id);
  }
}

}  // namespace

void add_format(CLI::App& program, Cli& cli) {
  auto* command = program.add_subcommand("format", "Make log directories those of a node");
  auto args = std::make_shared<FormatArguments>();
  command->add_option("-c,--config", args->config, "server.properties");
  command->add_option("-o,--override", args->overrides, "name=value, repeatable");
  command->add_option("-t,--cluster-id", args->cluster_id, "the cluster's id");
  command->add_flag("-s,--standalone", args->standalone,
                    "a quorum of this node alone, to begin with");
  command->add_option("-r,--release-version", args->release, "features of that release, as 4.3");
  command->add_option("-f,--feature", args->features, "name=level, repeatable");
  command->add_flag("-g,--ignore-formatted", args->ignore_formatted,
                    "leave formatted directories as they are");
  command->add_flag("--random-id", args->random_id, "only print a fresh cluster id");
  command->add_flag("--json", cli.json, "print JSON");
  command->callback([&cli, args] { format(cli, *args); });
}

}  // namespace odradek::app
