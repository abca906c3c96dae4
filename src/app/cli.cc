#include "app/cli.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>

#include "wire/errors.h"

namespace odradek::app {

std::optional<int64_t> whole_number(std::string_view text) {
  int64_t n = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (ec != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return n;
}

int64_t now_ms() {
  using std::chrono::system_clock;
  return std::chrono::floor<std::chrono::milliseconds>(system_clock::now().time_since_epoch())
      .count();
}

void add_client_options(CLI::App& command, Cli& cli) {
  command.add_option("-b,--bootstrap-server", cli.bootstrap, "host:port of a broker")
      ->capture_default_str();
  command.add_flag("--json", cli.json, "print JSON");
}

void report(Cli& cli, const std::string& message, const std::string& hint) {
  std::fflush(stdout);
  fmt::print(stderr, "odradek: {}\n", message);
  if (!hint.empty()) fmt::print(stderr, "  {}\n", hint);
  cli.exit_code = 1;
}

Result<AdminClient> connect_or_report(Cli& cli) {
  auto client = AdminClient::connect(cli.bootstrap);
  if (!client) report(cli, client.error().message, kNoBroker);
  return client;
}

void print_table(const std::vector<std::string>& head,
                 const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> width(head.size());
  for (size_t i = 0; i < head.size(); i++) width[i] = head[i].size();
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); i++) width[i] = std::max(width[i], row[i].size());
  auto line = [&](const std::vector<std::string>& cells) {
    std::string out;
    for (size_t i = 0; i < cells.size(); i++) {
      out += cells[i];
      if (i + 1 < cells.size()) out.append(width[i] - cells[i].size() + 2, ' ');
    }
    fmt::print("{}\n", out);
  };
  line(head);
  for (const auto& row : rows) line(row);
}

void print_json(const boost::json::value& value) {
  fmt::print("{}\n", boost::json::serialize(value));
}

std::string duration(int64_t ms) {
  if (ms < 0) return "-";
  constexpr int64_t kMinute = 60'000;
  constexpr int64_t kHour = 60 * kMinute;
  constexpr int64_t kDay = 24 * kHour;
  if (ms < 10'000) return fmt::format("{:.1f} s", static_cast<double>(ms) / 1e3);
  if (ms < 2 * kMinute) return fmt::format("{} s", ms / 1'000);
  if (ms < 2 * kHour) return fmt::format("{} min", ms / kMinute);
  if (ms < 2 * kDay) return fmt::format("{} h", ms / kHour);
  return fmt::format("{} days", ms / kDay);
}

std::string describe_error(int16_t code, std::optional<std::string_view> message) {
  auto error = static_cast<wire::ErrorCode>(code);
  std::string_view text = message && !message->empty() ? *message : wire::message(error);
  return fmt::format("{} ({}): {}", wire::name(error), code, text);
}

}  // namespace odradek::app
