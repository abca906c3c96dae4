#include "sim/scenarios/power_loss.h"

#include <fmt/format.h>

#include <cstdio>
#include <deque>
#include <memory>

#include "base/logger.h"
#include "log/log_dir.h"
#include "node/node.h"
#include "sim/clients.h"
#include "wire/record_batch.h"

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
    if (line.find("goes offline") != std::string_view::npos) directory_failed_ = true;
    lines_.push_back(std::move(text));
    if (lines_.size() > kLinesKept) lines_.pop_front();
  }
  std::vector<std::string> kept() const { return {lines_.begin(), lines_.end()}; }
  /// A log directory has gone offline since the last call.
  bool take_directory_failed() { return std::exchange(directory_failed_, false); }

 private:
  Simulation& sim_;
  bool verbose_;
  bool directory_failed_ = false;
  std::deque<std::string> lines_;
};

constexpr const char* kDirectories[] = {"odradek-data", "odradek-more"};

class PowerLoss {
 public:
  explicit PowerLoss(const ScenarioOptions& options)
      : options_(options),
        sim_(options.seed),
        lines_(sim_, options.verbose),
        machine_(sim_.add_node("broker", static_cast<int>(1 + sim_.rng().below(3)))),
        clients_(sim_.add_node("client", 1)),
        world_{.sim = sim_, .loop = clients_.loop(0), .broker = {"broker", kPort}} {
    draw_settings();
  }

  ScenarioOutcome run() {
    Rng& rng = sim_.rng();
    sim_.options().reset_one_in = rng.one_in(3) ? 200 : 0;
    sim_.options().sync_us_max = rng.one_in(4) ? 30'000 : rng.one_in(10) ? 700'000 : 3'000;
    if (start()) {
      start_clients();
      const auto rounds = static_cast<int>(3 + rng.below(5));
      for (int i = 0; i < rounds && !over(); i++) {
        sim_.run_until([&] { return over(); }, Millis(rng.between(1, rng.one_in(3) ? 3000 : 400)));
        if (!over()) interrupt();
      }
      if (!over()) finish();
    }
    return outcome();
  }

 private:
  bool failed() const { return world_.history.failure().has_value(); }
  void fail(std::string what) { world_.history.fail(std::move(what)); }
  void line(std::string_view text) { lines_.write(Level::kInfo, "sim", text); }

  /// Nothing is left to find out: a rule is broken, or rotten data has shown itself as an error,
  /// which is all that can be asked of it.
  bool over() {
    if (rotten_ && (gave_up_ || lines_.take_directory_failed())) outcome_.refused = true;
    return failed() || outcome_.refused;
  }

  /// Settings of this run: whether housekeeping has work all the time, one directory or two.
  void draw_settings() {
    Rng& rng = sim_.rng();
    settings_ = metadata::BrokerConfig::standalone_properties();
    if (!options_.synced) settings_["log.flush.interval.messages"] = "9223372036854775807";
    two_dirs_ = rng.one_in(2);
    if (two_dirs_) {
      settings_["log.dirs"] = fmt::format("./{},./{}", kDirectories[0], kDirectories[1]);
    }
    const auto often = [&](const char* name, int64_t low, int64_t high) {
      if (!rng.one_in(4)) settings_[name] = fmt::format("{}", rng.between(low, high));
    };
    often("log.retention.check.interval.ms", 50, 1'000);
    often("log.flush.offset.checkpoint.interval.ms", 20, 1'000);
    often("log.flush.start.offset.checkpoint.interval.ms", 20, 1'000);
    often("replica.high.watermark.checkpoint.interval.ms", 20, 1'000);
    often("metadata.log.max.record.bytes.between.snapshots", 100, 4'000);
    often("metadata.max.retention.bytes", 1'000, 20'000);
    often("log.cleaner.backoff.ms", 5, 500);
    // Most runs go through several laps; some have no write-ahead files.
    often("odradek.write.ahead.bytes", 2'000, 200'000);
    if (rng.one_in(8)) settings_["odradek.write.ahead.bytes"] = "0";
  }

  /// A new node on the machine, which must be up. False, with the failure noted, if it does not
  /// serve.
  bool start() {
    begin_start();
    if (!sim_.run_until([&] { return serving_ || over(); }, kPatience)) {
      fail("the node does not come to serve");
    }
    return !over();
  }

  void begin_start() {
    auto loaded = metadata::BrokerConfig::load(settings_);
    if (!loaded) return fail(loaded.error().message);
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

  void on_fatal(const Error& e) {
    if (!machine_.up()) return;
    gave_up_ = true;
    if (!world_.trouble && !rotten_) fail(fmt::format("the node gave up: {}", e.message));
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
    } else if (rng.one_in(5)) {
      fail_io();
    } else if (rng.one_in(8)) {
      if (!fill_disk()) return;
    } else {
      cut();
    }
    if (options_.rot && rng.one_in(3)) rot();
    while (!over() && rng.one_in(4)) {
      begin_start();
      sim_.run_until([&] { return over(); }, Millis(rng.between(0, 60)));
      if (!over()) cut();
    }
    if (!over()) start();
  }

  /// One kind of operation fails from some moment on, everywhere or in the second directory. Then
  /// the power goes: what is in memory and not on the disk would never get there.
  void fail_io() {
    Rng& rng = sim_.rng();
    constexpr DiskOp kOps[] = {DiskOp::kSync, DiskOp::kSync, DiskOp::kWrite, DiskOp::kSyncDir,
                               DiskOp::kRename};
    const DiskOp op = kOps[rng.below(std::size(kOps))];
    const char* where = two_dirs_ && rng.one_in(2) ? kDirectories[1] : "";
    uint64_t after = rng.below(rng.one_in(2) ? 5 : 100);
    const bool once = rng.one_in(2);
    line("input and output fail");
    outcome_.io_failures++;
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

  /// The disk is full for a while. True if the node has ended over it and must be started again.
  bool fill_disk() {
    Rng& rng = sim_.rng();
    line("the disk is full");
    outcome_.full_disks++;
    world_.trouble = true;
    machine_.disk().set_space(machine_.disk().used() + rng.below(60'000));
    sim_.run_until([&] { return gave_up_ || failed(); }, Millis(rng.between(50, 2'000)));
    machine_.disk().set_space(uint64_t{1} << 40);
    line("the disk has room");
    if (!gave_up_) sim_.run_until([&] { return gave_up_ || failed(); }, Millis(8'000));
    if (gave_up_ || lines_.take_directory_failed()) {
      if (machine_.up()) machine_.kill();
      after_cut(false);
      return true;
    }
    world_.trouble = false;
    return false;
  }

  void after_cut(bool power) {
    if (power) world_.history.power_lost();
    world_.trouble = false;
    (void)lines_.take_directory_failed();
    abandon_node();
    machine_.restart();
  }

  /// A bit flips in a file of a partition, while the node is down: where a checksum covers it, or
  /// in an index, which has none but can be told from the log.
  void rot() {
    Rng& rng = sim_.rng();
    MemoryDisk& disk = machine_.disk();
    const auto files = partition_files();
    if (files.empty()) return;
    const auto& [at, path] = files[rng.below(files.size())];
    auto bytes = log::read_small_file(disk, path);
    if (!bytes) return;
    if (path.ends_with(".log")) return rot_batch(at, path, as_bytes(*bytes));
    line(fmt::format("a bit of {} flips", path));
    disk.flip_bit(path, rng.below(bytes->size()), static_cast<int>(rng.below(8)));
  }

  /// Segments and indexes of all partitions that clients work with.
  std::vector<std::pair<History::Partition, std::string>> partition_files() {
    MemoryDisk& disk = machine_.disk();
    std::vector<std::pair<History::Partition, std::string>> files;
    for (const char* directory : kDirectories) {
      auto folders = disk.list(directory);
      if (!folders) continue;
      for (const io::DirEntry& folder : *folders) {
        auto name = log::parse_folder_name(folder.name);
        if (!folder.is_directory || !name || name->kind != log::FolderKind::kPartition ||
            !folder.name.starts_with("topic"))
          continue;
        const History::Partition at{name->partition.topic, name->partition.index.value};
        const std::string path = fmt::format("{}/{}", directory, folder.name);
        for (const io::DirEntry& file : *disk.list(path)) {
          const bool candidate = file.name.ends_with(".log") || file.name.ends_with("0.index");
          if (candidate && file.size > 0) files.emplace_back(at, path + "/" + file.name);
        }
      }
    }
    return files;
  }

  void rot_batch(const History::Partition& at, const std::string& path, ByteView bytes) {
    Rng& rng = sim_.rng();
    wire::BatchIterator batches(bytes);
    std::vector<std::pair<size_t, wire::BatchHeader>> found;
    size_t position = 0;
    while (true) {
      auto batch = batches.next();
      if (!batch || !*batch || !(*batch)->crc_matches()) break;
      found.emplace_back(position, **batch);
      position += (*batch)->size();
    }
    if (found.empty()) return;
    const auto& [start, batch] = found[rng.below(found.size())];
    constexpr size_t kChecksumAt = 17;
    const size_t flipped = start + kChecksumAt + rng.below(batch.size() - kChecksumAt);
    line(fmt::format("a bit of {} flips at {}, in the batch at offset {}", path, flipped,
                     batch.base_offset().value));
    rotten_ = true;
    world_.history.rotted(at, batch.base_offset().value);
    machine_.disk().flip_bit(path, flipped, static_cast<int>(rng.below(8)));
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
    after_cut(power);
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
    if (!sim_.run_until([&] { return world_.running == 0 || over(); }, kPatience)) {
      return fail(fmt::format("{} clients do not finish", world_.running));
    }
    sim_.run_until([&] { return failed(); }, Millis(2'000));
    if (over()) return;
    bool read = false;
    io::spawn(read_everything(world_, read));
    if (!sim_.run_until([&] { return read || over(); }, kPatience)) {
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
  metadata::Properties settings_;
  bool two_dirs_ = false;
  bool serving_ = false;
  bool gave_up_ = false;  // the node has ended itself, or did not start
  bool rotten_ = false;   // a bit of acknowledged data has been flipped
  ScenarioOutcome outcome_;
};

}  // namespace

ScenarioOutcome run_power_loss(const ScenarioOptions& options) { return PowerLoss(options).run(); }

}  // namespace odradek::sim
