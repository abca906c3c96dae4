// CreatePartitions (37), versions 0-3. The controller decides.
//
// 2: flexible. 3: throttling errors.
#include "server/handlers/forward.h"
#include "server/handlers/handlers.h"

namespace odradek::server {

io::Task<void> handle_create_partitions(Request& request) { return forward_to_controller(request); }

}  // namespace odradek::server
