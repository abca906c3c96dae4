// Random members do random things; after every step the machine that was fed the stored records
// only must agree with the live one as far as records go.
#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>
#include <random>

#include "machines/group/embedded.h"
#include "machines/group/group_testing.h"

namespace odradek::machines::group {
namespace {

class Crowd {
 public:
  /// Of classic members alone, or of both protocols.
  Crowd(uint64_t seed, bool classic)
      : classic_(classic),
        random_(seed),
        groups_(Settings{.initial_rebalance_delay_ms = pick(2) ? 3'000 : 0,
                         .max_size = pick(3) ? 100 : 3,
                         .offsets_retention = Millis(400'000),
                         .retention_check = Millis(100'000),
                         .consumer_max_size = pick(3) ? 100 : 4,
                         .may_upgrade = pick(4) != 0,
                         .may_downgrade = pick(4) != 0}) {
    change_topics();
  }

  void step() {
    switch (pick(classic_ ? 12 : 20)) {
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
      case 19:
        return pick(3) ? classic_rejoin() : change_topics();
      case 12:
      case 13:
        return consumer_join();
      case 14:
      case 15:
      case 16:
      case 17:
        return consumer_beat();
      case 18:
        return pick(3) ? consumer_beat() : consumer_leave();
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
      ASSERT_EQ(group.consumer == nullptr, other->consumer == nullptr) << id;
      if (!group.consumer) continue;
      ASSERT_EQ(*group.consumer, *other->consumer)
          << id << ": " << group.consumer->to_line() << "\nstored: " << other->consumer->to_line();
      check_consumer(*group.consumer);
    }
  }

  /// Members of stable groups that were compared.
  size_t stable_members = 0;
  size_t reconciled_members = 0;
  size_t upgrades = 0;

  /// In the end nobody waits.
  void settle() {
    groups_.advance(2'000'000);
    std::string left;
    for (const auto& [id, group] : groups_.state().groups()) {
      if (group.is_empty()) continue;
      left += id + ": " + (group.consumer ? group.consumer->to_line() : group.classic->to_line()) +
              "\n";
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

  static bool holds(const ConsumerMember& m, const Uuid& topic, int32_t index) {
    for (const OwnedPartitions* owned : {&m.assigned, &m.revoking}) {
      const auto t = owned->find(topic);
      if (t != owned->end() && t->second.contains(index)) return true;
    }
    return false;
  }

  void check_consumer(const ConsumerGroup& group) {
    bool mixed = false;
    for (const auto& [instance, member] : group.statics()) {
      ASSERT_NE(group.member(member), nullptr);
      ASSERT_EQ(group.member(member)->instance, instance);
    }
    for (const auto& [id, m] : group.members()) {
      mixed |= m->classic.has_value();
      ASSERT_LE(m->epoch, group.epoch);
      if (m->epoch != kStaticLeaveEpoch) {
        ASSERT_EQ(m->state == MemberState::kUnrevoked, !m->revoking.empty()) << group.to_line();
      }
      if (m->reconciled_to(group.assignment_epoch)) reconciled_members++;
    }
    if (mixed) upgrades++;
    for (uint64_t topic = 1; topic <= 3; topic++) {
      for (int32_t index = 0; index < 8; index++) {
        int holders = 0;
        for (const auto& [id, m] : group.members()) holders += holds(*m, Uuid{1, topic}, index);
        ASSERT_LE(holders, 1) << group.to_line();
        ASSERT_EQ(holders == 1, group.owned(Uuid{1, topic}, index)) << group.to_line();
      }
    }
  }

  void change_topics() {
    std::vector<std::pair<std::string, int32_t>> topics;
    for (int i = 0; i < 3; i++)
      topics.emplace_back(fmt::format("t{}", i), static_cast<int32_t>(1 + pick(5)));
    if (pick(6) == 0) topics.pop_back();
    groups_.set_topics(topics);
  }

  /// A consumer of the new protocol, as far as it knows itself.
  struct Modern {
    std::string group;
    std::string id;
    std::optional<std::string> instance{};
    int32_t epoch = 0;
    Partitions has{};
  };

  void said(Modern& who, const ConsumerHeartbeatAnswer& answer) {
    if (answer.error != ErrorCode::kNone) return;
    who.epoch = answer.epoch;
    if (answer.assignment) who.has = *answer.assignment;
  }

  ConsumerHeartbeat of(const Modern& who) {
    return {.group = who.group,
            .member = who.id,
            .epoch = who.epoch,
            .instance = who.instance,
            .client_id = "client",
            .client_host = "/127.0.0.1"};
  }

  void subscribe(ConsumerHeartbeat& c) {
    if (pick(3) == 0) {
      c.regex = pick(2) ? "t[01]" : "t.";
    } else {
      c.topics = {fmt::format("t{}", pick(3))};
      if (pick(2)) c.topics->push_back("t0");
    }
  }

  void consumer_join() {
    Modern fresh{.group = group_name(), .id = fmt::format("m{}", ++last_modern_)};
    if (pick(4) == 0) fresh.instance = fmt::format("i{}", pick(3));
    if (pick(3) == 0 && !modern_.empty()) fresh = modern_[pick(modern_.size())];
    fresh.epoch = 0;
    fresh.has.clear();
    ConsumerHeartbeat c = of(fresh);
    c.rebalance_timeout_ms = 20'000;
    c.owned = Partitions();
    subscribe(c);
    if (pick(3) == 0) c.assignor = pick(2) ? "range" : "uniform";
    const auto answer = groups_.send<ConsumerHeartbeatAnswer>(c);
    said(fresh, answer);
    if (answer.error == ErrorCode::kNone) modern_.push_back(fresh);
  }

  void consumer_beat() {
    if (modern_.empty()) return;
    Modern& who = modern_[pick(modern_.size())];
    ConsumerHeartbeat c = of(who);
    if (pick(3) != 0) c.owned = who.has;
    if (pick(8) == 0) subscribe(c);
    if (pick(12) == 0) c.epoch += static_cast<int32_t>(pick(3)) - 1;
    if (c.epoch <= 0) c.epoch = 1;
    said(who, groups_.send<ConsumerHeartbeatAnswer>(c));
  }

  void consumer_leave() {
    if (modern_.empty()) return;
    const Modern& who = modern_[pick(modern_.size())];
    ConsumerHeartbeat c = of(who);
    c.epoch = who.instance && pick(2) ? kStaticLeaveEpoch : kLeaveEpoch;
    groups_.send(c);
  }

  /// A classic member of a group of the new protocol does as it is told.
  void classic_rejoin() {
    Known* k = any();
    if (k == nullptr) return;
    const ConsumerGroup* group = groups_.state().find_consumer(k->group);
    if (group == nullptr || group->member(k->member.id) == nullptr) return;
    Join join = join_of(k->group, k->member.id, protocols());
    join.instance = k->instance;
    const auto answer = groups_.send<JoinAnswer>(join);
    if (answer.error != ErrorCode::kNone) return;
    k->member.joined = answer;
    Sync sync = sync_of(k->group, k->member);
    sync.instance = k->instance;
    groups_.send<SyncAnswer>(sync);
  }

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
    int32_t next = 0;
    for (const auto& m : k->member.joined.members) {
      const Partitions own{{Uuid{1, 1}, {next++}}};
      if (pick(8) == 0) continue;
      // What is not the consumers' own cannot be taken over.
      assignments.push_back({m.id, pick(20)
                                       ? write_assignment(own, subscription({}), groups_.image())
                                       : fmt::format("a{}", pick(100))});
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

  bool classic_;
  std::mt19937_64 random_;
  TestGroups groups_;
  std::vector<Known> known_;
  std::vector<Modern> modern_;
  int last_modern_ = 0;
};

TEST(RandomGroups, AMachineFedTheStoredRecordsAgreesAtEveryStep) {
  const char* asked = std::getenv("ODRADEK_HISTORIES");
  const int histories = asked != nullptr ? std::atoi(asked) : 300;
  size_t compared = 0;
  size_t reconciled = 0;
  size_t upgrades = 0;
  for (int seed = 1; seed <= histories; seed++) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    const bool classic = seed % 2 == 0;
    Crowd crowd(static_cast<uint64_t>(seed), classic);
    for (int i = 0; i < 300; i++) {
      crowd.step();
      crowd.check();
      if (::testing::Test::HasFatalFailure()) return;
    }
    crowd.settle();
    crowd.check();
    if (::testing::Test::HasFailure()) return;
    if (classic) compared += crowd.stable_members;
    reconciled += crowd.reconciled_members;
    upgrades += crowd.upgrades;
  }
  // They did meet.
  const auto half = static_cast<size_t>(histories / 2);
  EXPECT_GT(compared, half * 20);
  EXPECT_GT(reconciled, half * 20);
  EXPECT_GT(upgrades, half * 2);
}

}  // namespace
}  // namespace odradek::machines::group
