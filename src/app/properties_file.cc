#include "app/properties_file.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "metadata/broker_config.h"

namespace odradek::app {

Result<metadata::Properties> load_properties(const std::string& path,
                                             const std::vector<std::string>& overrides) {
  metadata::Properties properties;
  if (path.empty()) {
    properties = metadata::BrokerConfig::standalone_properties();
  } else {
    std::ifstream file(path);
    if (!file)
      return fail(Errc::kNotFound, fmt::format("cannot read {}: {}", path, strerror(errno)));
    std::stringstream text;
    text << file.rdbuf();
    auto parsed = metadata::parse_properties(text.str());
    if (!parsed) return fail(Errc::kInvalid, fmt::format("{}: {}", path, parsed.error().message));
    properties = std::move(*parsed);
  }
  for (const auto& item : overrides) {
    auto pair = metadata::parse_override(item);
    if (!pair)
      return fail(Errc::kInvalid, fmt::format("--override {}: {}", item, pair.error().message));
    // Other listeners than those of a quick start do not go with what it advertises.
    if (path.empty() && pair->first == "listeners") properties.erase("advertised.listeners");
    properties[pair->first] = pair->second;
  }
  return properties;
}

}  // namespace odradek::app
