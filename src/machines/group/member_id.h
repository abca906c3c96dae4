// Ids that the coordinator makes for members.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/uuid.h"

namespace odradek::machines::group {

/// Of version 4.
Uuid random_uuid(uint64_t seed);
/// `name-` and such an id in Java's writing.
std::string new_member_id(std::string_view name, uint64_t seed);

}  // namespace odradek::machines::group
