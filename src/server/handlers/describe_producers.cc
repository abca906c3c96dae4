// DescribeProducers (key 61), version 0: the idempotent and transactional producers that a
// partition's leader knows.
#include <vector>

#include "server/handlers/topic_view.h"
#include "server/partition_access.h"
#include "wire/gen/describe_producers.h"

namespace odradek::server {
namespace {

using wire::ErrorCode;

struct Item : PartitionItem {
  std::vector<log::ProducerInfo> producers;
};

void look_up(replica::Shard& shard, Item& item) {
  replica::Partition* partition = item.find(shard);
  if (partition != nullptr) item.error = partition->check_leader();
  if (item.error == ErrorCode::kNone) item.producers = partition->producers();
}

}  // namespace

io::Task<void> handle_describe_producers(Request& request) {
  wire::DescribeProducersRequest message;
  if (!request.decode(message)) co_return;
  const metadata::ImagePtr image = request.services().image;
  size_t count = 0;
  for (const auto& topic : message.topics) count += topic.partition_indexes.size();
  Scoped<Item> items(request.arena(), count);
  size_t next = 0;
  for (const auto& topic : message.topics) {
    const metadata::Topic* known = image->topic(topic.name);
    for (const int32_t index : topic.partition_indexes) {
      Item& item = items[next++];
      item.place(request.services(), known, index);
      if (!is_valid_topic_name(topic.name)) item.refuse(ErrorCode::kInvalidTopicException);
    }
  }
  co_await visit_owners(request.services(), items, look_up);

  wire::DescribeProducersResponse answer;
  next = 0;
  for (const auto& topic : message.topics) {
    auto& out = answer.topics.add(request.arena());
    out.name = topic.name;
    for (size_t i = 0; i < topic.partition_indexes.size(); i++) {
      const Item& item = items[next++];
      auto& p = out.partitions.add(request.arena());
      p.partition_index = item.index;
      p.error_code = wire::wire_value(item.error);
      // Apache has a message for topics that it does not know, and for nothing else.
      if (item.topic == nullptr) p.error_message = wire::message(item.error);
      for (const log::ProducerInfo& producer : item.producers) {
        auto& a = p.active_producers.add(request.arena());
        a.producer_id = producer.id.value;
        a.producer_epoch = producer.epoch.value;
        a.last_sequence = producer.last_sequence;
        a.last_timestamp = producer.last_timestamp.value;
        a.coordinator_epoch = producer.coordinator_epoch;
        a.current_txn_start_offset = producer.transaction_start.value;
      }
    }
  }
  request.respond(answer);
}

}  // namespace odradek::server
