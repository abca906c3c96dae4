// How handlers reach the transaction coordinators: which partition of `__transaction_state` a
// transactional id belongs to, and the machine of it, on whatever loop it lives.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <string_view>
#include <utility>

#include "io/task.h"
#include "machines/txn/api.h"
#include "metadata/image.h"
#include "server/request.h"
#include "server/services.h"
#include "wire/errors.h"

namespace odradek::server {

inline constexpr std::string_view kTransactionTopic = "__transaction_state";

using TxnResult = std::expected<machines::txn::Response, wire::ErrorCode>;

/// The transaction coordinators of one loop; `node` implements it.
class TxnCoordinators {
 public:
  using Done = std::move_only_function<void(TxnResult)>;
  virtual ~TxnCoordinators() = default;
  /// Asks the coordinator of a partition that this loop owns; NOT_COORDINATOR if it is not led
  /// here. `done` is called on this loop, maybe at once.
  virtual void submit(int32_t partition, machines::txn::Command command, Done done) = 0;
};

/// Partition of a transactional id; −1 while there is no such topic.
int32_t txn_partition(const metadata::Image& image, std::string_view id);

/// Asks the coordinator of a partition and waits for the answer. NETWORK_EXCEPTION if the client
/// has gone meanwhile.
io::Task<TxnResult> ask_txn_partition(Request& request, int32_t partition,
                                      machines::txn::Command command);

/// Asks the coordinator of a transactional id. `Answer` is that of the command.
template <class Answer>
io::Task<std::expected<Answer, wire::ErrorCode>> ask_txn(Request& request, std::string_view id,
                                                         machines::txn::Command command) {
  const int32_t partition = txn_partition(*request.services().image, id);
  TxnResult result = co_await ask_txn_partition(request, partition, std::move(command));
  if (!result) co_return std::unexpected(result.error());
  co_return std::move(std::get<Answer>(*result));
}

/// How the data of a transaction may come to a partition, by the version of the request: which
/// errors the client knows, and whether it has the partition added by us.
enum class TxnSupport {
  kOld,        // has added it
  kAbortable,  // the same, and knows TRANSACTION_ABORTABLE
  kAdds,       // transaction.version 2: we add it
};
constexpr TxnSupport produce_support(int16_t version) {
  return version > 11   ? TxnSupport::kAdds
         : version > 10 ? TxnSupport::kAbortable
                        : TxnSupport::kOld;
}
constexpr TxnSupport offset_commit_support(int16_t version) {
  return version > 4 ? TxnSupport::kAdds : version > 3 ? TxnSupport::kAbortable : TxnSupport::kOld;
}

/// Adds partitions to a transaction, or asks whether they were added; the errors by partition, as
/// Apache's broker hands its coordinator's answers on to the client of a Produce.
io::Task<std::vector<wire::ErrorCode>> verify_transaction(
    Request& request, machines::txn::Producer who, TxnSupport support,
    std::vector<machines::txn::TopicPartition> partitions);

/// PRODUCER_FENCED, before the version of an API in which clients came to know it.
constexpr wire::ErrorCode known_fence(wire::ErrorCode error, int16_t version, int16_t since) {
  return error == wire::ErrorCode::kProducerFenced && version < since
             ? wire::ErrorCode::kInvalidProducerEpoch
             : error;
}

}  // namespace odradek::server
