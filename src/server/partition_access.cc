#include "server/partition_access.h"

namespace odradek::server {

bool is_internal_topic(std::string_view name) {
  return name == "__consumer_offsets" || name == "__transaction_state" ||
         name == "__share_group_state";
}

wire::ErrorCode missing_partition(const metadata::Topic* topic, int32_t index) {
  return topic == nullptr || topic->partition(index) == nullptr
             ? wire::ErrorCode::kUnknownTopicOrPartition
             : wire::ErrorCode::kNotLeaderOrFollower;
}

}  // namespace odradek::server
