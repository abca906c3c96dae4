#include "metadata/record.h"

#include <fmt/format.h>

#include "metadata/record_types.h"
#include "wire/framed_record.h"
#include "wire/json.h"

namespace odradek::metadata {

Result<Record> Record::from_value(ByteView value) {
  Arena arena;
  wire::Reader reader(value, arena);
  const auto header = wire::decode_framed_header(reader);
  if (!header) return std::unexpected(header.error());
  return Record{static_cast<int16_t>(header->type), header->version,
                std::string(as_text(reader.rest()))};
}

std::string Record::to_value() const {
  wire::Writer writer;
  writer.uvarint(1);
  writer.uvarint(static_cast<uint32_t>(type));
  writer.uvarint(static_cast<uint32_t>(version));
  writer.raw(as_bytes(body));
  return std::string(as_text(writer.view()));
}

std::unexpected<Error> Record::trailing() const {
  return fail(Errc::kCorrupt, fmt::format("bytes follow a {} v{}", record_name(type), version));
}

std::string Record::to_line() const {
  std::string line;
  const bool known = with_record_type(type, [&]<class T>() {
    Arena arena;
    const auto message = decode<T>(arena);
    line = fmt::format("{} v{} {}", T::kName, version,
                       message ? wire::to_json(*message, version) : message.error().message);
  });
  if (!known) line = fmt::format("record type {} v{}, {} bytes", type, version, body.size());
  return line;
}

std::string_view record_name(int16_t type) {
  std::string_view name;
  with_record_type(type, [&]<class T>() { name = T::kName; });
  return name;
}

}  // namespace odradek::metadata
