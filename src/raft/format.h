// Formatting: turning directories into those of a node, byte for byte as `kafka-storage format`
// does.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/uuid.h"
#include "io/io.h"
#include "raft/step.h"

namespace odradek::raft {

struct FormatOptions {
  std::vector<std::string> directories;  // log.dirs and metadata.log.dir, each once
  std::string metadata_directory;        // one of them
  std::string cluster_id;                // 22 characters of base64, or any text
  BrokerId node;
  /// Framed metadata records for bootstrap.checkpoint (feature levels, then SCRAM users).
  std::vector<std::string> bootstrap;
  /// The voter set to begin with (--standalone: this node alone): written as the 0-0 checkpoint.
  /// Without it voters are configured (controller.quorum.voters) or this node joins later. An
  /// entry of this node without directory gets the metadata directory's id.
  std::optional<std::vector<Voter>> voters;
  /// Id for the metadata directory; without it a fresh one.
  std::optional<Uuid> metadata_directory_id;
  /// Leave directories that are formatted already as they are, if they are of this cluster and
  /// node.
  bool ignore_formatted = false;
};

/// Formats. kExists: a directory is formatted already; kInvalid: it belongs to another cluster or
/// node. Each directory is complete or has no meta.properties.
Result<void> format(io::Disk& disk, io::Random& random, WallMs now, const FormatOptions& options);

/// A fresh cluster id.
std::string new_cluster_id(io::Random& random);

/// Framed records of `bootstrap.checkpoint` in a directory; nothing if there is none.
Result<std::optional<std::vector<std::string>>> read_bootstrap(io::Disk& disk,
                                                               const std::string& directory);

}  // namespace odradek::raft
