// DeleteRecords (key 21), versions 0 to 2 (2: flexible).
//
// Moves the log start offset up to the asked one (−1: the high watermark); segments go with the
// next retention. Refused for internal topics and where cleanup.policy lacks delete. The answer's
// low watermark is the smallest log start of the replicas: with one replica it is there at once.
#include "wire/gen/delete_records.h"
#include "server/handlers/topic_view.h"
#include "server/partition_access.h"

namespace odradek::server {
namespace {

using wire::ErrorCode;

struct Item {
  const metadata::Topic* topic = nullptr;
  int32_t index = 0;
  Offset offset;
  int loop = -1;
  bool visited = false;
  replica::Partition::Deleted result;
};

void delete_here(replica::Shard& shard, Item& item) {
  replica::Partition* partition = shard.find(item.topic->id, PartitionIndex(item.index));
  if (partition == nullptr) {
    item.result.error = ErrorCode::kNotLeaderOrFollower;
  } else {
    item.result = partition->delete_records(item.offset);
  }
}

}  // namespace

io::Task<void> handle_delete_records(Request& request) {
  wire::DeleteRecordsRequest message;
  if (!request.decode(message)) co_return;
  const metadata::ImagePtr image = request.services().image;
  size_t count = 0;
  for (const auto& topic : message.topics) count += topic.partitions.size();
  Scoped<Item> items(request.arena(), count);
  size_t next = 0;
  for (const auto& topic : message.topics) {
    const metadata::Topic* known = image->topic(topic.name);
    for (const auto& partition : topic.partitions) {
      Item& item = items[next++];
      item.topic = known;
      item.index = partition.partition_index;
      item.offset = Offset(partition.offset);
      if (known == nullptr || known->partition(item.index) == nullptr) {
        item.result.error = ErrorCode::kUnknownTopicOrPartition;
      } else if (is_internal_topic(topic.name)) {
        item.result.error = ErrorCode::kInvalidTopicException;
      } else {
        item.loop = owner_of(request.services(), known->id, item.index);
      }
    }
  }
  co_await visit_owners(request.services(), items, delete_here);

  wire::DeleteRecordsResponse answer;
  next = 0;
  for (const auto& topic : message.topics) {
    auto& out = answer.topics.add(request.arena());
    out.name = topic.name;
    for (size_t i = 0; i < topic.partitions.size(); i++) {
      const Item& item = items[next++];
      auto& p = out.partitions.add(request.arena());
      p.partition_index = item.index;
      p.error_code = wire::wire_value(item.result.error);
      p.low_watermark = item.result.low_watermark.value;
    }
  }
  request.respond(answer);
}

}  // namespace odradek::server
