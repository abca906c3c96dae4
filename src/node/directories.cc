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
  std::unique_ptr<log::LogDir> dir;
  std::optional<log::MetaProperties> meta;
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

Result<std::vector<Opened>> lock_all(io::Io& io, const std::vector<std::string>& paths, bool create,
                                     const Logger& logger) {
  std::vector<Opened> opened;
  for (const std::string& path : paths) {
    if (!io.disk().exists(path)) {
      if (!create)
        return fail(Errc::kNotFound,
                    fmt::format("log directory {} does not exist. Run `odradek format --config "
                                "FILE --standalone` first, or check that the disk is mounted",
                                path));
      if (auto r = log::make_durable_directory(io.disk(), path); !r)
        return std::unexpected(in_directory(path, r.error()));
    }
    auto dir = log::LogDir::open(io.disk(), path, logger.named("log"));
    if (!dir && dir.error().kind == Errc::kExists)
      return fail(Errc::kExists,
                  fmt::format("log directory {} is in use by another process", path));
    if (!dir) return std::unexpected(in_directory(path, dir.error()));
    auto meta = (*dir)->read_meta();
    if (!meta) return std::unexpected(in_directory(path, meta.error()));
    opened.push_back({std::move(*dir), std::move(*meta)});
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

/// All directories have an identity, of this node and one cluster.
Result<void> check_identities(const metadata::BrokerConfig& config,
                              const std::vector<Opened>& opened) {
  std::vector<std::pair<std::string, log::MetaProperties>> all;
  for (const Opened& o : opened) {
    const std::string& path = o.dir->path();
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

}  // namespace

Result<OpenedDirectories> open_directories(io::Io& io, io::Loop& loop,
                                           const metadata::BrokerConfig& config, bool format_if_new,
                                           const Logger& logger) {
  const std::vector<std::string> paths = all_paths(config);
  auto opened = lock_all(io, paths, format_if_new, logger);
  if (!opened) return std::unexpected(opened.error());
  const bool none = std::none_of(opened->begin(), opened->end(),
                                 [](const Opened& o) { return o.meta.has_value(); });
  if (format_if_new && none) {
    if (auto r = format_new(io, loop, config, *opened, paths, logger); !r)
      return std::unexpected(r.error());
  }
  if (auto r = check_identities(config, *opened); !r) return std::unexpected(r.error());

  OpenedDirectories out;
  out.cluster_id = opened->front().meta->cluster_id.value_or("");
  out.metadata_path = config.metadata_log_dir();
  bool first = true;
  for (Opened& o : *opened) {
    if (!o.meta->directory_id) {  // written before directories had ids: it gets one now
      o.meta->directory_id = loop.random().uuid();
      if (auto r = o.dir->write_meta(*o.meta); !r)
        return std::unexpected(in_directory(o.dir->path(), r.error()));
    }
    const bool metadata = o.dir->path() == out.metadata_path;
    if (metadata) out.metadata_id = *o.meta->directory_id;
    if (out.entries.size() == config.log_dirs().size()) {
      out.separate_metadata = std::move(o.dir);
      continue;
    }
    auto marker = o.dir->take_clean_marker();
    if (!marker) return std::unexpected(in_directory(o.dir->path(), marker.error()));
    // All directories must agree, else the last stop counts as unclean.
    if (first) out.previous_epoch = marker->broker_epoch;
    if (out.previous_epoch != marker->broker_epoch) out.previous_epoch = BrokerEpoch(-1);
    first = false;
    out.entries.push_back({std::move(o.dir), *o.meta->directory_id, marker->clean, metadata});
  }
  return out;
}

}  // namespace odradek::node
