// DeleteGroups (42), versions 0-2: removes groups without members, and their offsets.
//
// 1: throttling. 2: flexible.
// - A group named twice is answered once.
#include "wire/gen/delete_groups.h"

#include <unordered_set>

#include "server/group_access.h"
#include "server/handlers/handlers.h"

namespace odradek::server {

io::Task<void> handle_delete_groups(Request& request) {
  using machines::group::DeleteGroups;
  using machines::group::DeleteGroupsAnswer;
  wire::DeleteGroupsRequest body;
  if (!request.decode(body)) co_return;
  const metadata::ImagePtr image = request.services().image;
  wire::DeleteGroupsResponse response;
  std::vector<std::string_view> names;
  std::unordered_set<std::string_view> seen;
  for (std::string_view group : body.groups_names) {
    if (!seen.insert(group).second) continue;
    names.push_back(group);
    response.results.add(request.arena()).group_id = group;
  }
  for (const auto& part : by_partition(*image, names)) {
    DeleteGroups command;
    for (const size_t i : part.indexes) command.groups.emplace_back(names[i]);
    const GroupResult result =
        co_await ask_coordinator(request, part.partition, std::move(command));
    for (size_t k = 0; k < part.indexes.size(); k++) {
      const wire::ErrorCode error =
          result ? std::get<DeleteGroupsAnswer>(*result).results[k] : result.error();
      response.results[part.indexes[k]].error_code = wire::wire_value(error);
    }
  }
  request.respond(response);
}

}  // namespace odradek::server
