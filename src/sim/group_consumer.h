// GroupConsumer: what members of all protocols have in common: it reads the committed offsets of
// the partitions that it was given, fetches from there, and commits, as whoever it is at the time.
#pragma once

#include <algorithm>
#include <expected>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "io/io.h"
#include "sim/clients.h"
#include "sim/group_history.h"
#include "sim/wire_client.h"
#include "wire/errors.h"

namespace odradek::sim {

/// A member as it is planned: one process with one consumer.
struct MemberPlan {
  std::string name;  // of its own, for everybody
  std::string group;
  std::optional<std::string> instance{};
  std::set<std::string> topics{};
  std::vector<std::string> protocols{};  // classic: in the order of its liking
  int32_t session_ms = 1'000;
  int32_t rebalance_ms = 1'000;
  bool consumer_protocol = false;  // else classic
  bool mixed = false;              // members of both are in its group
  Millis life{0};                  // how long it stays, roughly
};

/// What the members of one scenario share. Lives longer than they run.
struct GroupWorld {
  explicit GroupWorld(ClientWorld& c) : clients(c), history(c.history, c.trouble) {}

  ClientWorld& clients;
  GroupHistory history;
  std::function<void(const std::string&)> say = [](const std::string&) {};  // to the log
  bool calm = false;  // members no longer go, crash, dawdle or change their minds
  bool over = false;  // members leave
  /// Those that have not ended, by name. Whoever kills a machine takes its members away.
  std::map<std::string, MemberPlan> alive{};
  /// Who of a static member's processes has come last: the others are fenced. Group and instance.
  std::map<std::pair<std::string, std::string>, std::string> last_process{};
  uint64_t members = 0;
  uint64_t crashes = 0;
  uint64_t fenced = 0;

  bool failed() const { return clients.history.failure().has_value(); }
};

/// A committed offset as it was answered.
struct CommittedOffset {
  History::Partition at;
  int64_t offset = -1;
  std::string metadata{};
};
/// What is asked of a group's committed offsets: those of some partitions or of all (an empty set).
/// `member` and `epoch`: of a member of the consumer protocol.
struct OffsetsAsked {
  std::string group;
  std::set<History::Partition> partitions{};
  std::optional<std::string> member{};
  int32_t epoch = -1;
};
/// Asks for them; from version 7 on only for those that no open transaction may change. Errors: the
/// group's or the first one of a partition; NETWORK_EXCEPTION: there was no answer.
io::Task<std::expected<std::vector<CommittedOffset>, wire::ErrorCode>> ask_offsets(
    ClientWorld& world, WireClient& client, OffsetsAsked asked, int16_t version);
/// The same for a member or a tool, and checks them. None: there was no answer.
io::Task<std::optional<std::vector<CommittedOffset>>> read_offsets(GroupWorld& world,
                                                                   WireClient& client,
                                                                   OffsetsAsked asked);

class GroupConsumer {
 public:
  GroupConsumer(GroupWorld& world, io::Loop& loop, MemberPlan plan)
      : world(world),
        loop(loop),
        plan(std::move(plan)),
        coordinator(loop, world.clients.broker),
        data(loop, world.clients.broker) {}

  GroupWorld& world;
  io::Loop& loop;
  MemberPlan plan;
  std::string id{};       // empty: none yet
  int32_t epoch = -1;     // or generation
  Positions positions{};  // of what it has
  /// What it has and knows no position of.
  std::set<History::Partition> unread{};
  WireClient coordinator;
  WireClient data;

  Rng& rng() { return world.clients.sim.rng(); }
  /// How long it may be silent without being given up, whatever happens.
  Millis patience() const { return Millis(std::min(plan.session_ms, plan.rebalance_ms)); }
  /// The instance of a static member, which is known by it across processes, or the id.
  std::string owner() const { return plan.instance ? "instance " + *plan.instance : id; }
  std::set<History::Partition> owned() const;
  void give_up(const History::Partition& p) {
    positions.erase(p);
    unread.erase(p);
  }
  void give_up_everything() {
    positions.clear();
    unread.clear();
  }

  /// Tells the log what it has come to.
  void say(const std::string& what) const {
    world.say(plan.group + " " + plan.name + " " + owner() + " " + std::to_string(epoch) + " " +
              what);
  }

  /// Learns the positions of what is `unread`.
  io::Task<void> read_positions();
  /// Fetches once and consumes what comes.
  io::Task<void> poll();
  /// Commits the positions of some partitions, by the member `as_epoch`. False: they are not
  /// committed, or it is not known.
  io::Task<bool> commit(Positions these, int32_t as_epoch);
};

/// Lets a member live, of a class with `live`. It is among `alive` until then.
template <class Member>
io::Task<void> run_member(GroupWorld& world, io::Loop& loop, MemberPlan plan) {
  const std::string name = plan.name;
  {
    Member member(world, loop, std::move(plan));
    co_await member.live();
  }
  world.alive.erase(name);
}

}  // namespace odradek::sim
