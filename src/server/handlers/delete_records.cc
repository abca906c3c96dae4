// DeleteRecords (key 21), versions 0 to 2 (2: flexible).
//
// Moves the log start offset up to the asked one (−1: the high watermark); segments go with the
// next retention. Refused for internal topics and where cleanup.policy lacks delete. The answer's
// low watermark is the smallest log start of the replicas: with one replica it is there at once.
#include "wire/gen/delete_records.h"

#include <algorithm>
#include <optional>

#include "server/handlers/topic_view.h"
#include "server/partition_access.h"

namespace odradek::server {
namespace {

using wire::ErrorCode;

struct Item : PartitionItem {
  Offset offset;
  std::optional<size_t> dir;  // where it was done
  Offset low_watermark = kNoOffset;
};

void delete_here(replica::Shard& shard, Item& item) {
  replica::Partition* partition = item.find(shard);
  if (partition == nullptr) return;
  const replica::Partition::Deleted deleted = partition->delete_records(item.offset);
  item.error = deleted.error;
  item.low_watermark = deleted.low_watermark;
  if (item.error == ErrorCode::kNone) item.dir = partition->dir();
}

/// What was deleted does not come back, whatever happens after the answer.
io::Task<void> saved(Request& request, Scoped<Item>& items) {
  io::Loop& loop = request.services().loop;
  replica::LogDirs& dirs = request.services().shards.front()->dirs();
  for (replica::Shard* shard : request.services().shards) {
    const int owner = shard->loop().index();
    for (size_t dir = 0; dir < dirs.size(); dir++) {
      const auto here = [&](const Item& item) { return item.dir == dir && item.loop == owner; };
      if (std::ranges::none_of(items, here)) continue;
      io::Completion<bool> done;
      // By way of the loop that has reported it, so as not to overtake the report.
      shard->loop().post([&dirs, &loop, &done, dir] {
        dirs.when_saved(dir, log::CheckpointKind::kLogStart, loop,
                        [&done] { done.complete(true); });
      });
      co_await done;
      if (!dirs.offline(dir)) continue;
      // Whether it was saved before is not known.
      for (Item& item : items) {
        if (!here(item)) continue;
        item.refuse(ErrorCode::kKafkaStorageError);
        item.low_watermark = kNoOffset;
      }
    }
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
      item.place(request.services(), known, partition.partition_index);
      item.offset = Offset(partition.offset);
      if (item.loop >= 0 && is_internal_topic(topic.name)) {
        item.refuse(ErrorCode::kInvalidTopicException);
      }
    }
  }
  co_await visit_owners(request.services(), items, delete_here);
  co_await saved(request, items);

  wire::DeleteRecordsResponse answer;
  next = 0;
  for (const auto& topic : message.topics) {
    auto& out = answer.topics.add(request.arena());
    out.name = topic.name;
    for (size_t i = 0; i < topic.partitions.size(); i++) {
      const Item& item = items[next++];
      auto& p = out.partitions.add(request.arena());
      p.partition_index = item.index;
      p.error_code = wire::wire_value(item.error);
      p.low_watermark = item.low_watermark.value;
    }
  }
  request.respond(answer);
}

}  // namespace odradek::server
