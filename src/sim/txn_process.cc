#include "sim/txn_process.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sim/group_consumer.h"

namespace odradek::sim {

namespace {

using wire::ErrorCode;
using Answer = TxnProducer::Answer;
using End = TxnHistory::End;

/// How long a process waits for an answer to what it must know.
constexpr Millis kPatience(30'000);

/// Why an operation is not done, and what that makes of it.
struct Trouble {
  std::string error;
  End how = End::kFail;
  bool ends = false;  // the process with it
};
using Outcome = std::optional<Trouble>;

class TxnProcess {
 public:
  TxnProcess(TxnWorld& world, io::Loop& loop, TxnLife& life)
      : world_(world),
        loop_(loop),
        life_(life),
        plan_(life.plan),
        producer_(world.clients, loop, plan_.producer, world.ids[plan_.producer.transactional_id]),
        consumer_(loop, world.clients.broker),
        ends_(loop.clock().now() + plan_.life) {}

  io::Task<void> live();

 private:
  bool done() const {
    return ended_ || world_.over || world_.failed() ||
           (!world_.calm && loop_.clock().now() >= ends_);
  }
  Rng& rng() { return world_.clients.sim.rng(); }
  bool transactional() const { return producer_.transactional(); }

  io::Task<bool> begin();
  io::Task<bool> read_positions();
  void draw_steps();
  io::Task<void> operate();
  io::Task<Outcome> work();
  io::Task<Outcome> dawdle();
  io::Task<Outcome> send(TxnStep& step);
  io::Task<void> poll(TxnStep& step);
  io::Task<Outcome> commit();
  io::Task<void> abandon();
  Outcome trouble(const char* what, const TxnProducer::Result& result);

  TxnWorld& world_;
  io::Loop& loop_;
  TxnLife& life_;
  const TxnProcessPlan& plan_;
  TxnProducer producer_;
  WireClient consumer_;
  Positions positions_;
  MonoNs ends_;
  bool ended_ = false;
};

// ---- the beginning

/// Where the group stands; false: it does not get to know.
io::Task<bool> TxnProcess::read_positions() {
  const auto lives = [this](const std::string& name) { return world_.alive.contains(name); };
  while (!done() && std::ranges::any_of(plan_.follows, lives)) co_await loop_.sleep(Millis(1));
  const MonoNs limit = loop_.clock().now() + kPatience;
  while (!done() && loop_.clock().now() < limit) {
    const auto version = static_cast<int16_t>(rng().between(7, 10));
    if (co_await find_coordinator(world_.clients, consumer_, CoordinatorOf::kGroup, plan_.group)) {
      const auto offsets = co_await ask_offsets(
          world_.clients, consumer_,
          {.group = plan_.group, .partitions = {plan_.reads.begin(), plan_.reads.end()}}, version);
      if (offsets) {
        for (const CommittedOffset& o : *offsets) positions_[o.at] = std::max<int64_t>(o.offset, 0);
        if (positions_.size() != plan_.reads.size())
          world_.clients.history.fail("OffsetFetch is answered without what was asked for");
        co_return true;
      }
      (void)may_retry(world_.clients, "OffsetFetch", wire::wire_value(offsets.error()));
    }
    co_await loop_.sleep(kRetryPause);
  }
  co_return false;
}

io::Task<bool> TxnProcess::begin() {
  const auto made = co_await producer_.init(kPatience);
  if (made.answer != Answer::kDone) co_return false;
  if (plan_.continues) {
    if (!co_await read_positions()) co_return false;
  } else {
    for (const History::Partition& at : plan_.reads) positions_[at] = 0;
  }
  world_.history.reads(plan_.name, plan_.continues ? "subscribe" : "assign", plan_.reads);
  co_return true;
}

// ---- operations

void TxnProcess::draw_steps() {
  const bool sends = rng().one_in(2);
  life_.f = transactional() ? "txn" : sends ? "send" : "poll";
  const auto count = transactional() ? 1 + rng().below(4) : sends ? 1 + rng().below(3) : 1;
  for (uint64_t i = 0; i < count; i++) {
    TxnStep step;
    if (transactional() ? rng().one_in(2) : sends) {
      const auto& topics = world_.clients.topics;
      const KnownTopic& topic = topics[rng().below(topics.size())];
      const auto partition =
          static_cast<int32_t>(rng().below(static_cast<uint64_t>(topic.partitions)));
      step.to = {topic.name, partition};
      step.value = fmt::format("{}.{}", plan_.name, world_.clients.next_value++);
    }
    life_.steps.push_back(std::move(step));
  }
}

Outcome TxnProcess::trouble(const char* what, const TxnProducer::Result& result) {
  Trouble t{.error = fmt::format("{} {}", what, wire::name(result.error))};
  if (result.answer == Answer::kFenced) {
    world_.fenced++;
    t.ends = true;
  }
  return t;
}

io::Task<Outcome> TxnProcess::send(TxnStep& step) {
  const auto& topics = world_.clients.topics;
  const KnownTopic topic = *std::ranges::find(topics, step.to->topic, &KnownTopic::name);
  // A transaction can be given up; a producer without ends with a record whose fate is unknown.
  const Millis patience(transactional() && !world_.calm ? rng().between(200, 8'000)
                                                        : kPatience.value);
  const auto sent =
      co_await producer_.send(topic, step.to->index, step.value, patience, step.offset);
  if (sent.answer == Answer::kDone) {
    step.acked = true;
    co_return std::nullopt;
  }
  Outcome t = trouble("Produce", sent);
  if (!transactional()) {
    t->how = sent.lost ? End::kInfo : End::kFail;
    t->ends = true;
  }
  co_return t;
}

io::Task<void> TxnProcess::poll(TxnStep& step) {
  const std::function<void(const History::Partition&, int64_t, std::string)> each =
      [&step](const History::Partition& at, int64_t offset, std::string value) {
        step.read[at].emplace_back(offset, std::move(value));
      };
  const Fetched fetched =
      co_await fetch(world_.clients, consumer_, positions_, each, Isolation::kReadCommitted);
  step.polled = true;
  if (!fetched.ok) co_await loop_.sleep(kRetryPause);
}

/// Dies without a word, or takes longer than its transaction may.
io::Task<Outcome> TxnProcess::dawdle() {
  if (world_.calm) co_return std::nullopt;
  if (rng().one_in(60)) {
    world_.crashes++;
    co_return Trouble{.error = "dies in the midst of it", .ends = true};
  }
  if (rng().one_in(30))
    co_await loop_.sleep(Millis(rng().between(0, plan_.producer.timeout_ms * 3 / 2)));
  co_return std::nullopt;
}

io::Task<Outcome> TxnProcess::work() {
  for (TxnStep& step : life_.steps) {
    if (step.to) {
      if (Outcome t = co_await send(step)) co_return t;
    } else {
      co_await poll(step);
    }
    if (!transactional()) continue;
    if (Outcome t = co_await dawdle()) {
      co_return t;  // nothing more is said to the broker
    }
  }
  if (!transactional()) co_return std::nullopt;
  Outcome t = co_await commit();
  co_return t;
}

io::Task<Outcome> TxnProcess::commit() {
  Positions read;
  for (const TxnStep& step : life_.steps) {
    // Behind the last record, or where the consumer stands: behind the marker, it may be.
    for (const auto& [at, records] : step.read)
      read[at] = rng().one_in(2) ? records.back().first + 1 : positions_[at];
  }
  if (!read.empty()) {
    const auto sent = co_await producer_.send_offsets(plan_.group, read, kPatience);
    if (sent.answer != Answer::kDone) co_return trouble("TxnOffsetCommit", sent);
    if (Outcome t = co_await dawdle()) co_return t;
  }
  if (!world_.calm && rng().one_in(10)) co_return Trouble{.error = "on purpose"};
  life_.committing = true;
  const auto ended = co_await producer_.end(true, kPatience);
  if (ended.answer == Answer::kDone) co_return std::nullopt;
  Outcome t = trouble("EndTxn", ended);
  const bool refused = ended.answer == Answer::kRefused;
  // Whoever else ended it has fenced this one. With an epoch for each transaction that is told
  // apart from a repeat: it was aborted.
  if (refused && !(plan_.producer.bumps && producer_.may_be_fenced())) {
    world_.clients.history.fail(
        fmt::format("{}: the commit of {} is refused", plan_.name, producer_.text()));
  }
  const bool known = refused || (ended.answer == Answer::kFenced && !ended.lost);
  t->how = known ? End::kFail : End::kInfo;
  t->ends = true;
  co_return t;
}

/// Aborts, and makes the producer whole again. Whatever comes of it: a commit was never asked for.
io::Task<void> TxnProcess::abandon() {
  const auto aborted = co_await producer_.end(false, kPatience);
  bool whole = aborted.answer == Answer::kDone;
  if (whole && producer_.torn()) {
    const auto again = co_await producer_.init(kPatience);
    whole = again.answer == Answer::kDone;
  }
  if (!whole) ended_ = true;
}

io::Task<void> TxnProcess::operate() {
  draw_steps();
  const Positions before = positions_;
  world_.history.begins(plan_.name, life_.f, life_.steps);
  Outcome t = co_await work();
  if (t && transactional() && !t->ends) co_await abandon();
  if (t) {
    ended_ = ended_ || t->ends;
    if (transactional()) positions_ = before;
  }
  world_.history.ends(plan_.name, life_.f, life_.steps, t ? t->how : End::kOk,
                      t ? t->error : std::string());
  life_.f.clear();
  life_.steps.clear();
  life_.committing = false;
}

io::Task<void> TxnProcess::live() {
  if (!co_await begin()) co_return;
  while (!done()) {
    co_await operate();
    co_await loop_.sleep(Millis(rng().between(0, world_.pause_ms)));
  }
}

}  // namespace

io::Task<void> run_txn_process(TxnWorld& world, io::Loop& loop, TxnProcessPlan plan) {
  const std::string name = plan.name;
  world.processes++;
  TxnLife& life = world.alive[name];
  life.plan = std::move(plan);
  {
    TxnProcess process(world, loop, life);
    co_await process.live();
  }
  world.alive.erase(name);
}

void txn_process_killed(TxnWorld& world, const std::string& name) {
  const auto at = world.alive.find(name);
  const TxnLife& life = at->second;
  // What it has read by then counts if the transaction is committed.
  if (life.f == "txn") {
    world.history.ends(name, life.f, life.steps, life.committing ? End::kInfo : End::kFail,
                       life.committing ? "killed while it commits" : "killed before its commit");
  }
  world.alive.erase(at);
  world.crashes++;
}

}  // namespace odradek::sim
