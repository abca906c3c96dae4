// How stored records carry their type and version.
//
// - metadata and remote-log records: the value is uvarint 1 (frame version), uvarint record type,
//   uvarint version, body; the key is null.
// - group, transaction and share records: the key is int16 record type, key body (version 0); the
// value
//   is int16 version, value body; a null value deletes.
#pragma once

#include <fmt/format.h>

#include <cstdint>

#include "wire/reader.h"
#include "wire/writer.h"

namespace odradek::wire {

struct FramedHeader {
  int32_t type = 0;
  int16_t version = 0;
};

/// Writes a metadata record's value.
template <class T>
void encode_framed(Writer& w, const T& record, int16_t version) {
  w.uvarint(1);
  w.uvarint(static_cast<uint32_t>(T::kRecordType));
  w.uvarint(static_cast<uint32_t>(version));
  record.encode(w, version);
}

/// Reads the prefix and leaves the reader at the body; decode that by type and version, then
/// `expect_end`.
inline Result<FramedHeader> decode_framed_header(Reader& r) {
  const uint32_t frame = r.uvarint();
  const uint32_t type = r.uvarint();
  const uint32_t version = r.uvarint();
  if (!r.ok()) return fail(Errc::kCorrupt, "a record shorter than its prefix");
  if (frame != 1) return fail(Errc::kUnsupported, fmt::format("record frame version {}", frame));
  if (type > INT16_MAX || version > INT16_MAX)
    return fail(Errc::kCorrupt, fmt::format("record type {}, version {}", type, version));
  return FramedHeader{static_cast<int32_t>(type), static_cast<int16_t>(version)};
}

/// Writes the key of a group, transaction or share record.
template <class Key>
void encode_record_key(Writer& w, const Key& key) {
  w.int16(Key::kRecordType);
  key.encode(w, 0);
}
/// Writes its value.
template <class Value>
void encode_record_value(Writer& w, const Value& value, int16_t version) {
  w.int16(version);
  value.encode(w, version);
}
/// Reads the int16 before a key (the record type) or a value (its version); the reader is then at
/// the body.
inline Result<int16_t> decode_record_prefix(Reader& r) {
  const int16_t n = r.int16();
  if (!r.ok()) return fail(Errc::kCorrupt, "a record shorter than its prefix");
  if (n < 0) return fail(Errc::kCorrupt, fmt::format("a record prefix of {}", n));
  return n;
}

}  // namespace odradek::wire
