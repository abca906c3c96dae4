// DescribeCluster (60), versions 0-2: the nodes of the cluster.
//
// 1: which kind of node is meant, brokers (1) or controllers (2). 2: fenced brokers on request.
// - A broker listener knows brokers only, a controller listener controllers only; the other kind is
//   MISMATCHED_ENDPOINT_TYPE, so that admin clients notice a wrong bootstrap address.
// - A broker listener tells any alive broker as the controller (see Metadata); a controller
// listener
//   tells the real one.
#include <fmt/format.h>

#include "metadata/broker_config.h"
#include "metadata/image.h"
#include "server/handlers/handlers.h"
#include "server/handlers/topic_view.h"
#include "server/services.h"
#include "wire/errors.h"
#include "wire/gen/describe_cluster.h"

namespace odradek::server {

namespace {

using wire::ErrorCode;
using Response = wire::DescribeClusterResponse;

constexpr int8_t kBrokers = 1;
constexpr int8_t kControllers = 2;

std::string_view endpoint_type_name(int8_t type) {
  return type == kBrokers ? "BROKER" : "CONTROLLER";
}

void add_brokers(Request& request, Response& response, bool fenced_too) {
  const metadata::Image& image = *request.services().image;
  for (const auto& [id, broker] : image.brokers) {
    const metadata::Endpoint* endpoint = broker->endpoint(request.listener().name);
    if (!endpoint || (broker->fenced && !fenced_too)) continue;
    auto& b = response.brokers.add(request.arena());
    b.broker_id = id.value;
    b.host = endpoint->host;
    b.port = endpoint->port;
    if (broker->rack) b.rack = *broker->rack;
    b.is_fenced = broker->fenced;
  }
  response.controller_id = any_alive_broker(image, request.services().loop.random());
}

void add_controllers(Request& request, Response& response) {
  const Services& services = request.services();
  for (const auto& [id, controller] : services.image->controllers) {
    for (const metadata::Endpoint& endpoint : controller->endpoints) {
      if (endpoint.name != request.listener().name) continue;
      auto& b = response.brokers.add(request.arena());
      b.broker_id = id.value;
      b.host = endpoint.host;
      b.port = endpoint.port;
    }
  }
  // One node: whoever serves a controller listener is the active controller.
  const int32_t self = services.config->node_id().value;
  for (const auto& b : response.brokers)
    if (b.broker_id == self) response.controller_id = self;
}

}  // namespace

io::Task<void> handle_describe_cluster(Request& request) {
  wire::DescribeClusterRequest body;
  if (!request.decode(body)) co_return;
  Response response;
  const int8_t ours = request.listener().kind == ListenerKind::kBroker ? kBrokers : kControllers;
  auto refuse = [&](ErrorCode error, std::string text) {
    // Version 0 has no endpoint type, and its clients do not know the codes about it.
    response.error_code =
        wire::wire_value(request.version() == 0 ? ErrorCode::kInvalidRequest : error);
    response.error_message = request.arena().copy(text);
    request.respond(response);
  };
  if (body.endpoint_type != kBrokers && body.endpoint_type != kControllers) {
    refuse(ErrorCode::kUnsupportedEndpointType,
           fmt::format("Unsupported endpoint type {}", body.endpoint_type));
    co_return;
  }
  if (body.endpoint_type != ours) {
    refuse(ErrorCode::kMismatchedEndpointType,
           fmt::format("The request was sent to an endpoint of type {}, but we wanted an endpoint "
                       "of type {}",
                       endpoint_type_name(ours), endpoint_type_name(body.endpoint_type)));
    co_return;
  }
  response.endpoint_type = ours;
  response.cluster_id = request.services().cluster_id;
  if (ours == kBrokers) {
    add_brokers(request, response, request.version() >= 2 && body.include_fenced_brokers);
  } else {
    add_controllers(request, response);
  }
  if (body.include_cluster_authorized_operations)
    response.cluster_authorized_operations = kAllClusterOperations;
  request.respond(response);
}

}  // namespace odradek::server
