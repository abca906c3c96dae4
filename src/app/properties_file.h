// Reading server.properties with its overrides.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "metadata/properties.h"

namespace odradek::app {

/// The file's settings, or those of a quick start if `path` is empty, with `overrides` on top.
Result<metadata::Properties> load_properties(const std::string& path,
                                             const std::vector<std::string>& overrides);

}  // namespace odradek::app
