#include "machines/runtime.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace odradek::machines {
namespace {

// A sum that never goes below zero. Commands: a number to add, "read", "twice", or a timer that
// adds one.
struct Add {
  int64_t n;
};
struct Read {};
struct ArmTimer {
  Millis after;
};

class Sum {
 public:
  using Record = int64_t;
  using Response = std::string;
  using Command = std::variant<Add, Read, ArmTimer, TimerFired>;
  using Decision = machines::Decision<Record, Response>;

  Decision decide(const Command& command, Now now) const {
    if (const auto* add = std::get_if<Add>(&command)) {
      if (total_ + add->n < 0) return {{}, "too little"};
      return {{add->n}, "at " + std::to_string(now.next.value)};
    }
    if (const auto* arm = std::get_if<ArmTimer>(&command))
      return {{}, "armed", {{"tick", arm->after}}};
    if (std::get_if<TimerFired>(&command)) return {{1}, "ticked"};
    return {{}, "total " + std::to_string(total_)};
  }
  void replay(Offset offset, const Record& record) {
    EXPECT_EQ(offset, next_);
    next_ = offset + int64_t{1};
    total_ += record;
  }
  Decision loaded(Now) const {
    if (next_ == Offset(0)) return {{100}, ""};
    return {};
  }
  int64_t total() const { return total_; }

 private:
  int64_t total_ = 0;
  Offset next_{0};
};
static_assert(Machine<Sum>);

class VectorLog {
 public:
  Result<void> can_append() const {
    if (refuses) return fail(Errc::kClosed, "not the leader");
    return {};
  }
  Offset end() const { return Offset(static_cast<int64_t>(records.size())); }
  Offset committed() const { return commit_at_once ? end() : committed_to; }
  Result<Offset> append(std::span<const int64_t> batch) {
    if (fails) return fail(Errc::kNoSpace, "the disk is full");
    records.insert(records.end(), batch.begin(), batch.end());
    appends++;
    return end();
  }
  size_t size_of(const int64_t&) const { return 10; }
  size_t batch_bytes_max() const { return 25; }

  std::vector<int64_t> records;
  int appends = 0;
  Offset committed_to{0};
  bool commit_at_once = false;
  bool fails = false;
  bool refuses = false;
};
static_assert(CommitLog<VectorLog, int64_t>);

class Host : public RuntimeHost {
 public:
  WallMs wall() override { return WallMs(now); }
  uint64_t random() override { return 4; }
  uint64_t start_timer(Millis after, Callback callback) override {
    timers.emplace(++last_timer, std::make_pair(after, std::move(callback)));
    return last_timer;
  }
  void cancel_timer(uint64_t id) override { timers.erase(id); }
  void at_turn_end(Callback callback) override { turn.push_back(std::move(callback)); }
  void end_turn() {
    auto calls = std::move(turn);
    turn.clear();
    for (auto& c : calls) c();
  }
  void fire_first() {
    auto callback = std::move(timers.begin()->second.second);
    timers.erase(timers.begin());
    callback();
  }

  std::map<uint64_t, std::pair<Millis, Callback>> timers;
  std::vector<Callback> turn;
  uint64_t last_timer = 0;
  int64_t now = 5;
};

struct Fixture : ::testing::Test {
  VectorLog log;
  Host host;
  std::vector<std::string> answers;
  std::optional<Error> failure;
  Runtime<Sum, VectorLog> runtime{log, host, [] { return std::make_unique<Sum>(); },
                                  [this](const Error& e) { failure = e; }};

  void load() {
    runtime.start_loading();
    Offset offset{0};
    for (int64_t r : log.records) {
      runtime.load(offset, r);
      offset = offset + int64_t{1};
    }
    runtime.loaded();
    host.end_turn();
    commit();
  }
  void commit() {
    log.committed_to = log.end();
    runtime.committed(log.end());
  }
  void send(const Sum::Command& command) {
    runtime.submit(command, [this](Result<std::string> r) {
      answers.push_back(r ? *r : "error: " + r.error().message);
    });
  }
};
using RuntimeTest = Fixture;

TEST_F(RuntimeTest, NothingIsAnsweredBeforeItIsCommitted) {
  load();
  EXPECT_EQ(log.records, std::vector<int64_t>{100});
  send(Add{5});
  EXPECT_EQ(runtime.machine().total(), 105);  // later commands see it at once
  host.end_turn();
  EXPECT_TRUE(answers.empty());
  runtime.committed(Offset(1));
  EXPECT_TRUE(answers.empty());
  runtime.committed(Offset(2));
  EXPECT_EQ(answers, std::vector<std::string>{"at 1"});
}

TEST_F(RuntimeTest, AReadWaitsBehindTheLastPendingWrite) {
  load();
  send(Read{});
  ASSERT_EQ(answers, std::vector<std::string>{"total 100"});  // nothing pending: at once
  send(Add{5});
  send(Read{});
  send(Add{-1000});  // decides nothing, but knows of the pending write: a read as well
  EXPECT_EQ(answers.size(), 1U);
  // Commitment of what was there before does not release what is not appended yet.
  runtime.committed(Offset(1));
  EXPECT_EQ(answers.size(), 1U);
  host.end_turn();
  send(Read{});
  EXPECT_EQ(answers.size(), 1U);
  commit();
  EXPECT_EQ(answers, (std::vector<std::string>{"total 100", "at 1", "total 105", "too little",
                                               "total 105"}));
}

TEST_F(RuntimeTest, AFailedAppendDiscardsTheMachineAndFailsWhatIsParked) {
  load();
  send(Add{5});
  host.end_turn();
  send(Add{7});
  send(Read{});
  log.fails = true;
  host.end_turn();
  EXPECT_EQ(runtime.state(), RuntimeState::kFailed);
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->kind, Errc::kNoSpace);
  EXPECT_EQ(answers, (std::vector<std::string>(3, "error: the disk is full")));
  send(Read{});
  EXPECT_EQ(answers.back(), "error: the machine is failed");

  log.fails = false;
  load();
  EXPECT_EQ(runtime.machine().total(), 105);  // 5 is in the log, 7 is not
}

TEST_F(RuntimeTest, AFreshMachineFedTheLogEqualsTheLiveOne) {
  load();
  for (int64_t n : {3, -50, 8, -1, 60}) {
    send(Add{n});
    if (n < 0) host.end_turn();
  }
  host.end_turn();
  commit();
  Sum fresh;
  Offset offset{0};
  for (int64_t r : log.records) {
    fresh.replay(offset, r);
    offset = offset + int64_t{1};
  }
  EXPECT_EQ(fresh.total(), runtime.machine().total());
  EXPECT_EQ(fresh.total(), 120);
}

TEST_F(RuntimeTest, WhatIsSubmittedInOneTurnSharesAnAppend) {
  load();
  const int before = log.appends;
  send(Add{1});
  send(Add{2});
  EXPECT_EQ(log.appends, before);
  send(Add{3});  // the third does not fit in the batch with the others
  EXPECT_EQ(log.appends, before + 1);
  host.end_turn();
  EXPECT_EQ(log.appends, before + 2);
  commit();
  EXPECT_EQ(answers, (std::vector<std::string>{"at 1", "at 2", "at 3"}));
}

TEST_F(RuntimeTest, ALogThatCommitsAtOnceAnswersWhenTheTurnEnds) {
  log.commit_at_once = true;
  load();
  send(Add{1});
  EXPECT_TRUE(answers.empty());
  host.end_turn();
  EXPECT_EQ(answers.size(), 1U);
}

TEST_F(RuntimeTest, RefusalsLeaveTheStateAlone) {
  send(Read{});
  EXPECT_EQ(answers.back(), "error: the machine is not loaded");
  load();
  log.refuses = true;
  send(Add{1});
  EXPECT_EQ(answers.back(), "error: not the leader");
  EXPECT_EQ(runtime.machine().total(), 100);
}

TEST_F(RuntimeTest, ParkedAnswersAreBounded) {
  Runtime<Sum, VectorLog> small(
      log, host, [] { return std::make_unique<Sum>(); }, [](const Error&) {},
      RuntimeOptions{.parked_max = 2});
  small.start_loading();
  small.loaded();
  host.end_turn();
  int refused = 0;
  for (int i = 0; i < 4; i++)
    small.submit(Add{1}, [&](Result<std::string> r) { refused += !r ? 1 : 0; });
  EXPECT_EQ(refused, 3);  // one place is taken by `loaded`
}

TEST_F(RuntimeTest, TimersComeBackAsCommands) {
  load();
  send(ArmTimer{Millis(10)});
  send(ArmTimer{Millis(20)});  // the same key: replaced
  ASSERT_EQ(host.timers.size(), 1U);
  EXPECT_EQ(host.timers.begin()->second.first, Millis(20));
  host.now += 8;
  EXPECT_EQ(runtime.timer_left("tick"), Millis(12));
  EXPECT_EQ(runtime.timer_left("another"), std::nullopt);
  log.refuses = true;
  host.fire_first();  // refused: tried again later
  ASSERT_EQ(host.timers.size(), 1U);
  EXPECT_EQ(host.timers.begin()->second.first, Millis(500));
  log.refuses = false;
  host.fire_first();
  host.end_turn();
  commit();
  EXPECT_EQ(runtime.machine().total(), 101);
  send(ArmTimer{Millis(10)});
  runtime.close();
  EXPECT_TRUE(host.timers.empty());
}

// A list of guests, which is stored, and who waits at the door, which is not. Commands: a name that
// waits, or "!", which lets everybody in and tells them.
class Door {
 public:
  struct Record {
    std::string name;
    bool waits = false;
    bool soft() const { return waits; }
  };
  using Message = std::string;
  using Response = std::string;
  using Command = std::variant<std::string, TimerFired>;
  using Decision = machines::Decision<Record, Response, Message>;

  Decision decide(const Command& command, Now) const {
    const auto* name = std::get_if<std::string>(&command);
    if (name == nullptr) return {{}, "timer"};
    if (*name != "!") return {{{*name, true}}, "wait", {{"patience", Millis(9)}}};
    Decision out{{}, "opened", {{"patience", std::nullopt}}};
    for (const std::string& n : waiting) {
      out.records.push_back({n, false});
      out.messages.push_back("welcome " + n);
    }
    return out;
  }
  void replay(Offset, const Record& record) {
    if (record.waits) return waiting.push_back(record.name);
    std::erase(waiting, record.name);
    inside.push_back(record.name);
  }
  Decision loaded(Now) const { return {}; }

  std::vector<std::string> waiting;
  std::vector<std::string> inside;
};
static_assert(Machine<Door>);

class DoorLog {
 public:
  Result<void> can_append() const { return {}; }
  Offset end() const { return Offset(static_cast<int64_t>(records.size())); }
  Offset committed() const { return Offset(0); }
  Result<Offset> append(std::span<const Door::Record> batch) {
    if (fails) return fail(Errc::kNoSpace, "the disk is full");
    for (const auto& r : batch) records.push_back(r);
    return end();
  }
  size_t size_of(const Door::Record&) const { return 1; }
  size_t batch_bytes_max() const { return 100; }

  std::vector<Door::Record> records;
  bool fails = false;
};

struct SoftTest : ::testing::Test {
  DoorLog log;
  Host host;
  std::vector<std::string> told;
  Runtime<Door, DoorLog> runtime{log, host, [] { return std::make_unique<Door>(); },
                                 [](const Error&) {}};
  SoftTest() {
    runtime.on_message([this](std::string m) { told.push_back(std::move(m)); });
    load();
  }
  void load() {
    runtime.start_loading();
    for (size_t i = 0; i < log.records.size(); i++)
      runtime.load(Offset(static_cast<int64_t>(i)), log.records[i]);
    runtime.loaded();
  }
  void send(const std::string& command) {
    runtime.submit(Door::Command(command), [this](Result<std::string> r) {
      told.push_back(r ? *r : "error: " + r.error().message);
    });
  }
};

TEST_F(SoftTest, SoftRecordsAreReplayedAndNeverAppended) {
  send("ann");
  send("bob");
  EXPECT_EQ(told, (std::vector<std::string>{"wait", "wait"}));  // nothing to wait for
  host.end_turn();
  EXPECT_TRUE(log.records.empty());
  EXPECT_EQ(runtime.machine().waiting, (std::vector<std::string>{"ann", "bob"}));
}

TEST_F(SoftTest, MessagesFollowTheResponseOnceItIsCommitted) {
  send("ann");
  send("!");
  send("bob");  // a soft decision waits behind the pending write, as a read
  host.end_turn();
  EXPECT_EQ(told, std::vector<std::string>{"wait"});
  EXPECT_EQ(log.records.size(), 1U);
  runtime.committed(log.end());
  EXPECT_EQ(told, (std::vector<std::string>{"wait", "opened", "welcome ann", "wait"}));
}

TEST_F(SoftTest, AReloadForgetsWhatIsSoft) {
  send("ann");
  send("!");
  host.end_turn();
  send("bob");
  send("!");
  log.fails = true;
  host.end_turn();
  // Ann is in the log, but whoever is told so is not told before it is committed.
  EXPECT_EQ(told, (std::vector<std::string>{"wait", "error: the disk is full",
                                            "error: the disk is full", "error: the disk is full"}));
  log.fails = false;
  load();
  EXPECT_EQ(runtime.machine().inside, std::vector<std::string>{"ann"});
  EXPECT_TRUE(runtime.machine().waiting.empty());
}

TEST_F(SoftTest, TimersFollowTheOrderOfTheDecisions) {
  send("ann");
  send("!");    // disarms, but is not committed yet
  send("bob");  // arms: the answer before it must not disarm this one later
  host.end_turn();
  EXPECT_EQ(host.timers.size(), 1U);
  runtime.committed(log.end());
  EXPECT_EQ(host.timers.size(), 1U);
}

// A list of words; those in capitals must lie in a batch of their own.
class Words {
 public:
  struct Record {
    std::string word;
    bool apart() const { return word[0] < 'a'; }
  };
  using Response = std::string;
  using Command = std::variant<std::string, TimerFired>;
  using Decision = machines::Decision<Record, Response>;
  Decision decide(const Command& command, Now) const {
    const auto* word = std::get_if<std::string>(&command);
    if (word == nullptr || *word == "?") return {{}, std::to_string(count)};
    return {{{*word}}, *word};
  }
  void replay(Offset, const Record&) { count++; }
  Decision loaded(Now) const { return {}; }
  int count = 0;
};
static_assert(Machine<Words>);

class WordLog {
 public:
  Result<void> can_append() const { return {}; }
  Offset end() const { return Offset(end_); }
  Offset committed() const { return Offset(committed_to); }
  Result<Offset> append(std::span<const Words::Record> batch) {
    if (fails) return fail(Errc::kNoSpace, "the disk is full");
    std::string line;
    for (const auto& r : batch) line += line.empty() ? r.word : " " + r.word;
    batches.push_back(line);
    end_ += static_cast<int64_t>(batch.size());
    return end();
  }
  size_t size_of(const Words::Record&) const { return 1; }
  size_t batch_bytes_max() const { return 100; }

  std::vector<std::string> batches;
  int64_t committed_to = 0;
  bool fails = false;

 private:
  int64_t end_ = 0;
};

struct ApartTest : ::testing::Test {
  WordLog log;
  Host host;
  std::vector<std::string> told;
  Runtime<Words, WordLog> runtime{log, host, [] { return std::make_unique<Words>(); },
                                  [](const Error&) {}};
  ApartTest() {
    runtime.start_loading();
    runtime.loaded();
  }
  void send(const std::string& word) {
    runtime.submit(Words::Command(word), [this](Result<std::string> r) {
      told.push_back(r ? *r : "error: " + r.error().message);
    });
  }
};

TEST_F(ApartTest, WhatIsApartIsAppendedAtOnceAndAnsweredInOrder) {
  send("a");
  send("b");
  EXPECT_TRUE(log.batches.empty());
  send("X");
  EXPECT_EQ(log.batches, (std::vector<std::string>{"a b", "X"}));
  send("?");
  send("c");
  send("Y");
  send("d");
  EXPECT_EQ(log.batches, (std::vector<std::string>{"a b", "X", "c", "Y"}));
  EXPECT_TRUE(told.empty());
  runtime.committed(Offset(3));
  EXPECT_EQ(told, (std::vector<std::string>{"a", "b", "X", "3"}));
  log.committed_to = 5;
  host.end_turn();
  EXPECT_EQ(log.batches.back(), "d");
  EXPECT_EQ(told, (std::vector<std::string>{"a", "b", "X", "3", "c", "Y"}));
}

TEST_F(ApartTest, WhatIsApartAndCommittedAtOnceIsAnsweredWhenTheTurnEnds) {
  log.committed_to = 1;
  send("X");
  EXPECT_TRUE(told.empty());
  host.end_turn();
  EXPECT_EQ(told, std::vector<std::string>{"X"});
}

TEST_F(ApartTest, AFailedAppendFailsIt) {
  send("a");
  log.fails = true;
  send("X");
  EXPECT_EQ(told,
            (std::vector<std::string>{"error: the disk is full", "error: the machine is failed"}));
  EXPECT_EQ(runtime.state(), RuntimeState::kFailed);
  EXPECT_TRUE(log.batches.empty());
}

TEST(RuntimeStates, TheTableOfTransitions) {
  using enum RuntimeState;
  std::string table;
  for (RuntimeState from : {kInitial, kLoading, kActive, kFailed, kClosed}) {
    for (RuntimeState to : {kInitial, kLoading, kActive, kFailed, kClosed})
      table += may_follow(from, to) ? 'x' : '.';
    table += '\n';
  }
  EXPECT_EQ(table,
            ".x..x\n"
            "..xxx\n"
            "...xx\n"
            ".x..x\n"
            "....x\n");
}

}  // namespace
}  // namespace odradek::machines
