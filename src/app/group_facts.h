// Why a group does not move: what can be found out about it, and what follows from that.
//
// Facts come over the wire, so they are to be had of Apache Kafka too; Odradek's `/metrics` adds
// who is awaited and when the group committed last.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "app/group_client.h"
#include "base/result.h"

namespace odradek::app {

/// A member that the group waits for, by the broker's metrics.
struct AwaitedMember {
  std::string member;
  std::string client;
  std::string host;
  std::string what;  // "join", "sync", "heartbeat"
  double seconds = 0;
  double left = 0;  // until it is given up
};

/// A transaction that holds the last stable offset.
struct PinnedBy {
  int64_t stable = -1;  // where readers of committed records stop
  int64_t producer = -1;
  int16_t epoch = -1;
  std::string id{};          // transactional id; empty: not known
  int64_t open_for_ms = -1;  // −1: not known
  int64_t last_record = -1;  // time of the producer's last record; −1: not known
};

struct GroupFacts {
  GroupView group;
  std::string coordinator;                             // which broker
  std::string coordinator_problem;                     // why it cannot be asked; empty: it can
  std::map<std::string, std::vector<int32_t>> topics;  // that exist, of those the group names
  std::set<std::string> subscribed;
  std::set<std::string> missing;  // topics that the group names and that do not exist
  // All partitions that are committed, assigned, or of subscribed topics: at first and a while
  // after.
  GroupPartitions before, after;
  double watched_s = 0;
  Offsets starts;
  std::set<Place> unstable;
  std::map<Place, PinnedBy> pinned;
  // of the metrics
  bool has_metrics = false;
  std::vector<AwaitedMember> awaited;
  double state_s = -1;       // in this state
  double commit_age_s = -1;  // since the last commit
};

struct Reason {
  std::string code;  // for scripts: "no-members"
  std::string text;  // for people
};

/// Watches the group for `seconds`. `metrics`: host:port of the coordinator's; empty: what the
/// broker's configuration says, if anything.
Result<GroupFacts> gather_facts(GroupClient& client, const std::string& group, double seconds,
                                const std::string& metrics);

/// The most important first; never empty.
std::vector<Reason> reasons(const GroupFacts& facts);

}  // namespace odradek::app
