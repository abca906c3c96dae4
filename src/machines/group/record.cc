#include "machines/group/record.h"

#include <fmt/format.h>

#include "base/arena.h"
#include "machines/group/state.h"
#include "wire/json.h"
#include "wire/reader.h"

namespace odradek::machines::group {

namespace {

/// Body of a key (version 0) or value as JSON, with the message's name.
std::string part(wire::MessageKind kind, int16_t type, ByteView bytes) {
  Arena arena;
  wire::Reader reader(bytes, arena);
  const auto prefix = wire::decode_record_prefix(reader);
  if (!prefix) return prefix.error().message;
  const bool is_key = kind == wire::MessageKind::kKey;
  const auto* info = wire::find_record(wire::Domain::kGroup, kind, type);
  if (info == nullptr) return fmt::format("type {}", type);
  const int16_t version = is_key ? int16_t{0} : *prefix;
  void* message = info->make(arena);
  if (const auto r = info->decode(message, reader, version); !r) return r.error().message;
  const std::string json = wire::to_json(*info, message, version);
  return is_key ? fmt::format("{} {}", info->name, json)
                : fmt::format("{} v{} {}", info->name, version, json);
}

}  // namespace

std::string Record::to_line() const {
  if (const auto* marker = std::get_if<Marker>(&body))
    return fmt::format("producer {} {}", marker->producer.value,
                       marker->committed ? "commits" : "aborts");
  if (const auto* soft = std::get_if<SoftGroup>(&body))
    return fmt::format("soft {} {}", soft->group, soft->state->to_line());
  if (const auto* metadata = std::get_if<SoftMetadata>(&body))
    return fmt::format(
        "soft metadata{}{}",
        metadata->image ? fmt::format(" at {}", metadata->image->provenance.offset.value) : "",
        metadata->settings ? ", settings" : "");
  if (const auto* checked = std::get_if<SoftChecked>(&body))
    return fmt::format("soft {} compared with metadata {}", checked->group,
                       checked->metadata_version);
  const Stored& s = stored();
  if (s.key.size() < 2) return "a key without a type";
  const auto type = load_be<int16_t>(as_bytes(s.key).data());
  std::string line = part(wire::MessageKind::kKey, type, as_bytes(s.key));
  line += s.value ? " " + part(wire::MessageKind::kValue, type, as_bytes(*s.value)) : " null";
  if (s.producer.value >= 0) line += fmt::format(" of producer {}", s.producer.value);
  return line;
}

}  // namespace odradek::machines::group
