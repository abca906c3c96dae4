// LeaveGroup (13), versions 0-5: members leave a classic group, or are removed by an operator.
//
// 1: throttling. 3: several members, static ones by their instance. 4: flexible. 5: reasons.
// - Before version 3 the member's own error is that of the answer.
#include "wire/gen/leave_group.h"

#include "server/group_access.h"
#include "server/handlers/handlers.h"

namespace odradek::server {

namespace {

using machines::group::Leave;
using machines::group::LeaveAnswer;
using wire::ErrorCode;

Leave command_of(const wire::LeaveGroupRequest& body, int16_t version) {
  Leave leave{.group = std::string(body.group_id)};
  if (version < 3) leave.members.push_back({.id = std::string(body.member_id)});
  for (const auto& m : body.members)
    leave.members.push_back({std::string(m.member_id), owned(m.group_instance_id)});
  return leave;
}

}  // namespace

io::Task<void> handle_leave_group(Request& request) {
  wire::LeaveGroupRequest body;
  if (!request.decode(body)) co_return;
  LeaveAnswer answer{.error = ErrorCode::kInvalidGroupId};
  if (!body.group_id.empty()) {
    auto result = co_await ask_group<LeaveAnswer>(request, body.group_id,
                                                  command_of(body, request.version()));
    answer = result ? std::move(*result) : LeaveAnswer{.error = result.error()};
  }
  wire::LeaveGroupResponse response;
  response.error_code = wire::wire_value(answer.error);
  if (request.version() < 3) {
    if (!answer.results.empty()) response.error_code = wire::wire_value(answer.results.front());
  } else if (answer.error == ErrorCode::kNone) {
    for (size_t i = 0; i < body.members.size(); i++) {
      auto& m = response.members.add(request.arena());
      m.member_id = body.members[i].member_id;
      m.group_instance_id = body.members[i].group_instance_id;
      m.error_code = wire::wire_value(answer.results[i]);
    }
  }
  request.respond(response);
}

}  // namespace odradek::server
