// ListTransactions (66), versions 0-2: the transactional ids that this broker coordinates.
//
// 1: a filter by how long the transaction has been open. 2: a filter by a pattern of the id
// (RE2/J's language, the whole of the id); INVALID_REGULAR_EXPRESSION.
// - Names of states that do not exist are told as such and match nothing.
// - While one of the partitions is loading: COORDINATOR_LOAD_IN_PROGRESS.
#include "wire/gen/list_transactions.h"

#include <re2/re2.h>

#include <memory>

#include "machines/txn/state.h"
#include "server/handlers/handlers.h"
#include "server/txn_access.h"

namespace odradek::server {

namespace {

using machines::txn::List;
using machines::txn::ListAnswer;
using wire::ErrorCode;

List command_of(const wire::ListTransactionsRequest& body) {
  List command{.duration = Millis(body.duration_filter)};
  for (std::string_view s : body.state_filters) command.states.emplace_back(s);
  for (const int64_t p : body.producer_id_filters) command.producers.emplace_back(p);
  return command;
}

/// Null without a pattern, which an empty one is too.
std::unique_ptr<re2::RE2> pattern_of(const wire::ListTransactionsRequest& body) {
  if (!body.transactional_id_pattern || body.transactional_id_pattern->empty()) return nullptr;
  re2::RE2::Options options;
  options.set_log_errors(false);
  const std::string_view text = *body.transactional_id_pattern;
  return std::make_unique<re2::RE2>(re2::StringPiece(text.data(), text.size()), options);
}

}  // namespace

io::Task<void> handle_list_transactions(Request& request) {
  wire::ListTransactionsRequest body;
  if (!request.decode(body)) co_return;
  Arena& arena = request.arena();
  wire::ListTransactionsResponse response;
  const metadata::ImagePtr image = request.services().image;
  const metadata::Topic* topic = image->topic(kTransactionTopic);
  const auto partitions = topic != nullptr ? static_cast<int32_t>(topic->partitions.size()) : 0;
  const List command = command_of(body);
  const auto pattern = pattern_of(body);
  std::vector<ListAnswer> kept;
  ErrorCode error = ErrorCode::kNone;
  if (pattern && !pattern->ok()) error = ErrorCode::kInvalidRegularExpression;
  for (int32_t i = 0; i < partitions && error == ErrorCode::kNone; i++) {
    TxnResult result = co_await ask_txn_partition(request, i, command);
    if (result) {
      kept.push_back(std::move(std::get<ListAnswer>(*result)));
    } else if (result.error() != ErrorCode::kNotCoordinator) {
      error = result.error();
    }
  }
  response.error_code = wire::wire_value(error);
  if (error == ErrorCode::kNone) {
    for (std::string_view s : body.state_filters) {
      if (!machines::txn::is_status_name(s)) response.unknown_state_filters.add(arena) = s;
    }
    for (const ListAnswer& answer : kept) {
      for (const auto& t : answer.transactions) {
        if (pattern && !re2::RE2::FullMatch(t.id, *pattern)) continue;
        auto& out = response.transaction_states.add(arena);
        out.transactional_id = arena.copy(t.id);
        out.producer_id = t.producer.value;
        out.transaction_state = arena.copy(t.state);
      }
    }
  }
  request.respond(response);
}

}  // namespace odradek::server
