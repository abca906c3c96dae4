// OffsetDelete (47), version 0: forgets committed offsets of topics that the group does not read.
//
// - Partitions that do not exist are UNKNOWN_TOPIC_OR_PARTITION; an error of the whole group leaves
//   the topics out.
#include "wire/gen/offset_delete.h"

#include "server/group_access.h"
#include "server/handlers/handlers.h"

namespace odradek::server {

namespace {

using machines::group::DeleteOffsets;
using machines::group::DeleteOffsetsAnswer;
using wire::ErrorCode;

DeleteOffsets command_of(const metadata::Image& image, const wire::OffsetDeleteRequest& body) {
  DeleteOffsets c{.group = std::string(body.group_id)};
  for (const auto& t : body.topics) {
    DeleteOffsets::Topic out{std::string(t.name)};
    for (const auto& p : t.partitions) {
      if (image.partition(t.name, p.partition_index) != nullptr)
        out.partitions.push_back(p.partition_index);
    }
    if (!out.partitions.empty()) c.topics.push_back(std::move(out));
  }
  return c;
}

}  // namespace

io::Task<void> handle_offset_delete(Request& request) {
  wire::OffsetDeleteRequest body;
  if (!request.decode(body)) co_return;
  const metadata::ImagePtr image = request.services().image;
  DeleteOffsetsAnswer answer{.error = ErrorCode::kInvalidGroupId};
  if (!body.group_id.empty()) {
    auto result =
        co_await ask_group<DeleteOffsetsAnswer>(request, body.group_id, command_of(*image, body));
    answer = result ? std::move(*result) : DeleteOffsetsAnswer{.error = result.error()};
  }
  wire::OffsetDeleteResponse response;
  response.error_code = wire::wire_value(answer.error);
  if (answer.error == ErrorCode::kNone) {
    size_t next = 0;
    for (const auto& t : body.topics) {
      auto& out = response.topics.add(request.arena());
      out.name = t.name;
      for (const auto& p : t.partitions) {
        const bool known = image->partition(t.name, p.partition_index) != nullptr;
        auto& partition = out.partitions.add(request.arena());
        partition.partition_index = p.partition_index;
        partition.error_code =
            wire::wire_value(known ? answer.results[next++] : ErrorCode::kUnknownTopicOrPartition);
      }
    }
  }
  request.respond(response);
}

}  // namespace odradek::server
