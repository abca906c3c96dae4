// DescribeLogDirs (key 35), versions 1 to 5.
//
// 2 flexible; 3 top-level error; 4 total and usable bytes of the volume; 5 whether the directory is
// cordoned. No topics (null) means all. A directory that has failed is answered with
// KAFKA_STORAGE_ERROR and nothing in it.
#include <algorithm>
#include <vector>

#include "server/partition_access.h"
#include "wire/gen/describe_log_dirs.h"

namespace odradek::server {
namespace {

using wire::ErrorCode;

/// One replica, as its loop told it.
struct Replica {
  std::string topic;
  int32_t index;
  size_t dir;
  int64_t size;
  int64_t lag;
  bool future;
};

struct Wanted {
  const wire::DescribeLogDirsRequest& message;

  bool operator()(const replica::Partition& partition) const {
    if (!message.topics) return true;
    for (const auto& topic : *message.topics) {
      if (topic.topic != partition.topic().name) continue;
      if (std::ranges::count(topic.partitions, partition.name().index.value) != 0) return true;
    }
    return false;
  }
};

void collect(replica::Shard& shard, const Wanted& wanted, std::vector<Replica>& out) {
  for (const replica::Partition* partition : shard.partitions()) {
    if (partition->offline() || !wanted(*partition)) continue;
    // How far this replica is behind what is committed: a leader never is.
    const int64_t lag = std::max<int64_t>(partition->high_watermark() - partition->log_end(), 0);
    const std::string& topic = partition->topic().name;
    const int32_t index = partition->name().index.value;
    out.push_back({topic, index, partition->dir(), static_cast<int64_t>(partition->log().size()),
                   lag, false});
    // The copy of one that is on its way to another directory: how far it is behind the original.
    if (const auto move = shard.moves().find(*partition)) {
      out.push_back({topic, index, move->dir, static_cast<int64_t>(move->size),
                     partition->log_end() - move->end, true});
    }
  }
}

void describe(Request& request, size_t dir, const std::vector<Replica>& replicas,
              wire::DescribeLogDirsResponse::DescribeLogDirsResult& out) {
  replica::LogDirs& dirs = request.services().shards.front()->dirs();
  out.log_dir = request.arena().copy(dirs.path(dir));
  const Result<io::Disk::Space> space = dirs.space(dir);
  if (dirs.offline(dir) || !space) {
    out.error_code = wire::wire_value(ErrorCode::kKafkaStorageError);
    return;
  }
  out.total_bytes = static_cast<int64_t>(space->total);
  out.usable_bytes = static_cast<int64_t>(space->free);
  out.is_cordoned = dirs.cordoned(dir);
  for (const Replica& r : replicas) {
    if (r.dir != dir) continue;
    if (out.topics.empty() || out.topics.back().name != r.topic) {
      out.topics.add(request.arena()).name = r.topic;
    }
    auto& p = out.topics.back().partitions.add(request.arena());
    p.partition_index = r.index;
    p.partition_size = r.size;
    p.offset_lag = r.lag;
    p.is_future_key = r.future;
  }
}

}  // namespace

io::Task<void> handle_describe_log_dirs(Request& request) {
  wire::DescribeLogDirsRequest message;
  if (!request.decode(message)) co_return;
  Services& services = request.services();
  std::vector<Replica> replicas;
  const Wanted wanted{message};
  for (replica::Shard* shard : services.shards) {
    if (&shard->loop() != &services.loop) co_await shard->loop().hop();
    collect(*shard, wanted, replicas);
    if (&shard->loop() != &services.loop) co_await services.loop.hop();
  }
  std::ranges::sort(replicas, {}, [](const Replica& r) { return std::tie(r.topic, r.index); });
  wire::DescribeLogDirsResponse answer;
  for (size_t dir = 0; dir < services.shards.front()->dirs().size(); dir++) {
    describe(request, dir, replicas, answer.results.add(request.arena()));
  }
  request.respond(answer);
}

}  // namespace odradek::server
