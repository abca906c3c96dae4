// What classic consumers say to each other inside of JoinGroup and SyncGroup: the coordinator reads
// and writes it for members of the classic protocol in groups of the new one.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "machines/group/consumer_group.h"
#include "metadata/image.h"

namespace odradek::machines::group {

struct Subscription {
  TopicNames topics{};
  Partitions owned{};  // of topics that exist
  std::optional<std::string> rack{};
};
/// Nothing: malformed.
std::optional<Subscription> read_subscription(std::string_view bytes, const metadata::Image& image);

struct EmbeddedAssignment {
  Partitions partitions{};  // of topics that exist
  bool has_user_data = false;
};
/// No bytes are no partitions.
std::optional<EmbeddedAssignment> read_assignment(std::string_view bytes,
                                                  const metadata::Image& image);
/// In the version of the member's subscription.
std::string write_assignment(const Partitions& partitions, std::string_view subscription,
                             const metadata::Image& image);

}  // namespace odradek::machines::group
