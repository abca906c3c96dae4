#include "sim/scenarios/power_loss.h"

#include <fmt/format.h>

#include <cstdio>
#include <deque>
#include <memory>

#include "base/logger.h"
#include "node/node.h"
#include "sim/clients.h"

#if __has_feature(address_sanitizer)
// The coroutines of a node that lost its power are never resumed or freed.
extern "C" int __lsan_is_turned_off() { return 1; }
#endif

namespace odradek::sim {
namespace {

constexpr uint16_t kPort = 9092;
/// How long a node may take to serve, and everybody to finish, in virtual time.
constexpr Millis kPatience(60'000);
constexpr size_t kLinesKept = 60;

/// Keeps the last lines, with the virtual time.
class Lines : public LogSink {
 public:
  Lines(Simulation& sim, bool verbose) : sim_(sim), verbose_(verbose) {}
  void write(Level level, std::string_view component, std::string_view line) override {
    constexpr std::string_view kLevels[] = {"debug", "info", "warn", "error"};
    std::string text =
        fmt::format("{:9.3f} {:5} {}: {}", static_cast<double>(sim_.now().value) / 1e6,
                    kLevels[static_cast<size_t>(level)], component, line);
    if (verbose_) fmt::print(stderr, "{}\n", text);
    lines_.push_back(std::move(text));
    if (lines_.size() > kLinesKept) lines_.pop_front();
  }
  std::vector<std::string> kept() const { return {lines_.begin(), lines_.end()}; }

 private:
  Simulation& sim_;
  bool verbose_;
  std::deque<std::string> lines_;
};

class PowerLoss {
 public:
  explicit PowerLoss(const ScenarioOptions& options)
      : options_(options),
        sim_(options.seed),
        lines_(sim_, options.verbose),
        machine_(sim_.add_node("broker", static_cast<int>(1 + sim_.rng().below(3)))),
        clients_(sim_.add_node("client", 1)),
        world_{.sim = sim_, .loop = clients_.loop(0), .broker = {"broker", kPort}} {
    world_.holes_allowed = compacted();
  }

  ScenarioOutcome run() {
    Rng& rng = sim_.rng();
    sim_.options().reset_one_in = rng.one_in(3) ? 200 : 0;
    sim_.options().sync_us_max = rng.one_in(4) ? 30'000 : 3'000;
    if (start()) {
      start_clients();
      const auto rounds = static_cast<int>(3 + rng.below(5));
      for (int i = 0; i < rounds && !failed(); i++) {
        sim_.run_until([&] { return failed(); },
                       Millis(rng.between(1, rng.one_in(3) ? 3000 : 400)));
        if (!failed()) interrupt();
      }
      if (!failed()) finish();
    }
    return outcome();
  }

 private:
  bool compacted() const { return options_.compacted.value_or(options_.seed % 3 == 0); }
  bool failed() const { return world_.history.failure().has_value(); }
  void fail(std::string what) { world_.history.fail(std::move(what)); }
  void line(std::string_view text) { lines_.write(Level::kInfo, "sim", text); }

  /// A new node on the machine, which must be up. False, with the failure noted, if it does not
  /// serve.
  bool start() {
    begin_start();
    if (!sim_.run_until([&] { return serving_ || failed(); }, kPatience)) {
      fail("the node does not come to serve");
    }
    return !failed();
  }

  void begin_start() {
    auto properties = metadata::BrokerConfig::standalone_properties();
    if (!options_.synced) properties["log.flush.interval.messages"] = "9223372036854775807";
    if (compacted()) {
      // Segments of some appends, and a cleaner that never rests: they are replaced all the time.
      properties["log.cleanup.policy"] = "compact";
      properties["log.roll.ms"] = "20";
      properties["log.cleaner.backoff.ms"] = "5";
      properties["log.cleaner.min.cleanable.ratio"] = "0";
      properties["log.segment.delete.delay.ms"] = "50";
    }
    auto loaded = metadata::BrokerConfig::load(std::move(properties));
    if (!loaded) return fail(loaded.error().message);
    serving_ = false;
    node_ = std::make_unique<node::Node>(
        machine_, node::NodeOptions{.config = loaded->config,
                                    .logger = Logger(&lines_, "node"),
                                    .format_if_new = true,
                                    .on_fatal = [this](const Error& e) {
                                      if (machine_.up())
                                        fail(fmt::format("the node gave up: {}", e.message));
                                    }});
    machine_.loop(0).post([this] {
      node_->start([this](Result<void> r) {
        if (!machine_.up()) return;  // interrupted in the middle of this
        if (!r) return fail(fmt::format("the node does not start: {}", r.error().message));
        serving_ = true;
      });
    });
  }

  void start_clients() {
    Rng& rng = sim_.rng();
    io::spawn(run_administrator(world_, static_cast<int>(1 + rng.below(4))));
    const auto spawn_producers = [&](const char* name, ProducerKind kind, uint64_t count) {
      for (uint64_t i = 0; i < count; i++) {
        io::spawn(run_producer(world_, fmt::format("{}{}", name, i), kind));
      }
    };
    spawn_producers("idem", ProducerKind::kIdempotent, 1 + rng.below(3));
    spawn_producers("all", ProducerKind::kAcksAll, rng.below(3));
    spawn_producers("one", ProducerKind::kAcksOne, rng.below(3));
    for (uint64_t i = 0; i < 1 + rng.below(2); i++) io::spawn(run_consumer(world_));
  }

  /// Stops the node in one way or another, and starts it again, perhaps with interruptions of that.
  void interrupt() {
    Rng& rng = sim_.rng();
    if (rng.one_in(6)) {
      stop_cleanly();
    } else {
      cut();
    }
    while (!failed() && rng.one_in(4)) {
      begin_start();
      sim_.run_until([&] { return failed(); }, Millis(rng.between(0, 60)));
      if (!failed()) cut();
    }
    if (!failed()) start();
  }

  /// Without warning: the machine's power or the process only; now, or in the middle of what the
  /// node is doing.
  void cut() {
    Rng& rng = sim_.rng();
    const bool power = !rng.one_in(3);
    (power ? outcome_.power_losses : outcome_.kills)++;
    if (rng.one_in(2)) {
      const uint64_t changes = 1 + rng.below(rng.one_in(2) ? 10 : 100);
      power ? machine_.power_loss_after(changes) : machine_.kill_after(changes);
      sim_.run_until([&] { return !machine_.up() || failed(); }, Millis(500));
    }
    if (machine_.up()) power ? machine_.power_loss() : machine_.kill();
    line(power ? "power loss" : "kill");
    if (power) world_.history.power_lost();
    abandon_node();
    machine_.restart();
  }

  void stop_cleanly() {
    line("stop");
    outcome_.clean_stops++;
    bool stopped = false;
    machine_.loop(0).post([&] { node_->stop([&] { stopped = true; }); });
    if (!sim_.run_until([&] { return stopped || failed(); }, kPatience)) {
      fail("the node does not stop");
    }
    node_.reset();
    machine_.kill();
    machine_.restart();
  }

  /// No more faults: everybody must get on, and everything must be there.
  void finish() {
    line("faults cease");
    sim_.options().reset_one_in = 0;
    sim_.run_until([&] { return failed(); }, Millis(2'000));
    world_.stopping = true;
    if (!sim_.run_until([&] { return world_.running == 0 || failed(); }, kPatience)) {
      return fail(fmt::format("{} clients do not finish", world_.running));
    }
    sim_.run_until([&] { return failed(); }, Millis(2'000));
    bool read = false;
    io::spawn(read_everything(world_, read));
    if (!sim_.run_until([&] { return read || failed(); }, kPatience)) {
      fail("reading everything does not end");
    }
  }

  ScenarioOutcome outcome() {
    outcome_.failure = world_.history.failure();
    if (outcome_.failure) outcome_.log = lines_.kept();
    outcome_.trace_hash = sim_.trace_hash();
    outcome_.acked = world_.history.acked_count();
    outcome_.observed = world_.history.observed_count();
    outcome_.virtual_ms = sim_.now().value / 1'000'000;
    machine_.kill();
    clients_.kill();
    abandon_node();
    return outcome_;
  }

  /// As when a process dies: no destructor runs. The memory is lost.
  void abandon_node() { (void)node_.release(); }

  const ScenarioOptions options_;
  Simulation sim_;
  Lines lines_;
  SimIo& machine_;
  SimIo& clients_;
  ClientWorld world_;
  std::unique_ptr<node::Node> node_;
  bool serving_ = false;
  ScenarioOutcome outcome_;
};

}  // namespace

ScenarioOutcome run_power_loss(const ScenarioOptions& options) { return PowerLoss(options).run(); }

}  // namespace odradek::sim
