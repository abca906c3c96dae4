#include "sim/group_assign.h"

#include <algorithm>

#include "base/arena.h"
#include "wire/framed_record.h"
#include "wire/gen/consumer_protocol_assignment.h"
#include "wire/gen/consumer_protocol_subscription.h"
#include "wire/reader.h"
#include "wire/writer.h"

namespace odradek::sim {

namespace {

ByteBuffer bytes_of(wire::Writer& writer) {
  const ByteView view = writer.view();
  return ByteBuffer(view.begin(), view.end());
}

template <class Lists>
void add_partitions(Arena& arena, const std::set<History::Partition>& partitions, Lists& lists) {
  for (const auto& p : partitions) {
    if (lists.empty() || lists.back().topic != p.topic) lists.add(arena).topic = p.topic;
    lists.back().partitions.add(arena) = p.index;
  }
}

template <class Lists>
std::set<History::Partition> partitions_of(const Lists& lists) {
  std::set<History::Partition> out;
  for (const auto& topic : lists) {
    for (const int32_t index : topic.partitions) out.insert({std::string(topic.topic), index});
  }
  return out;
}

/// Who had a partition last, of those that say so.
std::map<History::Partition, std::string> owners(
    const std::map<std::string, Subscription>& members) {
  std::map<History::Partition, std::string> owner;
  for (const auto& [id, member] : members) {
    for (const auto& p : member.owned) {
      const auto [at, first] = owner.try_emplace(p, id);
      if (!first && members.at(at->second).generation < member.generation) at->second = id;
    }
  }
  return owner;
}

Assignment assign_range(const std::vector<KnownTopic>& topics,
                        const std::map<std::string, Subscription>& members) {
  Assignment out;
  for (const KnownTopic& topic : topics) {
    std::vector<std::string> takers;
    for (const auto& [id, member] : members) {
      if (member.topics.contains(topic.name)) takers.push_back(id);
    }
    if (takers.empty()) continue;
    const auto count = static_cast<size_t>(topic.partitions);
    const size_t each = count / takers.size();
    const size_t more = count % takers.size();
    int32_t next = 0;
    for (size_t i = 0; i < takers.size(); i++) {
      for (size_t n = each + (i < more ? 1 : 0); n > 0; n--)
        out[takers[i]].insert({topic.name, next++});
    }
  }
  return out;
}

Assignment assign_cooperative(const std::vector<KnownTopic>& topics,
                              const std::map<std::string, Subscription>& members) {
  const auto owner = owners(members);
  std::map<std::string, size_t> load;
  Assignment out;
  for (const KnownTopic& topic : topics) {
    std::vector<std::string> takers;
    for (const auto& [id, member] : members) {
      if (member.topics.contains(topic.name)) takers.push_back(id);
    }
    if (takers.empty()) continue;
    const size_t most = (static_cast<size_t>(topic.partitions) + takers.size() - 1) / takers.size();
    std::map<std::string, size_t> mine;
    for (int32_t i = 0; i < topic.partitions; i++) {
      const History::Partition p{topic.name, i};
      const auto had = owner.find(p);
      const bool stays = had != owner.end() && std::ranges::count(takers, had->second) != 0 &&
                         mine[had->second] < most;
      const auto less = [&](const std::string& a, const std::string& b) {
        return std::pair(mine[a], load[a]) < std::pair(mine[b], load[b]);
      };
      const std::string to = stays ? had->second : *std::ranges::min_element(takers, less);
      mine[to]++;
      load[to]++;
      // Whoever has it gives it back first, and comes again.
      if (had == owner.end() || had->second == to) out[to].insert(p);
    }
  }
  return out;
}

}  // namespace

ByteBuffer encode(const Subscription& subscription, int16_t version) {
  Arena arena;
  wire::ConsumerProtocolSubscription body;
  for (const std::string& topic : subscription.topics) body.topics.add(arena) = topic;
  if (version >= 1) add_partitions(arena, subscription.owned, body.owned_partitions);
  if (version >= 2) body.generation_id = subscription.generation;
  wire::Writer writer;
  wire::encode_record_value(writer, body, version);
  return bytes_of(writer);
}

Result<Subscription> decode_subscription(ByteView bytes) {
  Arena arena;
  wire::Reader reader(bytes, arena);
  const auto version = wire::decode_record_prefix(reader);
  if (!version) return std::unexpected(version.error());
  wire::ConsumerProtocolSubscription body;
  if (auto r = body.decode(reader, *version); !r) return std::unexpected(r.error());
  Subscription out;
  out.topics.insert(body.topics.begin(), body.topics.end());
  out.owned = partitions_of(body.owned_partitions);
  out.generation = body.generation_id;
  return out;
}

ByteBuffer encode_assignment(const std::set<History::Partition>& partitions) {
  Arena arena;
  wire::ConsumerProtocolAssignment body;
  add_partitions(arena, partitions, body.assigned_partitions);
  wire::Writer writer;
  wire::encode_record_value(writer, body, 0);
  return bytes_of(writer);
}

Result<std::set<History::Partition>> decode_assignment(ByteView bytes) {
  if (bytes.empty()) return std::set<History::Partition>();
  Arena arena;
  wire::Reader reader(bytes, arena);
  const auto version = wire::decode_record_prefix(reader);
  if (!version) return std::unexpected(version.error());
  wire::ConsumerProtocolAssignment body;
  if (auto r = body.decode(reader, *version); !r) return std::unexpected(r.error());
  return partitions_of(body.assigned_partitions);
}

Assignment assign(const std::string& protocol, const std::vector<KnownTopic>& topics,
                  const std::map<std::string, Subscription>& members) {
  return protocol == kRange ? assign_range(topics, members) : assign_cooperative(topics, members);
}

}  // namespace odradek::sim
