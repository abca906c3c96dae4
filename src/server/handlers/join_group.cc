// JoinGroup (11), versions 0-9: a member of a classic group joins; answered when all have.
//
// 1: rebalance timeout. 2: throttling. 4: a new member is given its id first (MEMBER_ID_REQUIRED).
// 5: static members. 6: flexible. 7: protocol type and nullable protocol in the answer. 8: a
// reason. 9: SkipAssignment.
// - Before version 7 a protocol that is not known yet is an empty string.
// - Version 0 has no rebalance timeout: the session timeout stands for it.
#include "wire/gen/join_group.h"

#include "metadata/broker_config.h"
#include "server/group_access.h"
#include "server/handlers/handlers.h"

namespace odradek::server {

namespace {

using machines::group::Join;
using machines::group::JoinAnswer;
using wire::ErrorCode;

ErrorCode check(const metadata::BrokerConfig& config, const wire::JoinGroupRequest& body) {
  using enum metadata::BrokerKey;
  if (body.group_id.empty()) return ErrorCode::kInvalidGroupId;
  if (body.session_timeout_ms < config.int32(kGroupMinSessionTimeoutMs) ||
      body.session_timeout_ms > config.int32(kGroupMaxSessionTimeoutMs))
    return ErrorCode::kInvalidSessionTimeout;
  return ErrorCode::kNone;
}

Join command_of(Request& request, const wire::JoinGroupRequest& body) {
  const int16_t version = request.version();
  Join join{
      .group = std::string(body.group_id),
      .member = std::string(body.member_id),
      .instance = owned(body.group_instance_id),
      .client_id = std::string(request.client_id()),
      // As Java writes an address without a name.
      .client_host = "/" + request.connection().peer.host,
      .session_timeout_ms = body.session_timeout_ms,
      .rebalance_timeout_ms = version == 0 ? body.session_timeout_ms : body.rebalance_timeout_ms,
      .protocol_type = std::string(body.protocol_type),
      .id_required = version >= 4,
      .skips_assignment = version >= 9};
  for (const auto& p : body.protocols)
    join.protocols.push_back({std::string(p.name), std::string(as_text(p.metadata))});
  return join;
}

/// `answer` must live until it is sent.
void respond(Request& request, const JoinAnswer& answer) {
  wire::JoinGroupResponse response;
  response.error_code = wire::wire_value(answer.error);
  response.generation_id = answer.generation;
  if (answer.protocol_type) response.protocol_type = *answer.protocol_type;
  if (answer.protocol) {
    response.protocol_name = *answer.protocol;
  } else if (request.version() >= 7) {
    response.protocol_name = std::nullopt;
  }
  response.leader = answer.leader;
  response.skip_assignment = answer.skip_assignment;
  response.member_id = answer.member;
  response.members.reserve(request.arena(), answer.members.size());
  for (const auto& m : answer.members) {
    auto& out = response.members.add(request.arena());
    out.member_id = m.id;
    if (m.instance) out.group_instance_id = *m.instance;
    out.metadata = as_bytes(m.metadata);
  }
  request.respond(response);
}

}  // namespace

io::Task<void> handle_join_group(Request& request) {
  wire::JoinGroupRequest body;
  if (!request.decode(body)) co_return;
  JoinAnswer answer{.error = check(*request.services().config, body),
                    .member = std::string(body.member_id)};
  if (answer.error != ErrorCode::kNone) co_return respond(request, answer);
  Join command = command_of(request, body);
  const std::string group = command.group;
  request.release_frame();  // it may wait for minutes
  auto result = co_await ask_group<JoinAnswer>(request, group, std::move(command));
  if (result) {
    answer = std::move(*result);
  } else {
    answer = {.error = result.error()};
  }
  respond(request, answer);
}

}  // namespace odradek::server
