// TxnOffsetCommit (28), versions 0-5: a group's positions, as a part of a transaction: they count
// once that is committed.
//
// 2: leader epochs; before it COORDINATOR_LOAD_IN_PROGRESS is not known. 3: flexible; member,
// generation and instance. 4: TRANSACTION_ABORTABLE. 5: transaction.version 2: the group's
// partition is added to the transaction by us.
// - Before the first offsets of a transaction its coordinator is asked whether it is open.
// - Partitions that do not exist are UNKNOWN_TOPIC_OR_PARTITION, and the others are committed.
#include "wire/gen/txn_offset_commit.h"

#include "metadata/broker_config.h"
#include "server/group_access.h"
#include "server/handlers/handlers.h"
#include "server/partition_access.h"
#include "server/txn_access.h"

namespace odradek::server {

namespace {

using machines::group::CommitOffsets;
using machines::group::CommitOffsetsAnswer;
using wire::ErrorCode;

CommitOffsets command_of(const metadata::Image& image, const wire::TxnOffsetCommitRequest& body) {
  CommitOffsets c{.group = std::string(body.group_id),
                  .generation = body.generation_id,
                  .member = std::string(body.member_id),
                  .instance = owned(body.group_instance_id)};
  for (const auto& t : body.topics) {
    const metadata::Topic* topic = image.topic(t.name);
    if (topic == nullptr) continue;
    CommitOffsets::Topic out{topic->name, topic->id};
    for (const auto& p : t.partitions) {
      if (image.partition(t.name, p.partition_index) == nullptr) continue;
      out.partitions.push_back({.index = p.partition_index,
                                .offset = p.committed_offset,
                                .leader_epoch = p.committed_leader_epoch,
                                .metadata = std::string(p.committed_metadata.value_or(""))});
    }
    if (!out.partitions.empty()) c.topics.push_back(std::move(out));
  }
  return c;
}

/// The group's partition, where its transaction may have to be verified.
struct Item : PartitionItem {
  log::Verification verification;
};

/// What the group coordinator's log has to know of the transaction.
io::Task<ErrorCode> verify(Request& request, const wire::TxnOffsetCommitRequest& body,
                           CommitOffsets::Transaction& transaction) {
  Services& services = request.services();
  const auto support = offset_commit_support(request.version());
  const bool adds = support == TxnSupport::kAdds;
  transaction.verified_only =
      services.config->boolean(metadata::BrokerKey::kTransactionPartitionVerificationEnable);
  if (!adds && !transaction.verified_only) co_return ErrorCode::kNone;
  const metadata::ImagePtr image = services.image;
  const int32_t index = group_partition(*image, body.group_id);
  if (index < 0) co_return ErrorCode::kNotCoordinator;
  std::array<Item, 1> items;
  items[0].place(services, image->topic(kOffsetsTopic), index);
  const WallMs now = services.loop.clock().wall();
  const auto visit = [&](replica::Shard& shard, Item& item) {
    replica::Partition* partition = item.find(shard);
    if (partition == nullptr) return;
    item.verification =
        partition->begin_verification(transaction.producer, transaction.epoch, -1, adds, now);
    item.error = item.verification.error;
  };
  co_await visit_owners(services, items, visit);
  if (items[0].error == ErrorCode::kNotLeaderOrFollower) co_return ErrorCode::kNotCoordinator;
  if (items[0].error == ErrorCode::kKafkaStorageError) co_return ErrorCode::kNotCoordinator;
  if (items[0].error != ErrorCode::kNone || items[0].verification.guard == 0)
    co_return items[0].error;
  transaction.guard = items[0].verification.guard;
  const auto errors = co_await verify_transaction(
      request, {std::string(body.transactional_id), transaction.producer, transaction.epoch},
      support, {{std::string(kOffsetsTopic), index}});
  co_return errors[0];
}

io::Task<CommitOffsetsAnswer> commit(Request& request, const wire::TxnOffsetCommitRequest& body,
                                     CommitOffsets command) {
  if (body.group_id.empty()) co_return CommitOffsetsAnswer{ErrorCode::kInvalidGroupId};
  command.transaction = {ProducerId(body.producer_id), ProducerEpoch(body.producer_epoch)};
  const ErrorCode error = co_await verify(request, body, *command.transaction);
  if (error != ErrorCode::kNone) co_return CommitOffsetsAnswer{error};
  auto result = co_await ask_group<CommitOffsetsAnswer>(request, body.group_id, std::move(command));
  co_return result ? std::move(*result) : CommitOffsetsAnswer{result.error()};
}

}  // namespace

io::Task<void> handle_txn_offset_commit(Request& request) {
  wire::TxnOffsetCommitRequest body;
  if (!request.decode(body)) co_return;
  const metadata::ImagePtr image = request.services().image;
  CommitOffsets command = command_of(*image, body);
  CommitOffsetsAnswer answer;
  if (!command.topics.empty()) answer = co_await commit(request, body, std::move(command));
  if (answer.error == ErrorCode::kCoordinatorLoadInProgress && request.version() < 2)
    answer.error = ErrorCode::kCoordinatorNotAvailable;

  wire::TxnOffsetCommitResponse response;
  size_t next = 0;
  for (const auto& t : body.topics) {
    auto& out = response.topics.add(request.arena());
    out.name = t.name;
    for (const auto& p : t.partitions) {
      ErrorCode error = answer.error;
      if (image->partition(t.name, p.partition_index) == nullptr) {
        error = ErrorCode::kUnknownTopicOrPartition;
      } else if (error == ErrorCode::kNone) {
        error = answer.results[next++];
      }
      auto& partition = out.partitions.add(request.arena());
      partition.partition_index = p.partition_index;
      partition.error_code = wire::wire_value(error);
    }
  }
  request.respond(response);
}

}  // namespace odradek::server
