// What the log directories hold of each partition at start: normally one folder. A move between
// directories adds a future one, and a crash in the middle may leave only that.
#pragma once

#include <string>
#include <vector>

#include "base/ids.h"
#include "base/logger.h"
#include "io/io.h"
#include "log/log.h"
#include "metadata/image.h"
#include "replica/log_dirs.h"

namespace odradek::replica {

struct FoundFolder {
  size_t dir = 0;
  std::string path;
  log::TopicPartition partition;
  const metadata::Topic* topic = nullptr;
  bool future = false;
};

/// Leaves at most one folder of each partition, and beside it at most one future folder in another
/// directory:
/// - of several, the one in the directory that the metadata names stays, else the first; the others
///   are set aside as -stray;
/// - a future folder that is alone takes the partition's name if the metadata names its directory,
///   or no directory is offline: the move was nearly at its end. Otherwise it is left where it is,
///   and is not among `folders` any more;
/// - a future folder too many is a copy. Returns the paths of those, set aside, to be removed.
/// A directory in which that fails goes offline; its folders go from the list.
std::vector<std::string> choose_folders(io::Disk& disk, io::Loop& loop, LogDirs& dirs,
                                        BrokerId node, std::vector<FoundFolder>& folders,
                                        const Logger& logger);

}  // namespace odradek::replica
