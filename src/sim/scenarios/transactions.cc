#include "sim/scenarios/transactions.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "sim/group_consumer.h"
#include "sim/txn_process.h"
#include "wire/gen/list_transactions.h"
#include "wire/gen/update_features.h"

namespace odradek::sim {
namespace {

/// How long everybody may take to get on once all faults have ceased, in virtual time.
constexpr Millis kPatience(60'000);
constexpr const char* kGroup = "group";

/// Where one process follows another.
struct Slot {
  std::string name;
  bool transactional = true;
  bool continues = false;                 // in kGroup, which reads each partition in one slot only
  std::vector<History::Partition> reads;  // if it continues; else everything
  std::string transactional_id{};         // of the process that lives, or of the last one
  std::vector<std::string> processes{};
};

class Transactions {
 public:
  explicit Transactions(const TransactionsOptions& options)
      : sim_(options.seed),
        lines_(sim_, options.verbose),
        machine_(sim_.add_node("broker", static_cast<int>(1 + sim_.rng().below(3)))),
        clients_(sim_.add_node("client", 1)),
        clients_world_{.sim = sim_, .loop = clients_.loop(0), .broker = {"broker", Broker::kPort}},
        world_(clients_world_),
        broker_(clients_world_, machine_, lines_, [this] { return over(); }) {
    for (int i = 0; i < 3; i++) hosts_.push_back(&sim_.add_node(fmt::format("host{}", i), 1));
    draw_settings();
  }

  TransactionsOutcome run() {
    Rng& rng = sim_.rng();
    if (broker_.start() && prepare()) {
      draw_slots();
      sim_.options().reset_one_in = rng.one_in(3) ? 100 : 0;
      const auto rounds = static_cast<int>(3 + rng.below(5));
      for (int i = 0; i < rounds && !over(); i++) {
        tend(Millis(rng.between(1, rng.one_in(2) ? 2'500 : 600)));
        if (!over()) interrupt();
      }
      if (!over()) finish();
    }
    return outcome();
  }

 private:
  bool over() const { return world_.failed(); }
  void fail(std::string what) { clients_world_.history.fail(std::move(what)); }

  void draw_settings() {
    Rng& rng = sim_.rng();
    sim_.options().sync_us_max = rng.one_in(4) ? 30'000 : rng.one_in(10) ? 300'000 : 3'000;
    world_.pause_ms = rng.between(5, 120);
    metadata::Properties& settings = broker_.settings();
    const auto draw = [&](const char* name, int64_t low, int64_t high) {
      settings[name] = fmt::format("{}", rng.between(low, high));
    };
    draw("transaction.state.log.num.partitions", 1, 3);
    draw("offsets.topic.num.partitions", 1, 3);
    draw("transaction.abort.timed.out.transaction.cleanup.interval.ms", 20, 1'000);
    draw("log.cleaner.backoff.ms", 5, 500);
    const auto often = [&](const char* name, int64_t low, int64_t high) {
      if (!rng.one_in(4)) draw(name, low, high);
    };
    often("log.flush.offset.checkpoint.interval.ms", 20, 1'000);
    often("replica.high.watermark.checkpoint.interval.ms", 20, 1'000);
    often("metadata.log.max.record.bytes.between.snapshots", 100, 4'000);
    often("odradek.write.ahead.bytes", 2'000, 200'000);
    if (rng.one_in(8)) settings["odradek.write.ahead.bytes"] = "0";
  }

  // ---- topics, and the generation of transactions

  bool prepare() {
    bool done = false;
    io::spawn(make_topics(*this, done));
    if (!sim_.run_until([&] { return done || over(); }, kPatience)) fail("no topics are created");
    return !over();
  }
  static io::Task<void> make_topics(Transactions& self, bool& done) {
    Rng& rng = self.sim_.rng();
    ClientWorld& world = self.clients_world_;
    WireClient client(world.loop, world.broker);
    self.old_cluster_ = rng.one_in(4);
    if (self.old_cluster_) co_await keep_epochs(world, client);
    for (const char* name : {"__transaction_state", "__consumer_offsets"}) {
      // Its segments are small, and compacted all the time; else the broker creates it.
      if (!rng.one_in(2)) continue;
      const auto partitions = static_cast<int32_t>(rng.between(1, 3));
      co_await create_topic(world, client, name, partitions, TopicKind::kCompacted);
    }
    world.topics.clear();
    const auto count = static_cast<int>(1 + rng.below(2));
    for (int i = 0; i < count; i++) {
      constexpr TopicKind kKinds[] = {TopicKind::kPlain, TopicKind::kSmallSegments,
                                      TopicKind::kCompacted};
      const auto partitions = static_cast<int32_t>(rng.between(1, 3));
      co_await create_topic(world, client, fmt::format("topic{}", i), partitions,
                            kKinds[rng.below(std::size(kKinds))]);
    }
    done = true;
  }
  /// The cluster's transactions keep their epoch: transaction.version 1.
  static io::Task<void> keep_epochs(ClientWorld& world, WireClient& client) {
    Arena arena;
    wire::UpdateFeaturesRequest request;
    auto& feature = request.feature_updates.add(arena);
    feature.feature = "transaction.version";
    feature.max_version_level = 1;
    feature.upgrade_type = 2;  // down, where nothing is lost
    auto reply =
        co_await client.call<wire::UpdateFeaturesRequest, wire::UpdateFeaturesResponse>(request, 1);
    if (!reply || reply->body.error_code != 0)
      world.history.fail("transaction.version cannot be changed");
  }

  std::vector<History::Partition> all_partitions() const {
    std::vector<History::Partition> all;
    for (const KnownTopic& topic : clients_world_.topics) {
      for (int32_t i = 0; i < topic.partitions; i++) all.push_back({topic.name, i});
    }
    return all;
  }

  // ---- processes

  void draw_slots() {
    Rng& rng = sim_.rng();
    const auto all = all_partitions();
    const uint64_t members = all.size() > 1 ? 1 + rng.below(2) : 1;
    for (uint64_t i = 0; i < members; i++) {
      Slot slot{.name = fmt::format("c{}", i), .continues = true};
      for (uint64_t p = i; p < all.size(); p += members) slot.reads.push_back(all[p]);
      slots_.push_back(slot);
    }
    for (uint64_t i = 0; i < 1 + rng.below(2); i++)
      slots_.push_back({.name = fmt::format("t{}", i), .reads = all});
    for (uint64_t i = 0; i < 1 + rng.below(2); i++)
      slots_.push_back({.name = fmt::format("p{}", i), .transactional = false, .reads = all});
  }

  void add_process(Slot& slot) {
    Rng& rng = sim_.rng();
    TxnProcessPlan plan{.name = fmt::format("{}.{}", slot.name, slot.processes.size()),
                        .continues = slot.continues,
                        .group = slot.continues ? kGroup : "of-" + slot.name,
                        .reads = slot.reads,
                        .life = Millis(rng.between(200, 6'000))};
    if (slot.transactional) {
      // Whoever has a transactional id of its own leaves the transaction of the one before to time
      // out, and must wait for its death; else it fences it.
      if (slot.transactional_id.empty() || !rng.one_in(slot.continues ? 3 : 2))
        slot.transactional_id = "txn-" + plan.name;
      for (const std::string& name : slot.processes) {
        const auto at = world_.alive.find(name);
        if (at != world_.alive.end() &&
            at->second.plan.producer.transactional_id != slot.transactional_id)
          plan.follows.push_back(name);
      }
      plan.producer = {.transactional_id = slot.transactional_id,
                       .bumps = !old_cluster_ && !rng.one_in(3),
                       .timeout_ms = static_cast<int32_t>(rng.between(300, 4'000))};
    }
    const size_t host = rng.below(hosts_.size());
    on_host_[plan.name] = host;
    slot.processes.push_back(plan.name);
    lines_.say(fmt::format("{} comes: {}", plan.name, plan.producer.transactional_id));
    io::spawn(run_txn_process(world_, hosts_[host]->loop(0), std::move(plan)));
  }

  bool alive(const Slot& slot) const {
    return std::ranges::any_of(slot.processes,
                               [&](const auto& name) { return world_.alive.contains(name); });
  }

  /// Lets time pass, in which processes come, some of them in place of one that lives.
  void tend(Millis time) {
    Rng& rng = sim_.rng();
    const MonoNs end = sim_.now() + time;
    while (!over() && sim_.now() < end) {
      for (Slot& slot : slots_) {
        const bool another = slot.transactional && rng.one_in(slot.continues ? 5 : 12);
        if (!alive(slot) || (another && !world_.calm)) add_process(slot);
      }
      sim_.run_until([&] { return over(); }, Millis(rng.between(10, 300)));
    }
  }

  // ---- faults

  /// A machine with processes: all of them die. Half of the time while one of them commits what its
  /// group has read: the request is under way then, or being done, and others go on there.
  void kill_host() {
    Rng& rng = sim_.rng();
    size_t host = rng.below(hosts_.size());
    if (rng.one_in(2)) {
      const auto commits = [](const auto& process) {
        const TxnLife& life = process.second;
        const auto polled = [](const TxnStep& step) { return !step.read.empty(); };
        return life.committing && life.plan.continues && std::ranges::any_of(life.steps, polled);
      };
      sim_.run_until([&] { return over() || std::ranges::any_of(world_.alive, commits); },
                     Millis(500));
      sim_.run_until([&] { return over(); }, Millis(rng.between(0, 3)));
      const auto at = std::ranges::find_if(world_.alive, commits);
      if (at != world_.alive.end()) host = on_host_[at->first];
    }
    lines_.say(fmt::format("host{} is killed", host));
    hosts_[host]->kill();
    hosts_[host]->restart();
    for (const auto& [name, on] : on_host_) {
      if (on == host && world_.alive.contains(name)) txn_process_killed(world_, name);
    }
  }

  void interrupt() {
    if (sim_.rng().one_in(3)) return kill_host();
    broker_.interrupt({"__transaction_state", "__consumer_offsets", "topic"});
  }

  // ---- the end

  /// No more faults: what was begun ends, and all that was written can be read.
  void finish() {
    lines_.say("faults cease");
    sim_.options().reset_one_in = 0;
    world_.calm = true;
    tend(Millis(300));
    world_.over = true;
    wait("processes do not end", [&] { return world_.alive.empty(); });
    bool ended = false;
    if (!over()) io::spawn(wait_for_ends(*this, ended));
    wait("transactions stay open", [&] { return ended; });
    bool read = false;
    if (!over()) io::spawn(read_all(*this, read));
    wait("a last stable offset does not get to the end", [&] { return read; });
    bool stable = false;
    if (!over()) io::spawn(read_offsets_of_groups(*this, stable));
    wait("committed offsets stay unstable", [&] { return stable; });
  }

  void wait(const char* what, const std::function<bool()>& done) {
    if (over()) return;
    if (!sim_.run_until([&] { return over() || done(); }, kPatience)) fail(what);
  }

  /// Until ListTransactions knows of none that is open or being ended.
  static io::Task<void> wait_for_ends(Transactions& self, bool& ended) {
    WireClient client(self.clients_world_.loop, self.clients_world_.broker);
    while (!ended && !self.over()) {
      Arena arena;
      wire::ListTransactionsRequest request;
      for (const char* state : {"Ongoing", "PrepareCommit", "PrepareAbort"})
        request.state_filters.add(arena) = state;
      auto reply =
          co_await client.call<wire::ListTransactionsRequest, wire::ListTransactionsResponse>(
              request, 0);
      if (reply && reply->body.error_code != 0)
        (void)may_retry(self.clients_world_, "ListTransactions", reply->body.error_code);
      ended = reply && reply->body.error_code == 0 && reply->body.transaction_states.empty();
      if (!ended) co_await self.clients_world_.loop.sleep(kRetryPause);
    }
  }

  /// A last process reads everything from the beginning, until nothing is left that it may not see.
  static io::Task<void> read_all(Transactions& self, bool& finished) {
    const auto all = self.all_partitions();
    WireClient client(self.clients_world_.loop, self.clients_world_.broker);
    TxnHistory& history = self.world_.history;
    history.reads("last", "assign", all);
    Positions positions;
    for (const auto& at : all) positions[at] = 0;
    while (!finished && !self.over()) {
      std::vector<TxnStep> steps(1);
      history.begins("last", "poll", steps);
      const std::function<void(const History::Partition&, int64_t, std::string)> each =
          [&steps](const History::Partition& at, int64_t offset, std::string value) {
            steps[0].read[at].emplace_back(offset, std::move(value));
          };
      const Fetched fetched =
          co_await fetch(self.clients_world_, client, positions, each, Isolation::kReadCommitted);
      steps[0].polled = true;
      history.ends("last", "poll", steps, TxnHistory::End::kOk);
      finished = std::ranges::all_of(all, [&](const auto& at) {
        const auto end = fetched.high_watermarks.find(at);
        return end != fetched.high_watermarks.end() && positions[at] >= end->second &&
               fetched.last_stable.at(at) >= end->second;
      });
      if (!finished && !fetched.ok) co_await self.clients_world_.loop.sleep(kRetryPause);
    }
  }

  static io::Task<void> read_offsets_of_groups(Transactions& self, bool& stable) {
    ClientWorld& world = self.clients_world_;
    WireClient client(world.loop, world.broker);
    const auto all = self.all_partitions();
    std::set<std::string> groups = {kGroup};
    for (const Slot& slot : self.slots_) {
      if (slot.transactional && !slot.continues) groups.insert("of-" + slot.name);
    }
    while (!groups.empty() && !self.over()) {
      const std::string group = *groups.begin();
      if (co_await find_coordinator(world, client, CoordinatorOf::kGroup, group)) {
        const auto offsets = co_await ask_offsets(
            world, client, {.group = group, .partitions = {all.begin(), all.end()}}, 8);
        if (offsets) {
          groups.erase(group);
          continue;
        }
        (void)may_retry(world, "OffsetFetch", wire::wire_value(offsets.error()));
      }
      co_await world.loop.sleep(kRetryPause);
    }
    stable = true;
  }

  TransactionsOutcome outcome() {
    TransactionsOutcome out;
    out.take(clients_world_.history, lines_, sim_, broker_);
    out.history = world_.history.lines();
    out.counts = world_.history.counts();
    out.processes = world_.processes;
    out.crashes = world_.crashes;
    out.fenced = world_.fenced;
    machine_.kill();
    clients_.kill();
    for (SimIo* host : hosts_) host->kill();
    broker_.abandon();
    return out;
  }

  Simulation sim_;
  Lines lines_;
  SimIo& machine_;
  SimIo& clients_;
  std::vector<SimIo*> hosts_;  // of processes
  ClientWorld clients_world_;
  TxnWorld world_;
  Broker broker_;
  bool old_cluster_ = false;  // transaction.version 1
  std::vector<Slot> slots_;
  std::map<std::string, size_t> on_host_;  // where a process runs
};

}  // namespace

TransactionsOutcome run_transactions(const TransactionsOptions& options) {
  return Transactions(options).run();
}

}  // namespace odradek::sim
