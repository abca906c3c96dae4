#include "sim/scenarios/power_loss.h"

#include <fmt/format.h>

#include "log/log_dir.h"
#include "sim/broker.h"
#include "sim/clients.h"
#include "wire/record_batch.h"

namespace odradek::sim {
namespace {

/// How long everybody may take to finish, in virtual time.
constexpr Millis kPatience(60'000);

constexpr const char* kDirectories[] = {"odradek-data", "odradek-more"};

class PowerLoss {
 public:
  explicit PowerLoss(const ScenarioOptions& options)
      : options_(options),
        sim_(options.seed),
        lines_(sim_, options.verbose),
        machine_(sim_.add_node("broker", static_cast<int>(1 + sim_.rng().below(3)))),
        clients_(sim_.add_node("client", 1)),
        world_{.sim = sim_, .loop = clients_.loop(0), .broker = {"broker", Broker::kPort}},
        broker_(world_, machine_, lines_, [this] { return over(); }) {
    draw_settings();
  }

  ScenarioOutcome run() {
    Rng& rng = sim_.rng();
    sim_.options().reset_one_in = rng.one_in(3) ? 200 : 0;
    sim_.options().sync_us_max = rng.one_in(4) ? 30'000 : rng.one_in(10) ? 700'000 : 3'000;
    if (broker_.start()) {
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

  /// Nothing is left to find out: a rule is broken, or rotten data has shown itself as an error,
  /// which is all that can be asked of it.
  bool over() {
    if (rotten_ && (broker_.gave_up() || lines_.take_directory_failed())) outcome_.refused = true;
    return failed() || outcome_.refused;
  }

  /// Settings of this run: whether housekeeping has work all the time, one directory or two.
  void draw_settings() {
    Rng& rng = sim_.rng();
    metadata::Properties& settings = broker_.settings();
    if (!options_.synced) settings["log.flush.interval.messages"] = "9223372036854775807";
    two_dirs_ = rng.one_in(2);
    if (two_dirs_) {
      settings["log.dirs"] = fmt::format("./{},./{}", kDirectories[0], kDirectories[1]);
    }
    const auto often = [&](const char* name, int64_t low, int64_t high) {
      if (!rng.one_in(4)) settings[name] = fmt::format("{}", rng.between(low, high));
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
    if (rng.one_in(8)) settings["odradek.write.ahead.bytes"] = "0";
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
      broker_.stop_cleanly();
    } else if (rng.one_in(5)) {
      broker_.fail_io(two_dirs_ && rng.one_in(2) ? kDirectories[1] : "");
    } else if (rng.one_in(8)) {
      if (!broker_.fill_disk()) return;
    } else {
      broker_.cut();
    }
    if (options_.rot && rng.one_in(3)) rot();
    broker_.start_with_interruptions();
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
    lines_.say(fmt::format("a bit of {} flips", path));
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
    lines_.say(fmt::format("a bit of {} flips at {}, in the batch at offset {}", path, flipped,
                           batch.base_offset().value));
    rotten_ = true;
    broker_.allow_to_give_up();
    world_.history.rotted(at, batch.base_offset().value);
    machine_.disk().flip_bit(path, flipped, static_cast<int>(rng.below(8)));
  }

  /// No more faults: everybody must get on, and everything must be there.
  void finish() {
    lines_.say("faults cease");
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
    outcome_.take(world_.history, lines_, sim_, broker_);
    outcome_.acked = world_.history.acked_count();
    outcome_.observed = world_.history.observed_count();
    machine_.kill();
    clients_.kill();
    broker_.abandon();
    return outcome_;
  }

  const ScenarioOptions options_;
  Simulation sim_;
  Lines lines_;
  SimIo& machine_;
  SimIo& clients_;
  ClientWorld world_;
  Broker broker_;
  bool two_dirs_ = false;
  bool rotten_ = false;  // a bit of acknowledged data has been flipped
  ScenarioOutcome outcome_;
};

}  // namespace

ScenarioOutcome run_power_loss(const ScenarioOptions& options) { return PowerLoss(options).run(); }

}  // namespace odradek::sim
