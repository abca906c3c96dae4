// OffsetCommit (8), versions 2-10: a group's positions; answered when they are committed.
//
// 2-4: a retention of the commit's own. 6: leader epochs. 7: static members. 8: flexible. 9:
// members of the consumer protocol; an unknown group is GROUP_ID_NOT_FOUND, before
// ILLEGAL_GENERATION. 10: topics by id.
// - Partitions that do not exist are UNKNOWN_TOPIC_OR_PARTITION, ids UNKNOWN_TOPIC_ID, and the
//   others are committed.
// - Commits that follow on the connection are decided meanwhile, in their order, and share the
//   append and the sync; whatever else follows waits.
#include "wire/gen/offset_commit.h"

#include "server/group_access.h"
#include "server/handlers/handlers.h"

namespace odradek::server {

namespace {

using machines::group::CommitOffsets;
using machines::group::CommitOffsetsAnswer;
using wire::ErrorCode;

const metadata::Topic* find_topic(const metadata::Image& image, int16_t version,
                                  const wire::OffsetCommitRequest::OffsetCommitRequestTopic& t) {
  return version >= 10 ? image.topic(t.topic_id) : image.topic(t.name);
}

/// What is known of the request's partitions.
CommitOffsets command_of(const metadata::Image& image, int16_t version,
                         const wire::OffsetCommitRequest& body) {
  CommitOffsets c{.group = std::string(body.group_id),
                  .generation = body.generation_id_or_member_epoch,
                  .member = std::string(body.member_id),
                  .instance = owned(body.group_instance_id),
                  .retention_ms = body.retention_time_ms,
                  .version = version};
  for (const auto& t : body.topics) {
    const metadata::Topic* topic = find_topic(image, version, t);
    if (topic == nullptr) continue;
    CommitOffsets::Topic out{topic->name, topic->id};
    for (const auto& p : t.partitions) {
      if (topic->partition(p.partition_index) == nullptr) continue;
      out.partitions.push_back({.index = p.partition_index,
                                .offset = p.committed_offset,
                                .leader_epoch = p.committed_leader_epoch,
                                .metadata = std::string(p.committed_metadata.value_or(""))});
    }
    if (!out.partitions.empty()) c.topics.push_back(std::move(out));
  }
  return c;
}

void respond(Request& request, const metadata::Image& image, const wire::OffsetCommitRequest& body,
             const CommitOffsetsAnswer& answer) {
  wire::OffsetCommitResponse response;
  const int16_t version = request.version();
  size_t next = 0;
  for (const auto& t : body.topics) {
    if (t.partitions.empty()) continue;
    const metadata::Topic* topic = find_topic(image, version, t);
    auto& out = response.topics.add(request.arena());
    out.name = t.name;
    out.topic_id = t.topic_id;
    for (const auto& p : t.partitions) {
      ErrorCode error = answer.error;
      if (topic == nullptr) {
        error = version >= 10 ? ErrorCode::kUnknownTopicId : ErrorCode::kUnknownTopicOrPartition;
      } else if (topic->partition(p.partition_index) == nullptr) {
        error = ErrorCode::kUnknownTopicOrPartition;
      } else if (error == ErrorCode::kNone) {
        error = answer.results[next++];
      }
      auto& partition = out.partitions.add(request.arena());
      partition.partition_index = p.partition_index;
      partition.error_code = wire::wire_value(error);
    }
  }
  request.respond(response);
}

}  // namespace

io::Task<void> handle_offset_commit(Request& request) {
  wire::OffsetCommitRequest body;
  if (!request.decode(body)) co_return;
  const metadata::ImagePtr image = request.services().image;
  CommitOffsets command = command_of(*image, request.version(), body);
  CommitOffsetsAnswer answer;
  if (!command.topics.empty()) {
    auto result =
        co_await ask_group<CommitOffsetsAnswer>(request, body.group_id, std::move(command));
    answer = result ? std::move(*result) : CommitOffsetsAnswer{.error = result.error()};
  }
  respond(request, *image, body, answer);
}

}  // namespace odradek::server
