// AddOffsetsToTxn (25), versions 0-4: a transaction is going to commit offsets of a group: the
// group's partition of `__consumer_offsets` is added to it.
//
// 2: PRODUCER_FENCED, before INVALID_PRODUCER_EPOCH. 3: flexible. 4: TRANSACTION_ABORTABLE. Clients
// of transaction.version 2 do not send it.
#include "wire/gen/add_offsets_to_txn.h"

#include "server/group_access.h"
#include "server/handlers/handlers.h"
#include "server/txn_access.h"

namespace odradek::server {

io::Task<void> handle_add_offsets_to_txn(Request& request) {
  using machines::txn::Add;
  using machines::txn::AddAnswer;
  using wire::ErrorCode;
  wire::AddOffsetsToTxnRequest body;
  if (!request.decode(body)) co_return;
  const int32_t partition = group_partition(*request.services().image, body.group_id);
  ErrorCode error = ErrorCode::kNone;
  if (body.transactional_id.empty()) {
    error = ErrorCode::kInvalidRequest;
  } else if (partition < 0) {
    error = ErrorCode::kCoordinatorNotAvailable;  // no group has ever asked for its coordinator
  } else {
    const auto answer = co_await ask_txn<AddAnswer>(
        request, body.transactional_id,
        Add{.who = {std::string(body.transactional_id), ProducerId(body.producer_id),
                    ProducerEpoch(body.producer_epoch)},
            .partitions = {{std::string(kOffsetsTopic), partition}}});
    error = answer ? answer->error : answer.error();
  }
  wire::AddOffsetsToTxnResponse response;
  response.error_code = wire::wire_value(known_fence(error, request.version(), 2));
  request.respond(response);
}

}  // namespace odradek::server
