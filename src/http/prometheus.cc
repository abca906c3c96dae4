#include "http/prometheus.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <vector>

namespace odradek::http {

namespace {

/// All series of one name, in order of their labels.
struct Family {
  std::string help;
  MetricKind kind = MetricKind::kCounter;
  bool is_histogram = false;
  std::map<std::string, uint64_t> numbers;
  struct Sums {
    std::array<uint64_t, Histogram::kBuckets> buckets{};
    uint64_t sum_ns = 0;
  };
  std::map<std::string, Sums> histograms;
};
using Families = std::map<std::string, Family>;

void collect(const MetricSet& set, Families& families) {
  for (const MetricSet::NamedCounter& c : set.counters()) {
    Family& f = families[c.name];
    f.help = c.help;
    f.kind = c.kind;
    f.numbers[c.labels] += c.counter.value();
  }
  for (const MetricSet::NamedHistogram& h : set.histograms()) {
    Family& f = families[h.name];
    f.help = h.help;
    f.is_histogram = true;
    Family::Sums& sums = f.histograms[h.labels];
    sums.sum_ns += h.histogram.sum_ns();
    for (int i = 0; i < Histogram::kBuckets; i++)
      sums.buckets[static_cast<size_t>(i)] += h.histogram.bucket(i);
  }
}

/// One histogram. The last bucket of ours takes the rest, which is Prometheus' +Inf. Series that
/// have never been used are left out: 5 phases of every API would drown the rest.
void write_histogram(std::string& out, const std::string& name, const std::string& labels,
                     const Family::Sums& sums) {
  uint64_t count = 0;
  for (uint64_t n : sums.buckets) count += n;
  if (count == 0) return;
  const std::string prefix = labels.empty() ? "" : labels + ",";
  auto to = std::back_inserter(out);
  uint64_t below = 0;
  for (int i = 0; i < Histogram::kBuckets - 1; i++) {
    below += sums.buckets[static_cast<size_t>(i)];
    fmt::format_to(to, "{}_bucket{{{}le=\"{:.9g}\"}} {}\n", name, prefix,
                   static_cast<double>(Histogram::bound_ns(i)) / 1e9, below);
  }
  fmt::format_to(to, "{}_bucket{{{}le=\"+Inf\"}} {}\n", name, prefix, count);
  const std::string braces = labels.empty() ? "" : "{" + labels + "}";
  fmt::format_to(to, "{}_sum{} {:.9f}\n", name, braces, static_cast<double>(sums.sum_ns) / 1e9);
  fmt::format_to(to, "{}_count{} {}\n", name, braces, count);
}

/// Bytes of the character at the front of `text`; 0 if they are none of UTF-8.
size_t utf8_length(std::string_view text) {
  const auto first = static_cast<uint8_t>(text[0]);
  const size_t n = first < 0x80 ? 1 : first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  if (first > 0xF4 || n > text.size()) return 0;
  for (size_t i = 1; i < n; i++) {
    if ((static_cast<uint8_t>(text[i]) & 0xC0) != 0x80) return 0;
  }
  return n;
}

}  // namespace

std::string prometheus_text(std::span<const MetricSet* const> sets) {
  Families families;
  for (const MetricSet* set : sets) collect(*set, families);
  std::string out;
  for (const auto& [name, family] : families) {
    const char* type = family.is_histogram                   ? "histogram"
                       : family.kind == MetricKind::kCounter ? "counter"
                                                             : "gauge";
    fmt::format_to(std::back_inserter(out), "# HELP {} {}\n# TYPE {} {}\n", name, family.help, name,
                   type);
    for (const auto& [labels, value] : family.numbers) {
      out += labels.empty() ? fmt::format("{} {}\n", name, value)
                            : fmt::format("{}{{{}}} {}\n", name, labels, value);
    }
    for (const auto& [labels, sums] : family.histograms) write_histogram(out, name, labels, sums);
  }
  return out;
}

Gauge::Gauge(std::string_view name, std::string_view help)
    : name_(name), head_(fmt::format("# HELP {0} {1}\n# TYPE {0} gauge\n", name, help)) {}

void Gauge::add(std::string_view labels, double value) {
  auto to = std::back_inserter(samples_);
  if (labels.empty()) {
    fmt::format_to(to, "{} {}\n", name_, value);
  } else {
    fmt::format_to(to, "{}{{{}}} {}\n", name_, labels, value);
  }
}

std::string label(std::string_view name, std::string_view value) {
  std::string out(name);
  out += "=\"";
  while (!value.empty()) {
    const size_t n = utf8_length(value);
    if (value[0] == '\n') {
      out += "\\n";
    } else if (value[0] == '"' || value[0] == '\\') {
      out += '\\';
      out += value[0];
    } else if (n == 0) {
      out += "\xEF\xBF\xBD";  // the replacement character
    } else {
      out += value.substr(0, n);
    }
    value.remove_prefix(std::max<size_t>(n, 1));
  }
  out += '"';
  return out;
}

}  // namespace odradek::http
