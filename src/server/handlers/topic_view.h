// What a client on a given listener sees of topics and brokers: shared by Metadata,
// DescribeTopicPartitions, DescribeCluster and FindCoordinator.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/arena.h"
#include "metadata/image.h"
#include "server/request.h"
#include "wire/errors.h"

namespace odradek::server {

/// Bits of authorized operations when every operation is allowed, as for the resource type.
inline constexpr int32_t kAllTopicOperations = 0xdf8;
inline constexpr int32_t kAllClusterOperations = 0x1fa0;

/// `__consumer_offsets`, `__transaction_state`, `__share_group_state`.
bool is_internal_topic(std::string_view name);
/// 1 to 249 letters, digits, dots, dashes and underscores; not "." or "..".
bool is_valid_topic_name(std::string_view name);

Array<int32_t> broker_ids(Arena& arena, std::span<const BrokerId> ids);
/// Replicas that cannot serve clients of a listener: their broker is unknown, fenced, does not
/// listen there, or has lost the directory.
Array<int32_t> offline_replicas(Arena& arena, const metadata::Image& image,
                                const metadata::Partition& partition, std::string_view listener);
/// Only brokers that are unfenced and listen there, for Metadata 0.
Array<int32_t> alive_ids(Arena& arena, const metadata::Image& image, std::span<const BrokerId> ids,
                         std::string_view listener);
/// Where clients of a listener reach the leader; null when its broker is not known or does not
/// listen there.
const metadata::Endpoint* leader_endpoint(const metadata::Image& image,
                                          const metadata::Partition& partition,
                                          std::string_view listener);
/// Any unfenced broker, for the controller id that clients see: they may send controller requests
/// to every broker. −1 when there is none.
int32_t any_alive_broker(const metadata::Image& image, io::Random& random);

/// Calls `f(broker, endpoint)` for every broker that is unfenced and listens there, by id.
template <class F>
void for_each_alive_broker(const metadata::Image& image, std::string_view listener, F&& f) {
  for (const auto& [id, broker] : image.brokers) {
    if (broker->fenced) continue;
    if (const metadata::Endpoint* e = broker->endpoint(listener)) f(*broker, *e);
  }
}

}  // namespace odradek::server
