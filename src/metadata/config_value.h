// A setting's definition, and its value parsed and checked as Apache does, with Apache's messages.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"

namespace odradek::metadata {

/// Numbers are those of DescribeConfigs.
enum class ConfigType : int8_t {
  kUnknown = 0,
  kBoolean = 1,
  kString = 2,
  kInt = 3,
  kShort = 4,
  kLong = 5,
  kDouble = 6,
  kList = 7,
  kClass = 8,
  kPassword = 9,
};

enum class UpdateMode : uint8_t {
  kReadOnly,     // takes a restart
  kPerBroker,    // dynamic, on one broker only
  kClusterWide,  // dynamic, on one broker or as the default of all
};

enum class Importance : uint8_t { kHigh, kMedium, kLow };

/// What a value must satisfy beyond its type.
struct ConfigRule {
  enum class Kind : uint8_t {
    kNone,
    kRange,          // min and max, either may be absent
    kRangeOrMinus1,  // range, or -1
    kRealRange,      // of a double
    kOneOf,          // options
    kOneOfAnyCase,
    kListOf,  // each element one of the options
    kList,    // flags only
    kNonEmptyText,
    kNotNullText,
    kThrottledReplicas,
    kShareOffsetReset,
  };
  Kind kind = Kind::kNone;
  bool has_min = false;
  bool has_max = false;
  int64_t min = 0;
  int64_t max = 0;
  double real_min = 0;
  double real_max = 0;
  std::span<const std::string_view> options{};
  bool unique = false;     // no element twice
  bool non_empty = false;  // at least one element
  bool or_null = false;
};

/// A broker setting that supplies a topic's or group's default; its value times `factor`.
struct ConfigSynonym {
  std::string_view name;
  int64_t factor = 1;
};

struct ConfigDef {
  std::string_view name;
  ConfigType type = ConfigType::kUnknown;
  std::optional<std::string_view> fallback;  // the default as text; none: null
  bool required = false;                     // no default, must be given
  UpdateMode update = UpdateMode::kReadOnly;
  bool sensitive = false;
  bool internal = false;
  Importance importance = Importance::kMedium;
  ConfigRule rule;
  /// For topic and group settings: first one that is set wins.
  std::span<const ConfigSynonym> synonyms{};
  std::string_view documentation{};
  /// Apache's default where ours differs (kChangedDefaults in config_defs.cc).
  std::optional<std::string_view> apache_fallback{};
};

/// Null, or a value of the type: int, short, long → int64_t; string, class, password → string.
using ConfigValue =
    std::variant<std::monostate, bool, int64_t, double, std::string, std::vector<std::string>>;

/// Parses and checks. Errors are Errc::kInvalid with Apache's text, e.g. "Invalid value 0 for
/// configuration min.insync.replicas: Value must be at least 1".
Result<ConfigValue> parse_config(const ConfigDef& def, std::optional<std::string_view> text);
/// The value as Apache prints it: "true", "5", "0.5", "a,b". Null for null.
std::optional<std::string> config_text(const ConfigValue& value);
/// The elements of a list value: split at commas, trimmed; "" is the empty list. The
/// second of two equal elements is dropped.
std::vector<std::string> split_list(std::string_view text);
std::string join_list(std::span<const std::string> elements);

}  // namespace odradek::metadata
