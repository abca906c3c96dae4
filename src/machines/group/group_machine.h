// GroupMachine: the group coordinator of one partition of `__consumer_offsets`: groups of consumers
// and their committed offsets. Its records are Apache's (record.h), its commands decoded requests
// (api.h).
//
// A group is of one kind (state.h). Which file decides what: offsets.cc, expiry.cc, admin.cc
// (describe, list, delete) for all; join.cc and classic_api.cc (sync, heartbeat, leave, timers) for
// classic groups, consumer_heartbeat.cc for those of the consumer protocol, migration.cc for the
// change from one to the other and consumer_classic.cc for members that have yet to change.
// classic_edit.h and consumer_edit.h are the only makers of changes.
#pragma once

#include <utility>

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

  /// Null: a cluster without topics, until a command says more.
  explicit GroupMachine(group::Settings settings, metadata::ImagePtr image = nullptr)
      : settings_(std::move(settings)), state_(std::move(image)) {}

  Decision decide(const Command& command, Now now) const;
  void replay(Offset offset, const Record& record);
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
