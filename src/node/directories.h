// Opening the log directories of a node at start: locks, identities, formatting an empty one.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/logger.h"
#include "base/result.h"
#include "io/io.h"
#include "log/log_dir.h"
#include "metadata/broker_config.h"
#include "replica/log_dirs.h"

namespace odradek::node {

struct OpenedDirectories {
  std::vector<replica::LogDirs::Entry> entries;  // log.dirs, in their order
  /// metadata.log.dir where it is none of log.dirs; else null.
  std::unique_ptr<log::LogDir> separate_metadata;
  std::string metadata_path;
  Uuid metadata_id;
  std::string cluster_id;
  /// Of the registration before a clean stop; −1: unclean, or never registered.
  BrokerEpoch previous_epoch{-1};
};

/// Locks all directories, checks that they belong to this node and to one cluster, and takes their
/// clean-shutdown markers. `format_if_new`: directories without meta.properties are formatted if
/// none has one (`odradek server` without --config); otherwise that is an error which names the
/// command to run. A directory of several that cannot be used is offline, unless it holds the
/// metadata log; one without identity beside formatted ones is formatted, as at Apache. Otherwise
/// nothing is changed before all checks have passed. Blocks on the disk.
Result<OpenedDirectories> open_directories(io::Io& io, io::Loop& loop,
                                           const metadata::BrokerConfig& config, bool format_if_new,
                                           const Logger& logger);

}  // namespace odradek::node
