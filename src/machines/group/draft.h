// Draft: what a decision of the group coordinator is made from, and what it comes to. The files
// beside this one fill it in; group_machine.cc turns it into a Decision.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "machines/group/api.h"
#include "machines/group/assignor/assignor.h"
#include "machines/group/record.h"
#include "machines/group/state.h"
#include "machines/machine.h"
#include "metadata/config_defs.h"
#include "wire/gen/group_metadata.h"
#include "wire/gen/group_offset_commit.h"

namespace odradek::machines::group {

/// Settings of the broker, by their names in Apache's configuration.
struct Settings {
  /// What a group may set itself, and between which values.
  struct Bounded {
    int32_t of_broker;
    int32_t min = 0;
    int32_t max = 2'147'483'647;
    bool operator==(const Bounded&) const = default;
  };

  int32_t min_session_timeout_ms = 6'000;          // group.min.session.timeout.ms
  int32_t max_session_timeout_ms = 1'800'000;      // group.max.session.timeout.ms
  int32_t initial_rebalance_delay_ms = 3'000;      // group.initial.rebalance.delay.ms
  int32_t max_size = 2'147'483'647;                // group.max.size
  size_t batch_bytes_max = 1 << 20;                // what one decision may append
  int32_t metadata_max_bytes = 4'096;              // offset.metadata.max.bytes
  Millis offsets_retention{7LL * 24 * 3'600'000};  // offsets.retention.minutes
  Millis retention_check{600'000};                 // offsets.retention.check.interval.ms

  // group.consumer.*
  Bounded consumer_session_timeout_ms{45'000};
  Bounded consumer_heartbeat_interval_ms{5'000};
  int32_t consumer_max_size = 2'147'483'647;
  Bounded consumer_assignment_interval_ms{1'000};
  Millis regex_refresh_interval{600'000};
  std::vector<assignor::Kind> assignors{assignor::Kind::kUniform, assignor::Kind::kRange};
  bool may_upgrade = true;    // migration.policy: classic groups become consumer groups
  bool may_downgrade = true;  // and back

  bool operator==(const Settings&) const = default;
  assignor::Kind default_assignor() const {
    return assignors.empty() ? assignor::Kind::kUniform : assignors.front();
  }
};

/// A member that was made in its own JoinGroup does not know its id yet and sends no heartbeats; if
/// nothing comes of its join for so long, it is given up.
inline constexpr int32_t kNewMemberJoinMs = 300'000;
/// Ids that were handed out and not used yet, for each group.
inline constexpr size_t kPendingMax = 10'000;
/// Expressions of a group are looked at again when there are new topics, but not more often.
inline constexpr int64_t kRegexRefreshMinMs = 10'000;
/// Record versions that Apache 4.3 writes.
inline constexpr int16_t kGroupMetadataVersion = 3;
inline constexpr int16_t kOffsetCommitVersion = 4;
inline constexpr int16_t kExpiringOffsetCommitVersion = 1;

struct Draft {
  const State& state;
  const Settings& settings;
  Now now;

  std::vector<Record> records{};
  std::vector<TimerOrder> timers{};
  std::vector<Message> messages{};

  void arm(std::string key, int64_t after_ms) {
    timers.push_back({std::move(key), Millis(after_ms)});
  }
  void disarm(std::string key) { timers.push_back({std::move(key), std::nullopt}); }
  void remove_offset(std::string_view group, std::string_view topic, int32_t partition) {
    wire::OffsetCommitKey key;
    key.group = group;
    key.topic = topic;
    key.partition = partition;
    records.push_back(Record::tombstone(key));
  }
  /// One that has no members, of either kind.
  void remove_group(std::string_view id, const Group& group);
};

// ---- timers
/// The session of a member, or of a member's id that was handed out.
std::string session_timer(std::string_view group, std::string_view member);
/// The end of the join phase.
std::string join_timer(std::string_view group);
/// By then all members have asked for their assignment.
std::string sync_timer(std::string_view group);
/// A member of a consumer group has given up its partitions by then.
std::string rebalance_timer(std::string_view group, std::string_view member);
/// A classic member of one has joined again, and has asked for its assignment.
std::string member_join_timer(std::string_view group, std::string_view member);
std::string member_sync_timer(std::string_view group, std::string_view member);
/// Offsets and groups that are too old.
inline constexpr std::string_view kExpiryTimer = "expire";

// ---- decisions, by file
// offsets.cc
CommitOffsetsAnswer commit_offsets(Draft& draft, const CommitOffsets& command);
FetchOffsetsAnswer fetch_offsets(const Draft& draft, const FetchOffsets& command);
DeleteOffsetsAnswer delete_offsets(Draft& draft, const DeleteOffsets& command);
EndTransactionAnswer end_transaction(Draft& draft, const EndTransaction& command);
// consumer_offsets.cc
/// Of the whole commit, and of a partition of one that is not refused.
ErrorCode check_consumer_commit(const ConsumerGroup& group, const CommitOffsets& command);
ErrorCode check_consumer_partition(const ConsumerGroup& group, const CommitOffsets& command,
                                   const Uuid& topic, int32_t partition);
ErrorCode check_consumer_fetch(const ConsumerGroup& group, const FetchOffsets& command);
// expiry.cc
TopicsDeletedAnswer topics_deleted(Draft& draft, const TopicsDeleted& command);
void expire(Draft& draft);
// join.cc
Response join(Draft& draft, const Join& command);
// classic_api.cc
Response sync(Draft& draft, const Sync& command);
HeartbeatAnswer heartbeat(Draft& draft, const Heartbeat& command);
LeaveAnswer leave(Draft& draft, const Leave& command);
/// A session or phase of a classic group has run out; false if the key is none of them.
bool classic_timer(Draft& draft, std::string_view key);
/// Sessions of the members that were loaded begin anew. Groups that are too large, or leave
/// partitions out (migration.h), rebalance.
void classic_loaded(Draft& draft);
// consumer_classic.cc
JoinAnswer join_consumer(Draft& draft, const Join& command);
SyncAnswer sync_consumer(Draft& draft, const ConsumerGroup& group, const Sync& command);
HeartbeatAnswer heartbeat_consumer(Draft& draft, const ConsumerGroup& group,
                                   const Heartbeat& command);
LeaveAnswer leave_consumer(Draft& draft, const ConsumerGroup& group, const Leave& command);
// consumer_heartbeat.cc
ConsumerHeartbeatAnswer consumer_heartbeat(Draft& draft, const ConsumerHeartbeat& command);
/// Times of a member of a consumer group that have run out; false if the key is none of them.
bool consumer_timer(Draft& draft, std::string_view key);
/// Sessions of the members that were loaded begin anew.
void consumer_loaded(Draft& draft);
// admin.cc
DescribeConsumersAnswer describe_consumers(const Draft& draft, const DescribeConsumers& command);
DescribeAnswer describe(const Draft& draft, const Describe& command);
ListAnswer list(const Draft& draft, const List& command);
DeleteGroupsAnswer delete_groups(Draft& draft, const DeleteGroups& command);

/// UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, or none: whether the group knows the member, and the
/// instance as its.
ErrorCode check_member(const ClassicGroup& group, std::string_view member,
                       const std::optional<std::string>& instance);

}  // namespace odradek::machines::group
