// AssignReplicasToDirs (key 73), version 0: a broker tells where its replicas live. The controller
// decides.
#include "server/handlers/forward.h"
#include "server/handlers/handlers.h"

namespace odradek::server {

io::Task<void> handle_assign_replicas_to_dirs(Request& request) {
  return forward_to_controller(request);
}

}  // namespace odradek::server
