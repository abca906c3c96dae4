// FindCoordinator (10), versions 0-6: which broker coordinates a group, a transactional id or a
// share partition.
//
// 1: transactions. 4: several keys. 5: TRANSACTION_ABORTABLE may be answered. 6: share partitions.
// - The coordinator of a group leads the group's partition of `__consumer_offsets`, that of a
//   transactional id its partition of `__transaction_state`. The topic is created when the first
//   one asks; unlike Apache, which has the client ask again, we answer once it is there.
// - No coordinator of share partitions runs here yet: COORDINATOR_NOT_AVAILABLE, which clients
//   repeat.
// - A key type that does not exist, share partitions before version 6, or a key of a share
//   partition that is not group:topic id:partition, is INVALID_REQUEST.
// - From version 4 on the message of these errors is empty, as Apache writes it.
#include "wire/gen/find_coordinator.h"

#include <algorithm>

#include "metadata/broker_config.h"
#include "server/group_access.h"
#include "server/handlers/auto_create.h"
#include "server/handlers/handlers.h"
#include "server/txn_access.h"

namespace odradek::server {

namespace {

using wire::ErrorCode;

constexpr int8_t kGroup = 0;
constexpr int8_t kTransaction = 1;
constexpr int8_t kShare = 2;

struct Place {
  ErrorCode error = ErrorCode::kCoordinatorNotAvailable;
  int32_t node = -1;
  std::string_view host{};
  int32_t port = -1;
};

/// group:topic id:partition, none of them empty.
bool is_share_partition(std::string_view key) {
  const size_t last = key.rfind(':');
  if (last == std::string_view::npos || last == 0) return false;
  const std::string_view index = key.substr(last + 1);
  const size_t middle = key.rfind(':', last - 1);
  if (middle == std::string_view::npos || middle == 0 || index.empty()) return false;
  const std::string_view group = key.substr(0, middle);
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  return group.find(':') == std::string_view::npos && std::ranges::all_of(index, digit) &&
         Uuid::parse(key.substr(middle + 1, last - middle - 1)).has_value();
}

/// Who leads a coordinator's partition, by the listener that the client came through.
Place leader_of(Request& request, const metadata::Image& image, std::string_view topic,
                int32_t index) {
  const metadata::Partition* partition = image.partition(topic, index);
  if (partition == nullptr) return {};
  const metadata::Broker* broker = image.broker(partition->leader);
  if (broker == nullptr || broker->fenced) return {};
  const metadata::Endpoint* at = broker->endpoint(request.listener().name);
  if (at == nullptr) return {};
  return {ErrorCode::kNone, broker->id.value, request.arena().copy(at->host), at->port};
}

Place place(Request& request, const metadata::Image& image, int8_t type, std::string_view key) {
  const int8_t most = request.version() >= 6 ? kShare : kTransaction;
  if (type < 0 || type > most || (type == kShare && !is_share_partition(key)))
    return {ErrorCode::kInvalidRequest};
  if (type == kGroup) return leader_of(request, image, kOffsetsTopic, group_partition(image, key));
  if (type == kTransaction)
    return leader_of(request, image, kTransactionTopic, txn_partition(image, key));
  return {};
}

}  // namespace

io::Task<void> handle_find_coordinator(Request& request) {
  wire::FindCoordinatorRequest body;
  if (!request.decode(body)) co_return;
  Services& services = request.services();
  const bool asks = request.version() < 4 || !body.coordinator_keys.empty();
  const bool known = body.key_type == kGroup || body.key_type == kTransaction;
  const std::string_view topic = body.key_type == kGroup ? kOffsetsTopic : kTransactionTopic;
  if (known && asks && services.image->topic(topic) == nullptr) {
    const std::string_view names[] = {topic};
    co_await auto_create_topics(request, names);
  }
  const metadata::ImagePtr image = services.image;
  wire::FindCoordinatorResponse response;
  if (request.version() < 4) {
    const Place at = place(request, *image, body.key_type, body.key);
    response.error_code = wire::wire_value(at.error);
    response.error_message = wire::message(at.error);
    response.node_id = at.node;
    response.host = at.host;
    response.port = at.port;
  } else {
    for (std::string_view key : body.coordinator_keys) {
      const Place at = place(request, *image, body.key_type, key);
      auto& c = response.coordinators.add(request.arena());
      c.key = key;
      c.error_code = wire::wire_value(at.error);
      c.node_id = at.node;
      c.host = at.host;
      c.port = at.port;
    }
  }
  request.respond(response);
}

}  // namespace odradek::server
