// SyncGroup (14), versions 0-5: members of a classic group get what its leader assigns.
//
// 1: throttling. 3: static members. 4: flexible. 5: protocol type and name, both ways; a request
// without them is INCONSISTENT_GROUP_PROTOCOL.
#include "wire/gen/sync_group.h"

#include "server/group_access.h"
#include "server/handlers/handlers.h"

namespace odradek::server {

namespace {

using machines::group::Sync;
using machines::group::SyncAnswer;
using wire::ErrorCode;

ErrorCode check(const wire::SyncGroupRequest& body, int16_t version) {
  if (version >= 5 && (!body.protocol_type || !body.protocol_name))
    return ErrorCode::kInconsistentGroupProtocol;
  return body.group_id.empty() ? ErrorCode::kInvalidGroupId : ErrorCode::kNone;
}

Sync command_of(const wire::SyncGroupRequest& body) {
  Sync sync{.group = std::string(body.group_id),
            .generation = body.generation_id,
            .member = std::string(body.member_id),
            .instance = owned(body.group_instance_id),
            .protocol_type = owned(body.protocol_type),
            .protocol = owned(body.protocol_name)};
  for (const auto& a : body.assignments)
    sync.assignments.push_back({std::string(a.member_id), std::string(as_text(a.assignment))});
  return sync;
}

}  // namespace

io::Task<void> handle_sync_group(Request& request) {
  wire::SyncGroupRequest body;
  if (!request.decode(body)) co_return;
  SyncAnswer answer{.error = check(body, request.version())};
  if (answer.error == ErrorCode::kNone) {
    Sync command = command_of(body);
    const std::string group = command.group;
    request.release_frame();
    auto result = co_await ask_group<SyncAnswer>(request, group, std::move(command));
    answer = result ? std::move(*result) : SyncAnswer{.error = result.error()};
  }
  wire::SyncGroupResponse response;
  response.error_code = wire::wire_value(answer.error);
  if (answer.protocol_type) response.protocol_type = *answer.protocol_type;
  if (answer.protocol) response.protocol_name = *answer.protocol;
  response.assignment = as_bytes(answer.assignment);
  request.respond(response);
}

}  // namespace odradek::server
