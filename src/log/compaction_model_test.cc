// Cleaning against a model, by chance: histories of keys, tombstones, idempotent producers,
// transactions, rolls, restarts and moves of the clock, cleaned several times.
//
// Two judges. The model says batch by batch what Apache's rules leave. And what a reader of
// committed records learns of every key must be what it would have learned without any cleaning.
//
// ODRADEK_HISTORIES=10000 in the environment runs so many (tests/README.md).
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "log/testing/batches.h"
#include "log/testing/clean.h"
#include "sim/rng.h"
#include "wire/errors.h"

namespace odradek::log {
namespace {

using testing::open_or_die;
using testing::options_for;
using testing::see_all;
using testing::SeenBatch;
using testing::SeenRecord;
using testing::text;

enum class Outcome { kNone, kOpen, kCommitted, kAborted };

struct ModelBatch {
  SeenBatch seen;
  int transaction = -1;  // of a batch of records, and of the marker that ends it
};

/// A cleaning as the model does it: all at once, from plain lists.
class Model {
 public:
  std::vector<ModelBatch> batches;
  std::vector<Outcome> transactions;

  struct Round {
    int64_t first_dirty, first_uncleanable, now, delete_retention;
    std::vector<int64_t> bases;  // of all segments
    size_t keys_max;
    std::unordered_map<ProducerId, LastOfProducer> producers;
  };

  /// Returns the new first dirty offset.
  int64_t clean(const Round& round) {
    std::map<std::string, int64_t> newest;
    const int64_t known = learn(round, newest);
    int64_t stop = round.first_uncleanable;  // base of the first segment that is not touched
    for (int64_t base : round.bases) {
      if (base >= known + 1) stop = std::min(stop, base);
    }
    std::set<int> alive;  // transactions of which something was left before
    for (const ModelBatch& b : batches) {
      if (!b.seen.control && b.transaction >= 0 && b.seen.base < stop) alive.insert(b.transaction);
    }
    std::vector<ModelBatch> left;
    for (ModelBatch& b : batches) {
      if (b.seen.base >= stop || clean(round, b, newest, known, alive)) left.push_back(b);
    }
    batches = std::move(left);
    return known + 1;
  }

 private:
  bool aborted(const ModelBatch& b) const {
    return b.transaction >= 0 &&
           transactions[static_cast<size_t>(b.transaction)] == Outcome::kAborted;
  }

  int64_t learn(const Round& round, std::map<std::string, int64_t>& newest) const {
    int64_t known = -1;
    for (const ModelBatch& b : batches) {
      if (b.seen.base >= round.first_uncleanable) break;
      if (b.seen.last < round.first_dirty) continue;
      if (!b.seen.control && !aborted(b)) {
        for (const SeenRecord& r : b.seen.records) {
          if (!r.key || r.offset < round.first_dirty) continue;
          if (newest.size() == round.keys_max) return reached(round, known, r.offset);
          newest[*r.key] = known = r.offset;
        }
      }
      known = b.seen.last;
    }
    return round.first_uncleanable - 1;
  }

  /// With a full map: a segment that ended before counts as known to its end.
  static int64_t reached(const Round& round, int64_t known, int64_t at) {
    for (int64_t base : round.bases) {
      if (base <= at && base > round.first_dirty) known = std::max(known, base - 1);
    }
    return known;
  }

  /// False if nothing is left of the batch.
  bool clean(const Round& round, ModelBatch& b, const std::map<std::string, int64_t>& newest,
             int64_t known, const std::set<int>& alive) const {
    SeenBatch& seen = b.seen;
    const bool empty_marker =
        seen.control && (seen.records.empty() || !alive.contains(b.transaction));
    const bool due = seen.horizon >= 0 && seen.horizon <= round.now;
    std::vector<SeenRecord> kept;
    bool tombstone = false;
    for (const SeenRecord& r : seen.records) {
      bool keep = seen.control ? !(empty_marker && due) : !aborted(b);
      if (keep && !seen.control && r.offset <= known) {
        const auto found = r.key ? newest.find(*r.key) : newest.end();
        keep = r.key && (found == newest.end() || r.offset >= found->second) && (r.value || !due);
      }
      if (!keep) continue;
      kept.push_back(r);
      tombstone |= !r.value;
    }
    if (kept.empty()) {
      if (!keeps_header(round, seen)) return false;
      seen.horizon = -1;
    } else if ((tombstone || empty_marker) && seen.horizon < 0) {
      seen.horizon = round.now + round.delete_retention;
    }
    if (!kept.empty() && !append_time_.contains(seen.base)) {
      int64_t max = -1;
      for (const SeenRecord& r : kept) max = std::max(max, r.timestamp);
      if (kept.size() != seen.records.size()) seen.max_timestamp = max;
    }
    seen.records = std::move(kept);
    return true;
  }

  static bool keeps_header(const Round& round, const SeenBatch& seen) {
    if (seen.last + 1 == round.first_uncleanable) return true;
    const auto producer = round.producers.find(ProducerId(seen.producer));
    if (producer == round.producers.end()) return false;
    const LastOfProducer& last = producer->second;
    if (last.data != kNoOffset) return seen.last == last.data.value;
    return seen.control && seen.producer_epoch == last.epoch.value;
  }

 public:
  std::set<int64_t> append_time_;  // bases of batches with log append time
};

class History {
 public:
  explicit History(uint64_t seed) : rng_(seed), keys_(rng_.between(1, 12)) {
    config_.segment_bytes = static_cast<int32_t>(rng_.between(700, 2500));
    config_.index_interval_bytes = static_cast<int32_t>(rng_.between(0, 600));
    config_.segment_index_bytes = static_cast<int32_t>(rng_.between(200, 800));
    config_.delete_policy = false;
    config_.compact_policy = true;
    config_.retention_ms = Millis(-1);
    config_.delete_retention = Millis(rng_.one_in(3) ? 0 : rng_.between(1, 2000));
    config_.producer_expiration = Millis(rng_.one_in(2) ? 3000 : 1'000'000);
    if (rng_.one_in(3)) config_.min_compaction_lag = Millis(rng_.between(1, 500));
    EXPECT_TRUE(disk_.make_directory("/data"));
    open(true);
  }
  ~History() { log_.reset(); }

  void step() {
    const uint64_t pick = rng_.below(100);
    if (pick < 30) return append(-1, false);
    if (pick < 45) return append(rng_.between(1, 3), false);
    if (pick < 65) return append(rng_.between(11, 13), true);
    if (pick < 80) return end_transaction(rng_.between(11, 13));
    if (pick < 84) {
      now_ += rng_.between(0, 3000);
      log_->expire_producers(WallMs(now_));
      return note_forgotten();
    }
    if (pick < 86) return roll();
    if (pick < 89) return restart(rng_.one_in(2));
    clean();
  }

  void clean() {
    ASSERT_TRUE(log_->sync());
    auto range = log_->cleanable(WallMs(now_), log_->last_stable_offset(log_->end()));
    ASSERT_TRUE(range);
    if (range->dirty_bytes == 0) return;
    CompactionLimits limits;
    limits.io_bytes = static_cast<size_t>(rng_.between(100, 5000));
    limits.key0 = rng_.next();
    limits.key1 = rng_.next();
    if (rng_.one_in(3)) {
      limits.map_bytes = static_cast<uint64_t>(rng_.between(2, 16)) * OffsetMap::kSlotBytes;
    }
    const CompactionPlan plan = log_->compaction_plan(*range, WallMs(now_));
    Model::Round round{.first_dirty = plan.first_dirty.value,
                       .first_uncleanable = plan.first_uncleanable.value,
                       .now = now_,
                       .delete_retention = config_.delete_retention.value,
                       .bases = {},
                       .keys_max = OffsetMap(limits.map_bytes, limits.load_factor).capacity(),
                       .producers = plan.producers};
    for (const PlannedSegment& s : plan.segments) round.bases.push_back(s.base.value);
    auto stats = testing::clean(*log_, disk_, WallMs(now_), limits,
                                static_cast<uint64_t>(rng_.between(1, 5000)));
    ASSERT_TRUE(stats) << stats.error().message;
    ASSERT_TRUE(*stats);
    const int64_t end = model_.clean(round);
    ASSERT_EQ(log_->first_dirty().value, end);
    for (const std::string& path : log_->take_doomed()) ASSERT_TRUE(disk_.remove(path));
    cleanings_++;
    check();
  }

  void check() {
    ASSERT_EQ(log_->end().value, end_);
    const std::vector<SeenBatch> found = see_all(*log_);
    for (size_t n = 0; n < std::max(found.size(), model_.batches.size()); n++) {
      ASSERT_LT(n, found.size()) << "missing: " << text(model_.batches[n].seen);
      ASSERT_LT(n, model_.batches.size()) << "too much: " << text(found[n]);
      ASSERT_EQ(found[n], model_.batches[n].seen) << "batch " << n;
    }
    check_committed(found);
    check_sequences();
    check_names();
  }

  int cleanings() const { return cleanings_; }

 private:
  void open(bool clean) {
    const Offset dirty = log_ ? log_->first_dirty() : Offset(0);
    log_.reset();
    LogOptions options = options_for(disk_, config_);
    options.clean = clean;
    options.recovery_point = recovery_point_;
    options.now = WallMs(now_);
    log_ = open_or_die(options);
    log_->set_first_dirty(dirty);
  }

  void restart(bool clean) {
    if (clean) {
      ASSERT_TRUE(log_->close());
      recovery_point_ = log_->end();
    } else {
      disk_.process_died();
    }
    open(clean);
    note_forgotten();
    check();
  }

  void note_forgotten() {
    // Also one that was forgotten and came back by a marker: of its sequence nothing is known.
    std::set<int64_t> alive;
    for (const ProducerInfo& p : log_->producers()) {
      if (p.last_sequence >= 0 || producers_[p.id.value].next == 0) alive.insert(p.id.value);
    }
    for (auto& [id, p] : producers_) p.stale |= !alive.contains(id);
  }

  void roll() { ASSERT_TRUE(log_->roll(WallMs(now_))); }

  void append(int64_t producer, bool transactional) {
    wire::BatchOptions options;
    options.codec = static_cast<wire::Codec>(rng_.one_in(3) ? rng_.below(5) : 0);
    options.transactional = transactional;
    if (producer >= 0) {
      Producer& p = producers_[producer];
      if (p.stale) {  // it was forgotten: it gets a new epoch, as a client does
        p.epoch++;
        p.next = 0;
        p.stale = false;
      }
      options.producer_id = ProducerId(producer);
      options.producer_epoch = ProducerEpoch(p.epoch);
      options.base_sequence = p.next;
    }
    now_ += rng_.between(0, 60);
    const bool append_time = rng_.one_in(8);
    if (append_time) {
      options.timestamp_type = wire::TimestampType::kLogAppendTime;
      options.append_time = WallMs(now_);
    }
    wire::BatchBuilder builder(options);
    SeenBatch seen{.base = end_, .transactional = transactional, .max_timestamp = -1};
    const int count = static_cast<int>(rng_.between(1, 4));
    for (int n = 0; n < count; n++) {
      SeenRecord r{.offset = end_ + n, .timestamp = now_ + rng_.between(-50, 50)};
      if (!rng_.one_in(25)) r.key = "k" + std::to_string(rng_.below(static_cast<uint64_t>(keys_)));
      if (!rng_.one_in(4)) {
        r.value = "v" + std::to_string(made_++) + std::string(rng_.below(80), 'x');
      }
      const auto bytes = [](const std::optional<std::string>& s) {
        return s ? std::optional<ByteView>(as_bytes(*s)) : std::nullopt;
      };
      builder.add(WallMs(r.timestamp), bytes(r.key), bytes(r.value));
      if (append_time) r.timestamp = now_;
      seen.max_timestamp = std::max(seen.max_timestamp, r.timestamp);
      seen.records.push_back(std::move(r));
    }
    if (append_time) model_.append_time_.insert(end_);
    if (!append_batch(builder.build().value(), seen, AppendOrigin::kClient)) return;
    if (producer >= 0) producers_[producer].next += count;
    if (transactional) {
      int& current = producers_[producer].transaction;
      if (current < 0) {
        current = static_cast<int>(model_.transactions.size());
        model_.transactions.push_back(Outcome::kOpen);
      }
      model_.batches.back().transaction = current;
    }
    for (const SeenRecord& r : seen.records) {
      truth_.push_back({r, model_.batches.back().transaction});
    }
  }

  void end_transaction(int64_t producer) {
    Producer& p = producers_[producer];
    if (p.transaction < 0 && !rng_.one_in(5)) return;
    const bool commit = rng_.one_in(2);
    now_ += rng_.between(0, 60);
    const bool bump = rng_.one_in(3);  // as transactions version 2 does it
    const auto epoch = static_cast<int16_t>(p.epoch + (bump ? 1 : 0));
    ByteBuffer batch = wire::end_transaction_batch(Offset(0), LeaderEpoch(0), ProducerId(producer),
                                                   ProducerEpoch(epoch), commit, 0, WallMs(now_));
    SeenBatch seen{.transactional = true, .control = true};
    wire::Decompressor d;
    seen = testing::see(wire::BatchHeader(batch.data()), d);
    seen.base = seen.last = seen.records[0].offset = end_;
    if (!append_batch(std::move(batch), seen, AppendOrigin::kCoordinator)) return;
    p.epoch = epoch;
    if (bump) p.next = 0;
    if (p.transaction < 0) return;
    model_.batches.back().transaction = p.transaction;
    model_.transactions[static_cast<size_t>(p.transaction)] =
        commit ? Outcome::kCommitted : Outcome::kAborted;
    p.transaction = -1;
  }

  /// False after a failure of the test.
  bool append_batch(ByteBuffer bytes, SeenBatch seen, AppendOrigin origin) {
    auto r = log_->append_as_leader(MutableBytes(bytes), LeaderEpoch(1), origin, WallMs(now_));
    EXPECT_TRUE(r) << r.error().message;
    if (!r) return false;
    EXPECT_EQ(r->error, wire::ErrorCode::kNone) << text(seen);
    EXPECT_EQ(r->first.value, end_);
    if (r->error != wire::ErrorCode::kNone || r->first.value != end_) return false;
    const wire::BatchHeader header(bytes.data());
    seen.last = end_ + header.last_offset_delta();
    seen.epoch = 1;
    seen.producer = header.producer_id().value;
    seen.producer_epoch = header.producer_epoch().value;
    seen.sequence = header.base_sequence();
    model_.batches.push_back({std::move(seen), -1});
    end_ = header.last_offset_delta() + end_ + 1;
    return true;
  }

  /// What a consumer with read_committed knows of each key at the end, as the clients do it.
  void check_committed(const std::vector<SeenBatch>& found) {
    const Offset stable = log_->last_stable_offset(log_->end());
    std::map<std::string, std::string> expected;
    for (const auto& [record, transaction] : truth_) {
      if (record.offset >= stable.value || !record.key) continue;
      if (transaction >= 0 &&
          model_.transactions[static_cast<size_t>(transaction)] != Outcome::kCommitted) {
        continue;
      }
      learn(expected, record);
    }
    auto aborted = log_->aborted_transactions(Offset(0), stable);
    ASSERT_TRUE(aborted);
    std::ranges::sort(*aborted, {}, [](const AbortedTransaction& a) { return a.first.value; });
    std::map<std::string, std::string> got;
    std::set<int64_t> dropping;
    size_t next = 0;
    for (const SeenBatch& b : found) {
      if (b.base >= stable.value) break;
      for (; next < aborted->size() && (*aborted)[next].first.value <= b.last; next++) {
        dropping.insert((*aborted)[next].id.value);
      }
      if (b.control) {
        if (!b.records.empty() && b.records[0].key->at(3) == 0) dropping.erase(b.producer);
        continue;
      }
      if (b.transactional && dropping.contains(b.producer)) continue;
      for (const SeenRecord& r : b.records) {
        if (r.key) learn(got, r);
      }
    }
    ASSERT_EQ(got, expected);
  }

  static void learn(std::map<std::string, std::string>& known, const SeenRecord& r) {
    if (r.value) {
      known[*r.key] = *r.value;
    } else {
      known.erase(*r.key);
    }
  }

  /// Live producers may go on with their sequence.
  void check_sequences() {
    for (const ProducerInfo& p : log_->producers()) {
      const Producer& mine = producers_[p.id.value];
      if (mine.stale) continue;  // back from the batches, with whatever they say
      ASSERT_EQ(p.epoch.value, mine.epoch) << "producer " << p.id.value;
      if (p.last_sequence >= 0) ASSERT_EQ(p.last_sequence, mine.next - 1);
    }
  }

  /// Nothing lies about; sizes agree.
  void check_names() {
    auto entries = disk_.list("/data/t-0");
    ASSERT_TRUE(entries);
    uint64_t bytes = 0;
    int segments = 0;
    for (const io::DirEntry& e : *entries) {
      ASSERT_FALSE(e.name.ends_with(".cleaned") || e.name.ends_with(".swap")) << e.name;
      if (!e.name.ends_with(".log")) continue;
      bytes += e.size;
      segments++;
    }
    ASSERT_EQ(bytes, log_->size());
    ASSERT_EQ(segments, log_->segment_count());
  }

  struct Producer {
    int16_t epoch = 0;
    int32_t next = 0;
    int transaction = -1;
    bool stale = false;
  };
  struct Written {
    SeenRecord record;
    int transaction;
  };

  sim::Rng rng_;
  int64_t keys_;
  sim::MemoryDisk disk_;
  LogConfig config_;
  std::unique_ptr<Log> log_;
  Model model_;
  std::vector<Written> truth_;
  std::map<int64_t, Producer> producers_;
  Offset recovery_point_{0};
  int64_t end_ = 0;
  int64_t now_ = 10'000;
  int made_ = 0;
  int cleanings_ = 0;
};

uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(CompactionModel, Histories) {
  const uint64_t first = from_environment("ODRADEK_SEED", 1);
  const uint64_t count = from_environment("ODRADEK_HISTORIES", 150);
  int cleanings = 0;
  for (uint64_t seed = first; seed < first + count; seed++) {
    SCOPED_TRACE("ODRADEK_HISTORIES=1 ODRADEK_SEED=" + std::to_string(seed));
    History history(seed);
    for (int n = 0; n < 120; n++) {
      history.step();
      if (HasFailure()) return;
    }
    history.clean();
    if (HasFailure()) return;
    cleanings += history.cleanings();
  }
  std::printf("%lu histories, %d cleanings\n", static_cast<unsigned long>(count), cleanings);
  EXPECT_GT(cleanings, static_cast<int>(count) * 3);
}

}  // namespace
}  // namespace odradek::log
