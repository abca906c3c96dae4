// ListGroups (16), versions 0-5: the groups that this broker coordinates.
//
// 1: throttling. 3: flexible. 4: states, and a filter by them. 5: types, and a filter by them.
// - Filters take any case and space around a name; an unknown name matches nothing.
// - While one of the partitions is loading: COORDINATOR_LOAD_IN_PROGRESS.
#include "wire/gen/list_groups.h"

#include "metadata/broker_config.h"
#include "server/group_access.h"
#include "server/handlers/handlers.h"

namespace odradek::server {

io::Task<void> handle_list_groups(Request& request) {
  using machines::group::List;
  using machines::group::ListAnswer;
  wire::ListGroupsRequest body;
  if (!request.decode(body)) co_return;
  List command;
  for (std::string_view s : body.states_filter) command.states.emplace_back(s);
  for (std::string_view t : body.types_filter) command.types.emplace_back(t);
  const metadata::ImagePtr image = request.services().image;
  const metadata::Topic* topic = image->topic(kOffsetsTopic);
  const auto partitions = topic != nullptr ? static_cast<int32_t>(topic->partitions.size()) : 0;
  std::vector<ListAnswer> kept;
  wire::ErrorCode error = wire::ErrorCode::kNone;
  for (int32_t i = 0; i < partitions; i++) {
    GroupResult result = co_await ask_coordinator(request, i, command);
    if (result) {
      kept.push_back(std::move(std::get<ListAnswer>(*result)));
    } else if (result.error() != wire::ErrorCode::kNotCoordinator) {
      error = result.error();
    }
  }
  wire::ListGroupsResponse response;
  response.error_code = wire::wire_value(error);
  for (const ListAnswer& answer : kept) {
    if (error != wire::ErrorCode::kNone) break;
    for (const auto& g : answer.groups) {
      auto& out = response.groups.add(request.arena());
      out.group_id = g.id;
      out.protocol_type = g.protocol_type;
      out.group_state = g.state;
      out.group_type = g.type;
    }
  }
  request.respond(response);
}

}  // namespace odradek::server
