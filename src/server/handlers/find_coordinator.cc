// FindCoordinator (10), versions 0-6: which broker coordinates a group, a transactional id or a
// share partition.
//
// 1: transactions. 4: several keys. 5: TRANSACTION_ABORTABLE may be answered. 6: share partitions.
// - No coordinator runs here yet: every well-formed key is answered COORDINATOR_NOT_AVAILABLE,
// which
//   clients repeat until it succeeds, as at a broker whose coordinator is loading.
// - A key type that does not exist, or share partitions before version 6, is INVALID_REQUEST.
#include "wire/gen/find_coordinator.h"
#include "server/handlers/handlers.h"
#include "wire/errors.h"

namespace odradek::server {

namespace {

constexpr int8_t kTransaction = 1;
constexpr int8_t kShare = 2;

wire::ErrorCode check_key(int8_t key_type, int16_t version) {
  const int8_t most = version >= 6 ? kShare : kTransaction;
  return key_type < 0 || key_type > most ? wire::ErrorCode::kInvalidRequest
                                         : wire::ErrorCode::kCoordinatorNotAvailable;
}

}  // namespace

io::Task<void> handle_find_coordinator(Request& request) {
  wire::FindCoordinatorRequest body;
  if (!request.decode(body)) co_return;
  const wire::ErrorCode error = check_key(body.key_type, request.version());
  wire::FindCoordinatorResponse response;
  if (request.version() < 4) {
    response.error_code = wire::wire_value(error);
    response.error_message = wire::message(error);
    response.node_id = -1;
    response.port = -1;
  } else {
    for (std::string_view key : body.coordinator_keys) {
      auto& c = response.coordinators.add(request.arena());
      c.key = key;
      c.error_code = wire::wire_value(error);
      c.error_message = wire::message(error);
      c.node_id = -1;
      c.port = -1;
    }
  }
  request.respond(response);
}

}  // namespace odradek::server
