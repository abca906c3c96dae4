#include "server/partition_access.h"

namespace odradek::server {

wire::ErrorCode missing_partition(const metadata::Topic* topic, int32_t index) {
  return topic == nullptr || topic->partition(index) == nullptr
             ? wire::ErrorCode::kUnknownTopicOrPartition
             : wire::ErrorCode::kNotLeaderOrFollower;
}

}  // namespace odradek::server
