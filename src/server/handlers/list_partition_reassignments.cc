// ListPartitionReassignments (key 46), version 0. The controller knows.
#include "server/handlers/forward.h"
#include "server/handlers/handlers.h"

namespace odradek::server {

io::Task<void> handle_list_partition_reassignments(Request& request) {
  return forward_to_controller(request);
}

}  // namespace odradek::server
