#include "server/txn_access.h"

#include <vector>

#include "server/coordinator_access.h"
#include "wire/java_hash.h"

namespace odradek::server {

using machines::txn::Add;
using machines::txn::AddAnswer;
using machines::txn::Verify;
using machines::txn::VerifyAnswer;
using wire::ErrorCode;

int32_t txn_partition(const metadata::Image& image, std::string_view id) {
  const metadata::Topic* topic = image.topic(kTransactionTopic);
  if (topic == nullptr || topic->partitions.empty()) return -1;
  return wire::java_partition(id, static_cast<int32_t>(topic->partitions.size()));
}

io::Task<TxnResult> ask_txn_partition(Request& request, int32_t partition,
                                      machines::txn::Command command) {
  Services& services = request.services();
  return ask_owner<TxnResult>(services, &request, kTransactionTopic, partition,
                              services.transactions, std::move(command));
}

namespace {
ErrorCode handed_on(ErrorCode error, TxnSupport support) {
  if (error == ErrorCode::kProducerFenced) return ErrorCode::kInvalidProducerEpoch;
  if (error == ErrorCode::kTransactionAbortable && support == TxnSupport::kOld)
    return ErrorCode::kInvalidTxnState;
  return error;
}
}  // namespace

io::Task<std::vector<ErrorCode>> verify_transaction(
    Request& request, machines::txn::Producer who, TxnSupport support,
    std::vector<machines::txn::TopicPartition> partitions) {
  const size_t count = partitions.size();
  std::vector<ErrorCode> errors(count, ErrorCode::kCoordinatorNotAvailable);
  const int32_t partition = txn_partition(*request.services().image, who.id);
  if (partition < 0) co_return errors;
  const bool adds = support == TxnSupport::kAdds;
  machines::txn::Command command;
  if (adds) {
    command = Add{std::move(who), machines::txn::kEpochBumps, std::move(partitions)};
  } else {
    command = Verify{std::move(who), std::move(partitions)};
  }
  const TxnResult result = co_await ask_txn_partition(request, partition, std::move(command));
  for (size_t i = 0; i < count; i++) {
    if (!result) {
      errors[i] = result.error();
    } else if (adds) {
      errors[i] = std::get<AddAnswer>(*result).error;
    } else {
      errors[i] = std::get<VerifyAnswer>(*result).results[i];
    }
    errors[i] = handed_on(errors[i], support);
  }
  co_return errors;
}

}  // namespace odradek::server
