#include "server/markers.h"

#include <list>
#include <utility>

#include "metadata/broker_config.h"
#include "server/coordinator_access.h"
#include "server/group_access.h"

namespace odradek::server {

namespace {

using replica::EndMarker;
using wire::ErrorCode;

/// What the loops report to the one that asked.
struct Join {
  int left = 0;
  io::Completion<bool> done;
};

/// The targets of one loop. They stay in place until all have been told.
struct OfLoop {
  replica::Shard* shard = nullptr;
  std::vector<std::pair<Uuid, MarkerTarget*>> targets{};
};

io::Task<void> write_on_loop(Services& services, const EndMarker& marker, const OfLoop& part,
                             Join& join) {
  replica::Shard& shard = *part.shard;
  io::Loop& home = services.loop;
  const Millis timeout(services.config->int32(metadata::BrokerKey::kRequestTimeoutMs));
  co_await shard.loop().hop();
  {
    std::list<std::pair<replica::CommitTicket, MarkerTarget*>> tickets;  // the wait looks at them
    replica::CommitWait wait(shard);
    for (const auto& [topic, target] : part.targets) {
      replica::Partition* partition = shard.find(topic, PartitionIndex(target->index));
      if (partition == nullptr) {
        target->error = ErrorCode::kNotLeaderOrFollower;
        continue;
      }
      const auto outcome = partition->append_marker(marker, shard.loop().clock().wall());
      target->error = outcome.error;
      if (outcome.error != ErrorCode::kNone) continue;
      auto& ticket = tickets.emplace_back();
      ticket.second = target;
      wait.add(*partition, ticket.first, outcome.end);
    }
    if (wait.pending()) co_await wait.until(timeout);
    for (auto& [ticket, target] : tickets) target->error = ticket.error;
  }
  co_await home.hop();
  if (--join.left == 0) join.done.complete(true);
}

ErrorCode as_partition_error(ErrorCode error) {
  const bool moved = error == ErrorCode::kCoordinatorNotAvailable ||
                     error == ErrorCode::kCoordinatorLoadInProgress ||
                     error == ErrorCode::kNotCoordinator;
  return moved ? ErrorCode::kNotLeaderOrFollower : error;
}

io::Task<void> write_to_group(Services& services, const EndMarker& marker, MarkerTarget& target,
                              Join& join) {
  const machines::group::EndTransaction command{marker.producer, marker.epoch, marker.committed,
                                                marker.coordinator_epoch, marker.version};
  const GroupResult result =
      co_await ask_owner<GroupResult>(services, nullptr, kOffsetsTopic, target.index,
                                      services.groups, machines::group::Command(command));
  target.error = result ? ErrorCode::kNone : as_partition_error(result.error());
  if (--join.left == 0) join.done.complete(true);
}

}  // namespace

io::Task<void> write_markers(Services& services, EndMarker marker,
                             std::vector<MarkerTarget>& targets) {
  const metadata::ImagePtr image = services.image;
  std::vector<OfLoop> loops(services.shards.size());
  std::vector<MarkerTarget*> groups;
  for (MarkerTarget& target : targets) {
    const metadata::Topic* topic = image->topic(target.topic);
    if (topic == nullptr || topic->partition(target.index) == nullptr) {
      target.error = ErrorCode::kUnknownTopicOrPartition;
    } else if (target.topic == kOffsetsTopic) {
      groups.push_back(&target);
    } else {
      const auto loop = static_cast<size_t>(owner_of(services, topic->id, target.index));
      loops[loop].shard = services.shards[loop];
      loops[loop].targets.emplace_back(topic->id, &target);
    }
  }
  Join join;
  join.left = 1;  // this
  for (const OfLoop& part : loops) {
    if (part.shard == nullptr) continue;
    join.left++;
    io::spawn(write_on_loop(services, marker, part, join));
  }
  for (MarkerTarget* target : groups) {
    join.left++;
    io::spawn(write_to_group(services, marker, *target, join));
  }
  if (--join.left > 0) co_await join.done;
}

}  // namespace odradek::server
