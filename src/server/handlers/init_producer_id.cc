// InitProducerId (key 22), versions 0 to 5.
//
// 2 flexible; 3 producer id and epoch (KIP-360); 4 PRODUCER_FENCED; 5 TRANSACTION_ABORTABLE.
//
// Without a transactional id the answer is always a new producer id with epoch 0: an idempotent
// producer bumps its epoch by itself. With one, the transaction coordinator decides; until there is
// one the answer is COORDINATOR_NOT_AVAILABLE, which clients retry.
#include "wire/gen/init_producer_id.h"
#include "server/producer_ids.h"
#include "server/request.h"
#include "wire/errors.h"

namespace odradek::server {

using wire::ErrorCode;

io::Task<void> handle_init_producer_id(Request& request) {
  wire::InitProducerIdRequest message;
  if (!request.decode(message)) co_return;
  wire::InitProducerIdResponse answer;
  answer.producer_epoch = -1;
  ErrorCode error = ErrorCode::kNone;
  if ((message.producer_id == -1) != (message.producer_epoch == -1)) {
    error = ErrorCode::kInvalidRequest;  // both or none
  } else if (message.transactional_id) {
    error = message.transactional_id->empty() ? ErrorCode::kInvalidRequest
                                              : ErrorCode::kCoordinatorNotAvailable;
  } else {
    Services& services = request.services();
    if (!services.producer_ids) services.producer_ids = std::make_shared<ProducerIds>();
    const std::optional<int64_t> id = co_await services.producer_ids->next(services);
    if (id) {
      answer.producer_id = *id;
      answer.producer_epoch = 0;
    } else {
      error = ErrorCode::kCoordinatorLoadInProgress;  // as Apache; clients retry
    }
  }
  answer.error_code = wire::wire_value(error);
  request.respond(answer);
}

}  // namespace odradek::server
