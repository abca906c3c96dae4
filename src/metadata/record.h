// Record: one metadata record as it lies in `__cluster_metadata`, encoded and owned.
//
// Machines, the log and the image exchange these values. The body is the message in its version,
// without the frame (`wire/framed_record.h`) that goes before it on disk.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/result.h"
#include "wire/reader.h"
#include "wire/writer.h"

namespace odradek::metadata {

struct Record {
  int16_t type = 0;     // T::kRecordType
  int16_t version = 0;  // of the body
  std::string body;

  bool operator==(const Record&) const = default;

  /// Encodes `message`. It must be expressible in `version`: what we write ourselves always is.
  template <class T>
  static Record of(const T& message, int16_t version) {
    wire::Writer writer;
    message.encode(writer, version);
    ODRADEK_CHECK(!writer.error());
    const ByteView bytes = writer.view();
    return Record{static_cast<int16_t>(T::kRecordType), version, std::string(as_text(bytes))};
  }
  /// Takes it apart. Strings of the result are views into this record, arrays lie in `arena`.
  /// `T` must be of this type.
  template <class T>
  Result<T> decode(Arena& arena) const {
    ODRADEK_CHECK(type == T::kRecordType);
    T message;
    wire::Reader reader(as_bytes(body), arena);
    if (auto r = message.decode(reader, version); !r) return std::unexpected(r.error());
    if (reader.remaining() != 0) return trailing();
    return message;
  }

  /// Reads a stored value: frame, type, version, body. The type may be one that we do not know.
  static Result<Record> from_value(ByteView value);
  /// The value to store.
  std::string to_value() const;
  /// Bytes that `to_value` makes, as a limit check needs them; may be a few too many.
  size_t value_size_max() const { return body.size() + 1 + 3 + 3; }

  /// One line of JSON for people and tests: `TopicRecord v0 {"name":"a",...}`.
  std::string to_line() const;

 private:
  std::unexpected<Error> trailing() const;
};

/// Message name of a metadata record type ("TopicRecord"); empty when there is no such type.
std::string_view record_name(int16_t type);

}  // namespace odradek::metadata
