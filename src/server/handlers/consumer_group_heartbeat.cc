// ConsumerGroupHeartbeat (68), versions 0-1: everything that a member of the consumer protocol
// says. It joins with epoch 0 and leaves with −1, or −2 if it is static and will be back.
//
// 1: the member makes its own id; subscriptions by regular expression.
// - What is null has not changed since the last request.
// - UNSUPPORTED_VERSION where the cluster does not have the protocol (feature group.version,
//   group.coordinator.rebalance.protocols).
#include "wire/gen/consumer_group_heartbeat.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "machines/group/assignor/assignor.h"
#include "metadata/broker_config.h"
#include "server/group_access.h"
#include "server/handlers/handlers.h"

namespace odradek::server {

namespace {

using machines::group::ConsumerHeartbeat;
using machines::group::ConsumerHeartbeatAnswer;
using wire::ErrorCode;
using Body = wire::ConsumerGroupHeartbeatRequest;
namespace assignor = machines::group::assignor;

/// Nothing but space is nothing, as in Java.
bool is_empty(const std::optional<std::string_view>& text) {
  return text && std::ranges::all_of(*text, [](char c) { return static_cast<uint8_t>(c) <= ' '; });
}

/// Why a request cannot be meant; null: it can.
const char* problem_of_joining(const Body& body) {
  if (body.rebalance_timeout_ms == -1)
    return "RebalanceTimeoutMs must be provided in first request.";
  if (!body.topic_partitions || !body.topic_partitions->empty())
    return "TopicPartitions must be empty when (re-)joining.";
  if (!body.subscribed_topic_names && !body.subscribed_topic_regex)
    return "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when "
           "(re-)joining.";
  return nullptr;
}

const char* problem(const Body& body, int16_t version) {
  const bool id_needed = version >= 1 || body.member_epoch > 0 || body.member_epoch == -1;
  if (id_needed && is_empty(body.member_id)) return "MemberId can't be empty.";
  if (is_empty(body.group_id)) return "GroupId can't be empty.";
  if (is_empty(body.instance_id)) return "InstanceId can't be empty.";
  if (is_empty(body.rack_id)) return "RackId can't be empty.";
  if (body.member_epoch == 0) return problem_of_joining(body);
  if (body.member_epoch == -2 && !body.instance_id) return "InstanceId can't be null.";
  if (body.member_epoch < -2) return "MemberEpoch is invalid.";
  return nullptr;
}

ConsumerHeartbeatAnswer check(Request& request, const Body& body) {
  using enum metadata::BrokerKey;
  if (!serves_consumer_groups(request.services())) return {.error = ErrorCode::kUnsupportedVersion};
  if (const char* why = problem(body, request.version()); why != nullptr)
    return {.error = ErrorCode::kInvalidRequest, .message = why};
  if (!body.server_assignor) return {};
  std::vector<std::string_view> assignors;
  for (const std::string& entry : request.services().config->list(kGroupConsumerAssignors))
    assignors.push_back(assignor::name(assignor::configured(entry)));
  if (std::ranges::find(assignors, *body.server_assignor) == assignors.end())
    return {.error = ErrorCode::kUnsupportedAssignor,
            .message = fmt::format("ServerAssignor {} is not supported. Supported assignors: {}.",
                                   *body.server_assignor, fmt::join(assignors, ", "))};
  return {};
}

ConsumerHeartbeat command_of(Request& request, const Body& body) {
  ConsumerHeartbeat c{.group = std::string(body.group_id),
                      .member = std::string(body.member_id),
                      .epoch = body.member_epoch,
                      .instance = owned(body.instance_id),
                      .rack = owned(body.rack_id),
                      .rebalance_timeout_ms = body.rebalance_timeout_ms,
                      .regex = owned(body.subscribed_topic_regex),
                      .assignor = owned(body.server_assignor),
                      .client_id = std::string(request.client_id()),
                      // As Java writes an address without a name.
                      .client_host = "/" + request.connection().peer.host};
  if (body.subscribed_topic_names)
    c.topics.emplace(body.subscribed_topic_names->begin(), body.subscribed_topic_names->end());
  if (body.topic_partitions) {
    auto& partitions = c.owned.emplace();
    for (const auto& t : *body.topic_partitions)
      partitions[t.topic_id].insert(t.partitions.begin(), t.partitions.end());
  }
  return c;
}

/// `answer` must live until it is sent.
void respond(Request& request, const ConsumerHeartbeatAnswer& answer) {
  wire::ConsumerGroupHeartbeatResponse response;
  response.error_code = wire::wire_value(answer.error);
  // Apache says no more of it.
  if (answer.error == ErrorCode::kUnsupportedVersion) return request.respond(response);
  if (answer.error != ErrorCode::kNone) {
    const std::string_view known = wire::message(answer.error);
    response.error_message = answer.message.empty() ? known : std::string_view(answer.message);
    return request.respond(response);
  }
  response.member_id = answer.member;
  response.member_epoch = answer.epoch;
  response.heartbeat_interval_ms = answer.interval_ms;
  if (answer.assignment) {
    auto& assignment = response.assignment.emplace();
    for (const auto& [topic, partitions] : *answer.assignment) {
      auto& out = assignment.topic_partitions.add(request.arena());
      out.topic_id = topic;
      for (const int32_t index : partitions) out.partitions.add(request.arena(), index);
    }
  }
  request.respond(response);
}

}  // namespace

io::Task<void> handle_consumer_group_heartbeat(Request& request) {
  Body body;
  if (!request.decode(body)) co_return;
  ConsumerHeartbeatAnswer answer = check(request, body);
  if (answer.error == ErrorCode::kNone) {
    auto result = co_await ask_group<ConsumerHeartbeatAnswer>(request, body.group_id,
                                                              command_of(request, body));
    answer = result ? std::move(*result) : ConsumerHeartbeatAnswer{.error = result.error()};
  }
  respond(request, answer);
}

}  // namespace odradek::server
