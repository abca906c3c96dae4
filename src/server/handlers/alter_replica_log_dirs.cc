// AlterReplicaLogDirs (key 34), versions 1 to 2 (2: flexible).
//
// Moves replicas of this node to another of its directories (KIP-113). The answer comes when the
// moves have begun; DescribeLogDirs shows how far they are. As Apache has it:
// - a replica that is not here answers REPLICA_NOT_AVAILABLE, and the wish is remembered: if the
//   partition is created, it is created there;
// - while any directory is offline nothing is moved;
// - a second request for another directory ends the first move; one for where the replica is, too.
#include <map>
#include <string>
#include <vector>

#include "server/partition_access.h"
#include "wire/gen/alter_replica_log_dirs.h"

namespace odradek::server {
namespace {

using wire::ErrorCode;

// `.`, 32 digits, `-future`
constexpr size_t kFutureSuffix = 1 + 32 + 7;
constexpr size_t kFolderNameMax = 255;

struct Item {
  const metadata::Topic* topic = nullptr;
  std::string_view name;
  int32_t index = 0;
  size_t dir = 0;
  ErrorCode error = ErrorCode::kNone;
  int loop = -1;
  bool visited = false;
};

std::string_view without_slash(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  return path;
}

ErrorCode check(const replica::LogDirs& dirs, std::string_view path, Item& item) {
  const log::TopicPartition name{std::string(item.name), PartitionIndex(item.index)};
  if (name.to_string().size() + kFutureSuffix > kFolderNameMax)
    return ErrorCode::kInvalidTopicException;
  const auto dir = dirs.find(without_slash(path));
  if (!dir) return ErrorCode::kLogDirNotFound;
  if (dirs.offline(*dir)) return ErrorCode::kKafkaStorageError;
  if (dirs.cordoned(*dir)) return ErrorCode::kInvalidReplicaAssignment;
  item.dir = *dir;
  return ErrorCode::kNone;
}

void alter(replica::Shard& shard, Item& item) {
  replica::Partition* partition = shard.find(item.topic->id, PartitionIndex(item.index));
  if (partition == nullptr) {
    item.error = ErrorCode::kReplicaNotAvailable;
    return;
  }
  const replica::LogDirs& dirs = shard.dirs();
  const bool stays = partition->dir() == item.dir;
  if (partition->offline() || dirs.offline(item.dir) || (!stays && dirs.any_offline()) ||
      !shard.moves().begin(*partition, item.dir)) {
    item.error = ErrorCode::kKafkaStorageError;
  }
}

/// Every loop hears of it: nobody knows yet who will own the partition.
io::Task<void> prefer(Services& services, Scoped<Item>& items) {
  for (replica::Shard* shard : services.shards) {
    co_await shard->loop().hop();
    for (const Item& item : items) {
      if (item.error != ErrorCode::kReplicaNotAvailable) continue;
      shard->prefer({std::string(item.name), PartitionIndex(item.index)}, item.dir);
    }
  }
  co_await services.loop.hop();
}

void answer(Request& request, const Scoped<Item>& items) {
  wire::AlterReplicaLogDirsResponse response;
  // A topic may be named with several directories.
  std::map<std::string_view, std::vector<const Item*>> by_topic;
  for (const Item& item : items) by_topic[item.name].push_back(&item);
  for (const auto& [name, partitions] : by_topic) {
    auto& topic = response.results.add(request.arena());
    topic.topic_name = name;
    for (const Item* item : partitions) {
      auto& p = topic.partitions.add(request.arena());
      p.partition_index = item->index;
      p.error_code = wire::wire_value(item->error);
    }
  }
  request.respond(response);
}

}  // namespace

io::Task<void> handle_alter_replica_log_dirs(Request& request) {
  wire::AlterReplicaLogDirsRequest message;
  if (!request.decode(message)) co_return;
  Services& services = request.services();
  const metadata::ImagePtr image = services.image;
  const replica::LogDirs& dirs = services.shards.front()->dirs();
  size_t count = 0;
  for (const auto& dir : message.dirs) {
    for (const auto& topic : dir.topics) count += topic.partitions.size();
  }
  Scoped<Item> items(request.arena(), count);
  size_t next = 0;
  bool unknown = false;
  for (const auto& dir : message.dirs) {
    for (const auto& topic : dir.topics) {
      for (const int32_t index : topic.partitions) {
        Item& item = items[next++];
        item.name = topic.name;
        item.index = index;
        item.topic = image->topic(topic.name);
        item.error = check(dirs, dir.path, item);
        if (item.error != ErrorCode::kNone) continue;
        if (item.topic == nullptr || item.topic->partition(index) == nullptr) {
          item.error = ErrorCode::kReplicaNotAvailable;
          unknown = true;
        } else {
          item.loop = owner_of(services, item.topic->id, index);
        }
      }
    }
  }
  co_await visit_owners(services, items, alter);
  if (unknown) co_await prefer(services, items);
  answer(request, items);
}

}  // namespace odradek::server
