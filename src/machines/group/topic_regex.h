// Regular expressions that consumers subscribe with: RE2's syntax, matched against whole topic
// names. Apache's library is the same one in Java; what that one refuses is refused here.
#pragma once

#include <memory>
#include <string_view>

#include "base/result.h"
#include "machines/group/consumer_group.h"
#include "metadata/image.h"

namespace odradek::machines::group {

/// Why the expression cannot be used.
Result<void> check_regex(std::string_view expression);

/// The topics that each of the expressions matches; nothing for one that cannot be used.
std::map<std::string, TopicNames, std::less<>> resolve_regexes(
    const std::vector<std::string>& expressions, const metadata::Image& image);

}  // namespace odradek::machines::group
