// DescribeQuorum (55), versions 0-2. Answered by the leader of the metadata quorum, not by the
// controller machine: the same door leads to both.
//
// 1: times of the last fetch. 2: directory ids, nodes with their listeners, error messages.
#include "server/handlers/forward.h"
#include "server/handlers/handlers.h"

namespace odradek::server {

io::Task<void> handle_describe_quorum(Request& request) { return forward_to_controller(request); }

}  // namespace odradek::server
