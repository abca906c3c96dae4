#include "sim/broker.h"

#include <fmt/format.h>

#include <cstdio>
#include <iterator>

#if __has_feature(address_sanitizer)
// The coroutines of a node that lost its power are never resumed or freed.
extern "C" int __lsan_is_turned_off() { return 1; }
#endif

namespace odradek::sim {

void Lines::write(Level level, std::string_view component, std::string_view line) {
  constexpr size_t kKept = 60;
  constexpr std::string_view kLevels[] = {"debug", "info", "warn", "error"};
  std::string text = fmt::format("{:9.3f} {:5} {}: {}", static_cast<double>(sim_.now().value) / 1e6,
                                 kLevels[static_cast<size_t>(level)], component, line);
  if (verbose_) fmt::print(stderr, "{}\n", text);
  if (line.find("goes offline") != std::string_view::npos) directory_failed_ = true;
  lines_.push_back(std::move(text));
  if (lines_.size() > kKept) lines_.pop_front();
}

bool Broker::start() {
  begin_start();
  if (!sim_.run_until([&] { return serving_ || over_(); }, kPatience)) {
    world_.history.fail("the node does not come to serve");
  }
  return !over_();
}

void Broker::begin_start() {
  auto loaded = metadata::BrokerConfig::load(settings_);
  if (!loaded) return world_.history.fail(loaded.error().message);
  serving_ = gave_up_ = false;
  node_ = std::make_unique<node::Node>(
      machine_, node::NodeOptions{.config = loaded->config,
                                  .logger = Logger(&lines_, "node"),
                                  .format_if_new = true,
                                  .on_fatal = [this](const Error& e) { on_fatal(e); }});
  machine_.loop(0).post([this] {
    node_->start([this](Result<void> r) {
      if (!machine_.up()) return;  // interrupted in the middle of this
      if (!r) return on_fatal(r.error());
      serving_ = true;
    });
  });
}

void Broker::on_fatal(const Error& e) {
  if (!machine_.up()) return;
  gave_up_ = true;
  if (!world_.trouble && !may_give_up_) {
    world_.history.fail(fmt::format("the node gave up: {}", e.message));
  }
}

void Broker::start_with_interruptions() {
  while (!over_() && sim_.rng().one_in(4)) {
    begin_start();
    sim_.run_until([&] { return over_(); }, Millis(sim_.rng().between(0, 60)));
    if (!over_()) cut();
  }
  if (!over_()) start();
}

void Broker::fail_io(std::string where) {
  Rng& rng = sim_.rng();
  constexpr DiskOp kOps[] = {DiskOp::kSync, DiskOp::kSync, DiskOp::kWrite, DiskOp::kSyncDir,
                             DiskOp::kRename};
  const DiskOp op = kOps[rng.below(std::size(kOps))];
  uint64_t after = rng.below(rng.one_in(2) ? 5 : 100);
  const bool once = rng.one_in(2);
  lines_.say("input and output fail");
  interruptions_.io_failures++;
  world_.trouble = true;
  machine_.disk().set_fault([=](DiskOp at, const std::string& path) mutable {
    const bool hit = at == op && path.find(where) != std::string::npos;
    if (!hit || after == UINT64_MAX || (after > 0 && after--)) return std::optional<Error>();
    if (once) after = UINT64_MAX;
    return std::optional(Error{Errc::kIo, path + ": Input/output error"});
  });
  sim_.run_until([&] { return gave_up_ || failed(); }, Millis(rng.between(100, 1'500)));
  machine_.power_loss();
  machine_.disk().set_fault({});
  after_cut(true);
}

bool Broker::fill_disk() {
  Rng& rng = sim_.rng();
  lines_.say("the disk is full");
  interruptions_.full_disks++;
  world_.trouble = true;
  machine_.disk().set_space(machine_.disk().used() + rng.below(60'000));
  sim_.run_until([&] { return gave_up_ || failed(); }, Millis(rng.between(50, 2'000)));
  machine_.disk().set_space(uint64_t{1} << 40);
  lines_.say("the disk has room");
  if (!gave_up_) sim_.run_until([&] { return gave_up_ || failed(); }, Millis(8'000));
  if (gave_up_ || lines_.take_directory_failed()) {
    if (machine_.up()) machine_.kill();
    after_cut(false);
    return true;
  }
  world_.trouble = false;
  return false;
}

void Broker::interrupt(const std::vector<std::string>& topics) {
  Rng& rng = sim_.rng();
  if (rng.one_in(6)) {
    stop_cleanly();
  } else if (rng.one_in(5)) {
    fail_io(rng.one_in(2) ? topics[rng.below(topics.size())] : "");
  } else if (rng.one_in(8)) {
    if (!fill_disk()) return gone_();
  } else {
    cut();
  }
  start_with_interruptions();
}

void Broker::after_cut(bool power) {
  if (power) world_.history.power_lost();
  gone_();
  world_.trouble = false;
  (void)lines_.take_directory_failed();
  abandon();
  machine_.restart();
}

void Broker::cut() {
  Rng& rng = sim_.rng();
  const bool power = !rng.one_in(3);
  (power ? interruptions_.power_losses : interruptions_.kills)++;
  if (rng.one_in(2)) {
    const uint64_t changes = 1 + rng.below(rng.one_in(2) ? 10 : 100);
    power ? machine_.power_loss_after(changes) : machine_.kill_after(changes);
    sim_.run_until([&] { return !machine_.up() || failed(); }, Millis(500));
  }
  if (machine_.up()) power ? machine_.power_loss() : machine_.kill();
  lines_.say(power ? "power loss" : "kill");
  after_cut(power);
}

void Broker::stop_cleanly() {
  lines_.say("stop");
  interruptions_.clean_stops++;
  bool stopped = false;
  machine_.loop(0).post([&] { node_->stop([&] { stopped = true; }); });
  if (!sim_.run_until([&] { return stopped || failed(); }, kPatience)) {
    world_.history.fail("the node does not stop");
  }
  node_.reset();
  machine_.kill();
  gone_();
  machine_.restart();
}

}  // namespace odradek::sim
