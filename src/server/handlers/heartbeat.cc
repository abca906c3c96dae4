// Heartbeat (12), versions 0-4: a member of a classic group is alive, and learns of rebalances.
//
// 1: throttling. 3: static members. 4: flexible.
// - While the coordinator is loading the answer is success, as at Apache: the member then stays
//   where it is instead of asking for another coordinator.
#include "wire/gen/heartbeat.h"

#include "server/group_access.h"
#include "server/handlers/handlers.h"

namespace odradek::server {

io::Task<void> handle_heartbeat(Request& request) {
  wire::HeartbeatRequest body;
  if (!request.decode(body)) co_return;
  wire::HeartbeatResponse response;
  wire::ErrorCode error = wire::ErrorCode::kInvalidGroupId;
  if (!body.group_id.empty()) {
    const auto answer = co_await ask_group<machines::group::HeartbeatAnswer>(
        request, body.group_id,
        machines::group::Heartbeat{.group = std::string(body.group_id),
                                   .generation = body.generation_id,
                                   .member = std::string(body.member_id),
                                   .instance = owned(body.group_instance_id)});
    error = answer ? answer->error : answer.error();
    if (error == wire::ErrorCode::kCoordinatorLoadInProgress) error = wire::ErrorCode::kNone;
  }
  response.error_code = wire::wire_value(error);
  request.respond(response);
}

}  // namespace odradek::server
