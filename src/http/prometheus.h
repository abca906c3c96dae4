// The metrics of all loops as Prometheus text (exposition format 0.0.4).
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/metrics.h"

namespace odradek::http {

/// Adds up what has the same name and labels in several sets. May be called on any thread.
std::string prometheus_text(std::span<const MetricSet* const> sets);

/// A gauge whose samples were made for one scrape.
class Gauge {
 public:
  Gauge(std::string_view name, std::string_view help);
  /// `labels` as of `label`, with commas in between; maybe empty.
  void add(std::string_view labels, double value);
  /// Empty if there are no samples.
  std::string text() const { return samples_.empty() ? "" : head_ + samples_; }

 private:
  std::string name_;
  std::string head_;
  std::string samples_;
};

/// `name="value"`. Whatever a client chose as a value comes out as one line of UTF-8.
std::string label(std::string_view name, std::string_view value);

}  // namespace odradek::http
