// AlterPartitionReassignments (key 45), versions 0-1. The controller decides.
//
// 1: whether the number of replicas may change. Moves between directories of one broker are
// AlterReplicaLogDirs.
#include "server/handlers/forward.h"
#include "server/handlers/handlers.h"

namespace odradek::server {

io::Task<void> handle_alter_partition_reassignments(Request& request) {
  return forward_to_controller(request);
}

}  // namespace odradek::server
