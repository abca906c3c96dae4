#include "machines/group/embedded.h"

#include <algorithm>

#include "base/arena.h"
#include "base/check.h"
#include "wire/gen/consumer_protocol_assignment.h"
#include "wire/gen/consumer_protocol_subscription.h"
#include "wire/reader.h"
#include "wire/writer.h"

namespace odradek::machines::group {

namespace {

/// Later versions only add at the end.
std::optional<int16_t> read_version(wire::Reader& reader, int16_t newest) {
  const int16_t version = reader.int16();
  if (!reader.ok() || version < 0) return std::nullopt;
  return std::min(version, newest);
}

template <class Topics>
Partitions partitions_of(const Topics& topics, const metadata::Image& image) {
  Partitions out;
  for (const auto& t : topics) {
    const metadata::Topic* topic = image.topic(t.topic);
    if (topic != nullptr) out[topic->id].insert(t.partitions.begin(), t.partitions.end());
  }
  std::erase_if(out, [](const auto& t) { return t.second.empty(); });
  return out;
}

}  // namespace

std::optional<Subscription> read_subscription(std::string_view bytes,
                                              const metadata::Image& image) {
  Arena arena;
  wire::Reader reader(as_bytes(bytes), arena);
  wire::ConsumerProtocolSubscription s;
  const auto version = read_version(reader, wire::ConsumerProtocolSubscription::kMaxVersion);
  if (!version || !s.decode(reader, *version)) return std::nullopt;
  Subscription out{.topics = {s.topics.begin(), s.topics.end()},
                   .owned = partitions_of(s.owned_partitions, image)};
  if (s.rack_id && !s.rack_id->empty()) out.rack = std::string(*s.rack_id);
  return out;
}

std::optional<EmbeddedAssignment> read_assignment(std::string_view bytes,
                                                  const metadata::Image& image) {
  if (bytes.empty()) return EmbeddedAssignment();
  Arena arena;
  wire::Reader reader(as_bytes(bytes), arena);
  wire::ConsumerProtocolAssignment a;
  const auto version = read_version(reader, wire::ConsumerProtocolAssignment::kMaxVersion);
  if (!version || !a.decode(reader, *version)) return std::nullopt;
  return EmbeddedAssignment{.partitions = partitions_of(a.assigned_partitions, image),
                            .has_user_data = a.user_data && !a.user_data->empty()};
}

std::string write_assignment(const Partitions& partitions, std::string_view subscription,
                             const metadata::Image& image) {
  Arena arena;
  wire::Reader reader(as_bytes(subscription), arena);
  const int16_t version =
      read_version(reader, wire::ConsumerProtocolAssignment::kMaxVersion).value_or(0);
  wire::ConsumerProtocolAssignment a;
  for (const auto& [id, indexes] : partitions) {
    const metadata::Topic* topic = image.topic(id);
    if (topic == nullptr) continue;
    auto& t = a.assigned_partitions.add(arena);
    t.topic = topic->name;
    for (const int32_t index : indexes) t.partitions.add(arena, index);
  }
  wire::Writer w;
  w.int16(version);
  a.encode(w, version);
  ODRADEK_CHECK(!w.error());
  return std::string(as_text(w.view()));
}

}  // namespace odradek::machines::group
