// What is told of groups when somebody asks: their lag in records and in seconds, who is awaited.
//
// Nothing is kept for it. Each scrape walks the coordinators on their loops, then the partitions on
// theirs, some at a time, and looks into an index where a group is behind.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/uuid.h"
#include "io/task.h"
#include "machines/group/awaited.h"
#include "node/loop_parts.h"

namespace odradek::node {

/// A member that is late, or that the others wait for.
struct LateMember {
  machines::group::Awaited member;
  Millis silent{0};
  Millis left{0};  // until it is given up
};

struct SurveyedGroup {
  std::string id;
  std::string_view state;
  WallMs since = kNoTimestamp;         // when it came into its state
  WallMs committed_at = kNoTimestamp;  // its last commit
  size_t members = 0;
  std::vector<LateMember> late{};
};

/// A committed offset, and what its partition has.
struct SurveyedOffset {
  size_t group = 0;  // in GroupSurvey::groups
  std::string topic;
  Uuid topic_id;
  int32_t partition = 0;
  Offset committed{0};
  Offset end = kNoOffset;               // high watermark; −1: the partition is not led here
  WallMs waiting_since = kNoTimestamp;  // time of the oldest record that is not committed past
};

struct GroupSurvey {
  std::vector<SurveyedGroup> groups;
  std::vector<SurveyedOffset> offsets;
  std::map<std::string_view, uint64_t> states;  // groups in each
  uint64_t omitted = 0;                         // offsets beyond the limit
  size_t late = 0;
};

/// Asks the loops. Called on loop 0 and ends there; early when `stopping` says so. At most `limit`
/// groups, offsets and late members are told.
io::Task<GroupSurvey> survey_groups(const std::vector<std::unique_ptr<LoopParts>>& parts,
                                    size_t limit, std::function<bool()> stopping);

/// As Prometheus text.
std::string prometheus_text(const GroupSurvey& survey, WallMs now);

}  // namespace odradek::node
