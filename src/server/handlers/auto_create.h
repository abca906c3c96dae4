// Topics that come into being because a client named them.
#pragma once

#include <span>
#include <string_view>

#include "io/task.h"
#include "server/request.h"
#include "server/services.h"

namespace odradek::server {

/// auto.create.topics.enable.
bool may_auto_create(const Services& services);

/// Asks the controller to create the topics, with the broker's defaults (internal topics with
/// theirs), and returns when it has answered and this loop has the image. What could not be created
/// is logged. `names` are views into the request, valid topic names, each once.
io::Task<void> auto_create_topics(Request& request, std::span<const std::string_view> names);

}  // namespace odradek::server
