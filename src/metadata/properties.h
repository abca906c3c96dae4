// Java properties: the format of server.properties and meta.properties.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace odradek::metadata {

using Properties = std::map<std::string, std::string, std::less<>>;

/// Parses the text of a file: comments (# and !), separators (=, : or white space), continuation
/// lines, escapes (\n \t \r \f \uXXXX, and \ before anything else). The last of two equal keys
/// wins. Bytes above 127 are kept as they are (UTF-8); Java reads Latin-1 there. Fails on a
/// malformed \u.
Result<Properties> parse_properties(std::string_view text);
/// Reads "name=value", as after --override. Fails without a name.
Result<std::pair<std::string, std::string>> parse_override(std::string_view text);

}  // namespace odradek::metadata
