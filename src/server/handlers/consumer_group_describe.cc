// ConsumerGroupDescribe (69), versions 0-1: groups of the consumer protocol, their members, what
// these have and shall have.
//
// 1: whether a member still speaks the classic protocol.
// - A group of another kind is GROUP_ID_NOT_FOUND: tools then ask with DescribeGroups.
// - Topics that are gone are left out.
#include "wire/gen/consumer_group_describe.h"

#include "metadata/features.h"
#include "server/group_access.h"
#include "server/handlers/handlers.h"

namespace odradek::server {

namespace {

using machines::group::DescribeConsumers;
using machines::group::DescribeConsumersAnswer;
using machines::group::Partitions;
using wire::ErrorCode;
using Described = wire::ConsumerGroupDescribeResponse::DescribedGroup;

constexpr int8_t kClassicMember = 0;
constexpr int8_t kConsumerMember = 1;

template <class Assignment>
void fill_partitions(Arena& arena, const metadata::Image& image, const Partitions& partitions,
                     Assignment& out) {
  for (const auto& [id, indexes] : partitions) {
    const metadata::Topic* topic = image.topic(id);
    if (topic == nullptr) continue;
    auto& t = out.topic_partitions.add(arena);
    t.topic_id = id;
    t.topic_name = topic->name;
    for (const int32_t index : indexes) t.partitions.add(arena, index);
  }
}

void fill(Request& request, const metadata::Image& image, Described& out,
          const DescribeConsumersAnswer::Group& group, bool operations) {
  Arena& arena = request.arena();
  if (out.group_id.empty()) {
    out.error_code = wire::wire_value(ErrorCode::kInvalidGroupId);
    return;
  }
  if (!group.found) {
    out.error_code = wire::wire_value(ErrorCode::kGroupIdNotFound);
    out.error_message = group.problem;
    return;
  }
  out.group_state = group.state;
  out.group_epoch = group.epoch;
  out.assignment_epoch = group.assignment_epoch;
  out.assignor_name = group.assignor;
  out.members.reserve(arena, group.members.size());
  for (const auto& m : group.members) {
    auto& member = out.members.add(arena);
    member.member_id = m.id;
    if (m.instance) member.instance_id = *m.instance;
    if (m.rack) member.rack_id = *m.rack;
    member.member_epoch = m.epoch;
    member.client_id = m.client_id;
    member.client_host = m.client_host;
    for (const std::string& topic : m.topics) member.subscribed_topic_names.add(arena, topic);
    if (m.regex) member.subscribed_topic_regex = *m.regex;
    fill_partitions(arena, image, m.assigned, member.assignment);
    fill_partitions(arena, image, m.target, member.target_assignment);
    member.member_type = m.classic ? kClassicMember : kConsumerMember;
  }
  if (operations) out.authorized_operations = kAllGroupOperations;
}

}  // namespace

io::Task<void> handle_consumer_group_describe(Request& request) {
  wire::ConsumerGroupDescribeRequest body;
  if (!request.decode(body)) co_return;
  const metadata::ImagePtr image = request.services().image;
  wire::ConsumerGroupDescribeResponse response;
  for (std::string_view group : body.group_ids)
    response.groups.add(request.arena()).group_id = group;
  const auto refuse = [&](size_t i, ErrorCode error) {
    response.groups[i].error_code = wire::wire_value(error);
  };
  if (!serves_consumer_groups(request.services())) {
    for (size_t i = 0; i < body.group_ids.size(); i++) refuse(i, ErrorCode::kUnsupportedVersion);
    request.respond(response);
    co_return;
  }
  std::vector<DescribeConsumersAnswer> kept;  // what the response points to
  kept.reserve(body.group_ids.size());
  for (const auto& part : by_partition(*image, body.group_ids)) {
    DescribeConsumers command;
    for (const size_t i : part.indexes) command.groups.emplace_back(body.group_ids[i]);
    GroupResult result = co_await ask_coordinator(request, part.partition, std::move(command));
    if (!result) {
      for (const size_t i : part.indexes) refuse(i, result.error());
      continue;
    }
    const auto& answer = kept.emplace_back(std::move(std::get<DescribeConsumersAnswer>(*result)));
    for (size_t k = 0; k < part.indexes.size(); k++) {
      const size_t i = part.indexes[k];
      if (body.group_ids[i].empty()) {
        refuse(i, ErrorCode::kInvalidGroupId);
      } else {
        fill(request, *image, response.groups[i], answer.groups[k],
             body.include_authorized_operations);
      }
    }
  }
  request.respond(response);
}

}  // namespace odradek::server
