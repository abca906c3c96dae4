// OffsetFetch (9), versions 1-10: committed offsets, of some partitions or of all.
//
// 2: all partitions (topics null), an error of the whole. 3: throttling. 5: leader epochs. 6:
// flexible. 7: offsets that a transaction has yet to settle are UNSTABLE_OFFSET_COMMIT on request.
// 8: several groups. 9: members of the consumer protocol. 10: topics by id.
// - What is not committed is offset −1 without an error; so is a group that does not exist.
// - Version 1 has no error of the whole: it stands at each partition.
#include "wire/gen/offset_fetch.h"

#include "server/group_access.h"
#include "server/handlers/handlers.h"

namespace odradek::server {

namespace {

using machines::group::FetchOffsets;
using machines::group::FetchOffsetsAnswer;
using wire::ErrorCode;
using AskedGroup = wire::OffsetFetchRequest::OffsetFetchRequestGroup;

/// One group of the request, in the shape of version 8.
struct Asked {
  std::string_view group;
  bool all = false;
  FetchOffsets command{};
  FetchOffsetsAnswer answer{};
};

/// By name, with the id that the topic has now.
FetchOffsets::Topic asked_topic(const metadata::Image& image, std::string_view name,
                                const Array<int32_t>& partitions) {
  const metadata::Topic* known = image.topic(name);
  return {std::string(name), known != nullptr ? known->id : Uuid(),
          std::vector<int32_t>(partitions.begin(), partitions.end())};
}

Asked one_group(const metadata::Image& image, const wire::OffsetFetchRequest& body) {
  Asked asked{.group = body.group_id, .all = !body.topics.has_value()};
  asked.command = {.group = std::string(body.group_id), .require_stable = body.require_stable};
  if (!asked.all) {
    auto& topics = asked.command.topics.emplace();
    for (const auto& t : *body.topics)
      topics.push_back(asked_topic(image, t.name, t.partition_indexes));
  }
  return asked;
}

/// Topics whose id is not known are answered here.
Asked of_many(const metadata::Image& image, const AskedGroup& group, bool require_stable,
              int16_t version) {
  Asked asked{.group = group.group_id, .all = !group.topics.has_value()};
  asked.command = {.group = std::string(group.group_id),
                   .member = owned(group.member_id),
                   .epoch = group.member_epoch,
                   .require_stable = require_stable};
  if (asked.all) return asked;
  auto& topics = asked.command.topics.emplace();
  for (const auto& t : *group.topics) {
    const metadata::Topic* known = version >= 10 ? image.topic(t.topic_id) : nullptr;
    if (version < 10) {
      topics.push_back(asked_topic(image, t.name, t.partition_indexes));
    } else if (known != nullptr) {
      topics.push_back(asked_topic(image, known->name, t.partition_indexes));
    }
  }
  return asked;
}

io::Task<void> ask(Request& request, Asked& asked) {
  auto result =
      co_await ask_group<FetchOffsetsAnswer>(request, asked.group, std::move(asked.command));
  asked.answer = result ? std::move(*result) : FetchOffsetsAnswer{.error = result.error()};
}

template <class Out>
void fill(Out& out, const FetchOffsetsAnswer::Partition& p) {
  out.partition_index = p.index;
  out.committed_offset = p.offset;
  out.committed_leader_epoch = p.leader_epoch;
  out.metadata = p.metadata;
  out.error_code = wire::wire_value(p.error);
}

void respond_one(Request& request, const wire::OffsetFetchRequest& body, const Asked& asked) {
  wire::OffsetFetchResponse response;
  const FetchOffsetsAnswer& answer = asked.answer;
  response.error_code = wire::wire_value(answer.error);
  for (const auto& t : answer.topics) {
    auto& topic = response.topics.add(request.arena());
    topic.name = t.name;
    for (const auto& p : t.partitions) fill(topic.partitions.add(request.arena()), p);
  }
  if (answer.error != ErrorCode::kNone && request.version() < 2 && body.topics) {
    for (const auto& t : *body.topics) {
      auto& topic = response.topics.add(request.arena());
      topic.name = t.name;
      for (const int32_t index : t.partition_indexes)
        fill(topic.partitions.add(request.arena()), {.index = index, .error = answer.error});
    }
  }
  request.respond(response);
}

void add_group(Request& request, const metadata::Image& image, const AskedGroup& group,
               const Asked& asked, wire::OffsetFetchResponse& response) {
  Arena& arena = request.arena();
  const bool by_id = request.version() >= 10;
  auto& out = response.groups.add(arena);
  out.group_id = asked.group;
  out.error_code = wire::wire_value(asked.answer.error);
  if (asked.answer.error != ErrorCode::kNone) return;
  for (const auto& t : asked.answer.topics) {
    const metadata::Topic* known = image.topic(t.name);
    // A topic that is gone has no id to be told by.
    if (by_id && known == nullptr) continue;
    auto& topic = out.topics.add(arena);
    topic.name = t.name;
    if (by_id) topic.topic_id = known->id;
    for (const auto& p : t.partitions) fill(topic.partitions.add(arena), p);
  }
  if (!by_id || !group.topics) return;
  for (const auto& t : *group.topics) {
    if (image.topic(t.topic_id) != nullptr) continue;
    auto& topic = out.topics.add(arena);
    topic.topic_id = t.topic_id;
    for (const int32_t index : t.partition_indexes)
      fill(topic.partitions.add(arena), {.index = index, .error = ErrorCode::kUnknownTopicId});
  }
}

}  // namespace

io::Task<void> handle_offset_fetch(Request& request) {
  wire::OffsetFetchRequest body;
  if (!request.decode(body)) co_return;
  const metadata::ImagePtr image = request.services().image;
  if (request.version() < 8) {
    Asked asked = one_group(*image, body);
    co_await ask(request, asked);
    co_return respond_one(request, body, asked);
  }
  std::vector<Asked> all;
  for (const auto& group : body.groups)
    all.push_back(of_many(*image, group, body.require_stable, request.version()));
  for (Asked& asked : all) co_await ask(request, asked);
  wire::OffsetFetchResponse response;
  for (size_t i = 0; i < all.size(); i++)
    add_group(request, *image, body.groups[i], all[i], response);
  request.respond(response);
}

}  // namespace odradek::server
