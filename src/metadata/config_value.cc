#include "metadata/config_value.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

namespace odradek::metadata {
namespace {

std::string_view trim(std::string_view text) {
  const auto blank = [](char c) { return static_cast<unsigned char>(c) <= ' '; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
bool equal_any_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, lower, lower);
}

std::unexpected<Error> invalid(const ConfigDef& def, std::string_view value, std::string_view why) {
  return fail(Errc::kInvalid,
              fmt::format("Invalid value {} for configuration {}: {}", value, def.name, why));
}

std::string join(std::span<const std::string_view> words) {
  return fmt::format("{}", fmt::join(words, ", "));
}

std::string_view type_name(ConfigType type) {
  switch (type) {
    case ConfigType::kInt:
      return "INT";
    case ConfigType::kShort:
      return "SHORT";
    case ConfigType::kLong:
      return "LONG";
    default:
      return "DOUBLE";
  }
}

Result<ConfigValue> parse_integer(const ConfigDef& def, std::string_view text) {
  int64_t low = std::numeric_limits<int64_t>::min();
  int64_t high = std::numeric_limits<int64_t>::max();
  if (def.type == ConfigType::kInt) low = INT32_MIN, high = INT32_MAX;
  if (def.type == ConfigType::kShort) low = INT16_MIN, high = INT16_MAX;
  std::string_view digits = text;
  if (digits.size() > 1 && digits[0] == '+' && digits[1] != '-') digits.remove_prefix(1);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc{} || end != digits.data() + digits.size() || value < low || value > high) {
    return invalid(def, text, fmt::format("Not a number of type {}", type_name(def.type)));
  }
  return value;
}

Result<ConfigValue> parse_real(const ConfigDef& def, std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size())
    return invalid(def, text, "Not a number of type DOUBLE");
  return value;
}

Result<ConfigValue> parse_type(const ConfigDef& def, std::string_view text) {
  const std::string_view t = trim(text);
  switch (def.type) {
    case ConfigType::kBoolean:
      if (equal_any_case(t, "true")) return true;
      if (equal_any_case(t, "false")) return false;
      return invalid(def, t, "Expected value to be either true or false");
    case ConfigType::kInt:
    case ConfigType::kShort:
    case ConfigType::kLong:
      return parse_integer(def, t);
    case ConfigType::kDouble:
      return parse_real(def, t);
    case ConfigType::kList:
      return split_list(t);
    default:
      return std::string(t);
  }
}

Result<void> check_number(const ConfigDef& def, int64_t value) {
  const ConfigRule& rule = def.rule;
  if (rule.kind == ConfigRule::Kind::kRangeOrMinus1) {
    if (value == -1 || (value >= rule.min && value <= rule.max)) return {};
    return invalid(
        def, std::to_string(value),
        fmt::format("Value must be between {} and {} or equal to -1", rule.min, rule.max));
  }
  if (rule.has_min && value < rule.min) {
    return invalid(def, std::to_string(value), fmt::format("Value must be at least {}", rule.min));
  }
  if (rule.has_max && value > rule.max) {
    return invalid(def, std::to_string(value),
                   fmt::format("Value must be no more than {}", rule.max));
  }
  return {};
}

Result<void> check_real(const ConfigDef& def, double value) {
  const ConfigRule& rule = def.rule;
  if (rule.kind != ConfigRule::Kind::kRealRange ||
      (value >= rule.real_min && value <= rule.real_max))
    return {};
  return invalid(def, *config_text(value),
                 value < rule.real_min
                     ? fmt::format("Value must be at least {}", rule.real_min)
                     : fmt::format("Value must be no more than {}", rule.real_max));
}

/// ISO 8601 as java.time.Duration reads it, as far as it is used: PnDTnHnMn.nS, not negative.
bool is_duration(std::string_view text) {
  if (text.size() < 3 || (text[0] != 'P' && text[0] != 'p')) return false;
  text.remove_prefix(1);
  std::string_view units = "DdHhMmSs";
  bool time = false;
  bool any = false;
  size_t next_unit = 0;  // units only in this order
  while (!text.empty()) {
    if (!time && (text[0] == 'T' || text[0] == 't')) {
      time = true;
      next_unit = std::max<size_t>(next_unit, 1);
      text.remove_prefix(1);
      if (text.empty()) return false;
      continue;
    }
    const size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
    if (digits == 0 || digits == text.size()) return false;
    const size_t unit = units.find(text[digits]) / 2;
    const bool fraction = text.substr(0, digits).find('.') != std::string_view::npos;
    if (unit > 3 || unit < next_unit || (unit == 0) == time || (fraction && unit != 3))
      return false;
    next_unit = unit + 1;
    any = true;
    text.remove_prefix(digits + 1);
  }
  return any;
}

Result<void> check_text(const ConfigDef& def, const std::string& value) {
  using Kind = ConfigRule::Kind;
  const auto& options = def.rule.options;
  switch (def.rule.kind) {
    case Kind::kOneOf:
      if (std::ranges::find(options, value) != options.end()) return {};
      return invalid(def, value, "String must be one of: " + join(options));
    case Kind::kOneOfAnyCase:
      if (std::ranges::any_of(options, [&](auto o) { return equal_any_case(o, value); })) return {};
      return invalid(def, value, "String must be one of (case insensitive): " + join(options));
    case Kind::kNonEmptyText:
      if (!value.empty()) return {};
      return invalid(def, value, "String must be non-empty");
    case Kind::kShareOffsetReset:
      if (value == "latest" || value == "earliest" ||
          (value.starts_with("by_duration:") && is_duration(value.substr(12))))
        return {};
      return invalid(
          def, value,
          fmt::format("Invalid value `{}` for configuration {}. The value must be either "
                      "'earliest', 'latest' or of the format "
                      "'by_duration:<PnDTnHnMn.nS>'.",
                      value, def.name));
    default:
      return {};
  }
}

/// "partition:broker", or all ("*").
bool is_throttled_list(const std::vector<std::string>& list) {
  if (list.size() == 1 && list[0] == "*") return true;
  return std::ranges::all_of(list, [](const std::string& e) {
    const size_t colon = e.find(':');
    const auto digits = [](std::string_view s) {
      return !s.empty() && s.find_first_not_of("0123456789") == std::string_view::npos;
    };
    return colon != std::string::npos && digits(std::string_view(e).substr(0, colon)) &&
           digits(std::string_view(e).substr(colon + 1));
  });
}

Result<void> check_list(const ConfigDef& def, const std::vector<std::string>& list) {
  using Kind = ConfigRule::Kind;
  const ConfigRule& rule = def.rule;
  if (rule.kind == Kind::kThrottledReplicas) {
    if (is_throttled_list(list)) return {};
    return invalid(def, fmt::format("[{}]", fmt::join(list, ", ")),
                   fmt::format("{} must be the literal '*' or a list of replicas in the following "
                               "format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
                               def.name));
  }
  if (rule.kind == Kind::kNone) return {};
  if (list.empty() && rule.non_empty) {
    return fail(
        Errc::kInvalid,
        fmt::format("Configuration '{}' must not be empty. Valid values include: {}", def.name,
                    rule.options.empty() ? std::string("any non-empty value")
                                         : fmt::format("[{}]", join(rule.options))));
  }
  for (const std::string& e : list) {
    if (e.empty()) {
      return fail(Errc::kInvalid,
                  fmt::format("Configuration '{}' values must not be empty.", def.name));
    }
    if (rule.kind == Kind::kListOf && std::ranges::find(rule.options, e) == rule.options.end())
      return invalid(def, e, "String must be one of: " + join(rule.options));
  }
  return {};
}

/// As Java's Double.toString does.
std::string real_text(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  const double size = std::fabs(value);
  char buffer[64];
  if (value == 0 || (size >= 1e-3 && size < 1e7)) {
    const auto r = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed);
    std::string text(buffer, r.ptr);
    if (text.find('.') == std::string::npos) text += ".0";
    return text;
  }
  const auto r =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  const std::string_view text(buffer, static_cast<size_t>(r.ptr - buffer));
  const size_t e = text.find('e');
  std::string mantissa(text.substr(0, e));
  if (mantissa.find('.') == std::string::npos) mantissa += ".0";
  int exponent = 0;
  const size_t digits = e + (text[e + 1] == '+' ? 2 : 1);
  std::from_chars(text.data() + digits, text.data() + text.size(), exponent);
  return fmt::format("{}E{}", mantissa, exponent);
}

}  // namespace

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> list;
  text = trim(text);
  if (text.empty()) return list;
  while (true) {
    const size_t comma = text.find(',');
    std::string element(trim(text.substr(0, comma)));
    if (std::ranges::find(list, element) == list.end()) list.push_back(std::move(element));
    if (comma == std::string_view::npos) return list;
    text.remove_prefix(comma + 1);
  }
}

std::string join_list(std::span<const std::string> elements) {
  return fmt::format("{}", fmt::join(elements, ","));
}

Result<ConfigValue> parse_config(const ConfigDef& def, std::optional<std::string_view> text) {
  if (!text) return ConfigValue{};
  auto value = parse_type(def, *text);
  if (!value) return value;
  Result<void> checked;
  if (const auto* n = std::get_if<int64_t>(&*value)) checked = check_number(def, *n);
  if (const auto* d = std::get_if<double>(&*value)) checked = check_real(def, *d);
  if (const auto* s = std::get_if<std::string>(&*value)) checked = check_text(def, *s);
  if (const auto* l = std::get_if<std::vector<std::string>>(&*value)) checked = check_list(def, *l);
  if (!checked) return std::unexpected(checked.error());
  return value;
}

std::optional<std::string> config_text(const ConfigValue& value) {
  if (const auto* b = std::get_if<bool>(&value)) return *b ? "true" : "false";
  if (const auto* n = std::get_if<int64_t>(&value)) return std::to_string(*n);
  if (const auto* d = std::get_if<double>(&value)) return real_text(*d);
  if (const auto* s = std::get_if<std::string>(&value)) return *s;
  if (const auto* l = std::get_if<std::vector<std::string>>(&value)) return join_list(*l);
  return std::nullopt;
}

}  // namespace odradek::metadata
