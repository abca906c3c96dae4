// How handlers reach the group coordinators: which partition of `__consumer_offsets` a group
// belongs to, and the machine of it, on whatever loop it lives.
#pragma once

#include <expected>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "io/task.h"
#include "machines/group/api.h"
#include "metadata/image.h"
#include "server/request.h"
#include "server/services.h"
#include "wire/errors.h"

namespace odradek::server {

inline constexpr std::string_view kOffsetsTopic = "__consumer_offsets";

/// Without authorizer everything is allowed on a group: read, describe, delete, and their configs.
inline constexpr int32_t kAllGroupOperations = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

using GroupResult = std::expected<machines::group::Response, wire::ErrorCode>;

/// The coordinators of one loop; `node` implements it.
class GroupCoordinators {
 public:
  using Done = std::move_only_function<void(GroupResult)>;
  virtual ~GroupCoordinators() = default;
  /// Asks the coordinator of a partition that this loop owns; NOT_COORDINATOR if it is not led
  /// here. `done` is called on this loop, maybe at once; for Join and Sync when the answer is
  /// there.
  virtual void submit(int32_t partition, machines::group::Command command, Done done) = 0;
};

/// Whether the consumer protocol is spoken here: group.version,
/// group.coordinator.rebalance.protocols.
bool serves_consumer_groups(const Services& services);

/// Partition of a group; −1 while there is no such topic.
int32_t group_partition(const metadata::Image& image, std::string_view group);

/// Asks the coordinator of a partition and waits for the answer. NETWORK_EXCEPTION if the client
/// has gone meanwhile.
io::Task<GroupResult> ask_coordinator(Request& request, int32_t partition,
                                      machines::group::Command command);

/// Asks the coordinator of a group. `Answer` is that of the command.
template <class Answer>
io::Task<std::expected<Answer, wire::ErrorCode>> ask_group(Request& request, std::string_view group,
                                                           machines::group::Command command);

/// Copies what a message says into an owned value.
inline std::optional<std::string> owned(const std::optional<std::string_view>& text) {
  if (!text) return std::nullopt;
  return std::string(*text);
}

/// The groups of a request by the partition that they belong to, each in the order of the request.
struct GroupsOfPartition {
  int32_t partition;
  std::vector<size_t> indexes;
};
template <class Names>
std::vector<GroupsOfPartition> by_partition(const metadata::Image& image, const Names& names) {
  std::vector<GroupsOfPartition> out;
  for (size_t i = 0; i < names.size(); i++) {
    const int32_t partition = group_partition(image, names[i]);
    GroupsOfPartition* found = nullptr;
    for (auto& g : out) {
      if (g.partition == partition) found = &g;
    }
    if (found == nullptr) found = &out.emplace_back(partition);
    found->indexes.push_back(i);
  }
  return out;
}

template <class Answer>
io::Task<std::expected<Answer, wire::ErrorCode>> ask_group(Request& request, std::string_view group,
                                                           machines::group::Command command) {
  const int32_t partition = group_partition(*request.services().image, group);
  GroupResult result = co_await ask_coordinator(request, partition, std::move(command));
  if (!result) co_return std::unexpected(result.error());
  co_return std::move(std::get<Answer>(*result));
}

}  // namespace odradek::server
