// A log against a model of it, by chance: appends, rolls, cuts, retention, disk errors, clean
// stops, kills and power losses, from one seed each.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "log/testing/batches.h"
#include "sim/rng.h"
#include "wire/errors.h"

namespace odradek::log {
namespace {

using testing::make_batch;
using testing::open_or_die;
using testing::options_for;
using testing::read_all;

struct ModelBatch {
  int64_t base;
  int64_t last;
  int32_t epoch;
  int64_t producer;
  int32_t last_sequence;
  std::string value;
};

class ModelRun {
 public:
  explicit ModelRun(uint64_t seed) : rng_(seed) {
    config_.segment_bytes = static_cast<int32_t>(rng_.between(500, 2000));
    config_.index_interval_bytes = static_cast<int32_t>(rng_.between(0, 400));
    config_.segment_index_bytes = static_cast<int32_t>(rng_.between(100, 400));
    config_.retention_ms = Millis(-1);
    config_.retention_bytes = 3000;
    EXPECT_TRUE(disk_.make_directory("/data"));
    disk_.sync_everything();
    open(true);
    sync();  // a log whose first segment is gone without a trace cannot tell that it was there
  }
  ~ModelRun() { log_.reset(); }

  void step() {
    uint64_t pick = rng_.below(100);
    if (pick < 50) return append();
    if (pick < 60) return take_ticket();
    if (pick < 70) return finish_ticket();
    if (pick < 74) return checkpoint();
    if (pick < 78) return truncate();
    if (pick < 81) return retention();
    if (pick < 84) return advance_start();
    if (pick < 86) return failing_append();
    if (pick < 88) return roll();
    if (pick < 91) return clean_restart();
    if (pick < 94) return kill();
    if (pick < 97) return power_loss();
    check();
  }

  void check() {
    ASSERT_EQ(log_->start().value, start_);
    ASSERT_EQ(log_->end().value, end_);
    ASSERT_LE(log_->durable_end(), log_->end());
    ASSERT_LE(log_->recovery_point(), log_->durable_end());
    std::vector<std::pair<int64_t, std::string>> expected;
    int64_t from = rng_.between(start_, end_);
    for (const ModelBatch& b : batches_) {
      for (int64_t o = std::max(b.base, from); o <= b.last; o++) expected.emplace_back(o, b.value);
    }
    uint32_t size = static_cast<uint32_t>(rng_.between(1, 3000));
    ASSERT_EQ(read_all(*log_, Offset(from), size), expected) << "from " << from;
    check_producers();
    check_epochs();
  }

 private:
  void open(bool clean) {
    LogOptions options = options_for(disk_, config_);
    options.clean = clean;
    options.contiguous = true;
    options.start = Offset(start_);
    options.recovery_point = Offset(recovery_point_);
    options.random = rng_.next();
    log_ = open_or_die(options);
  }

  void append() {
    int count = static_cast<int>(rng_.between(1, 3));
    if (rng_.one_in(6)) epoch_++;
    for (int n = 0; n < count; n++) append_one(false);
  }

  void failing_append() {
    int left = static_cast<int>(rng_.below(3));
    disk_.set_fault([left](sim::DiskOp op, const std::string&) mutable -> std::optional<Error> {
      if (op != sim::DiskOp::kWrite || left-- > 0) return std::nullopt;
      return Error{Errc::kNoSpace, "full"};
    });
    append_one(true);
    disk_.set_fault(nullptr);
  }

  void append_one(bool may_fail) {
    int records = static_cast<int>(rng_.between(1, 4));
    int64_t producer = rng_.one_in(3) ? -1 : rng_.between(1, 3);
    int32_t sequence = last_sequence(producer) + 1;
    std::string value = "b" + std::to_string(made_++) + std::string(rng_.below(60), 'x');
    wire::BatchOptions options;
    if (producer >= 0) {
      options.producer_id = ProducerId(producer);
      options.producer_epoch = ProducerEpoch(0);
      options.base_sequence = sequence;
    }
    wire::BatchBuilder builder(options);
    for (int n = 0; n < records; n++) builder.add(WallMs(now_ + n), std::nullopt, as_bytes(value));
    ByteBuffer bytes = builder.build().value();
    now_ += rng_.between(-5, 20);
    auto r = log_->append_as_leader(MutableBytes(bytes), LeaderEpoch(epoch_), AppendOrigin::kClient,
                                    WallMs(now_));
    if (!r) {
      ASSERT_TRUE(may_fail) << r.error().message;
      return;
    }
    ASSERT_EQ(r->error, wire::ErrorCode::kNone);
    ASSERT_FALSE(r->duplicate);
    ASSERT_EQ(r->first.value, end_);
    batches_.push_back(ModelBatch{end_, end_ + records - 1, epoch_, producer,
                                  producer < 0 ? -1 : sequence + records - 1, value});
    end_ += records;
    if (producer >= 0 && rng_.one_in(4)) {
      auto again = log_->append_as_leader(MutableBytes(bytes), LeaderEpoch(epoch_),
                                          AppendOrigin::kClient, WallMs(now_));
      ASSERT_TRUE(again);
      ASSERT_TRUE(again->duplicate);
      ASSERT_EQ(again->first, r->first);
    }
  }

  int32_t last_sequence(int64_t producer) const {
    for (auto b = batches_.rbegin(); b != batches_.rend(); ++b) {
      if (b->producer == producer) return b->last_sequence;
    }
    return -1;
  }

  void check_producers() {
    std::map<int64_t, int32_t> expected, found;
    for (const ModelBatch& b : batches_) {
      if (b.producer >= 0) expected[b.producer] = b.last_sequence;
    }
    for (const ProducerInfo& p : log_->producers()) found[p.id.value] = p.last_sequence;
    ASSERT_EQ(found, expected);
  }

  void check_epochs() {
    for (const ModelBatch& b : batches_) {
      if (b.base >= start_) {
        ASSERT_EQ(log_->epoch_at(Offset(b.base)).value, b.epoch);
      }
    }
  }

  void take_ticket() {
    if (log_->unsynced()) tickets_.push_back(log_->take_unsynced());
  }
  void finish_ticket() {
    if (tickets_.empty()) return;
    for (auto& f : tickets_.front().files) ASSERT_TRUE(f->sync());
    if (auto& tail = tickets_.front().appended) ASSERT_TRUE(tail->file->sync());
    log_->synced(tickets_.front());
    tickets_.erase(tickets_.begin());
  }
  void sync() {
    while (!tickets_.empty()) finish_ticket();
    ASSERT_TRUE(log_->sync());
    ASSERT_EQ(log_->durable_end(), log_->end());
  }
  void checkpoint() { recovery_point_ = log_->recovery_point().value; }

  void truncate() {
    if (rng_.one_in(8)) {
      int64_t to = rng_.between(0, end_ + 10);
      ASSERT_TRUE(log_->truncate_fully_and_start_at(Offset(to)));
      batches_.clear();
      start_ = end_ = to;
    } else {
      if (batches_.empty()) return;
      int64_t to = batches_[rng_.below(batches_.size())].base;
      if (to < start_) return;
      auto r = log_->truncate_to(Offset(to));
      ASSERT_TRUE(r) << r.error().message;
      ASSERT_TRUE(*r);
      std::erase_if(batches_, [&](const ModelBatch& b) { return b.last >= to; });
      end_ = to;
    }
    // What follows is only told from what was cut once the cut is on the device.
    sync();
    checkpoint();
  }

  void retention() {
    auto r = log_->apply_retention(WallMs(now_), log_->durable_end());
    ASSERT_TRUE(r);
    start_ = std::max(start_, log_->start().value);
    for (const std::string& path : log_->take_doomed()) ASSERT_TRUE(disk_.remove(path));
  }

  void advance_start() {
    // Otherwise a power loss may take the snapshot of the segment that the log then starts with,
    // and its producers are forgotten.
    sync();
    int64_t to = rng_.between(start_, log_->durable_end().value);
    if (to < start_) return;
    ASSERT_TRUE(log_->advance_start(Offset(to)));
    start_ = std::max(start_, to);
  }

  void roll() { ASSERT_TRUE(log_->roll(WallMs(now_))); }

  void clean_restart() {
    tickets_.clear();
    ASSERT_TRUE(log_->close());
    recovery_point_ = end_;
    log_.reset();
    open(true);
    ASSERT_EQ(log_->durable_end().value, end_);
    check();
  }

  void kill() {
    tickets_.clear();
    disk_.process_died();
    log_.reset();
    open(false);
    check();
  }

  void power_loss() {
    int64_t durable = log_->durable_end().value;
    tickets_.clear();
    disk_.power_loss(rng_);
    log_.reset();
    open(false);
    ASSERT_GE(log_->end().value, durable);
    ASSERT_LE(log_->end().value, end_);
    end_ = log_->end().value;
    std::erase_if(batches_, [&](const ModelBatch& b) { return b.last >= end_; });
    ASSERT_TRUE(batches_.empty() || batches_.back().last + 1 == end_ || end_ == start_);
    check();
    sync();
  }

  sim::Rng rng_;
  sim::MemoryDisk disk_;
  LogConfig config_;
  std::unique_ptr<Log> log_;
  std::vector<SyncTicket> tickets_;
  std::vector<ModelBatch> batches_;  // also those below start_: producers are remembered
  int64_t start_ = 0;
  int64_t end_ = 0;
  int64_t recovery_point_ = 0;
  int32_t epoch_ = 0;
  int64_t now_ = 1000;
  int made_ = 0;
};

TEST(LogModel, ByChance) {
  for (uint64_t seed = 1; seed <= 100; seed++) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    ModelRun run(seed);
    for (int n = 0; n < 150; n++) {
      run.step();
      if (HasFailure()) return;
    }
    run.check();
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace odradek::log
