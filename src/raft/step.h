// Step: the consensus of the metadata quorum without clock, disk or network (KRaft: KIP-595, 853,
// 996).
//
// In: start, tick, propose, persisted, appended, synced. Out: a Ready: what to persist, what to
// append, what is committed, which role we have. Whoever drives it takes a Ready, does what it
// says in the order of its fields, and reports back:
//
//   step.start(...);
//   while (auto ready = step.take()) {
//     if (ready->persist) { write quorum-state durably; step.persisted(); }
//     if (ready->append) { append that control batch at ready->append->base; step.appended(end); }
//     if (ready->committed) { everything below may be shown }
//     if (ready->role) { tell the controller }
//   }
//
// Served now: a quorum whose only voter is this node. Messages to and from other voters will be
// further inputs and a further field of Ready.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/uuid.h"

namespace odradek::raft {

/// Where a controller listens under one listener name.
struct VoterEndpoint {
  std::string name;
  std::string host;
  uint16_t port = 0;
  bool operator==(const VoterEndpoint&) const = default;
};

/// A voter. With kraft.version 0 it has no directory id (zero).
struct Voter {
  BrokerId id = kNoBroker;
  Uuid directory;
  std::vector<VoterEndpoint> endpoints;
  int16_t kraft_version_min = 0;
  int16_t kraft_version_max = 1;
  bool operator==(const Voter&) const = default;
};

/// The voters in force, by kraft.version: 0 configured, 1 by records of the log or its snapshots.
struct VoterSet {
  int16_t kraft_version = 0;
  std::vector<Voter> voters;
  bool operator==(const VoterSet&) const = default;
  const Voter* find(BrokerId id) const;
};

/// What must survive a crash (the file `quorum-state`).
struct ElectionState {
  LeaderEpoch epoch{0};
  BrokerId leader = kNoBroker;
  BrokerId voted = kNoBroker;
  Uuid voted_directory;
  bool operator==(const ElectionState&) const = default;
};

enum class Role { kUnattached, kProspective, kCandidate, kLeader, kFollower, kResigned };
std::string_view name(Role role);

/// A control batch that a new leader writes first: LeaderChange, and the voters when the log does
/// not hold them yet (KRaftVersion, KRaftVoters).
struct LeaderBatch {
  Offset base;
  LeaderEpoch epoch;
  BrokerId leader;
  std::vector<BrokerId> voters;
  std::vector<BrokerId> granting;
  std::optional<VoterSet> voter_set;
  /// Records in the batch.
  int32_t count() const { return voter_set ? 3 : 1; }
  bool operator==(const LeaderBatch&) const = default;
};

struct RoleChange {
  Role role;
  LeaderEpoch epoch;
  BrokerId leader;
  bool operator==(const RoleChange&) const = default;
};

/// What to do, in the order of the fields.
struct Ready {
  std::optional<ElectionState> persist;  // durable before anything below; then `persisted`
  std::optional<LeaderBatch> append;     // at the end of the log; then `appended`
  std::optional<Offset> committed;       // everything below is committed
  std::optional<RoleChange> role;
  bool operator==(const Ready&) const = default;
};

/// What the disk said at start.
struct StepStart {
  BrokerId node;
  Uuid directory;                      // id of the metadata log's directory
  std::optional<ElectionState> state;  // quorum-state, if there was one
  VoterSet voters;
  /// Our own entry as we would write it today (listeners and kraft.version range).
  Voter self;
  /// The voters in force lie in the log itself, or in a snapshot other than 0-0.
  bool voters_in_log = false;
  Offset log_end{0};
  LeaderEpoch last_epoch{0};  // of the last batch, or of the snapshot before an empty log
};

class Step {
 public:
  /// kUnsupported: a quorum with other voters than this node. kInvalid: this node is not a voter.
  static Result<Step> start(StepStart start);

  /// The next thing to do; nothing when there is nothing.
  std::optional<Ready> take();
  /// The state of the last Ready is durable.
  void persisted();
  /// The log now ends at `end` (the leader's batch of a Ready, or a proposal).
  void appended(Offset end);
  /// Everything below `end` is on the device.
  void synced(Offset end);
  /// Leads no longer: the disk failed, or we stop. Nothing is committed after this.
  void resign();

  /// Whether a proposal may be appended at `end()`.
  bool can_propose() const {
    return role_ == Role::kLeader && epoch_start_ != kNoOffset && end_ > epoch_start_;
  }
  Role role() const { return role_; }
  LeaderEpoch epoch() const { return state_.epoch; }
  BrokerId leader() const { return state_.leader; }
  const ElectionState& state() const { return state_; }
  const VoterSet& voters() const { return voters_; }
  Offset end() const { return end_; }
  /// Exclusive; −1 until something of this epoch is committed.
  Offset high_watermark() const { return high_watermark_; }
  Offset epoch_start() const { return epoch_start_; }

 private:
  explicit Step(StepStart start);
  void become_candidate();
  void become_leader();
  bool must_write_voters() const;

  BrokerId node_;
  Uuid directory_;
  VoterSet voters_;
  Voter self_;
  bool voters_in_log_ = false;
  ElectionState state_;
  Role role_ = Role::kUnattached;
  Offset end_{0};
  Offset synced_{0};
  Offset epoch_start_ = kNoOffset;
  Offset high_watermark_ = kNoOffset;

  bool to_persist_ = false;
  bool persisting_ = false;
  bool to_append_ = false;
  bool role_changed_ = false;
  std::optional<Offset> to_commit_;
};

}  // namespace odradek::raft
