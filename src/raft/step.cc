#include "raft/step.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace odradek::raft {

const Voter* VoterSet::find(BrokerId id) const {
  for (const Voter& v : voters)
    if (v.id == id) return &v;
  return nullptr;
}

std::string_view name(Role role) {
  switch (role) {
    case Role::kUnattached:
      return "unattached";
    case Role::kProspective:
      return "prospective";
    case Role::kCandidate:
      return "candidate";
    case Role::kLeader:
      return "leader";
    case Role::kFollower:
      return "follower";
    case Role::kResigned:
      return "resigned";
  }
  return "unknown";
}

Result<Step> Step::start(StepStart start) {
  if (start.voters.find(start.node) == nullptr)
    return fail(Errc::kInvalid,
                fmt::format("node {} is not a voter of the metadata quorum", start.node.value));
  if (start.voters.voters.size() != 1)
    return fail(Errc::kUnsupported,
                fmt::format("a metadata quorum of {} voters; only one is served so far",
                            start.voters.voters.size()));
  const Voter& own = *start.voters.find(start.node);
  if (start.voters.kraft_version > 0 && own.directory != start.directory)
    return fail(
        Errc::kInvalid,
        fmt::format("voter {} is in directory {}, but the metadata directory is {}",
                    start.node.value, own.directory.to_string(), start.directory.to_string()));
  return Step(std::move(start));
}

Step::Step(StepStart start)
    : node_(start.node),
      directory_(start.directory),
      voters_(std::move(start.voters)),
      self_(std::move(start.self)),
      voters_in_log_(start.voters_in_log),
      state_(start.state.value_or(ElectionState{})),
      end_(start.log_end) {
  // A log that is ahead of the file: the file's leader and vote are of an epoch that has passed.
  if (state_.epoch < start.last_epoch) state_ = ElectionState{.epoch = start.last_epoch};
  // Whoever led comes back as resigned, never as leader: records of that epoch that were not synced
  // may be gone. The only voter then needs no pre-vote and waits for nobody, whatever the file
  // says: resigned, follower or unattached → prospective → candidate of the next epoch.
  become_candidate();
}

void Step::become_candidate() {
  role_ = Role::kCandidate;
  state_ = ElectionState{.epoch = state_.epoch + 1,
                         .leader = kNoBroker,
                         .voted = node_,
                         .voted_directory = voters_.kraft_version > 0 ? directory_ : Uuid{}};
  to_persist_ = true;
}

void Step::become_leader() {
  role_ = Role::kLeader;
  role_changed_ = true;
  state_.leader = node_;
  state_.voted = kNoBroker;
  state_.voted_directory = Uuid{};
  to_persist_ = true;
}

bool Step::must_write_voters() const {
  if (voters_.kraft_version == 0) return false;
  return !voters_in_log_ || *voters_.find(node_) != self_;
}

std::optional<Ready> Step::take() {
  if (persisting_) return std::nullopt;
  if (to_persist_) {
    to_persist_ = false;
    persisting_ = true;
    return Ready{.persist = state_};
  }
  Ready ready;
  if (to_append_) {
    LeaderBatch batch{end_, state_.epoch, node_, {}, {node_}, {}};
    for (const Voter& v : voters_.voters) batch.voters.push_back(v.id);
    if (must_write_voters()) {
      for (Voter& v : voters_.voters)
        if (v.id == node_) v = self_;
      batch.voter_set = voters_;
      voters_in_log_ = true;
    }
    to_append_ = false;
    ready.append = std::move(batch);
  }
  ready.committed = std::exchange(to_commit_, std::nullopt);
  if (role_changed_) {
    role_changed_ = false;
    ready.role = RoleChange{role_, state_.epoch, state_.leader};
  }
  if (ready == Ready{}) return std::nullopt;
  return ready;
}

void Step::persisted() {
  ODRADEK_CHECK(persisting_);
  persisting_ = false;
  if (role_ == Role::kCandidate) {
    become_leader();  // its own vote is the majority
  } else if (role_ == Role::kLeader) {
    epoch_start_ = end_;
    to_append_ = true;
  }
}

void Step::appended(Offset end) {
  ODRADEK_CHECK(role_ == Role::kLeader && end > end_);
  end_ = end;
}

void Step::synced(Offset end) {
  ODRADEK_CHECK(end <= end_);
  synced_ = std::max(synced_, end);
  // What earlier epochs left is committed only together with something of this one.
  if (role_ != Role::kLeader || epoch_start_ == kNoOffset || synced_ <= epoch_start_) return;
  if (synced_ <= high_watermark_) return;
  high_watermark_ = synced_;
  to_commit_ = high_watermark_;
}

void Step::resign() {
  if (role_ != Role::kLeader) return;
  role_ = Role::kResigned;
  role_changed_ = true;
  to_commit_.reset();
  to_append_ = false;
}

}  // namespace odradek::raft
