#include "server/group_access.h"

#include <algorithm>
#include <utility>

#include "metadata/broker_config.h"
#include "metadata/features.h"
#include "server/coordinator_access.h"
#include "wire/java_hash.h"

namespace odradek::server {

bool serves_consumer_groups(const Services& services) {
  const auto& protocols =
      services.config->list(metadata::BrokerKey::kGroupCoordinatorRebalanceProtocols);
  return services.image->feature(metadata::kGroupVersion) >= 1 &&
         std::ranges::find(protocols, "consumer") != protocols.end();
}

int32_t group_partition(const metadata::Image& image, std::string_view group) {
  const metadata::Topic* topic = image.topic(kOffsetsTopic);
  if (topic == nullptr || topic->partitions.empty()) return -1;
  return wire::java_partition(group, static_cast<int32_t>(topic->partitions.size()));
}

io::Task<GroupResult> ask_coordinator(Request& request, int32_t partition,
                                      machines::group::Command command) {
  Services& services = request.services();
  return ask_owner<GroupResult>(services, &request, kOffsetsTopic, partition, services.groups,
                                std::move(command));
}

}  // namespace odradek::server
