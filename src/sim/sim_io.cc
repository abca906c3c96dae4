#include "sim/sim_io.h"

#include <algorithm>
#include <deque>
#include <unordered_set>

#include "base/check.h"
#include "base/crc32c.h"
#include "io/sync_round.h"
#include "sim/sim_loop.h"
#include "sim/sim_net.h"

namespace odradek::sim {
namespace {
constexpr int64_t kWallStartMs = 1'767'225'600'000;  // 2026-01-01
constexpr int64_t kPostUsMax = 30;
constexpr int64_t kBackgroundUsMax = 4'000;
}  // namespace

Simulation::Simulation(uint64_t seed, SimOptions options)
    : options_(options), rng_(seed), net_(std::make_unique<SimNet>(*this)) {}

Simulation::~Simulation() {
  for (auto& node : nodes_) {
    if (node->up()) node->kill();
  }
  for (auto& node : nodes_) node->free_dropped();
}

SimIo& Simulation::add_node(const std::string& host, int loops) {
  for (auto& node : nodes_) ODRADEK_CHECK(node->host() != host);
  nodes_.push_back(std::make_unique<SimIo>(*this, host, loops));
  return *nodes_.back();
}

void Simulation::mix(uint64_t value) {
  trace_ = (trace_ ^ value) * 0x9FB21C651E98DF25;
  trace_ ^= trace_ >> 32;
}

void Simulation::mix(ByteView bytes) { mix(crc32c(bytes)); }

void Simulation::schedule(SimIo& node, int loop, int64_t at_ns, io::Callback run) {
  if (!node.up_) return;
  events_.emplace(std::pair(std::max(at_ns, now_), next_sequence_++),
                  Event{&node, loop, std::move(run)});
}

void Simulation::step() {
  auto first = events_.extract(events_.begin());
  now_ = first.key().first;
  Event event = std::move(first.mapped());
  mix(static_cast<uint64_t>(now_));
  mix(static_cast<uint64_t>(event.node->id_ * 1000 + event.loop));
  if (event.loop >= 0) {
    event.node->loops_[static_cast<size_t>(event.loop)]->deliver(std::move(event.run));
  } else {
    event.run();
  }
}

bool Simulation::run_until(const std::function<bool()>& done, Millis limit) {
  int64_t end = now_ + limit.value * 1'000'000;
  while (!done()) {
    if (events_.empty() || events_.begin()->first.first > end) {
      now_ = std::max(now_, end);
      return done();
    }
    step();
  }
  return true;
}

void Simulation::run_for(Millis time) {
  run_until([] { return false; }, time);
}

// ------------------------------------------------------------------------------------------------

SimLoop::SimLoop(SimIo& node, int index)
    : node_(node), sim_(node.sim_), index_(index), rng_(node.sim_.rng_.next()) {}

void SimLoop::post(io::Callback callback) {
  // Posts of one thread arrive in order, each in its own time.
  int64_t& last = last_arrival_[sim_.running_];
  last = std::max(last, sim_.after_us(0, kPostUsMax));
  sim_.schedule(node_, index_, last, std::move(callback));
}

void SimLoop::at_turn_end(io::Callback callback) {
  if (!node_.up_) return;
  turn_end_.push_back(std::move(callback));
  // Called from outside a turn (a test's body): let one come.
  if (sim_.running_ != this) sim_.schedule(node_, index_, sim_.now_, [] {});
}

WallMs SimLoop::wall() const { return WallMs(kWallStartMs + sim_.now_ / 1'000'000); }
MonoNs SimLoop::now() const { return MonoNs(sim_.now_); }

io::TimerId SimLoop::start(Millis delay, io::Callback callback) {
  if (!node_.up_) return io::TimerId::kNone;
  uint64_t id = next_timer_++;
  timers_.emplace(id, std::move(callback));
  int64_t at =
      sim_.now_ + std::max<int64_t>(delay.value, 0) * 1'000'000 + sim_.rng_.between(0, 1'000'000);
  sim_.schedule(node_, index_, at, [this, id] {
    auto found = timers_.extract(id);
    if (found) found.mapped()();
  });
  return static_cast<io::TimerId>(id);
}

void SimLoop::cancel(io::TimerId id) {
  // Destroyed after it has left the table: its captures may cancel other timers.
  auto found = timers_.extract(static_cast<uint64_t>(id));
}

void SimLoop::deliver(io::Callback callback) {
  inbox_.push_back(std::move(callback));
  if (turn_scheduled_) return;
  if (busy_until_ <= sim_.now_) {
    turn();
  } else {
    turn_scheduled_ = true;
    sim_.schedule(node_, -1, busy_until_, [this] {
      turn_scheduled_ = false;
      turn();
    });
  }
}

void SimLoop::turn() {
  uint64_t incarnation = node_.incarnation_;
  sim_.running_ = this;
  std::vector<io::Callback> due = std::move(inbox_);
  inbox_.clear();
  for (auto& callback : due) {
    callback();
    callback = nullptr;
    if (node_.incarnation_ != incarnation) break;  // killed by a fault inside the callback
  }
  while (!turn_end_.empty() && node_.incarnation_ == incarnation) {
    std::vector<io::Callback> ending = std::move(turn_end_);
    turn_end_.clear();
    for (auto& callback : ending) {
      callback();
      if (node_.incarnation_ != incarnation) break;
    }
  }
  sim_.running_ = nullptr;
  busy_until_ = sim_.after_us(1, std::max<int64_t>(sim_.options_.turn_us_max, 1));
}

void SimLoop::clear() {
  auto inbox = std::move(inbox_);
  auto turn_end = std::move(turn_end_);
  auto timers = std::move(timers_);
  inbox_.clear();
  turn_end_.clear();
  timers_.clear();
  last_arrival_.clear();
  turn_scheduled_ = false;
  busy_until_ = 0;
  for (auto& callback : inbox) node_.drop(std::move(callback));
  for (auto& callback : turn_end) node_.drop(std::move(callback));
  for (auto& [id, callback] : timers) node_.drop(std::move(callback));
}

Result<std::unique_ptr<io::Listener>> SimLoop::listen(const io::Endpoint& at, bool shared_port,
                                                      OnAccept on_accept) {
  return sim_.net_->listen(*this, at, shared_port, std::move(on_accept));
}

void SimLoop::start_connect(const io::Endpoint& to,
                            io::Completion<Result<std::unique_ptr<io::Socket>>>& done) {
  sim_.net_->connect(*this, to, done);
}

// ------------------------------------------------------------------------------------------------

/// One sync thread. What is queued when a round begins shares it; writes made after the beginning
/// are not made durable by it (but for what is copied into the write-ahead file).
class SimSyncQueue : public io::SyncQueue, public std::enable_shared_from_this<SimSyncQueue> {
 public:
  SimSyncQueue(SimIo& node, std::shared_ptr<io::WriteAhead> ahead)
      : node_(node), ahead_(std::move(ahead)), incarnation_(node.incarnation_) {}

  void submit(io::SyncJob job, io::Loop& reply_to, Done done) override {
    if (!node_.up_ || node_.incarnation_ != incarnation_) return;
    queue_.push_back({std::move(job), &reply_to, std::move(done)});
    if (!busy_) schedule_round();
  }

 private:
  struct Job {
    io::SyncJob wanted;
    io::Loop* reply_to;
    Done done;
  };
  struct Round {
    std::vector<Job> jobs;
    io::SyncRound work;
    std::vector<uint64_t> marks{};  // of work.files()
  };

  void schedule_round() {
    busy_ = true;
    Simulation& sim = node_.sim_;
    sim.schedule(node_, -1, sim.after_us(1, 50), [self = shared_from_this()] { self->begin(); });
  }

  /// The write-ahead file may be used, and the disk may end the process while it is.
  void begin() {
    node_.sim_.running_ = this;
    Round round{.jobs = std::move(queue_), .work = io::SyncRound(ahead_.get())};
    queue_.clear();
    for (Job& job : round.jobs) round.work.add(job.wanted);
    round.work.begin();
    for (const auto& file : round.work.files()) {
      round.marks.push_back(MemoryDisk::write_mark(*file));
    }
    node_.sim_.running_ = nullptr;
    Simulation& sim = node_.sim_;
    int64_t end = sim.after_us(sim.options_.sync_us_min, sim.options_.sync_us_max);
    if (sim.rng_.one_in(50)) end += 30'000'000;  // a disk that stutters
    sim.schedule(node_, -1, end, [self = shared_from_this(), round = std::move(round)]() mutable {
      self->finish(std::move(round));
    });
  }

  void finish(Round round) {
    node_.sim_.running_ = this;
    Result<void> synced;
    for (size_t i = 0; i < round.marks.size(); i++) {
      auto r = MemoryDisk::sync_up_to(*round.work.files()[i], round.marks[i]);
      if (!r && synced) synced = r;
    }
    const Result<io::Synced> result = round.work.finish(synced);
    for (Job& job : round.jobs) {
      job.reply_to->post([done = std::move(job.done), result]() mutable { done(result); });
    }
    if (ahead_ != nullptr) flush_lap();
    node_.sim_.running_ = nullptr;
    busy_ = false;
    if (!queue_.empty()) schedule_round();
  }

  void flush_lap() {
    auto files = ahead_->over();
    if (files.empty()) return;
    Simulation& sim = node_.sim_;
    sim.schedule(node_, -1, sim.after_us(sim.options_.sync_us_min, sim.options_.sync_us_max),
                 [self = shared_from_this(), files = std::move(files)] {
                   self->node_.sim_.running_ = self.get();
                   Result<void> result;
                   for (const io::FileRange& range : files) {
                     auto r = range.file->sync();
                     if (!r && result) result = r;
                   }
                   self->ahead_->flushed(result);
                   self->node_.sim_.running_ = nullptr;
                 });
  }

  SimIo& node_;
  const std::shared_ptr<io::WriteAhead> ahead_;
  uint64_t incarnation_;
  bool busy_ = false;
  std::vector<Job> queue_;
};

namespace {
/// What the caller owns; jobs that are under way keep the queue itself alive.
class SyncQueueHandle : public io::SyncQueue {
 public:
  SyncQueueHandle(SimIo& node, std::shared_ptr<io::WriteAhead> ahead)
      : queue_(std::make_shared<SimSyncQueue>(node, std::move(ahead))) {}
  void submit(io::SyncJob job, io::Loop& reply_to, Done done) override {
    queue_->submit(std::move(job), reply_to, std::move(done));
  }

 private:
  std::shared_ptr<SimSyncQueue> queue_;
};
}  // namespace

// ------------------------------------------------------------------------------------------------

SimIo::SimIo(Simulation& sim, std::string host, int loops)
    : sim_(sim), host_(std::move(host)), id_(static_cast<int>(sim.nodes_.size())) {
  ODRADEK_CHECK(loops > 0);
  for (int i = 0; i < loops; i++) loops_.push_back(std::make_unique<SimLoop>(*this, i));
  disk_.set_wall_clock([this] { return loops_[0]->wall(); });
}

SimIo::~SimIo() = default;

io::Loop& SimIo::loop(int index) { return *loops_.at(static_cast<size_t>(index)); }

std::unique_ptr<io::SyncQueue> SimIo::make_sync_queue(const std::string&,
                                                      std::shared_ptr<io::WriteAhead> ahead) {
  return std::make_unique<SyncQueueHandle>(*this, std::move(ahead));
}

void SimIo::background(io::Callback work, io::Loop& reply_to, io::Callback done) {
  sim_.schedule(*this, -1, sim_.after_us(10, kBackgroundUsMax),
                [&reply_to, work = std::move(work), done = std::move(done)]() mutable {
                  work();
                  reply_to.post(std::move(done));
                });
}

void SimIo::kill() {
  ODRADEK_CHECK(up_);
  up_ = false;
  incarnation_++;
  disk_.process_died();
  disk_.set_down(true);
  disk_.interrupt_after(0, nullptr);
  for (auto it = sim_.events_.begin(); it != sim_.events_.end();) {
    if (it->second.node == this) {
      drop(std::move(it->second.run));
      it = sim_.events_.erase(it);
    } else {
      ++it;
    }
  }
  sim_.net_->node_died(*this);
  for (auto& loop : loops_) loop->clear();
}

void SimIo::power_loss() {
  kill();
  disk_.power_loss(sim_.rng_);
}

void SimIo::kill_after(uint64_t disk_changes) {
  disk_.interrupt_after(disk_changes, [this] { kill(); });
}

void SimIo::power_loss_after(uint64_t disk_changes) {
  disk_.interrupt_after(disk_changes, [this] { power_loss(); });
}

void SimIo::free_dropped() {
#if __has_feature(address_sanitizer)
  // Never freed, so that LeakSanitizer finds what hangs on it: coroutines that will never resume.
  static auto* for_ever = new std::vector<std::vector<io::Callback>>;
  for_ever->push_back(std::move(dropped_));
#endif
  // Moved out first: what the callbacks own may call this machine from its destructor.
  auto dropped = std::move(dropped_);
  dropped_.clear();
}

void SimIo::restart() {
  ODRADEK_CHECK(!up_);
  free_dropped();
  up_ = true;
  disk_.set_down(false);
}

}  // namespace odradek::sim
