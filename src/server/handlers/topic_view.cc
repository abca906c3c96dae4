#include "server/handlers/topic_view.h"

#include <algorithm>

namespace odradek::server {

bool is_internal_topic(std::string_view name) {
  return name == "__consumer_offsets" || name == "__transaction_state" ||
         name == "__share_group_state";
}

bool is_valid_topic_name(std::string_view name) {
  if (name.empty() || name.size() > 249 || name == "." || name == "..") return false;
  return std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
}

Array<int32_t> broker_ids(Arena& arena, std::span<const BrokerId> ids) {
  Array<int32_t> out;
  out.reserve(arena, ids.size());
  for (BrokerId id : ids) out.add(arena, id.value);
  return out;
}

Array<int32_t> offline_replicas(Arena& arena, const metadata::Image& image,
                                const metadata::Partition& partition, std::string_view listener) {
  Array<int32_t> out;
  for (BrokerId id : partition.replicas) {
    const metadata::Broker* broker = image.broker(id);
    if (!broker || broker->fenced || !broker->endpoint(listener) ||
        !broker->has_online_dir(partition.directory(id)))
      out.add(arena, id.value);
  }
  return out;
}

Array<int32_t> alive_ids(Arena& arena, const metadata::Image& image, std::span<const BrokerId> ids,
                         std::string_view listener) {
  Array<int32_t> out;
  for (BrokerId id : ids) {
    const metadata::Broker* broker = image.broker(id);
    if (broker && !broker->fenced && broker->endpoint(listener)) out.add(arena, id.value);
  }
  return out;
}

const metadata::Endpoint* leader_endpoint(const metadata::Image& image,
                                          const metadata::Partition& partition,
                                          std::string_view listener) {
  const metadata::Broker* broker = image.broker(partition.leader);
  return broker ? broker->endpoint(listener) : nullptr;
}

int32_t any_alive_broker(const metadata::Image& image, io::Random& random) {
  auto alive = [](const auto& entry) { return !entry.second->fenced; };
  const auto count = std::ranges::count_if(image.brokers, alive);
  if (count == 0) return -1;
  uint64_t skip = count == 1 ? 0 : random.next() % static_cast<uint64_t>(count);
  for (const auto& entry : image.brokers)
    if (alive(entry) && skip-- == 0) return entry.first.value;
  return -1;
}

}  // namespace odradek::server
