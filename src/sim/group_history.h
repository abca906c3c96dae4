// GroupHistory: what members of consumer groups were told, and whether it can be true.
//
// Every commit carries a name of its own in its metadata, so that whoever reads a committed offset
// knows which commit it was. The rules:
//   - a partition is not given to two members of one group in one generation, and a member is given
//     the same thing in a generation whenever it asks;
//   - a generation in which somebody was given something does not come again, and none below it;
//   - whoever reads a committed offset reads the last commit that was acknowledged, or one that
//     came to its coordinator later, or whose fate nobody knows: never an older one, one that was
//     refused, or nothing; this is so across stops, kills and power losses;
//   - no commit is accepted from a member of a generation that was over before it was sent, or that
//     had left before;
//   - what is committed has been consumed by the group, from the beginning on, without a gap;
//   - a member that was given something and keeps in touch is not forgotten;
//   - in groups of the consumer protocol: a partition is not given to a member while another one
//     has it, has not given it back and keeps in touch; and no commit of the one is accepted after
//     the other has it.
// Times are the order of events here, not virtual time: what is answered before something else is
// sent has happened before. The first rule that is broken is kept in History.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/ids.h"
#include "sim/history.h"

namespace odradek::sim {

/// For people.
std::string text(const std::set<History::Partition>& partitions);

class GroupHistory {
 public:
  using Partition = History::Partition;
  using Partitions = std::set<Partition>;
  /// A moment: when a request was sent, or an answer came.
  using Moment = uint64_t;
  using CommitId = uint64_t;

  /// `trouble`: the disk misbehaves now, and a coordinator may begin anew without an interruption.
  GroupHistory(History& history, const bool& trouble) : history_(history), trouble_(trouble) {
    writes_.emplace_back();  // no commit has number 0
  }

  Moment moment() { return ++clock_; }

  // ---- membership
  /// A JoinGroup that was sent at `sent` was answered with a generation; `fresh`: to a member that
  /// the group did not have, so that the generation must be a new one.
  void joined(const std::string& group, int32_t generation, bool fresh, Moment sent);
  /// A member was given partitions. `owner` is its instance, for a static one, else its id.
  void assigned(const std::string& group, int32_t generation, const std::string& owner,
                const Partitions& partitions, Moment sent);
  /// A LeaveGroup that was sent at `sent` was answered.
  void left(const std::string& group, const std::string& member, Moment sent);
  /// Whether the group's coordinator is known to have loaded what it knows: until then a heartbeat
  /// is answered with success whoever sends it.
  bool loaded(const std::string& group) const {
    const auto at = groups_.find(group);
    return !trouble_ && at != groups_.end() && at->second.loaded > interrupted_;
  }
  /// The node is gone, and with it what it did not write (members that joined or left in a
  /// generation which is not stored) and requests under way.
  void interrupted();

  // ---- members of the consumer protocol
  /// An answer to what was sent at `sent` has told a member its epoch.
  void at_epoch(const std::string& group, int32_t epoch, Moment sent);
  /// A member was told at `now` (virtual time) that it may have these; whatever happens it cannot
  /// be given up before `until`.
  void given(const std::string& group, const std::string& member, const Partitions& partitions,
             MonoNs now, MonoNs until);
  void in_touch(const std::string& group, const std::string& member, MonoNs until);
  /// It says, or is about to, that it has no more than these.
  void returned(const std::string& group, const std::string& member, const Partitions& kept);
  /// It has nothing any more: it leaves, or was told to.
  void gone(const std::string& group, const std::string& member) { returned(group, member, {}); }

  // ---- commits
  struct Commit {
    std::string group;
    std::string member;
    int32_t generation = -1;
    Partition at{};
    int64_t offset = 0;
    bool consumer_protocol = false;  // the generation is an epoch
  };
  CommitId commit(Commit commit);
  static std::string metadata(CommitId id) { return "commit" + std::to_string(id); }
  void accepted(CommitId id);
  /// With an error that says it was not done.
  void refused(CommitId id);
  /// It may have been done, or will be.
  void unknown(CommitId id) { writes_[id].answer = Answer::kUnknown; }
  /// A committed offset that was asked for at `asked`; −1: there is none.
  void read(const std::string& group, const Partition& at, int64_t offset,
            std::string_view metadata, Moment asked);
  /// The highest offset whose commit has been acknowledged; −1: none.
  int64_t highest_accepted(const std::string& group, const Partition& at) const;

  // ---- consuming
  /// A member has been given the records [from, to) by its consumer.
  void consumed(const std::string& group, const Partition& at, int64_t from, int64_t to);

  void fail(std::string what) { history_.fail(std::move(what)); }

  struct Counts {
    uint64_t generations = 0;  // in which somebody was given something, and epochs
    uint64_t accepted = 0;     // commits
    uint64_t refused = 0;
    uint64_t reads = 0;
    uint64_t consumed = 0;  // records, also repeated
  };
  const Counts& counts() const { return counts_; }

 private:
  static constexpr Moment kNever = std::numeric_limits<Moment>::max();
  enum class Answer { kNone, kAccepted, kRefused, kUnknown };

  /// A commit of one partition.
  struct Write {
    Commit what;
    Moment sent = 0;
    /// It has an effect, if at all, before this.
    Moment done_by = kNever;
    bool certain = false;  // it had an effect: acknowledged, or seen
    Answer answer = Answer::kNone;
  };
  struct Generation {
    std::map<Partition, std::string> owners;
    std::map<std::string, Partitions> given;
    Moment known = 0;  // since when
  };
  /// Whom a partition was given to last.
  struct Holder {
    std::string member;
    Moment since = 0;
    bool returned = false;
  };
  struct Group {
    std::map<int32_t, Generation> generations;  // in which somebody was given something
    std::map<Partition, Holder> holders;        // consumer protocol
    std::map<std::string, MonoNs> until;        // by member: it is not given up before
    std::set<int32_t> epochs;                   // that members were told
    int32_t joined = -1;  // the highest that was told to members, since the last interruption
    Moment joined_at = 0;
    std::map<std::string, Moment> left;  // since the last interruption
    Moment loaded = 0;                   // when what was sent then was answered from its state
    std::map<Partition, std::vector<CommitId>> writes;
    std::map<Partition, int64_t> consumed;  // so far, from the beginning on
  };

  /// Whether an answer to what was sent then tells of something that is still so.
  bool still_counts(Moment sent) const { return !trouble_ && sent > interrupted_; }
  static void was_loaded(Group& group, Moment sent) { group.loaded = std::max(group.loaded, sent); }
  /// The last generation that somebody knew of before `before`.
  static int32_t generation_known(const Group& group, Moment before);
  void check_member(const Write& write);
  void check_holder(const Write& write);
  void close_before(Group& group, int32_t generation);
  std::string name(const Write& write) const;

  History& history_;
  const bool& trouble_;
  Moment clock_ = 0;
  Moment interrupted_ = 0;
  std::map<std::string, Group> groups_;
  std::vector<Write> writes_;  // by CommitId
  Counts counts_;
};

}  // namespace odradek::sim
