#include "node/directories.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "metadata/features.h"
#include "raft/format.h"

namespace odradek::node {
namespace {

struct Opened {
  std::string path;
  std::unique_ptr<log::LogDir> dir;  // null: it cannot be used, for this reason
  Error error{};
  std::optional<log::MetaProperties> meta{};

  void give_up(const Error& e) {
    error = e;
    dir.reset();
  }
};

/// log.dirs, and metadata.log.dir if it is another one.
std::vector<std::string> all_paths(const metadata::BrokerConfig& config) {
  std::vector<std::string> paths = config.log_dirs();
  const std::string& metadata = config.metadata_log_dir();
  if (std::find(paths.begin(), paths.end(), metadata) == paths.end()) paths.push_back(metadata);
  return paths;
}

Error in_directory(const std::string& path, const Error& e) {
  return Error{e.kind, fmt::format("log directory {}: {}", path, e.message)};
}

Result<Opened> lock_one(io::Io& io, const std::string& path, bool create, const Logger& logger) {
  Opened opened{.path = path, .dir = nullptr};
  if (!io.disk().exists(path)) {
    if (!create) {
      opened.error = {Errc::kNotFound,
                      fmt::format("log directory {} does not exist. Run `odradek format --config "
                                  "FILE --standalone` first, or check that the disk is mounted",
                                  path)};
      return opened;
    }
    if (auto r = log::make_durable_directory(io.disk(), path); !r) {
      opened.error = in_directory(path, r.error());
      return opened;
    }
  }
  auto dir = log::LogDir::open(io.disk(), path, logger.named("log"));
  if (!dir && dir.error().kind == Errc::kExists)
    return fail(Errc::kExists, fmt::format("log directory {} is in use by another process", path));
  if (!dir) {
    opened.error = in_directory(path, dir.error());
    return opened;
  }
  opened.dir = std::move(*dir);
  if (auto meta = opened.dir->read_meta()) {
    opened.meta = std::move(*meta);
  } else {
    opened.give_up(in_directory(path, meta.error()));
  }
  return opened;
}

/// Locks what can be used. A directory of several that cannot is left out, but not the one of the
/// metadata log: that is an error.
Result<std::vector<Opened>> lock_all(io::Io& io, const std::vector<std::string>& paths,
                                     const std::string& metadata_path, bool create,
                                     const Logger& logger) {
  std::vector<Opened> opened;
  for (const std::string& path : paths) {
    auto one = lock_one(io, path, create, logger);
    if (!one) return std::unexpected(one.error());
    if (!one->dir && (path == metadata_path || create)) return std::unexpected(one->error);
    opened.push_back(std::move(*one));
  }
  return opened;
}

Result<void> format_new(io::Io& io, io::Loop& loop, const metadata::BrokerConfig& config,
                        std::vector<Opened>& opened, const std::vector<std::string>& paths,
                        const Logger& logger) {
  raft::FormatOptions options;
  options.directories = paths;
  options.metadata_directory = config.metadata_log_dir();
  options.cluster_id = raft::new_cluster_id(loop.random());
  options.node = config.node_id();
  const auto levels =
      metadata::default_levels(metadata::MetadataVersion(metadata::MetadataVersion::kLatest));
  for (const auto& record : metadata::bootstrap_records(levels))
    options.bootstrap.push_back(record.to_value());
  options.voters.emplace();
  raft::Voter self;
  self.id = config.node_id();
  for (const auto& e : config.advertised_controller_listeners())
    self.endpoints.push_back({e.name, e.host, e.port});
  options.voters->push_back(std::move(self));
  if (auto r = raft::format(io.disk(), loop.random(), loop.clock().wall(), options); !r) return r;
  for (Opened& o : opened) {
    auto meta = o.dir->read_meta();
    if (!meta) return std::unexpected(meta.error());
    o.meta = std::move(*meta);
  }
  logger.info("formatted {} as a new cluster {}", fmt::join(paths, ", "), options.cluster_id);
  return {};
}

/// A new directory beside others that are formatted, or a new disk in the place of an old one: it
/// gets an identity of the same node, as at Apache.
void format_added(io::Loop& loop, std::vector<Opened>& opened, const std::string& metadata_path,
                  const Logger& logger) {
  const auto metadata = std::ranges::find(opened, metadata_path, &Opened::path);
  if (metadata == opened.end() || !metadata->meta) return;
  for (Opened& o : opened) {
    if (!o.dir || o.meta) continue;
    log::MetaProperties meta = *metadata->meta;
    meta.directory_id = loop.random().uuid();
    logger.warn("log directory {} is new: formatted for node {} of cluster {}", o.path,
                meta.node_id.value_or(kNoBroker).value, meta.cluster_id.value_or(""));
    if (auto r = o.dir->write_meta(meta)) {
      o.meta = std::move(meta);
    } else {
      o.give_up(in_directory(o.path, r.error()));
    }
  }
}

/// All directories have an identity, of this node and one cluster.
Result<void> check_identities(const metadata::BrokerConfig& config,
                              const std::vector<Opened>& opened) {
  std::vector<std::pair<std::string, log::MetaProperties>> all;
  for (const Opened& o : opened) {
    if (!o.dir) continue;
    const std::string& path = o.path;
    if (!o.meta)
      return fail(
          Errc::kInvalid,
          fmt::format("log directory {} is not formatted. Run `odradek format --config FILE "
                      "--standalone` first, or check that the disk is mounted",
                      path));
    if (o.meta->node_id && *o.meta->node_id != config.node_id())
      return fail(Errc::kInvalid,
                  fmt::format("log directory {} belongs to node.id {}, but node.id is {}", path,
                              o.meta->node_id->value, config.node_id().value));
    all.emplace_back(path, *o.meta);
  }
  return log::check_same_node(all);
}

/// Gives a directory that was written before directories had ids one, and takes its marker.
Result<log::LogDir::CleanMarker> take_over(io::Loop& loop, Opened& o) {
  if (!o.meta->directory_id) {
    o.meta->directory_id = loop.random().uuid();
    if (auto r = o.dir->write_meta(*o.meta); !r)
      return std::unexpected(in_directory(o.path, r.error()));
  }
  auto marker = o.dir->take_clean_marker();
  if (!marker) return std::unexpected(in_directory(o.path, marker.error()));
  return marker;
}

/// Entries of log.dirs, and what all markers agree on.
Result<void> collect(io::Loop& loop, size_t log_dirs, std::vector<Opened>& opened,
                     OpenedDirectories& out, const Logger& logger) {
  std::optional<BrokerEpoch> previous;
  for (size_t i = 0; i < opened.size(); i++) {
    Opened& o = opened[i];
    const bool metadata = o.path == out.metadata_path;
    log::LogDir::CleanMarker marker;
    if (o.dir) {
      auto taken = take_over(loop, o);
      if (!taken && metadata) return std::unexpected(taken.error());
      if (taken) marker = *taken;
      if (!taken) o.give_up(taken.error());
    }
    if (metadata) {
      out.metadata_id = *o.meta->directory_id;
      out.cluster_id = o.meta->cluster_id.value_or("");
    }
    if (i == log_dirs) {
      out.separate_metadata = std::move(o.dir);
      break;
    }
    if (!o.dir) {
      logger.error("{}; it is offline", o.error.message);
    } else if (!previous) {
      previous = marker.broker_epoch;
    } else if (previous != marker.broker_epoch) {
      previous = BrokerEpoch(-1);  // else the last stop counts as unclean
    }
    out.entries.push_back({.dir = std::move(o.dir),
                           .id = o.meta && o.meta->directory_id ? *o.meta->directory_id : Uuid(),
                           .clean = marker.clean,
                           .metadata = metadata,
                           .path = o.path});
  }
  out.previous_epoch = previous.value_or(BrokerEpoch(-1));
  const auto usable = [](const replica::LogDirs::Entry& e) { return e.dir != nullptr; };
  if (std::ranges::none_of(out.entries, usable))
    return fail(Errc::kIo,
                fmt::format("no log directory can be used: {}", opened[0].error.message));
  return {};
}

}  // namespace

Result<OpenedDirectories> open_directories(io::Io& io, io::Loop& loop,
                                           const metadata::BrokerConfig& config, bool format_if_new,
                                           const Logger& logger) {
  const std::vector<std::string> paths = all_paths(config);
  OpenedDirectories out;
  out.metadata_path = config.metadata_log_dir();
  auto opened = lock_all(io, paths, out.metadata_path, format_if_new, logger);
  if (!opened) return std::unexpected(opened.error());
  const bool none = std::none_of(opened->begin(), opened->end(),
                                 [](const Opened& o) { return o.meta.has_value(); });
  if (format_if_new && none) {
    if (auto r = format_new(io, loop, config, *opened, paths, logger); !r)
      return std::unexpected(r.error());
  }
  format_added(loop, *opened, out.metadata_path, logger);
  if (auto r = check_identities(config, *opened); !r) return std::unexpected(r.error());
  if (auto r = collect(loop, config.log_dirs().size(), *opened, out, logger); !r)
    return std::unexpected(r.error());
  return out;
}

}  // namespace odradek::node
