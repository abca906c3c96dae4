// DescribeTransactions (65), version 0: transactional ids and their transactions.
//
// An id of which nothing is known is TRANSACTIONAL_ID_NOT_FOUND, one of another coordinator
// NOT_COORDINATOR, an empty one INVALID_REQUEST.
#include "wire/gen/describe_transactions.h"

#include "server/handlers/handlers.h"
#include "server/txn_access.h"

namespace odradek::server {

namespace {

using machines::txn::Describe;
using machines::txn::DescribeAnswer;
using wire::ErrorCode;

io::Task<DescribeAnswer::Transaction> ask(Request& request, std::string_view id) {
  if (id.empty()) co_return DescribeAnswer::Transaction{.error = ErrorCode::kInvalidRequest};
  auto answer = co_await ask_txn<DescribeAnswer>(request, id, Describe{{std::string(id)}});
  if (!answer) co_return DescribeAnswer::Transaction{.error = answer.error()};
  co_return std::move(answer->transactions.front());
}

}  // namespace

io::Task<void> handle_describe_transactions(Request& request) {
  wire::DescribeTransactionsRequest body;
  if (!request.decode(body)) co_return;
  Arena& arena = request.arena();
  wire::DescribeTransactionsResponse response;
  for (std::string_view id : body.transactional_ids) {
    const DescribeAnswer::Transaction t = co_await ask(request, id);
    auto& out = response.transaction_states.add(arena);
    out.error_code = wire::wire_value(t.error);
    out.transactional_id = id;
    out.transaction_state = arena.copy(t.state);
    out.transaction_timeout_ms = t.timeout_ms;
    out.transaction_start_time_ms = t.started_ms;
    out.producer_id = t.producer.value;
    out.producer_epoch = t.epoch.value;
    for (const auto& p : t.partitions) {
      if (out.topics.empty() || out.topics.back().topic != p.topic)
        out.topics.add(arena).topic = arena.copy(p.topic);
      out.topics.back().partitions.add(arena) = p.index;
    }
  }
  request.respond(response);
}

}  // namespace odradek::server
