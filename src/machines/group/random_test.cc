// Random members do random things; after every step the machine that was fed the stored records
// only must agree with the live one as far as records go.
#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>
#include <random>

#include "machines/group/group_testing.h"

namespace odradek::machines::group {
namespace {

class Crowd {
 public:
  explicit Crowd(uint64_t seed)
      : random_(seed),
        groups_(Settings{.initial_rebalance_delay_ms = pick(2) ? 3'000 : 0,
                         .max_size = pick(3) ? 100 : 3,
                         .offsets_retention = Millis(400'000),
                         .retention_check = Millis(100'000)}) {}

  void step() {
    switch (pick(12)) {
      case 0:
      case 1:
      case 2:
        return join();
      case 3:
      case 4:
      case 5:
        return sync();
      case 6:
        return commit();
      case 7:
        return heartbeat();
      case 8:
        return leave();
      case 9:
        return groups_.advance(static_cast<int64_t>(pick(4'000)));
      case 10:
        return pick(10) == 0 ? groups_.advance(static_cast<int64_t>(pick(100'000))) : heartbeat();
      default:
        return remove();
    }
  }

  void check() {
    const State& live = groups_.state();
    const State& stored = groups_.shadow();
    ASSERT_EQ(stored.unreadable(), 0U);
    ASSERT_EQ(live.groups().size(), stored.groups().size());
    for (const auto& [id, group] : live.groups()) {
      const Group* other = stored.find(id);
      ASSERT_NE(other, nullptr) << id;
      ASSERT_EQ(group.offsets, other->offsets);
      check_group(*group.classic, *other->classic);
    }
  }

  /// Members of stable groups that were compared.
  size_t stable_members = 0;

  /// In the end nobody waits.
  void settle() {
    groups_.advance(2'000'000);
    std::string left;
    for (const auto& [id, group] : groups_.state().groups()) {
      if (!group.is_empty()) left += id + ": " + group.classic->to_line() + "\n";
    }
    ASSERT_EQ(left, "");
    ASSERT_EQ(groups_.waiting(), std::set<Token>());
  }

 private:
  struct Known {
    std::string group;
    TestMember member;
    std::optional<std::string> instance;
  };

  size_t pick(size_t n) { return static_cast<size_t>(random_() % n); }
  std::string group_name() { return fmt::format("g{}", pick(3)); }
  Known* any() { return known_.empty() ? nullptr : &known_[pick(known_.size())]; }

  void check_group(const ClassicGroup& live, const ClassicGroup& stored) {
    ASSERT_GE(live.generation, stored.generation);
    if (live.leader) {
      ASSERT_NE(live.member(*live.leader), nullptr);
    }
    ASSERT_EQ(live.leader.has_value(), !live.members.empty());
    for (const auto& [instance, member] : live.statics) {
      ASSERT_NE(live.member(member), nullptr);
      ASSERT_EQ(live.member(member)->instance, instance);
    }
    if (live.state == ClassicState::kEmpty) {
      ASSERT_TRUE(live.members.empty());
    }
    if (live.state != ClassicState::kStable) return;
    stable_members += live.members.size();
    ASSERT_EQ(live.generation, stored.generation);
    ASSERT_EQ(stored.state, ClassicState::kStable);
    ASSERT_EQ(live.protocol, stored.protocol);
    ASSERT_EQ(live.leader, stored.leader);
    ASSERT_EQ(live.statics, stored.statics);
    ASSERT_EQ(live.subscribed, stored.subscribed);
    ASSERT_EQ(live.members.size(), stored.members.size());
    for (const auto& [id, m] : live.members) {
      const Member* other = stored.member(id);
      ASSERT_NE(other, nullptr);
      ASSERT_EQ(m->assignment, other->assignment);
      ASSERT_EQ(m->instance, other->instance);
      ASSERT_EQ(*m->protocol(*live.protocol), other->protocols.at(0));
    }
  }

  std::vector<Protocol> protocols() {
    std::vector<Protocol> out{{"range", subscription({fmt::format("t{}", pick(3))})}};
    if (pick(2))
      out.insert(out.begin() + static_cast<int64_t>(pick(2)), {"sticky", subscription({"t0"})});
    return out;
  }

  void join() {
    Known fresh{group_name()};
    if (pick(4) == 0) fresh.instance = fmt::format("i{}", pick(3));
    Known* who = pick(3) ? any() : nullptr;
    if (who == nullptr) who = &fresh;
    Join join = join_of(who->group, who->member.id, protocols());
    join.instance = who->instance;
    join.id_required = pick(5) != 0;
    join.skips_assignment = pick(2) != 0;
    const Response response = groups_.send(join);
    Known next = *who;
    next.member.join = groups_.token();
    if (const auto* answer = std::get_if<JoinAnswer>(&response)) {
      if (answer->error == ErrorCode::kMemberIdRequired || answer->error == ErrorCode::kNone)
        next.member.id = answer->member;
      next.member.joined = *answer;
      next.member.join = 0;
    }
    if (who == &fresh) {
      known_.push_back(next);
    } else {
      *who = next;
    }
  }

  void learn(Known& k) {
    if (k.member.join == 0 || !groups_.answered(k.member.join)) return;
    k.member.joined = groups_.answer_to<JoinAnswer>(k.member.join);
    k.member.join = 0;
    if (k.member.joined.error == ErrorCode::kNone) k.member.id = k.member.joined.member;
    if (k.member.joined.error == ErrorCode::kUnknownMemberId) k.member.id.clear();
  }

  void sync() {
    Known* k = any();
    if (k == nullptr) return;
    learn(*k);
    std::vector<Sync::Assignment> assignments;
    for (const auto& m : k->member.joined.members) {
      if (pick(8)) assignments.push_back({m.id, fmt::format("a{}", pick(100))});
    }
    Sync sync = sync_of(k->group, k->member, assignments);
    sync.instance = k->instance;
    groups_.send(sync);
  }

  void commit() {
    CommitOffsets c{.group = group_name(), .version = 10};
    if (Known* k = any(); k != nullptr && pick(4)) {
      learn(*k);
      c.group = k->group;
      c.member = k->member.id;
      c.instance = k->instance;
      c.generation = k->member.joined.generation;
    }
    for (size_t i = 0; i <= pick(3); i++) {
      c.topics.push_back({.name = fmt::format("t{}", pick(3)),
                          .partitions = {{.index = static_cast<int32_t>(pick(3)),
                                          .offset = static_cast<int64_t>(pick(1'000))}}});
    }
    groups_.send(c);
  }

  void heartbeat() {
    Known* k = any();
    if (k == nullptr) return;
    learn(*k);
    groups_.send(Heartbeat{.group = k->group,
                           .generation = k->member.joined.generation,
                           .member = k->member.id,
                           .instance = k->instance});
  }

  void leave() {
    Known* k = any();
    if (k == nullptr || pick(2)) return;
    Leave leave{.group = k->group, .members = {{k->member.id, k->instance}}};
    if (k->instance && pick(2)) leave.members[0].id.clear();
    groups_.send(leave);
  }

  void remove() {
    const std::string group = group_name();
    if (pick(2)) {
      groups_.send(DeleteOffsets{.group = group, .topics = {{"t0", {0, 1, 2}}, {"t1", {0}}}});
    } else if (pick(2)) {
      groups_.send(DeleteGroups{{group}});
    } else {
      groups_.send(TopicsDeleted{{{fmt::format("t{}", pick(3)), Uuid()}}});
    }
  }

  std::mt19937_64 random_;
  TestGroups groups_;
  std::vector<Known> known_;
};

TEST(RandomGroups, AMachineFedTheStoredRecordsAgreesAtEveryStep) {
  const char* asked = std::getenv("ODRADEK_HISTORIES");
  const int histories = asked != nullptr ? std::atoi(asked) : 300;
  size_t compared = 0;
  for (int seed = 1; seed <= histories; seed++) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Crowd crowd(static_cast<uint64_t>(seed));
    for (int i = 0; i < 300; i++) {
      crowd.step();
      crowd.check();
      if (::testing::Test::HasFatalFailure()) return;
    }
    crowd.settle();
    crowd.check();
    if (::testing::Test::HasFailure()) return;
    compared += crowd.stable_members;
  }
  EXPECT_GT(compared, static_cast<size_t>(histories) * 20);  // they did meet
}

}  // namespace
}  // namespace odradek::machines::group
