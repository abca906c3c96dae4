#include "machines/group/assignor/assignor.h"

#include "machines/group/assignor/assignors.h"

namespace odradek::machines::group::assignor {

std::optional<Kind> kind(std::string_view name) {
  if (name == "uniform") return Kind::kUniform;
  if (name == "range") return Kind::kRange;
  return std::nullopt;
}

Kind configured(std::string_view entry) {
  return entry == name(Kind::kRange) || entry.ends_with("RangeAssignor") ? Kind::kRange
                                                                         : Kind::kUniform;
}

std::string_view name(Kind kind) { return kind == Kind::kUniform ? "uniform" : "range"; }

Target assign(Kind kind, const Group& group, const Topics& topics) {
  Target target;
  if (group.members.empty()) return target;
  const Catalog catalog(topics);
  target.order = member_order(group);
  const auto make = kind == Kind::kRange ? range : group.homogeneous ? uniform_same : uniform_mixed;
  target.assignments = make(group, catalog, target.order);
  return target;
}

}  // namespace odradek::machines::group::assignor
