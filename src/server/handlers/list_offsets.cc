// ListOffsets (key 2), versions 1 to 11.
//
// 2 isolation level; 4 leader epoch; 5 OFFSET_NOT_AVAILABLE; 6 flexible; 7 −3 (the record with the
// largest timestamp); 8 −4 (earliest local); 9 −5 (latest tiered); 10 timeout (remote storage
// only); 11 −6 (earliest pending upload).
//
// A timestamp that the version does not know is UNSUPPORTED_VERSION. What lies at or above what the
// reader may see is answered with −1. A partition named twice is INVALID_REQUEST, once. Without
// remote storage −5 and −6 find nothing.
#include <algorithm>

#include "server/partition_access.h"
#include "wire/gen/list_offsets.h"

namespace odradek::server {
namespace {

using replica::Visibility;
using wire::ErrorCode;

constexpr int32_t kDebuggingReplica = -2;  // need not ask the leader

struct Item : PartitionItem {
  std::string_view name;
  LeaderEpoch current_epoch;
  int64_t timestamp = 0;
  bool repeated = false;  // named before in the request: once in the answer is enough
  log::TimestampOffset found;
};

struct Asker {
  int32_t replica;
  Visibility visibility;
};

bool is_supported(int64_t timestamp, int16_t version) {
  if (timestamp == replica::kMaxTimestamp) return version >= 7;
  if (timestamp == replica::kEarliestLocal) return version >= 8;
  if (timestamp == replica::kLatestTiered) return version >= 9;
  if (timestamp == replica::kEarliestPendingUpload) return version >= 11;
  return timestamp >= replica::kEarliest;
}

/// On the owner's loop.
void look_up(const Asker& asker, replica::Shard& shard, Item& item) {
  replica::Partition* partition = item.find(shard);
  if (partition == nullptr) return;
  item.error = partition->check_leader(item.current_epoch);
  if (item.error == ErrorCode::kNotLeaderOrFollower && asker.replica == kDebuggingReplica) {
    item.error = ErrorCode::kNone;
  }
  if (item.error != ErrorCode::kNone) return;
  // Consumers see up to the high watermark or last stable offset, brokers and tools to the end.
  const Offset visible =
      asker.replica == -1 ? partition->visible_end(asker.visibility) : partition->log_end();
  if (item.timestamp == replica::kLatest) {
    item.found = {kNoTimestamp, visible, partition->state().leader_epoch};
    return;
  }
  Result<log::TimestampOffset> found = partition->offset_for_timestamp(item.timestamp);
  if (!found) {
    item.error = partition->disk_failed(found.error());
    return;
  }
  const bool bounded = item.timestamp >= 0 || item.timestamp == replica::kMaxTimestamp;
  if (!bounded || found->offset < visible) item.found = *found;
}

void refuse_duplicates(Arena& arena, Scoped<Item>& items) {
  Item** sorted = arena.make_array<Item*>(items.size());
  for (size_t i = 0; i < items.size(); i++) sorted[i] = &items[i];
  const auto key = [](const Item* i) { return std::pair(i->name, i->index); };
  std::sort(sorted, sorted + items.size(),
            [&](const Item* a, const Item* b) { return key(a) < key(b); });
  for (size_t i = 1; i < items.size(); i++) {
    if (key(sorted[i - 1]) != key(sorted[i])) continue;
    for (Item* item : {sorted[i - 1], sorted[i]}) item->refuse(ErrorCode::kInvalidRequest);
    sorted[i]->repeated = true;
  }
}

}  // namespace

io::Task<void> handle_list_offsets(Request& request) {
  wire::ListOffsetsRequest message;
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
      item.name = topic.name;
      item.current_epoch = LeaderEpoch(partition.current_leader_epoch);
      item.timestamp = partition.timestamp;
      if (!is_supported(item.timestamp, request.version())) {
        item.refuse(ErrorCode::kUnsupportedVersion);
      }
    }
  }
  refuse_duplicates(request.arena(), items);
  const Asker asker{message.replica_id,
                    message.isolation_level == 1 ? Visibility::kStable : Visibility::kCommitted};
  co_await visit_owners(request.services(), items, [&asker](replica::Shard& shard, Item& item) {
    look_up(asker, shard, item);
  });

  wire::ListOffsetsResponse answer;
  next = 0;
  for (const auto& topic : message.topics) {
    auto& out = answer.topics.add(request.arena());
    out.name = topic.name;
    for (size_t i = 0; i < topic.partitions.size(); i++) {
      const Item& item = items[next++];
      if (item.repeated) continue;
      auto& p = out.partitions.add(request.arena());
      p.partition_index = item.index;
      p.error_code = wire::wire_value(item.error);
      if (item.error != ErrorCode::kNone) continue;
      p.timestamp = item.found.timestamp.value;
      p.offset = item.found.offset.value;
      if (request.version() >= 4) p.leader_epoch = item.found.epoch.value;
    }
  }
  request.respond(answer);
}

}  // namespace odradek::server
