// Messages as JSON, and the tables that make it possible: every message described field by field.
//
// The JSON is Kafka's own form (that of its tools and of its request log): members in lower camel
// case, int64 as plain numbers, bytes as base64, uuids as text; members that the version does not
// have are left out, and so are tagged members at their default. For logs, dump-log and tests, not
// for hot paths.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/arena.h"
#include "base/result.h"
#include "wire/message.h"

namespace odradek::wire {

enum class FieldKind : uint8_t {
  kBool,
  kInt8,
  kInt16,
  kUint16,
  kInt32,
  kUint32,
  kInt64,
  kFloat64,
  kString,
  kBytes,
  kRecordsRef,
  kUuid,
  kStruct,
};

/// How to get at a member whose C++ type the table does not know: plain, optional, and either of an
/// array. `get` is null for an absent optional.
struct FieldOps {
  const void* (*get)(const void* member);
  void* (*emplace)(void* member);
  void (*reset)(void* member);
  // Of an array (what `get` and `emplace` return):
  size_t (*size)(const void* array);
  const void* (*at)(const void* array, size_t i);
  void* (*add)(void* array, Arena& arena);
};

struct StructInfo;

struct FieldInfo {
  std::string_view name;  // as in JSON
  FieldKind kind;         // of the elements, if it is an array
  bool is_array;
  bool nullable;  // an optional; null is allowed in null_min to null_max
  bool null_by_default;
  bool ignorable;
  int16_t min;  // versions that have it
  int16_t max;
  int16_t null_min;
  int16_t null_max;
  int32_t tag;            // −1: not tagged
  int64_t default_value;  // of bools and integers
  size_t offset;
  const StructInfo* element;  // of kStruct
  const FieldOps* ops;
};

struct StructInfo {
  std::string_view name;
  std::span<const FieldInfo> fields;
};

enum class MessageKind : uint8_t { kRequest, kResponse, kHeader, kKey, kValue, kData };

/// Where a stored record lives: types are numbered anew in each.
enum class Domain : uint8_t {
  kNone,
  kMetadata,
  kGroup,
  kTransaction,
  kShare,
  kRemoteLog,
  kControl,
};

struct MessageInfo {
  std::string_view name;
  MessageKind kind;
  Domain domain;
  int16_t key;  // API key, or record type; −1
  int16_t min;
  int16_t max;
  int16_t first_flexible;
  bool unstable_latest;
  const StructInfo* root;
  /// A default message in the arena, and its codec, for callers that know the type only by name.
  void* (*make)(Arena& arena);
  void (*encode)(const void* message, Writer& w, int16_t version);
  Result<void> (*decode)(void* message, Reader& r, int16_t version);
};

/// All messages, sorted by name.
std::span<const MessageInfo* const> all_messages();
/// Null if there is none of that name.
const MessageInfo* find_message(std::string_view name);
/// The request or response (`kind`) of an API; null for keys without one.
const MessageInfo* find_message(MessageKind kind, int16_t api_key);
/// The key or value (`kind`) of a record type; null for types that do not exist.
const MessageInfo* find_record(Domain domain, MessageKind kind, int16_t type);

std::string to_json(const MessageInfo& info, const void* message, int16_t version);
/// A record of a coordinator's topic as it lies there (framed_record.h), in one line: names, the
/// value's version, JSON; or why it cannot be read.
std::string stored_record_line(Domain domain, ByteView key, std::optional<ByteView> value);
Result<void> from_json(const MessageInfo& info, void* message, std::string_view text,
                       int16_t version, Arena& arena);

template <class T>
std::string to_json(const T& message, int16_t version) {
  return to_json(T::info(), &message, version);
}
/// Fills a message from JSON; absent members take their defaults, members that the version does not
/// have are refused. What the message refers to lies in the arena.
template <class T>
Result<void> from_json(T& message, std::string_view text, int16_t version, Arena& arena) {
  return from_json(T::info(), &message, text, version, arena);
}

}  // namespace odradek::wire
