// EndTxn (26), versions 0-5: commits or aborts a transaction; answered when that is decided. The
// markers follow, and until they are written the next transaction is told CONCURRENT_TRANSACTIONS.
//
// 2: PRODUCER_FENCED, before INVALID_PRODUCER_EPOCH. 3: flexible. 4: TRANSACTION_ABORTABLE. 5:
// transaction.version 2 (KIP-890): the answer has the producer id and epoch of the next
// transaction.
#include "wire/gen/end_txn.h"

#include "server/handlers/handlers.h"
#include "server/producer_ids.h"
#include "server/txn_access.h"

namespace odradek::server {

namespace {

using machines::txn::End;
using machines::txn::EndAnswer;
using wire::ErrorCode;

io::Task<EndAnswer> end(Request& request, End command) {
  const std::string id = command.who.id;
  for (int attempt = 0; attempt < 2; attempt++) {
    auto answer = co_await ask_txn<EndAnswer>(request, id, command);
    if (!answer) co_return EndAnswer{.error = answer.error()};
    if (!answer->needs_id) co_return *answer;
    const std::optional<int64_t> fresh = co_await next_producer_id(request.services());
    if (!fresh) co_return EndAnswer{.error = ErrorCode::kCoordinatorLoadInProgress};
    command.fresh = ProducerId(*fresh);
  }
  co_return EndAnswer{.error = ErrorCode::kCoordinatorNotAvailable};
}

}  // namespace

io::Task<void> handle_end_txn(Request& request) {
  wire::EndTxnRequest body;
  if (!request.decode(body)) co_return;
  EndAnswer answer;
  if (body.transactional_id.empty()) {
    answer.error = ErrorCode::kInvalidRequest;
  } else {
    answer = co_await end(
        request, {.who = {std::string(body.transactional_id), ProducerId(body.producer_id),
                          ProducerEpoch(body.producer_epoch)},
                  .commit = body.committed,
                  .version = request.version() > 4 ? machines::txn::kEpochBumps : int16_t{0}});
  }
  wire::EndTxnResponse response;
  response.error_code = wire::wire_value(known_fence(answer.error, request.version(), 2));
  response.producer_id = answer.producer.value;
  response.producer_epoch = answer.epoch.value;
  request.respond(response);
}

}  // namespace odradek::server
