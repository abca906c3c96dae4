// Loading: opens what lies in the log directories at start and hands it to the shards.
#pragma once

#include <functional>
#include <vector>

#include "base/logger.h"
#include "base/result.h"
#include "io/io.h"
#include "replica/log_dirs.h"
#include "replica/recovery_status.h"
#include "replica/shard.h"

namespace odradek::replica {

struct Loading {
  io::Io& io;
  io::Loop& loop;  // where everything here is called back
  LogDirs& dirs;
  /// The newest image; must stay until `done`. Folders of topics that it does not know, or that
  /// are not assigned to this node, are renamed to -stray and kept, as at Apache.
  const metadata::Image& image;
  std::vector<Shard*> shards;  // by loop
  const ResolveSettings& resolve;
  int parallel = 2;        // file threads for each directory (num.recovery.threads.per.data.dir)
  RecoveryStatus& status;  // must stay until `done`
  Logger logger;
};

/// Checkpoints are read, folders listed, logs opened and recovered, all on file threads, and posted
/// to their shards; a publication that is posted after `done` finds them there. A log that cannot
/// be opened takes its directory offline; kUnsupported (an old format) or a folder that is none of
/// ours ends the start with an error.
void load_partitions(Loading loading, std::move_only_function<void(Result<void>)> done);

}  // namespace odradek::replica
