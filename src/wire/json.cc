#include "wire/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <boost/json.hpp>
#include <cmath>
#include <limits>
#include <optional>

#include "base/bytes.h"
#include "base/uuid.h"
#include "wire/framed_record.h"

namespace odradek::wire {

namespace {

namespace json = boost::json;

constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const void* member(const void* object, const FieldInfo& f) {
  return f.ops->get(static_cast<const uint8_t*>(object) + f.offset);
}

template <class T>
const T& as(const void* p) {
  return *static_cast<const T*>(p);
}

/// Calls f with the integer type of a kind; false for kinds that are no integer.
template <class F>
bool with_integer(FieldKind kind, F f) {
  switch (kind) {
    case FieldKind::kInt8:
      f(int8_t{});
      return true;
    case FieldKind::kInt16:
      f(int16_t{});
      return true;
    case FieldKind::kUint16:
      f(uint16_t{});
      return true;
    case FieldKind::kInt32:
      f(int32_t{});
      return true;
    case FieldKind::kUint32:
      f(uint32_t{});
      return true;
    case FieldKind::kInt64:
      f(int64_t{});
      return true;
    default:
      return false;
  }
}

bool struct_is_default(const StructInfo& s, const void* object);

/// Whether a present, single value is what the field has when nothing is said.
bool value_is_default(const FieldInfo& f, const void* value) {
  bool same = false;
  if (with_integer(f.kind,
                   [&](auto t) { same = int64_t{as<decltype(t)>(value)} == f.default_value; }))
    return same;
  switch (f.kind) {
    case FieldKind::kBool:
      return as<bool>(value) == (f.default_value != 0);
    case FieldKind::kFloat64:
      return std::bit_cast<uint64_t>(as<double>(value)) == 0;
    case FieldKind::kString:
      return as<std::string_view>(value).empty();
    case FieldKind::kBytes:
      return as<ByteView>(value).empty();
    case FieldKind::kRecordsRef:
      return as<RecordsRef>(value).empty();
    case FieldKind::kUuid:
      return as<Uuid>(value).is_zero();
    default:
      return struct_is_default(*f.element, value);
  }
}

bool field_is_default(const FieldInfo& f, const void* object) {
  const void* value = member(object, f);
  if (value == nullptr) return f.null_by_default;
  if (f.null_by_default) return false;
  if (f.is_array) return f.ops->size(value) == 0;
  return value_is_default(f, value);
}

bool struct_is_default(const StructInfo& s, const void* object) {
  return std::all_of(s.fields.begin(), s.fields.end(),
                     [&](const FieldInfo& f) { return field_is_default(f, object); });
}

// -- writing --------------------------------------------------------------------------------------

void put_string(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      default:
        if (static_cast<uint8_t>(c) < 0x20)
          out += fmt::format("\\u{:04x}", static_cast<int>(c));
        else
          out += c;
    }
  }
  out += '"';
}

/// Base64 of one piece; pieces that are not memory show as their length.
void put_bytes(std::string& out, ByteView bytes) {
  out += '"';
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t n = std::min<size_t>(3, bytes.size() - i);
    uint32_t v = static_cast<uint32_t>(bytes[i]) << 16;
    if (n > 1) v |= static_cast<uint32_t>(bytes[i + 1]) << 8;
    if (n > 2) v |= bytes[i + 2];
    for (size_t d = 0; d < 4; d++) out += d <= n ? kDigits[(v >> (18 - 6 * d)) & 63] : '=';
  }
  out += '"';
}

void put_records(std::string& out, const RecordsRef& records) {
  ByteBuffer all;
  for (const Piece& p : records.pieces) {
    if (p.source) {
      put_string(out, fmt::format("{} bytes", records.size()));
      return;
    }
    all.insert(all.end(), p.memory.begin(), p.memory.end());
  }
  put_bytes(out, all);
}

void put_struct(std::string& out, const StructInfo& s, const void* object, int16_t version);

void put_value(std::string& out, const FieldInfo& f, const void* value, int16_t version) {
  if (with_integer(f.kind, [&](auto t) { out += fmt::format("{}", as<decltype(t)>(value)); }))
    return;
  switch (f.kind) {
    case FieldKind::kBool:
      out += as<bool>(value) ? "true" : "false";
      break;
    case FieldKind::kFloat64:
      // JSON has no infinities; null is what most writers make of them.
      out += std::isfinite(as<double>(value)) ? fmt::format("{:#}", as<double>(value)) : "null";
      break;
    case FieldKind::kString:
      put_string(out, as<std::string_view>(value));
      break;
    case FieldKind::kBytes:
      put_bytes(out, as<ByteView>(value));
      break;
    case FieldKind::kRecordsRef:
      put_records(out, as<RecordsRef>(value));
      break;
    case FieldKind::kUuid:
      put_string(out, as<Uuid>(value).to_string());
      break;
    default:
      put_struct(out, *f.element, value, version);
  }
}

void put_struct(std::string& out, const StructInfo& s, const void* object, int16_t version) {
  out += '{';
  bool first = true;
  for (const FieldInfo& f : s.fields) {
    if (version < f.min || version > f.max) continue;
    if (f.tag >= 0 && field_is_default(f, object)) continue;
    if (!std::exchange(first, false)) out += ',';
    put_string(out, f.name);
    out += ':';
    const void* value = member(object, f);
    if (value == nullptr) {
      out += "null";
    } else if (f.is_array) {
      out += '[';
      for (size_t i = 0; i < f.ops->size(value); i++) {
        if (i != 0) out += ',';
        put_value(out, f, f.ops->at(value, i), version);
      }
      out += ']';
    } else {
      put_value(out, f, value, version);
    }
  }
  out += '}';
}

// -- reading --------------------------------------------------------------------------------------

std::optional<ByteView> decode_base64(std::string_view text, Arena& arena) {
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  if (text.size() % 4 == 1) return std::nullopt;
  const size_t size = text.size() * 3 / 4;
  auto* out = static_cast<uint8_t*>(arena.allocate(size, 1));
  uint32_t bits = 0;
  size_t have = 0;
  size_t at = 0;
  for (const char c : text) {
    const auto digit = std::string_view(kDigits).find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    have += 6;
    if (have >= 8) {
      have -= 8;
      out[at++] = static_cast<uint8_t>(bits >> have);
    }
  }
  return ByteView(out, at);
}

class JsonReader {
 public:
  JsonReader(int16_t version, Arena& arena) : version_(version), arena_(arena) {}

  Result<void> structure(const StructInfo& s, void* object, const json::value& v) {
    const json::object* members = v.if_object();
    if (members == nullptr) return wrong(s.name, "an object");
    for (const auto& [key, value] : *members) {
      const auto* f =
          std::find_if(s.fields.data(), s.fields.data() + s.fields.size(),
                       [&](const FieldInfo& x) { return x.name == std::string_view(key); });
      if (f == s.fields.data() + s.fields.size() || version_ < f->min || version_ > f->max)
        return fail(Errc::kInvalid, fmt::format("{} version {} has no member {}", s.name, version_,
                                                std::string_view(key)));
      if (auto r = field(*f, static_cast<uint8_t*>(object) + f->offset, value); !r) return r;
    }
    return {};
  }

 private:
  static std::unexpected<Error> wrong(std::string_view name, std::string_view wanted) {
    return fail(Errc::kInvalid, fmt::format("{} must be {}", name, wanted));
  }

  Result<void> field(const FieldInfo& f, void* at, const json::value& v) {
    if (v.is_null()) {
      if (!f.nullable || version_ < f.null_min || version_ > f.null_max)
        return wrong(f.name, "something, not null");
      f.ops->reset(at);
      return {};
    }
    void* target = f.ops->emplace(at);
    if (!f.is_array) return value(f, target, v);
    const json::array* elements = v.if_array();
    if (elements == nullptr) return wrong(f.name, "an array");
    for (const json::value& e : *elements)
      if (auto r = value(f, f.ops->add(target, arena_), e); !r) return r;
    return {};
  }

  template <class T>
  Result<void> integer(const FieldInfo& f, void* target, const json::value& v) {
    if (!v.is_int64() || v.get_int64() < int64_t{std::numeric_limits<T>::min()} ||
        v.get_int64() > int64_t{std::numeric_limits<T>::max()})
      return wrong(f.name, "a whole number in its range");
    *static_cast<T*>(target) = static_cast<T>(v.get_int64());
    return {};
  }

  Result<void> value(const FieldInfo& f, void* target, const json::value& v) {
    Result<void> done;
    if (with_integer(f.kind, [&](auto t) { done = integer<decltype(t)>(f, target, v); }))
      return done;
    switch (f.kind) {
      case FieldKind::kBool:
        if (!v.is_bool()) return wrong(f.name, "true or false");
        *static_cast<bool*>(target) = v.get_bool();
        return {};
      case FieldKind::kFloat64:
        if (!v.is_number()) return wrong(f.name, "a number");
        *static_cast<double*>(target) = v.to_number<double>();
        return {};
      case FieldKind::kStruct:
        return structure(*f.element, target, v);
      default:
        return text(f, target, v);
    }
  }

  /// Kinds that are strings in JSON.
  Result<void> text(const FieldInfo& f, void* target, const json::value& v) {
    if (!v.is_string()) return wrong(f.name, "a string");
    const std::string_view s(v.get_string());
    if (f.kind == FieldKind::kString) {
      *static_cast<std::string_view*>(target) = arena_.copy(s);
      return {};
    }
    if (f.kind == FieldKind::kUuid) {
      const auto id = Uuid::parse(s);
      if (!id) return wrong(f.name, "a uuid");
      *static_cast<Uuid*>(target) = *id;
      return {};
    }
    const auto bytes = decode_base64(s, arena_);
    if (!bytes) return wrong(f.name, "base64");
    if (f.kind == FieldKind::kBytes) {
      *static_cast<ByteView*>(target) = *bytes;
    } else if (!bytes->empty()) {
      // Never destroyed: a piece of memory has no source.
      auto* piece =
          new (arena_.allocate(sizeof(Piece), alignof(Piece))) Piece{*bytes, nullptr, 0, 0};
      *static_cast<RecordsRef*>(target) = {{piece, 1}};
    }
    return {};
  }

  int16_t version_;
  Arena& arena_;
};

}  // namespace

const MessageInfo* find_message(std::string_view name) {
  const auto all = all_messages();
  const auto it =
      std::lower_bound(all.begin(), all.end(), name,
                       [](const MessageInfo* m, std::string_view n) { return m->name < n; });
  return it != all.end() && (*it)->name == name ? *it : nullptr;
}

const MessageInfo* find_record(Domain domain, MessageKind kind, int16_t type) {
  for (const MessageInfo* m : all_messages())
    if (m->domain == domain && m->kind == kind && m->key == type) return m;
  return nullptr;
}

const MessageInfo* find_message(MessageKind kind, int16_t api_key) {
  return find_record(Domain::kNone, kind, api_key);
}

std::string to_json(const MessageInfo& info, const void* message, int16_t version) {
  std::string out;
  put_struct(out, *info.root, message, version);
  return out;
}

namespace {
/// A key (its body has version 0) or a value, with the message's name.
std::string stored_part(Domain domain, MessageKind kind, int16_t type, ByteView bytes) {
  Arena arena;
  Reader reader(bytes, arena);
  const auto prefix = decode_record_prefix(reader);
  if (!prefix) return prefix.error().message;
  const bool is_key = kind == MessageKind::kKey;
  const MessageInfo* info = find_record(domain, kind, type);
  if (info == nullptr) return fmt::format("type {}", type);
  const int16_t version = is_key ? int16_t{0} : *prefix;
  void* message = info->make(arena);
  if (const auto r = info->decode(message, reader, version); !r) return r.error().message;
  const std::string json = to_json(*info, message, version);
  return is_key ? fmt::format("{} {}", info->name, json)
                : fmt::format("{} v{} {}", info->name, version, json);
}
}  // namespace

std::string stored_record_line(Domain domain, ByteView key, std::optional<ByteView> value) {
  if (key.size() < 2) return "a key without a type";
  const auto type = load_be<int16_t>(key.data());
  return stored_part(domain, MessageKind::kKey, type, key) +
         (value ? " " + stored_part(domain, MessageKind::kValue, type, *value) : " null");
}

Result<void> from_json(const MessageInfo& info, void* message, std::string_view text,
                       int16_t version, Arena& arena) {
  boost::system::error_code error;
  const json::value v = json::parse(json::string_view(text.data(), text.size()), error);
  if (error) return fail(Errc::kInvalid, fmt::format("{}: {}", info.name, error.message()));
  return JsonReader(version, arena).structure(*info.root, message, v);
}

}  // namespace odradek::wire
