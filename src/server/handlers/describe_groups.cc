// DescribeGroups (15), versions 0-6: state and members of classic groups.
//
// 1: throttling. 3: authorized operations. 4: static members. 5: flexible. 6: a group that does not
// exist, or is one of the consumer protocol, is GROUP_ID_NOT_FOUND; before, it is a group in state
// Dead.
// - What a member says and has been assigned is told of stable groups only, and the protocol too.
#include "wire/gen/describe_groups.h"

#include <fmt/format.h>

#include "server/group_access.h"
#include "server/handlers/handlers.h"

namespace odradek::server {

namespace {

using machines::group::Describe;
using machines::group::DescribeAnswer;
using wire::ErrorCode;
using Described = wire::DescribeGroupsResponse::DescribedGroup;

void fill(Request& request, Described& out, const DescribeAnswer::Group& group, bool operations) {
  out.group_state = group.state;
  out.protocol_type = group.protocol_type;
  out.protocol_data = group.protocol;
  for (const auto& m : group.members) {
    auto& member = out.members.add(request.arena());
    member.member_id = m.id;
    if (m.instance) member.group_instance_id = *m.instance;
    member.client_id = m.client_id;
    member.client_host = m.client_host;
    member.member_metadata = as_bytes(m.metadata);
    member.member_assignment = as_bytes(m.assignment);
  }
  if (!group.found && request.version() >= 6) {
    out.error_code = wire::wire_value(ErrorCode::kGroupIdNotFound);
    out.error_message = request.arena().copy(fmt::format(
        "Group {} {}.", out.group_id, group.exists ? "is not a classic group" : "not found"));
  } else if (operations && request.version() >= 3) {
    out.authorized_operations = kAllGroupOperations;
  }
}

}  // namespace

io::Task<void> handle_describe_groups(Request& request) {
  wire::DescribeGroupsRequest body;
  if (!request.decode(body)) co_return;
  const metadata::ImagePtr image = request.services().image;
  wire::DescribeGroupsResponse response;
  for (std::string_view group : body.groups) response.groups.add(request.arena()).group_id = group;
  std::vector<DescribeAnswer> kept;  // what the response points to
  kept.reserve(body.groups.size());
  for (const auto& part : by_partition(*image, body.groups)) {
    Describe command;
    for (const size_t i : part.indexes) command.groups.emplace_back(body.groups[i]);
    GroupResult result = co_await ask_coordinator(request, part.partition, std::move(command));
    if (!result) {
      for (const size_t i : part.indexes)
        response.groups[i].error_code = wire::wire_value(result.error());
      continue;
    }
    const auto& answer = kept.emplace_back(std::move(std::get<DescribeAnswer>(*result)));
    for (size_t k = 0; k < part.indexes.size(); k++)
      fill(request, response.groups[part.indexes[k]], answer.groups[k],
           body.include_authorized_operations);
  }
  request.respond(response);
}

}  // namespace odradek::server
