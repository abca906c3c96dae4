#include "sim/scenarios/groups.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/classic_member.h"
#include "sim/consumer_member.h"
#include "sim/group_assign.h"
#include "sim/group_consumer.h"

namespace odradek::sim {
namespace {

/// How long everybody may take to get on once all faults have ceased, in virtual time.
constexpr Millis kPatience(60'000);

/// How the members of a group are.
struct GroupPlan {
  std::string name;
  bool consumer_protocol = false;  // else classic
  bool mixed = false;              // or both
  bool cooperative = false;
  bool statics = false;
  int32_t session_ms = 0;
  int32_t rebalance_ms = 0;
  int members_max = 0;
};

class Groups {
 public:
  explicit Groups(const GroupsOptions& options)
      : sim_(options.seed),
        lines_(sim_, options.verbose),
        machine_(sim_.add_node("broker", static_cast<int>(1 + sim_.rng().below(3)))),
        clients_(sim_.add_node("client", 1)),
        clients_world_{.sim = sim_, .loop = clients_.loop(0), .broker = {"broker", Broker::kPort}},
        world_(clients_world_),
        broker_(
            clients_world_, machine_, lines_, [this] { return over(); },
            [this] { world_.history.interrupted(); }) {
    for (int i = 0; i < 3; i++) hosts_.push_back(&sim_.add_node(fmt::format("host{}", i), 1));
    world_.say = [this](const std::string& line) { lines_.say(line); };
    draw_settings();
    draw_groups();
  }

  GroupsOutcome run() {
    Rng& rng = sim_.rng();
    if (broker_.start() && create_topics()) {
      sim_.options().reset_one_in = rng.one_in(3) ? 200 : 0;
      start_clients();
      const auto rounds = static_cast<int>(3 + rng.below(5));
      for (int i = 0; i < rounds && !over(); i++) {
        tend(Millis(rng.between(1, rng.one_in(2) ? 5'000 : 800)));
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
    clients_world_.pause_ms = rng.between(5, 200);
    metadata::Properties& settings = broker_.settings();
    const auto draw = [&](const char* name, int64_t low, int64_t high) {
      settings[name] = fmt::format("{}", rng.between(low, high));
    };
    settings["group.min.session.timeout.ms"] = "100";
    draw("group.initial.rebalance.delay.ms", 0, rng.one_in(2) ? 0 : 500);
    consumer_session_ms_ = static_cast<int32_t>(rng.between(600, 3'000));
    settings["group.consumer.min.session.timeout.ms"] = "100";
    settings["group.consumer.session.timeout.ms"] = fmt::format("{}", consumer_session_ms_);
    settings["group.consumer.min.heartbeat.interval.ms"] = "10";
    draw("group.consumer.heartbeat.interval.ms", 10, consumer_session_ms_ / 4);
    draw("group.consumer.assignment.interval.ms", 0, rng.one_in(2) ? 0 : 1'000);
    draw("offsets.topic.num.partitions", 1, 4);
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

  void draw_groups() {
    Rng& rng = sim_.rng();
    const auto count = static_cast<int>(1 + rng.below(3));
    for (int i = 0; i < count; i++) {
      GroupPlan group{.name = fmt::format("group{}", i)};
      group.mixed = rng.one_in(4);
      group.consumer_protocol = rng.one_in(2);
      group.cooperative = rng.one_in(2);
      group.statics = !group.mixed && rng.one_in(3);
      group.session_ms = static_cast<int32_t>(rng.between(600, 3'000));
      if (group.consumer_protocol || group.mixed) group.session_ms = consumer_session_ms_;
      group.rebalance_ms = static_cast<int32_t>(rng.between(600, 3'000));
      group.members_max = static_cast<int>(1 + rng.below(5));
      groups_.push_back(group);
    }
  }

  bool create_topics() {
    bool done = false;
    io::spawn(make_topics(*this, done));
    if (!sim_.run_until([&] { return done || over(); }, kPatience)) fail("no topics are created");
    return !over();
  }
  static io::Task<void> make_topics(Groups& self, bool& done) {
    Rng& rng = self.sim_.rng();
    WireClient client(self.clients_world_.loop, self.clients_world_.broker);
    if (rng.one_in(2)) {
      // Its segments are small, and compacted all the time; else the broker creates it.
      co_await create_topic(self.clients_world_, client, "__consumer_offsets",
                            static_cast<int32_t>(rng.between(1, 4)), TopicKind::kCompacted);
      self.clients_world_.topics.clear();
    }
    const auto count = static_cast<int>(1 + rng.below(3));
    for (int i = 0; i < count; i++) {
      const auto partitions = static_cast<int32_t>(rng.between(1, 6));
      const TopicKind kind = rng.one_in(2) ? TopicKind::kPlain : TopicKind::kSmallSegments;
      co_await create_topic(self.clients_world_, client, fmt::format("topic{}", i), partitions,
                            kind);
    }
    done = true;
  }

  void start_clients() {
    Rng& rng = sim_.rng();
    for (uint64_t i = 0; i < 1 + rng.below(2); i++) {
      const ProducerKind kind = rng.one_in(2) ? ProducerKind::kIdempotent : ProducerKind::kAcksOne;
      io::spawn(run_producer(clients_world_, fmt::format("producer{}", i), kind));
    }
    io::spawn(run_auditor(*this));
  }

  /// Reads the committed offsets of a group from time to time, as tools do.
  static io::Task<void> run_auditor(Groups& self) {
    Rng& rng = self.sim_.rng();
    WireClient client(self.clients_world_.loop, self.clients_world_.broker);
    while (!self.over() && !self.world_.over) {
      OffsetsAsked asked{.group = self.groups_[rng.below(self.groups_.size())].name};
      if (rng.one_in(2)) asked.partitions = self.all_partitions();
      (void)co_await read_offsets(self.world_, client, std::move(asked));
      co_await self.clients_world_.loop.sleep(Millis(rng.between(1, 300)));
    }
  }

  std::set<History::Partition> all_partitions() const {
    std::set<History::Partition> all;
    for (const KnownTopic& topic : clients_world_.topics) {
      for (int32_t i = 0; i < topic.partitions; i++) all.insert({topic.name, i});
    }
    return all;
  }

  // ---- members

  size_t members_of(const GroupPlan& group) const {
    return static_cast<size_t>(std::ranges::count_if(
        world_.alive, [&](const auto& m) { return m.second.group == group.name; }));
  }

  void draw_interests(const GroupPlan& group, MemberPlan& plan) {
    Rng& rng = sim_.rng();
    const auto& topics = clients_world_.topics;
    for (const KnownTopic& topic : topics) {
      if (rng.one_in(2)) plan.topics.insert(topic.name);
    }
    if (plan.topics.empty()) plan.topics.insert(topics[rng.below(topics.size())].name);
    // All like the same best, for after a reload a coordinator knows of no other protocol.
    plan.protocols = {group.cooperative ? kCooperative : kRange};
    if (rng.one_in(3)) plan.protocols.emplace_back(group.cooperative ? kRange : kCooperative);
  }

  void add_member(const GroupPlan& group) {
    Rng& rng = sim_.rng();
    MemberPlan plan{.name = fmt::format("member{}", world_.members++), .group = group.name};
    draw_interests(group, plan);
    if (group.statics && !rng.one_in(3)) {
      // Some of them are two at a time: the later one fences the other.
      plan.instance = fmt::format("i{}", rng.below(static_cast<uint64_t>(group.members_max) + 1));
      // Who comes back is given what was there before: it had better want the same.
      const auto& first = statics_.try_emplace({group.name, *plan.instance}, plan).first->second;
      plan.topics = first.topics;
      plan.protocols = first.protocols;
    }
    plan.session_ms = group.session_ms;
    plan.rebalance_ms = group.rebalance_ms;
    plan.life = Millis(rng.between(100, 20'000));
    const size_t host = rng.below(hosts_.size());
    on_host_[plan.name] = host;
    plan.mixed = group.mixed;
    plan.consumer_protocol = group.mixed ? rng.one_in(2) : group.consumer_protocol;
    world_.alive[plan.name] = plan;
    io::Loop& loop = hosts_[host]->loop(0);
    io::spawn(plan.consumer_protocol ? run_consumer_member(world_, loop, plan)
                                     : run_classic_member(world_, loop, plan));
  }

  /// Lets time pass, in which members come.
  void tend(Millis time) {
    Rng& rng = sim_.rng();
    const MonoNs end = sim_.now() + time;
    while (!over() && sim_.now() < end) {
      for (const GroupPlan& group : groups_) {
        const size_t count = members_of(group);
        const bool room = count < static_cast<size_t>(group.members_max);
        if (count == 0 || (room && rng.one_in(3))) add_member(group);
      }
      sim_.run_until([&] { return over(); }, Millis(rng.between(10, 600)));
    }
  }

  /// A machine with members: all of them crash.
  void kill_host() {
    const size_t host = sim_.rng().below(hosts_.size());
    lines_.say(fmt::format("host{} is killed", host));
    hosts_[host]->kill();
    hosts_[host]->restart();
    world_.crashes += std::erase_if(
        world_.alive, [&](const auto& member) { return on_host_[member.first] == host; });
  }

  // ---- faults

  void interrupt() {
    Rng& rng = sim_.rng();
    if (rng.one_in(4)) return kill_host();
    broker_.interrupt({"__consumer_offsets"});
  }

  // ---- the end

  /// No more faults: everybody must get on, and everything must be consumed.
  void finish() {
    lines_.say("faults cease");
    sim_.options().reset_one_in = 0;
    world_.calm = true;
    tend(Millis(2'000));
    clients_world_.stopping = true;
    wait("producers do not finish", [&] { return clients_world_.running == 0; });
    tend(Millis(2'000));  // acks=1: what is acknowledged is not yet to be seen
    bool read = false;
    if (!over()) io::spawn(read_everything(clients_world_, read));
    wait("reading everything does not end", [&] { return read; });
    wait_for_members();
    world_.over = true;
    wait("members do not leave", [&] { return world_.alive.empty(); });
    bool checked = false;
    if (!over()) io::spawn(check_offsets(*this, checked));
    wait("reading the committed offsets does not end", [&] { return checked; });
  }

  void wait(const char* what, const std::function<bool()>& done) {
    if (over()) return;
    if (!sim_.run_until([&] { return over() || done(); }, kPatience)) fail(what);
  }

  /// Until every partition that somebody in a group reads is committed to its end.
  void wait_for_members() {
    const MonoNs limit = sim_.now() + kPatience;
    while (!over()) {
      const auto behind = first_behind();
      if (!behind) return;
      if (sim_.now() >= limit) return fail(*behind);
      tend(Millis(200));
    }
  }

  std::optional<std::string> first_behind() {
    for (const GroupPlan& group : groups_) {
      std::set<std::string> topics;
      for (const auto& [name, member] : world_.alive) {
        if (member.group == group.name) topics.insert(member.topics.begin(), member.topics.end());
      }
      for (const auto& at : all_partitions()) {
        if (!topics.contains(at.topic)) continue;
        const int64_t end = clients_world_.history.known_high_watermark(at);
        const int64_t committed = world_.history.highest_accepted(group.name, at);
        if (committed < end) {
          return fmt::format("{}: {} ends at {}, and the group does not come further than {}",
                             group.name, at.text(), end, committed);
        }
      }
    }
    return std::nullopt;
  }

  static io::Task<void> check_offsets(Groups& self, bool& done) {
    WireClient client(self.clients_world_.loop, self.clients_world_.broker);
    for (const GroupPlan& group : self.groups_) {
      while (!self.over()) {
        const auto offsets = co_await read_offsets(
            self.world_, client, {.group = group.name, .partitions = self.all_partitions()});
        if (offsets) break;
        co_await self.clients_world_.loop.sleep(kRetryPause);
      }
    }
    done = true;
  }

  GroupsOutcome outcome() {
    GroupsOutcome out;
    out.take(clients_world_.history, lines_, sim_, broker_);
    out.counts = world_.history.counts();
    out.members = world_.members;
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
  std::vector<SimIo*> hosts_;  // of members
  ClientWorld clients_world_;
  GroupWorld world_;
  Broker broker_;
  int32_t consumer_session_ms_ = 0;
  std::vector<GroupPlan> groups_;
  std::map<std::string, size_t> on_host_;                              // where a member runs
  std::map<std::pair<std::string, std::string>, MemberPlan> statics_;  // by group and instance
};

}  // namespace

GroupsOutcome run_groups(const GroupsOptions& options) { return Groups(options).run(); }

}  // namespace odradek::sim
