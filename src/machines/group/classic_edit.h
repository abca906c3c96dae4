// ClassicEdit: a copy of a classic group that a decision changes, step by step, as the protocol's
// rules go; `finish` turns the outcome into records. Answers to members that wait become messages,
// sessions and phases become timers.
#pragma once

#include <string>
#include <string_view>

#include "machines/group/draft.h"

namespace odradek::machines::group {

class ClassicEdit {
 public:
  /// The group as it is; a new one if there is none.
  ClassicEdit(Draft& draft, std::string id);
  /// A group that takes the place of one of another kind.
  ClassicEdit(Draft& draft, std::string id, ClassicGroup group);

  const ClassicGroup& group() const { return group_; }
  const std::string& id() const { return id_; }

  // ---- members
  /// Adds a member, or one whose id was handed out. The first decides the protocol type.
  void add(Member member, const std::string& protocol_type);
  /// Whoever waits in its name is told to begin anew.
  void remove(std::string_view member);
  void expect(std::string member);
  /// A join of a member that is known.
  void update(std::string_view member, const Join& join);
  /// A static member comes back under another id: the old one is fenced.
  void replace(const std::string& instance, std::string_view old_id, std::string new_id);
  /// The member's join is answered by the decision itself.
  void stop_waiting(std::string_view member) { change(member).joining = 0; }
  void wait_for_sync(std::string_view member, Token token);
  /// The member has asked for its assignment.
  void synced(std::string_view member);
  void arm_session(const Member& member);

  // ---- phases
  void rebalance_or_complete();
  void prepare_rebalance();
  /// If everybody has joined.
  void complete_if_joined();
  void complete_join();
  void initial_delay_over();
  void sync_time_over();
  /// The leader has assigned; everybody who waits is told.
  void assign(const std::vector<Sync::Assignment>& assignments);
  /// Nobody gets an assignment: everybody who waits is told `error`.
  void withdraw_assignments(ErrorCode error);

  bool all_joined() const;
  std::string selected_protocol() const;
  /// What a join is answered when nothing changes: the current generation.
  JoinAnswer current(std::string_view member) const;
  std::vector<JoinAnswer::Member> members_for_leader() const;
  SyncAnswer sync_answer(const Member& member, ErrorCode error) const;

  /// The group as it is now goes to the log.
  void store() {
    stored_ = true;
    group_.subscribed = group_.subscribed_topics();
  }
  /// Members come from a group of another kind, and `assignment(member, protocol)` says what each
  /// of them has in the protocol that they share. That goes to the log.
  template <class F>
  void adopt(F&& assignment) {
    group_.protocol = selected_protocol();
    std::vector<std::string> ids;
    for (const auto& [id, m] : group_.members) ids.push_back(id);
    for (const std::string& id : ids) {
      Member& m = change(id);
      m.assignment = assignment(m, *m.protocol(*group_.protocol));
      arm_session(m);
    }
    store();
  }
  Record metadata_record() const;
  void finish();

 private:
  /// A copy of the member, to be changed.
  Member& change(std::string_view id);
  void move_to(ClassicState state);
  void answer_join(Member& member, JoinAnswer answer);
  void answer_sync(Member& member, SyncAnswer answer);
  int32_t rebalance_timeout_ms() const;
  bool elect_joined_leader();
  void drop_absent();
  void begin_generation();

  Draft& draft_;
  std::string id_;
  bool is_new_;
  bool changed_ = false;
  bool stored_ = false;
  ClassicGroup group_;
};

/// Whether a member with these protocols may be in the group.
bool supports(const ClassicGroup& group, std::string_view protocol_type,
              const std::vector<Protocol>& protocols);

}  // namespace odradek::machines::group
