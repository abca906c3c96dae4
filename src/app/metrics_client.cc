#include "app/metrics_client.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <optional>

#include "app/admin_client.h"

namespace odradek::app {

namespace {

constexpr size_t kPageMax = 256u << 20;

/// The quoted text at the front of `line`, without its quotes; cuts it off.
std::string unquote(std::string_view& line) {
  std::string out;
  size_t i = 1;
  for (; i < line.size() && line[i] != '"'; i++) {
    const bool escaped = line[i] == '\\' && i + 1 < line.size();
    if (escaped) i++;
    out += escaped && line[i] == 'n' ? '\n' : line[i];
  }
  line.remove_prefix(std::min(line.size(), i + 1));
  return out;
}

/// `name{label="value",…} number`.
std::optional<Series> parse(std::string_view line) {
  Series s;
  const size_t end = line.find_first_of("{ ");
  if (end == std::string_view::npos || line.starts_with('#')) return std::nullopt;
  s.name = line.substr(0, end);
  line.remove_prefix(end);
  while (!line.empty() && line[0] != ' ' && line[0] != '}') {
    line.remove_prefix(1);
    const size_t equals = line.find("=\"");
    if (equals == std::string_view::npos) return std::nullopt;
    const std::string name(line.substr(0, equals));
    line.remove_prefix(equals + 1);
    s.labels[name] = unquote(line);
  }
  const size_t space = line.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  s.value = std::strtod(std::string(line.substr(space + 1)).c_str(), nullptr);
  return s;
}

Result<std::string> get(const std::string& host, const std::string& port) {
  auto fd = dial(host, port);
  if (!fd) return std::unexpected(fd.error());
  const std::string request =
      fmt::format("GET /metrics HTTP/1.0\r\nHost: {}\r\nConnection: close\r\n\r\n", host);
  std::string text;
  std::array<char, 65'536> buffer;
  ssize_t n = ::send(*fd, request.data(), request.size(), MSG_NOSIGNAL);
  while (n > 0 && text.size() < kPageMax) {
    n = ::recv(*fd, buffer.data(), buffer.size(), 0);
    if (n > 0) text.append(buffer.data(), static_cast<size_t>(n));
  }
  ::close(*fd);
  const size_t body = text.find("\r\n\r\n");
  if (n < 0 || body == std::string::npos || !text.starts_with("HTTP/1.1 200"))
    return fail(Errc::kIo, fmt::format("{}:{} gives no metrics", host, port));
  return text.substr(body + 4);
}

}  // namespace

std::string_view Series::label(std::string_view wanted) const {
  const auto at = labels.find(wanted);
  return at == labels.end() ? std::string_view() : std::string_view(at->second);
}

Result<std::vector<Series>> read_metrics(const std::string& host, const std::string& port,
                                         std::string_view prefix) {
  auto text = get(host, port);
  if (!text) return std::unexpected(text.error());
  std::vector<Series> out;
  std::string_view rest = *text;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (!line.starts_with(prefix)) continue;
    if (auto s = parse(line)) out.push_back(std::move(*s));
  }
  return out;
}

}  // namespace odradek::app
