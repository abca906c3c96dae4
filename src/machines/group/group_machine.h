// GroupMachine: the group coordinator of one partition of `__consumer_offsets`: consumer groups and
// their committed offsets. Its records are Apache's (record.h), its commands decoded requests
// (api.h).
//
// Which file decides what: offsets.cc, join.cc, classic_api.cc (sync, heartbeat, leave, timers),
// admin.cc (describe, list, delete), expiry.cc. classic_edit.h is the only maker of changes of a
// classic group. A group is of one kind (state.h); another protocol brings a kind and files of its
// own.
#pragma once

#include "machines/group/api.h"
#include "machines/group/draft.h"
#include "machines/group/record.h"
#include "machines/group/state.h"
#include "machines/machine.h"

namespace odradek::machines {

class GroupMachine {
 public:
  using Record = group::Record;
  using Command = group::Command;
  using Response = group::Response;
  using Message = group::Message;
  using Decision = machines::Decision<Record, Response, Message>;

  explicit GroupMachine(group::Settings settings) : settings_(settings) {}

  Decision decide(const Command& command, Now now) const;
  void replay(Offset offset, const Record& record) { state_.replay(offset, record); }
  /// Sessions begin anew; old offsets are looked for after a while.
  Decision loaded(Now now) const;

  const group::State& state() const { return state_; }
  /// Records that could not be read so far, and why the last one.
  uint64_t unreadable() const { return state_.unreadable(); }
  const std::string& problem() const { return state_.problem(); }

 private:
  group::Settings settings_;
  group::State state_;
};

}  // namespace odradek::machines
