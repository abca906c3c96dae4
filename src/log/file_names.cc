#include "log/file_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace odradek::log {

namespace {
constexpr size_t kDigits = 20;
}

std::string file_name(Offset base, std::string_view suffix) {
  return fmt::format("{:020}{}", base.value, suffix);
}

std::optional<ParsedName> parse_file_name(std::string_view name) {
  if (name.size() <= kDigits || name[kDigits] != '.') return std::nullopt;
  std::string_view digits = name.substr(0, kDigits);
  if (!std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; })) {
    return std::nullopt;
  }
  int64_t base = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), base);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return ParsedName{Offset(base), name.substr(kDigits)};
}

}  // namespace odradek::log
