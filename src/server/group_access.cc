#include "server/group_access.h"

#include <memory>
#include <utility>

#include "metadata/broker_config.h"
#include "server/partition_access.h"
#include "wire/java_hash.h"

namespace odradek::server {

namespace {

using machines::group::Command;

/// Lives on the loop of the request, and with whoever is to answer.
class Wait {
 public:
  void complete(GroupResult result) {
    if (!done.done()) done.complete(std::move(result));
  }
  io::Completion<GroupResult> done;
};

}  // namespace

int32_t group_partition(const metadata::Image& image, std::string_view group) {
  const metadata::Topic* topic = image.topic(kOffsetsTopic);
  if (topic == nullptr || topic->partitions.empty()) return -1;
  return wire::java_partition(group, static_cast<int32_t>(topic->partitions.size()));
}

io::Task<GroupResult> ask_coordinator(Request& request, int32_t partition, Command command) {
  Services& services = request.services();
  const metadata::Topic* topic = services.image->topic(kOffsetsTopic);
  const metadata::Partition* known = topic != nullptr ? topic->partition(partition) : nullptr;
  if (known == nullptr || known->leader != services.config->node_id())
    co_return std::unexpected(wire::ErrorCode::kNotCoordinator);
  if (request.is_abandoned()) co_return std::unexpected(wire::ErrorCode::kNetworkException);

  const auto owner = static_cast<size_t>(owner_of(services, topic->id, partition));
  GroupCoordinators* host = services.groups[owner];
  auto wait = std::make_shared<Wait>();
  if (static_cast<int>(owner) == services.loop.index()) {
    host->submit(partition, std::move(command),
                 [wait](GroupResult r) { wait->complete(std::move(r)); });
  } else {
    services.shards[owner]->loop().post(
        [host, partition, command = std::move(command), wait, home = &services.loop]() mutable {
          host->submit(partition, std::move(command), [wait, home](GroupResult r) {
            home->post([wait, r = std::move(r)]() mutable { wait->complete(std::move(r)); });
          });
        });
  }
  if (!wait->done.done()) {
    request.on_abandon(
        [wait] { wait->complete(std::unexpected(wire::ErrorCode::kNetworkException)); });
  }
  GroupResult result = co_await wait->done;
  request.on_abandon({});
  co_return result;
}

}  // namespace odradek::server
