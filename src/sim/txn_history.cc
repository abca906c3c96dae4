#include "sim/txn_history.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <iterator>

namespace odradek::sim {

namespace {

// Names and values of the simulator need no escapes.
std::string quoted(std::string_view text) { return fmt::format("\"{}\"", text); }

std::string text_of(const TxnStep& step) {
  if (step.to) {
    const std::string offset = step.offset < 0 ? "null" : fmt::format("{}", step.offset);
    const std::string value =
        step.acked ? fmt::format("[{},{}]", offset, quoted(step.value)) : quoted(step.value);
    return fmt::format("[\"send\",{},{}]", quoted(step.to->text()), value);
  }
  if (!step.polled) return "[\"poll\"]";
  std::vector<std::string> keys;
  for (const auto& [at, records] : step.read) {
    std::vector<std::string> pairs;
    for (const auto& [offset, value] : records)
      pairs.push_back(fmt::format("[{},{}]", offset, quoted(value)));
    keys.push_back(fmt::format("{}:[{}]", quoted(at.text()), fmt::join(pairs, ",")));
  }
  return fmt::format("[\"poll\",{{{}}}]", fmt::join(keys, ","));
}

std::string text_of(const std::vector<TxnStep>& steps) {
  std::vector<std::string> texts;
  for (const TxnStep& step : steps) texts.push_back(text_of(step));
  return fmt::format("[{}]", fmt::join(texts, ","));
}

}  // namespace

void TxnHistory::line(const std::string& process, std::string_view type, std::string_view f,
                      std::string_view value, std::string_view error) {
  fmt::format_to(std::back_inserter(lines_),
                 R"({{"process":"{}","time":{},"type":"{}","f":"{}","value":{})", process,
                 sim_.now().value, type, f, value);
  if (!error.empty()) lines_ += ",\"error\":" + quoted(error);
  lines_ += "}\n";
}

void TxnHistory::begins(const std::string& process, std::string_view f,
                        const std::vector<TxnStep>& steps) {
  counts_.operations++;
  line(process, "invoke", f, text_of(steps));
}

void TxnHistory::ends(const std::string& process, std::string_view f,
                      const std::vector<TxnStep>& steps, End how, std::string_view error) {
  constexpr std::string_view kTypes[] = {"ok", "fail", "info"};
  if (f == "txn") {
    (how == End::kOk ? counts_.committed : how == End::kFail ? counts_.aborted : counts_.unknown)++;
  }
  for (const TxnStep& step : steps) {
    if (step.acked) counts_.written++;
    for (const auto& [at, records] : step.read) counts_.read += records.size();
  }
  line(process, kTypes[static_cast<size_t>(how)], f, text_of(steps), error);
}

void TxnHistory::reads(const std::string& process, std::string_view f,
                       const std::vector<History::Partition>& partitions) {
  std::vector<std::string> keys;
  for (const auto& p : partitions) keys.push_back(quoted(p.text()));
  const std::string value = fmt::format("[{}]", fmt::join(keys, ","));
  line(process, "invoke", f, value);
  line(process, "ok", f, value);
}

}  // namespace odradek::sim
