// The metrics of all loops as Prometheus text (exposition format 0.0.4).
#pragma once

#include <span>
#include <string>

#include "base/metrics.h"

namespace odradek::http {

/// Adds up what has the same name and labels in several sets. May be called on any thread.
std::string prometheus_text(std::span<const MetricSet* const> sets);

}  // namespace odradek::http
