// Produce (key 0), versions 3 to 13.
//
// 5 LogStartOffset; 7 zstd; 8 record errors and error message; 9 flexible; 10 current leader on
// NOT_LEADER_OR_FOLLOWER; 11 TRANSACTION_ABORTABLE; 12 transaction.version 2: we add partitions to
// the transaction; 13 topic ids.
//
// Every partition's records go to its own loop at once: posts keep their order, so that batches of
// one connection enter a partition in the order of its requests although this one may overlap with
// the next. acks=all waits on each loop for the high watermark. acks=0 has no answer; after an
// error the connection is closed, which is how such a client finds out (as at Apache).
//
// A batch that begins a transaction on its partition is appended after the transaction's
// coordinator was asked: it adds the partition, or knows that the client has. Such a request keeps
// its place in the order until then.
#include <fmt/format.h>

#include <algorithm>

#include "metadata/broker_config.h"
#include "server/handlers/topic_view.h"
#include "server/partition_access.h"
#include "server/txn_access.h"
#include "wire/batch_validator.h"
#include "wire/gen/produce.h"

namespace odradek::server {
namespace {

using wire::ErrorCode;

/// One partition of the request, on its way.
struct Slot {
  const metadata::Topic* topic = nullptr;
  int32_t index = 0;
  int loop = -1;  // owner; −1: refused already
  MutableBytes records;
  bool transactional = false;
  uint64_t guard = 0;  // of the verification of its transaction
  replica::ProduceOutcome outcome;
  replica::Partition* partition = nullptr;  // between append and wait, on its loop
  replica::CommitTicket ticket;
};
using Slots = Scoped<Slot>;

/// What the loops report to the one that answers.
struct Join {
  int left = 0;
  io::Completion<bool> done;
};

struct Call {
  Request& request;
  Slots& slots;
  int16_t acks;
  Millis timeout;
  replica::ProduceOptions options;
};

void refuse_pending(Slots& slots, ErrorCode error) {
  for (Slot& slot : slots) {
    if (slot.loop < 0) continue;
    slot.loop = -1;
    slot.outcome = {.error = error};
  }
}

/// Finds the partition's topic and owner; an error stays in the outcome.
void prepare(Request& request, Slot& slot, const wire::ProduceRequest::TopicProduceData& topic,
             const wire::ProduceRequest::PartitionProduceData& partition) {
  slot.index = partition.index;
  const std::string_view name = slot.topic != nullptr ? slot.topic->name : topic.name;
  if (slot.topic == nullptr || slot.topic->partition(slot.index) == nullptr) {
    slot.outcome.error = slot.topic == nullptr && request.version() >= 13
                             ? ErrorCode::kUnknownTopicId
                             : ErrorCode::kUnknownTopicOrPartition;
  } else if (!partition.records || partition.records->empty()) {
    slot.outcome.error = ErrorCode::kInvalidRecord;
  } else if (is_internal_topic(name) && request.client_id() != "__admin_client") {
    slot.outcome.error = ErrorCode::kInvalidTopicException;
  } else {
    const auto found = wire::find_produced_batch(*partition.records, request.version());
    slot.outcome.error = found.error;
    if (found.error != ErrorCode::kNone) return;
    // The frame is ours: base offset and leader epoch are written where the batch lies.
    slot.records = {const_cast<uint8_t*>(partition.records->data()), found.size};
    slot.transactional = found.transactional;
    slot.loop = owner_of(request.services(), slot.topic->id, slot.index);
  }
}

/// Apache looks at the first bytes of everything before anything else: what it cannot make sense of
/// refuses the whole request. True if so; every outcome then says it.
bool refuse_wholly(Request& request, const wire::ProduceRequest& message, Slots& slots) {
  for (const auto& topic : message.topic_data) {
    for (const auto& partition : topic.partition_data) {
      if (!partition.records) continue;
      const auto found = wire::find_produced_batch(*partition.records, request.version());
      if (found.message.empty()) continue;
      for (Slot& slot : slots) {
        slot.loop = -1;
        slot.outcome = {.error = found.error, .message = found.message};
      }
      return true;
    }
  }
  return false;
}

/// On the loop of `shard`: appends all of its slots.
void append_here(const Call& call, replica::Shard& shard, int loop) {
  replica::ProduceOptions options = call.options;
  options.now = shard.loop().clock().wall();
  for (Slot& slot : call.slots) {
    if (slot.loop != loop) continue;
    slot.partition = shard.find(slot.topic->id, PartitionIndex(slot.index));
    if (slot.partition == nullptr) {
      slot.outcome.error = ErrorCode::kNotLeaderOrFollower;
    } else {
      options.rules.guard = slot.guard;
      slot.outcome = slot.partition->produce(slot.records, options);
    }
  }
}

/// Adds what acks=all waits for on this loop.
void add_tickets(const Call& call, replica::CommitWait& wait, int loop) {
  for (Slot& slot : call.slots) {
    if (slot.loop != loop || slot.outcome.error != ErrorCode::kNone) continue;
    wait.add(*slot.partition, slot.ticket, slot.outcome.end);
  }
}

void take_results(const Call& call, int loop) {
  for (Slot& slot : call.slots) {
    if (slot.loop != loop || slot.ticket.error == ErrorCode::kNone) continue;
    slot.outcome = {.error = slot.ticket.error};
  }
}

/// Everything of one other loop.
io::Task<void> produce_elsewhere(const Call& call, int loop, Join& join) {
  replica::Shard& shard = *call.request.services().shards[static_cast<size_t>(loop)];
  io::Loop& home = call.request.services().loop;
  co_await shard.loop().hop();
  append_here(call, shard, loop);
  if (call.acks == -1) {
    replica::CommitWait wait(shard);
    add_tickets(call, wait, loop);
    if (wait.pending()) co_await wait.until(call.timeout);
    take_results(call, loop);
  }
  co_await home.hop();
  if (--join.left == 0) join.done.complete(true);
}

/// Appends here and elsewhere and waits as acks demands. The order is released as soon as
/// everything is on its way.
io::Task<void> run(const Call& call) {
  Services& services = call.request.services();
  const int home = services.loop.index();
  Join join;
  bool here = false;
  for (size_t i = 0; i < call.slots.size(); i++) {
    const int loop = call.slots[i].loop;
    if (loop < 0) continue;
    here |= loop == home;
    bool first = loop != home;
    for (size_t k = 0; k < i && first; k++) first = call.slots[k].loop != loop;
    if (!first) continue;
    join.left++;
    io::spawn(produce_elsewhere(call, loop, join));
  }
  replica::Shard& shard = *services.shards[static_cast<size_t>(home)];
  if (here) append_here(call, shard, home);
  call.request.release_order();
  if (here && call.acks == -1) {
    replica::CommitWait wait(shard);
    add_tickets(call, wait, home);
    if (wait.pending()) {
      if (join.left == 0) call.request.release_frame();
      co_await wait.until(call.timeout);
    }
    take_results(call, home);
  }
  if (join.left > 0) co_await join.done;
}

// ---- transactions

/// A transactional slot, on its way to its partition.
struct VerifiedSlot : PartitionItem {
  Slot* slot = nullptr;
  log::Verification verification;
};
using VerifiedSlots = Scoped<VerifiedSlot>;

/// It goes to a partition and has a producer to be read; what is shorter than a header is refused
/// there.
bool is_of_transaction(const Slot& slot) {
  return slot.transactional && slot.loop >= 0 && slot.records.size() >= wire::kBatchHeaderSize;
}

void refuse(Slot& slot, ErrorCode error, TxnSupport support) {
  using enum ErrorCode;
  slot.loop = -1;
  slot.outcome = {.error = error};
  if (error == kInvalidTxnState)
    slot.outcome.message = "Partition was not added to the transaction";
  const bool unreachable = error == kNetworkException || error == kCoordinatorLoadInProgress ||
                           error == kCoordinatorNotAvailable || error == kNotCoordinator;
  const bool ending = error == kConcurrentTransactions && support != TxnSupport::kAdds;
  if (!unreachable && !ending) return;
  // Producers repeat this one, whatever their age.
  slot.outcome.message = fmt::format(
      "Unable to verify the partition has been added to the transaction. Underlying error: {}",
      wire::name(error));
  slot.outcome.error = kNotEnoughReplicas;
}

/// Asks the partitions which of the transactions are open there.
io::Task<void> begin_verifications(Request& request, VerifiedSlots& items, TxnSupport support) {
  Services& services = request.services();
  const auto visit = [&](replica::Shard& shard, VerifiedSlot& item) {
    replica::Partition* partition = item.find(shard);
    if (partition == nullptr) return;
    const wire::BatchHeader batch(item.slot->records.data());
    item.verification = partition->begin_verification(
        batch.producer_id(), batch.producer_epoch(), batch.base_sequence(),
        support == TxnSupport::kAdds, shard.loop().clock().wall());
    item.error = item.verification.error;
  };
  for (VerifiedSlot& item : items) {
    if (item.loop < 0) continue;
    item.error = ErrorCode::kNone;
    item.verification = {};  // of an earlier try
  }
  co_await visit_owners(services, items, visit);
}

/// Has the coordinator add or verify those that are not open. True if it still ends the last one.
io::Task<bool> verify_once(Request& request, const machines::txn::Producer& who,
                           VerifiedSlots& items, TxnSupport support) {
  co_await begin_verifications(request, items, support);
  std::vector<machines::txn::TopicPartition> partitions;
  for (const VerifiedSlot& item : items) {
    if (item.verification.guard != 0) partitions.push_back({item.topic->name, item.index});
  }
  if (partitions.empty()) co_return false;
  const auto errors = co_await verify_transaction(request, who, support, std::move(partitions));
  size_t next = 0;
  for (VerifiedSlot& item : items) {
    if (item.verification.guard != 0) item.error = errors[next++];
  }
  co_return std::ranges::count(errors, ErrorCode::kConcurrentTransactions) > 0;
}

/// Whether all transactional batches are of one producer.
bool one_producer(const Slots& slots, machines::txn::Producer& who) {
  bool first = true;
  for (const Slot& slot : slots) {
    if (!is_of_transaction(slot)) continue;
    const wire::BatchHeader batch(slot.records.data());
    if (!first && (batch.producer_id() != who.producer || batch.producer_epoch() != who.epoch))
      return false;
    who.producer = batch.producer_id();
    who.epoch = batch.producer_epoch();
    first = false;
  }
  return true;
}

/// Every transactional slot gets its guard, or is refused.
io::Task<void> verify_transactions(Request& request, std::string_view id, Slots& slots) {
  using enum metadata::BrokerKey;
  Services& services = request.services();
  const TxnSupport support = produce_support(request.version());
  const bool adds = support == TxnSupport::kAdds;
  machines::txn::Producer who{.id = std::string(id)};
  if (!one_producer(slots, who)) {
    refuse_pending(slots, ErrorCode::kInvalidProducerIdMapping);
    co_return;
  }
  if (!adds && !services.config->boolean(kTransactionPartitionVerificationEnable)) co_return;
  const auto count = static_cast<size_t>(std::ranges::count_if(slots, is_of_transaction));
  VerifiedSlots items(request.arena(), count);
  size_t next = 0;
  for (Slot& slot : slots) {
    if (!is_of_transaction(slot)) continue;
    VerifiedSlot& item = items[next++];
    item.place(services, slot.topic, slot.index);
    item.slot = &slot;
  }
  const Millis backoff = services.config->millis(kAddPartitionsToTxnRetryBackoffMs);
  const MonoNs give_up =
      services.loop.clock().now() + services.config->millis(kAddPartitionsToTxnRetryBackoffMaxMs);
  while (co_await verify_once(request, who, items, support)) {
    if (!adds || services.loop.clock().now() >= give_up || request.is_abandoned()) break;
    co_await services.loop.sleep(backoff);
  }
  for (VerifiedSlot& item : items) {
    item.slot->guard = item.verification.guard;
    if (item.error != ErrorCode::kNone) refuse(*item.slot, item.error, support);
  }
}

void answer_partition(Request& request, const metadata::Image& image, const Slot& slot,
                      wire::ProduceResponse::PartitionProduceResponse& out,
                      wire::ProduceResponse& answer) {
  const replica::ProduceOutcome& outcome = slot.outcome;
  out.index = slot.index;
  out.error_code = wire::wire_value(outcome.error);
  out.base_offset = outcome.first.value;
  out.log_append_time_ms = outcome.append_time.value;
  out.log_start_offset = outcome.log_start.value;
  if (!outcome.message.empty()) out.error_message = outcome.message;
  for (const wire::RecordError& error : outcome.record_errors) {
    auto& e = out.record_errors.add(request.arena());
    e.batch_index = error.batch_index;
    e.batch_index_error_message = error.message;
  }
  if (outcome.error == ErrorCode::kNotLeaderOrFollower && request.version() >= 10) {
    name_leader(request, image, slot.topic, slot.index, out.current_leader, answer);
  }
}

}  // namespace

io::Task<void> handle_produce(Request& request) {
  wire::ProduceRequest message;
  if (!request.decode(message)) co_return;
  const metadata::ImagePtr image = request.services().image;
  Arena& arena = request.arena();

  size_t count = 0;
  for (const auto& topic : message.topic_data) count += topic.partition_data.size();
  Slots slots(arena, count);
  wire::ProduceResponse answer;
  answer.responses.reserve(arena, message.topic_data.size());
  size_t next = 0;
  for (const auto& topic : message.topic_data) {
    const metadata::Topic* known =
        request.version() >= 13 ? image->topic(topic.topic_id) : image->topic(topic.name);
    auto& out = answer.responses.add(arena);
    out.topic_id = topic.topic_id;
    out.name = known != nullptr ? std::string_view(known->name) : arena.copy(topic.name);
    out.partition_responses.reserve(arena, topic.partition_data.size());
    for (const auto& partition : topic.partition_data) {
      Slot& slot = slots[next++];
      slot.topic = known;
      prepare(request, slot, topic, partition);
      out.partition_responses.add(arena);
    }
  }
  const bool transactional =
      std::any_of(slots.begin(), slots.end(), [](const Slot& slot) { return slot.transactional; });
  Call call{request, slots, message.acks, Millis(message.timeout_ms), {.acks = message.acks}};
  if (refuse_wholly(request, message, slots)) {
    // nothing is left to do
  } else if (transactional && !message.transactional_id) {
    refuse_pending(slots, ErrorCode::kTransactionalIdAuthorizationFailed);
  } else if (message.acks < -1 || message.acks > 1) {
    refuse_pending(slots, ErrorCode::kInvalidRequiredAcks);
  } else if (transactional) {
    call.options.rules.verified_only = request.services().config->boolean(
        metadata::BrokerKey::kTransactionPartitionVerificationEnable);
    co_await verify_transactions(request, *message.transactional_id, slots);
  }
  co_await run(call);

  if (message.acks == 0) {
    for (const Slot& slot : slots) {
      if (slot.outcome.error == ErrorCode::kNone) continue;
      request.close(wire::name(slot.outcome.error));
      co_return;
    }
    request.respond_nothing();
    co_return;
  }
  next = 0;
  for (auto& topic : answer.responses) {
    for (auto& out : topic.partition_responses) {
      answer_partition(request, *image, slots[next++], out, answer);
    }
  }
  request.respond(answer);
}

}  // namespace odradek::server
