// clean_histories DIR FIRST COUNT: writes logs by chance, cleans them in rounds, and says what is
// left, for a comparison with Apache's cleaner (ApacheClean.java) over the same logs.
//
// For each seed: DIR/SEED/plan (settings, then the time of each round), DIR/SEED/apache/t-0 (the
// log before the first round), DIR/SEED/ours/t-0 (after the last one), DIR/SEED/ours.N (what is
// left after round N, a line for each batch).
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "io/linux/linux_disk.h"
#include "log/testing/clean.h"
#include "sim/rng.h"
#include "wire/errors.h"

namespace odradek::log {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void die(const std::string& what) {
  fmt::print(stderr, "clean_histories: {}\n", what);
  std::exit(1);
}

template <class T>
T must(Result<T> r) {
  if (!r) die(r.error().message);
  if constexpr (!std::is_void_v<T>) return std::move(*r);
}

class History {
 public:
  History(fs::path at, uint64_t seed) : at_(std::move(at)), rng_(seed), keys_(rng_.between(1, 15)) {
    config_.segment_bytes = static_cast<int32_t>(rng_.between(800, 4000));
    config_.index_interval_bytes = static_cast<int32_t>(rng_.between(1, 600));
    config_.segment_index_bytes = static_cast<int32_t>(rng_.between(300, 800));
    config_.delete_policy = false;
    config_.compact_policy = true;
    config_.retention_ms = Millis(-1);
    config_.delete_retention = Millis(rng_.one_in(3) ? 0 : rng_.between(1, 3000));
    config_.producer_expiration = Millis(INT32_MAX);
    // Compressed bytes need not be the same, so files are compared without codecs only.
    codecs_ = rng_.one_in(2);
    if (rng_.one_in(3)) map_bytes_ = rng_.between(3, 16) * int64_t{OffsetMap::kSlotBytes};
  }

  void run() {
    fs::create_directories(at_ / "ours");
    open();
    const int64_t steps = rng_.between(30, 200);
    for (int64_t n = 0; n < steps; n++) step();
    for (int64_t id = 11; id <= 13; id++) {
      if (!rng_.one_in(3)) end_transaction(id);
    }
    must(log_->close());
    log_.reset();
    fs::copy(at_ / "ours", at_ / "apache", fs::copy_options::recursive);
    open();
    std::ofstream plan(at_ / "plan");
    plan << fmt::format("{} {} {} {} {} {}\n", config_.segment_bytes, config_.index_interval_bytes,
                        config_.segment_index_bytes, config_.delete_retention.value, map_bytes_,
                        codecs_ ? "codecs" : "plain");
    for (int round = 0; round < 3; round++) {
      now_ += rng_.between(0, 3000);
      plan << now_ << "\n";
      clean(round);
    }
    must(log_->close());
  }

 private:
  void open() {
    LogOptions options;
    options.disk = &disk_;
    options.folder = at_ / "ours" / "t-0";
    options.partition = TopicPartition{"t", PartitionIndex(0)};
    options.topic_id = Uuid{1, 2};
    options.config = config_;
    options.clean = true;
    options.now = WallMs(now_);
    log_ = must(Log::open(std::move(options)));
  }

  /// Everything counts as dirty, so that tombstones and markers get their second look.
  void clean(int round) {
    log_->set_first_dirty(Offset(0));
    CompactionLimits limits;
    limits.map_bytes = static_cast<uint64_t>(map_bytes_);
    limits.key0 = rng_.next();
    limits.key1 = rng_.next();
    must(testing::clean(*log_, disk_, WallMs(now_), limits));
    std::ofstream out(at_ / fmt::format("ours.{}", round));
    for (const testing::SeenBatch& b : testing::see_all(*log_)) out << line(b) << "\n";
    out << "next " << log_->first_dirty().value << "\n";
  }

  static std::string line(const testing::SeenBatch& b) {
    std::string text =
        fmt::format("{} {} epoch {} producer {} {} {} {}{} horizon {} max {}", b.base, b.last,
                    b.epoch, b.producer, b.producer_epoch, b.sequence, b.transactional ? "t" : "-",
                    b.control ? "c" : "-", b.horizon, b.max_timestamp);
    for (const testing::SeenRecord& r : b.records) {
      text += fmt::format(" {}@{}", r.offset, r.timestamp);
      if (b.control) continue;
      text += fmt::format(":{}={}", r.key.value_or("null"), r.value.value_or("null"));
    }
    return text;
  }

  void step() {
    const uint64_t pick = rng_.below(100);
    if (pick < 35) return append(-1, false);
    if (pick < 50) return append(rng_.between(1, 3), false);
    if (pick < 75) return append(rng_.between(11, 13), true);
    if (pick < 95) return end_transaction(rng_.between(11, 13));
    must(log_->roll(WallMs(now_)));
  }

  void append(int64_t producer, bool transactional) {
    wire::BatchOptions options;
    if (codecs_ && rng_.one_in(2)) options.codec = static_cast<wire::Codec>(rng_.below(5));
    options.transactional = transactional;
    if (producer >= 0) {
      options.producer_id = ProducerId(producer);
      options.producer_epoch = ProducerEpoch(producers_[producer].epoch);
      options.base_sequence = producers_[producer].next;
    }
    now_ += rng_.between(0, 60);
    if (rng_.one_in(8)) {
      options.timestamp_type = wire::TimestampType::kLogAppendTime;
      options.append_time = WallMs(now_);
    }
    wire::BatchBuilder builder(options);
    const int count = static_cast<int>(rng_.between(1, 5));
    for (int n = 0; n < count; n++) {
      const std::string key = "k" + std::to_string(rng_.below(static_cast<uint64_t>(keys_)));
      const std::string value = "v" + std::to_string(made_++) + std::string(rng_.below(60), 'x');
      const WallMs timestamp(now_ + rng_.between(-50, 50));
      const bool keyless = rng_.one_in(30);
      const bool tombstone = rng_.one_in(4);
      builder.add(timestamp, keyless ? std::nullopt : std::optional<ByteView>(as_bytes(key)),
                  tombstone ? std::nullopt : std::optional<ByteView>(as_bytes(value)));
    }
    append_batch(must(builder.build()), AppendOrigin::kClient);
    if (producer >= 0) producers_[producer].next += count;
    if (transactional) producers_[producer].open = true;
  }

  void end_transaction(int64_t producer) {
    Producer& p = producers_[producer];
    if (!p.open && !rng_.one_in(5)) return;
    const bool bump = rng_.one_in(3);
    p.epoch = static_cast<int16_t>(p.epoch + (bump ? 1 : 0));
    if (bump) p.next = 0;
    p.open = false;
    append_batch(
        wire::end_transaction_batch(Offset(0), LeaderEpoch(0), ProducerId(producer),
                                    ProducerEpoch(p.epoch), rng_.one_in(2), 0, WallMs(now_)),
        AppendOrigin::kCoordinator);
  }

  void append_batch(ByteBuffer bytes, AppendOrigin origin) {
    const AppendResult r =
        must(log_->append_as_leader(MutableBytes(bytes), LeaderEpoch(1), origin, WallMs(now_)));
    if (r.error != wire::ErrorCode::kNone) die("an append was refused");
  }

  struct Producer {
    int16_t epoch = 0;
    int32_t next = 0;
    bool open = false;
  };

  fs::path at_;
  sim::Rng rng_;
  int64_t keys_;
  io::LinuxDisk disk_;
  LogConfig config_;
  bool codecs_ = false;
  int64_t map_bytes_ = 1 << 20;
  std::unique_ptr<Log> log_;
  std::map<int64_t, Producer> producers_;
  int64_t now_ = 1'700'000'000'000;
  int made_ = 0;
};

}  // namespace
}  // namespace odradek::log

int main(int argc, char** argv) {
  if (argc != 4) {
    fmt::print(stderr, "usage: clean_histories DIR FIRST COUNT\n");
    return 2;
  }
  const uint64_t first = std::strtoull(argv[2], nullptr, 10);
  const uint64_t count = std::strtoull(argv[3], nullptr, 10);
  for (uint64_t seed = first; seed < first + count; seed++) {
    odradek::log::History(std::filesystem::path(argv[1]) / std::to_string(seed), seed).run();
  }
}
