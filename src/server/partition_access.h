// How handlers reach partitions: who owns them, what to answer when they are not here, and the
// leader that a client should turn to.
#pragma once

#include <new>
#include <optional>
#include <string_view>
#include <utility>

#include "base/arena.h"
#include "base/ids.h"
#include "base/uuid.h"
#include "io/task.h"
#include "metadata/image.h"
#include "replica/shard.h"
#include "server/request.h"
#include "server/services.h"
#include "wire/errors.h"

namespace odradek::server {

inline int owner_of(const Services& services, const Uuid& topic_id, int32_t index) {
  return replica::owner_loop(topic_id, PartitionIndex(index),
                             static_cast<int>(services.shards.size()));
}

/// Why this node has no such replica: UNKNOWN_TOPIC_OR_PARTITION, or NOT_LEADER_OR_FOLLOWER if the
/// image knows the partition.
wire::ErrorCode missing_partition(const metadata::Topic* topic, int32_t index);

/// Leader and epoch of a partition that answered NOT_LEADER_OR_FOLLOWER, and where that node
/// listens (the answer's NodeEndpoints). Message is ProduceResponse or FetchResponse.
template <class Message>
void name_leader(Request& request, const metadata::Image& image, const metadata::Topic* topic,
                 int32_t index, auto& current_leader, Message& answer) {
  const metadata::Partition* partition = topic != nullptr ? topic->partition(index) : nullptr;
  if (partition == nullptr) return;
  current_leader.leader_id = partition->leader.value;
  current_leader.leader_epoch = partition->leader_epoch.value;
  const metadata::Broker* broker = image.broker(partition->leader);
  const metadata::Endpoint* at =
      broker != nullptr ? broker->endpoint(request.listener().name) : nullptr;
  if (at == nullptr) return;
  for (const auto& known : answer.node_endpoints) {
    if (known.node_id == broker->id.value) return;
  }
  auto& node = answer.node_endpoints.add(request.arena());
  node.node_id = broker->id.value;
  node.host = at->host;
  node.port = at->port;
  if (broker->rack) node.rack = *broker->rack;
}

/// `n` default objects in a request's arena that are destroyed with this: memory that costs no
/// allocation for elements that own something.
template <class T>
class Scoped {
 public:
  Scoped(Arena& arena, size_t n)
      : data_(static_cast<T*>(arena.allocate(sizeof(T) * n, alignof(T)))), size_(n) {
    for (size_t i = 0; i < n; i++) new (data_ + i) T();
  }
  ~Scoped() {
    for (size_t i = 0; i < size_; i++) data_[i].~T();
  }
  Scoped(const Scoped&) = delete;
  Scoped& operator=(const Scoped&) = delete;

  T* begin() const { return data_; }
  T* end() const { return data_ + size_; }
  size_t size() const { return size_; }
  T& operator[](size_t i) const { return data_[i]; }

 private:
  T* data_;
  size_t size_;
};

/// A partition that a request names: what handlers derive their items from.
struct PartitionItem {
  const metadata::Topic* topic = nullptr;
  int32_t index = 0;
  wire::ErrorCode error = wire::ErrorCode::kNone;
  int loop = -1;         // of the owner; −1: not to be visited
  bool visited = false;  // of visit_owners

  /// Finds the owner's loop. UNKNOWN_TOPIC_OR_PARTITION if the image has no such partition.
  void place(const Services& services, const metadata::Topic* known, int32_t i) {
    topic = known;
    index = i;
    if (known == nullptr || known->partition(i) == nullptr) {
      error = wire::ErrorCode::kUnknownTopicOrPartition;
    } else {
      loop = owner_of(services, known->id, i);
    }
  }
  /// The replica, on its loop; without one, NOT_LEADER_OR_FOLLOWER.
  replica::Partition* find(replica::Shard& shard) {
    replica::Partition* partition = shard.find(topic->id, PartitionIndex(index));
    if (partition == nullptr) error = wire::ErrorCode::kNotLeaderOrFollower;
    return partition;
  }
  void refuse(wire::ErrorCode code) {
    error = code;
    loop = -1;
  }
};

/// Calls `visit(shard, item)` for every item (like PartitionItem) on the loop that owns it, loop
/// after loop in the order in which they first appear; ends on this loop. `visit` must not be a
/// coroutine.
template <class Items, class Visit>
io::Task<void> visit_owners(Services& services, Items& items, Visit visit) {
  io::Loop* here = &services.loop;
  for (auto& item : items) item.visited = item.loop < 0;
  for (size_t first = 0; first < items.size(); first++) {
    if (items[first].visited) continue;
    replica::Shard& shard = *services.shards[static_cast<size_t>(items[first].loop)];
    if (&shard.loop() != here) co_await shard.loop().hop();
    here = &shard.loop();
    for (size_t i = first; i < items.size(); i++) {
      if (items[i].loop != items[first].loop || items[i].visited) continue;
      items[i].visited = true;
      visit(shard, items[i]);
    }
  }
  if (here != &services.loop) co_await services.loop.hop();
}

}  // namespace odradek::server
