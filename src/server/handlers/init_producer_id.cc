// InitProducerId (22), versions 0-5: who a producer is.
//
// 2: flexible. 3: producer id and epoch (KIP-360). 4: PRODUCER_FENCED, before
// INVALID_PRODUCER_EPOCH. 5: TRANSACTION_ABORTABLE.
// - Without a transactional id the answer is always a new producer id with epoch 0: an idempotent
//   producer bumps its epoch by itself.
// - With one, the transaction coordinator decides. A new producer id comes from this node's blocks:
//   the coordinator says when it needs one, and is asked again with it.
#include "wire/gen/init_producer_id.h"

#include "metadata/broker_config.h"
#include "server/handlers/handlers.h"
#include "server/producer_ids.h"
#include "server/txn_access.h"

namespace odradek::server {

namespace {

using machines::txn::Init;
using machines::txn::InitAnswer;
using wire::ErrorCode;

io::Task<InitAnswer> new_producer(Request& request) {
  const std::optional<int64_t> id = co_await next_producer_id(request.services());
  // As Apache; clients retry.
  if (!id) co_return InitAnswer{.error = ErrorCode::kCoordinatorLoadInProgress};
  co_return InitAnswer{.producer = ProducerId(*id), .epoch = ProducerEpoch(0)};
}

io::Task<InitAnswer> with_transactions(Request& request, Init command) {
  const std::string id = command.who.id;
  for (int attempt = 0; attempt < 2; attempt++) {
    auto answer = co_await ask_txn<InitAnswer>(request, id, command);
    if (!answer) co_return InitAnswer{.error = answer.error()};
    if (!answer->needs_id) co_return *answer;
    const InitAnswer fresh = co_await new_producer(request);
    if (fresh.error != ErrorCode::kNone) co_return fresh;
    command.fresh = fresh.producer;
  }
  co_return InitAnswer{.error = ErrorCode::kCoordinatorNotAvailable};
}

}  // namespace

io::Task<void> handle_init_producer_id(Request& request) {
  wire::InitProducerIdRequest body;
  if (!request.decode(body)) co_return;
  const int32_t timeout_max =
      request.services().config->int32(metadata::BrokerKey::kTransactionMaxTimeoutMs);
  InitAnswer answer;
  if ((body.producer_id == -1) != (body.producer_epoch == -1)) {
    answer.error = ErrorCode::kInvalidRequest;  // both or none
  } else if (!body.transactional_id) {
    answer = co_await new_producer(request);
  } else if (body.transactional_id->empty()) {
    answer.error = ErrorCode::kInvalidRequest;
  } else if (body.transaction_timeout_ms <= 0 || body.transaction_timeout_ms > timeout_max) {
    answer.error = ErrorCode::kInvalidTransactionTimeout;
  } else {
    answer = co_await with_transactions(
        request, {.who = {std::string(*body.transactional_id), ProducerId(body.producer_id),
                          ProducerEpoch(body.producer_epoch)},
                  .timeout_ms = body.transaction_timeout_ms});
  }
  wire::InitProducerIdResponse response;
  response.error_code = wire::wire_value(known_fence(answer.error, request.version(), 4));
  response.producer_id = answer.producer.value;
  response.producer_epoch = answer.epoch.value;
  request.respond(response);
}

}  // namespace odradek::server
