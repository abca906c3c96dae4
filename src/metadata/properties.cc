#include "metadata/properties.h"

#include <fmt/format.h>

namespace odradek::metadata {
namespace {

bool blank(char c) { return c == ' ' || c == '\t' || c == '\f'; }

std::string_view strip(std::string_view text) {
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  return text;
}

/// Takes the next natural line; \n, \r and \r\n end it.
std::string_view take_line(std::string_view& text) {
  const size_t end = text.find_first_of("\r\n");
  const std::string_view line = text.substr(0, end);
  if (end == std::string_view::npos) {
    text = {};
  } else {
    text.remove_prefix(end + (text.substr(end).starts_with("\r\n") ? 2 : 1));
  }
  return line;
}

/// Whether it ends in an odd number of backslashes: the next line continues it.
bool continues(std::string_view line) {
  size_t n = 0;
  while (n < line.size() && line[line.size() - 1 - n] == '\\') n++;
  return n % 2 == 1;
}

void append_utf8(std::string& out, uint32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

/// Four hexadecimal digits at the front; nothing if they are not.
std::optional<uint32_t> hex4(std::string_view text) {
  if (text.size() < 4) return std::nullopt;
  uint32_t value = 0;
  for (const char c : text.substr(0, 4)) {
    const uint32_t digit = c >= '0' && c <= '9'   ? static_cast<uint32_t>(c - '0')
                           : c >= 'a' && c <= 'f' ? static_cast<uint32_t>(c - 'a' + 10)
                           : c >= 'A' && c <= 'F' ? static_cast<uint32_t>(c - 'A' + 10)
                                                  : 99;
    if (digit == 99) return std::nullopt;
    value = value * 16 + digit;
  }
  return value;
}

Result<std::string> unescape(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    if (text[0] != '\\' || text.size() == 1) {
      if (text[0] != '\\') out += text[0];
      text.remove_prefix(1);
      continue;
    }
    const char c = text[1];
    text.remove_prefix(2);
    if (c != 'u') {
      out += c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c == 'f' ? '\f' : c;
      continue;
    }
    auto code = hex4(text);
    if (!code) return fail(Errc::kInvalid, "Malformed \\uxxxx encoding");
    text.remove_prefix(4);
    if (*code >= 0xD800 && *code < 0xDC00 && text.starts_with("\\u")) {
      const auto second = hex4(text.substr(2));
      if (second && *second >= 0xDC00 && *second < 0xE000) {
        code = 0x10000 + ((*code - 0xD800) << 10) + (*second - 0xDC00);
        text.remove_prefix(6);
      }
    }
    append_utf8(out, *code);
  }
  return out;
}

/// Where the key of a logical line ends: the first separator that is not escaped.
size_t key_end(std::string_view line) {
  for (size_t i = 0; i < line.size(); i++) {
    if (line[i] == '\\') {
      i++;
    } else if (line[i] == '=' || line[i] == ':' || blank(line[i])) {
      return i;
    }
  }
  return line.size();
}

}  // namespace

Result<Properties> parse_properties(std::string_view text) {
  Properties properties;
  int number = 0;
  while (!text.empty()) {
    number++;
    const int first_line = number;
    std::string logical(strip(take_line(text)));
    if (logical.empty() || logical[0] == '#' || logical[0] == '!') continue;
    while (continues(logical)) {
      logical.pop_back();
      if (text.empty()) break;
      number++;
      logical += strip(take_line(text));
    }
    const size_t end = key_end(logical);
    std::string_view rest = strip(std::string_view(logical).substr(end));
    if (!rest.empty() && (rest[0] == '=' || rest[0] == ':')) rest = strip(rest.substr(1));
    auto key = unescape(std::string_view(logical).substr(0, end));
    auto value = unescape(rest);
    if (!key || !value) {
      return fail(Errc::kInvalid,
                  fmt::format("line {}: {}", first_line, (key ? value : key).error().message));
    }
    properties.insert_or_assign(std::move(*key), std::move(*value));
  }
  return properties;
}

Result<std::pair<std::string, std::string>> parse_override(std::string_view text) {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0)
    return fail(Errc::kInvalid, fmt::format("an override is name=value, not '{}'", text));
  return std::pair(std::string(text.substr(0, equals)), std::string(text.substr(equals + 1)));
}

}  // namespace odradek::metadata
