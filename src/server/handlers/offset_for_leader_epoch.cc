// OffsetForLeaderEpoch (key 23), versions 2 to 4.
//
// 3 replica id; 4 flexible. The end offset of an epoch is where the next larger one begins, or the
// log end; what it answers tells a consumer or follower where its log and ours part.
#include "wire/gen/offset_for_leader_epoch.h"
#include "server/partition_access.h"

namespace odradek::server {
namespace {

using wire::ErrorCode;

struct Item : PartitionItem {
  LeaderEpoch current_epoch;
  LeaderEpoch asked;
  log::EpochEnd found;
};

void look_up(replica::Shard& shard, Item& item) {
  replica::Partition* partition = item.find(shard);
  if (partition != nullptr) item.error = partition->check_leader(item.current_epoch);
  if (item.error == ErrorCode::kNone) item.found = partition->end_offset_for_epoch(item.asked);
}

}  // namespace

io::Task<void> handle_offset_for_leader_epoch(Request& request) {
  wire::OffsetForLeaderEpochRequest message;
  if (!request.decode(message)) co_return;
  const metadata::ImagePtr image = request.services().image;
  size_t count = 0;
  for (const auto& topic : message.topics) count += topic.partitions.size();
  Scoped<Item> items(request.arena(), count);
  size_t next = 0;
  for (const auto& topic : message.topics) {
    const metadata::Topic* known = image->topic(topic.topic);
    for (const auto& partition : topic.partitions) {
      Item& item = items[next++];
      item.place(request.services(), known, partition.partition);
      item.current_epoch = LeaderEpoch(partition.current_leader_epoch);
      item.asked = LeaderEpoch(partition.leader_epoch);
    }
  }
  co_await visit_owners(request.services(), items, look_up);

  wire::OffsetForLeaderEpochResponse answer;
  next = 0;
  for (const auto& topic : message.topics) {
    auto& out = answer.topics.add(request.arena());
    out.topic = topic.topic;
    for (size_t i = 0; i < topic.partitions.size(); i++) {
      const Item& item = items[next++];
      auto& p = out.partitions.add(request.arena());
      p.partition = item.index;
      p.error_code = wire::wire_value(item.error);
      p.leader_epoch = item.found.epoch.value;
      p.end_offset = item.found.end.value;
    }
  }
  request.respond(answer);
}

}  // namespace odradek::server
