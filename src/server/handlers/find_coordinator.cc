// FindCoordinator (10), versions 0-6: which broker coordinates a group, a transactional id or a
// share partition.
//
// 1: transactions. 4: several keys. 5: TRANSACTION_ABORTABLE may be answered. 6: share partitions.
// - No coordinator runs here yet: every well-formed key is answered COORDINATOR_NOT_AVAILABLE,
// which
//   clients repeat until it succeeds, as at a broker whose coordinator is loading.
// - A key type that does not exist, share partitions before version 6, or a key of a share
// partition
//   that is not group:topic id:partition, is INVALID_REQUEST.
// - From version 4 on the message of these errors is empty, as Apache writes it.
#include "wire/gen/find_coordinator.h"
#include <algorithm>

#include "server/handlers/handlers.h"
#include "wire/errors.h"

namespace odradek::server {

namespace {

constexpr int8_t kTransaction = 1;
constexpr int8_t kShare = 2;

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

wire::ErrorCode check_key(int8_t key_type, std::string_view key, int16_t version) {
  const int8_t most = version >= 6 ? kShare : kTransaction;
  if (key_type < 0 || key_type > most || (key_type == kShare && !is_share_partition(key)))
    return wire::ErrorCode::kInvalidRequest;
  return wire::ErrorCode::kCoordinatorNotAvailable;
}

}  // namespace

io::Task<void> handle_find_coordinator(Request& request) {
  wire::FindCoordinatorRequest body;
  if (!request.decode(body)) co_return;
  wire::FindCoordinatorResponse response;
  if (request.version() < 4) {
    const wire::ErrorCode error = check_key(body.key_type, body.key, request.version());
    response.error_code = wire::wire_value(error);
    response.error_message = wire::message(error);
    response.node_id = -1;
    response.port = -1;
  } else {
    for (std::string_view key : body.coordinator_keys) {
      auto& c = response.coordinators.add(request.arena());
      c.key = key;
      c.error_code = wire::wire_value(check_key(body.key_type, key, request.version()));
      c.node_id = -1;
      c.port = -1;
    }
  }
  request.respond(response);
}

}  // namespace odradek::server
