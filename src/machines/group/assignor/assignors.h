// The assignors behind assign(), one file each. `order` is member_order(group); the result has the
// assignment of each member by its index. No group is empty here.
#pragma once

#include "machines/group/assignor/draft.h"

namespace odradek::machines::group::assignor {

/// Runs of partitions in the order of the members; not sticky (range.cc).
std::vector<Assignment> range(const Group& group, const Catalog& catalog,
                              const std::vector<uint32_t>& order);

/// Evenly, and what a member has it keeps (uniform_same.cc, uniform_mixed.cc).
std::vector<Assignment> uniform_same(const Group& group, const Catalog& catalog,
                                     const std::vector<uint32_t>& order);
std::vector<Assignment> uniform_mixed(const Group& group, const Catalog& catalog,
                                      const std::vector<uint32_t>& order);

}  // namespace odradek::machines::group::assignor
