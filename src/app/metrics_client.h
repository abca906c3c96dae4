// Reads a broker's `/metrics` for the commands of the command line.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace odradek::app {

/// One line of Prometheus text.
struct Series {
  std::string name;
  std::map<std::string, std::string, std::less<>> labels;
  double value = 0;

  /// Empty if there is no such label.
  std::string_view label(std::string_view wanted) const;
};

/// All series whose name begins with `prefix`.
Result<std::vector<Series>> read_metrics(const std::string& host, const std::string& port,
                                         std::string_view prefix);

}  // namespace odradek::app
