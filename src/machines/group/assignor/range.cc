#include <algorithm>
#include <numeric>

#include "machines/group/assignor/assignors.h"

namespace odradek::machines::group::assignor {

namespace {
/// How much of a topic is given out.
struct Share {
  int32_t subscribers = 0;
  int32_t met = 0;   // subscribers that had their turn
  int32_t next = 0;  // the first partition not given out
};
struct Run {
  int32_t first = 0, count = 0;
};

/// Static members first, by instance; then the others, by id.
bool before(const Member& a, const Member& b) {
  if (a.instance && b.instance) return java_less(*a.instance, *b.instance);
  if (a.instance || b.instance) return a.instance.has_value();
  return java_less(a.id, b.id);
}
}  // namespace

std::vector<Assignment> range(const Group& group, const Catalog& catalog,
                              const std::vector<uint32_t>& order) {
  std::vector<uint32_t> turns = order;
  std::ranges::sort(
      turns, [&](uint32_t a, uint32_t b) { return before(group.members[a], group.members[b]); });

  std::vector<std::span<const Uuid>> subscribed(group.members.size());
  std::vector<std::vector<int32_t>> topics(group.members.size());
  std::vector<Share> shares(catalog.size());
  for (uint32_t member : turns) {
    subscribed[member] = group.members[group.homogeneous ? turns[0] : member].topics;
    topics[member] = catalog.by_name(subscribed[member]);
    for (int32_t topic : topics[member]) shares[topic].subscribers++;
  }

  std::vector<Assignment> out(group.members.size());
  for (uint32_t member : turns) {
    // By the map that Apache makes for it.
    JavaMap<Run> given(JavaSet::sized_capacity(group.homogeneous ? topics[member].size()
                                                                 : subscribed[member].size()));
    for (int32_t topic : topics[member]) {
      Share& share = shares[topic];
      const int32_t partitions = catalog.partitions(topic);
      const int32_t extra = share.met++ < partitions % share.subscribers ? 1 : 0;
      const int32_t count = partitions / share.subscribers + extra;
      if (count > 0) given.put(topic, catalog.id_hash(topic)) = {share.next, count};
      share.next += count;
    }
    out[member].reserve(given.size());
    given.for_each([&](int32_t topic, const Run& run) {
      TopicPartitions& to = out[member].emplace_back(catalog.id(topic));
      to.partitions.resize(static_cast<size_t>(run.count));
      std::iota(to.partitions.begin(), to.partitions.end(), run.first);
    });
  }
  return out;
}

}  // namespace odradek::machines::group::assignor
