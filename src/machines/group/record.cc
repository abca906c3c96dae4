#include "machines/group/record.h"

#include <fmt/format.h>

#include "machines/group/state.h"
#include "wire/json.h"

namespace odradek::machines::group {

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
  std::string line =
      wire::stored_record_line(wire::Domain::kGroup, as_bytes(s.key),
                               s.value ? std::optional(as_bytes(*s.value)) : std::nullopt);
  if (s.producer.value >= 0) line += fmt::format(" of producer {}", s.producer.value);
  return line;
}

}  // namespace odradek::machines::group
