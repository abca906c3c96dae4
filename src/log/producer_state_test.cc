#include "log/producer_state.h"

#include <gtest/gtest.h>

#include "log/testing/batches.h"

namespace odradek::log {
namespace {

using testing::append;
using testing::BatchSpec;
using testing::make_batch;
using testing::open_or_die;
using testing::options_for;
using wire::ErrorCode;

class Producers : public ::testing::Test {
 protected:
  AppendResult send(int32_t sequence, int records = 1, int16_t epoch = 0) {
    return append(*log_, make_batch({.records = records,
                                     .timestamp = now_,
                                     .producer = 7,
                                     .producer_epoch = epoch,
                                     .sequence = sequence}));
  }
  AppendResult transactional(int64_t producer, int32_t sequence) {
    return append(*log_, make_batch({.timestamp = now_,
                                     .producer = producer,
                                     .sequence = sequence,
                                     .transactional = true}));
  }
  AppendResult marker(int64_t producer, bool commit, int16_t epoch = 0, int32_t coordinator = 1) {
    return append(
        *log_,
        wire::end_transaction_batch(Offset(0), LeaderEpoch(0), ProducerId(producer),
                                    ProducerEpoch(epoch), commit, coordinator, WallMs(now_)),
        0, AppendOrigin::kCoordinator);
  }
  void reopen(bool clean) {
    if (clean) {
      ASSERT_TRUE(log_->close());
    }
    log_.reset();
    LogOptions options = options_for(disk_);
    options.clean = clean;
    options.now = WallMs(now_);
    log_ = open_or_die(options);
  }

  int64_t now_ = 1000;
  sim::MemoryDisk disk_;
  std::unique_ptr<Log> log_ = open_or_die(options_for(disk_));
};

TEST_F(Producers, SequencesMustFollow) {
  // Nothing is known of the producer: it may begin anywhere.
  EXPECT_EQ(send(5, 3).error, ErrorCode::kNone);
  EXPECT_EQ(send(9).error, ErrorCode::kOutOfOrderSequenceNumber);
  EXPECT_EQ(send(7).error, ErrorCode::kOutOfOrderSequenceNumber);
  EXPECT_EQ(send(8).first, Offset(3));
  EXPECT_EQ(log_->end(), Offset(4));
}

TEST_F(Producers, TheLastFiveBatchesAreRecognised) {
  for (int n = 0; n < 7; n++) EXPECT_EQ(send(n * 2, 2).error, ErrorCode::kNone);
  for (int n = 2; n < 7; n++) {
    now_ = 5000;
    AppendResult r = send(n * 2, 2);
    EXPECT_TRUE(r.duplicate);
    EXPECT_EQ(r.first, Offset(n * 2));
    EXPECT_EQ(r.last, Offset(n * 2 + 1));
    EXPECT_EQ(r.append_time, WallMs(1001));
  }
  EXPECT_EQ(send(2, 2).error, ErrorCode::kOutOfOrderSequenceNumber);
  EXPECT_EQ(send(12, 1).error, ErrorCode::kOutOfOrderSequenceNumber);  // not the same range
  EXPECT_EQ(log_->end(), Offset(14));
}

TEST_F(Producers, SequencesWrap) {
  EXPECT_EQ(send(INT32_MAX - 1, 2).error, ErrorCode::kNone);
  EXPECT_EQ(send(0, 1).error, ErrorCode::kNone);
  EXPECT_TRUE(send(INT32_MAX - 1, 2).duplicate);
  EXPECT_EQ(send(1, 1).error, ErrorCode::kNone);
  // A batch across the end.
  EXPECT_EQ(
      append(*log_, make_batch({.records = 4, .producer = 8, .sequence = INT32_MAX - 1})).error,
      ErrorCode::kNone);
  EXPECT_EQ(append(*log_, make_batch({.records = 1, .producer = 8, .sequence = 2})).error,
            ErrorCode::kNone);
  EXPECT_TRUE(append(*log_, make_batch({.records = 4, .producer = 8, .sequence = INT32_MAX - 1}))
                  .duplicate);
}

TEST_F(Producers, EpochsFenceAndStartOver) {
  EXPECT_EQ(send(0, 1, 3).error, ErrorCode::kNone);
  EXPECT_EQ(send(1, 1, 2).error, ErrorCode::kInvalidProducerEpoch);
  EXPECT_EQ(send(1, 1, 4).error, ErrorCode::kOutOfOrderSequenceNumber);
  EXPECT_EQ(send(0, 1, 4).error, ErrorCode::kNone);
  EXPECT_EQ(send(0, 1, 3).error, ErrorCode::kInvalidProducerEpoch);
  EXPECT_EQ(log_->producers()[0].epoch, ProducerEpoch(4));
}

TEST_F(Producers, StateOutlivesKillAndCleanStop) {
  for (bool clean : {false, true, true, false}) {
    int next = log_->producers().empty() ? 0 : log_->producers()[0].last_sequence + 1;
    EXPECT_EQ(send(next, 2).error, ErrorCode::kNone);
    reopen(clean);
    ASSERT_EQ(log_->producers().size(), 1u);
    EXPECT_EQ(log_->producers()[0].last_sequence, next + 1);
    EXPECT_TRUE(send(next, 2).duplicate);
    EXPECT_EQ(send(next + 3).error, ErrorCode::kOutOfOrderSequenceNumber);
  }
}

TEST_F(Producers, SilentOnesAreForgotten) {
  send(0);
  log_->expire_producers(WallMs(1000 + 86'399'999));
  EXPECT_EQ(log_->producers().size(), 1u);
  log_->expire_producers(WallMs(1000 + 86'400'000));
  EXPECT_TRUE(log_->producers().empty());
  EXPECT_EQ(send(17).error, ErrorCode::kNone);
}

TEST_F(Producers, TransactionsHoldTheStableOffsetBack) {
  append(*log_, make_batch({}));  // 0
  transactional(7, 0);            // 1
  transactional(8, 0);            // 2
  EXPECT_EQ(log_->last_stable_offset(Offset(3)), Offset(1));
  marker(7, false);                                           // 3
  EXPECT_EQ(log_->last_stable_offset(Offset(3)), Offset(1));  // its marker is not visible yet
  EXPECT_EQ(log_->last_stable_offset(Offset(4)), Offset(2));
  transactional(7, 1);  // 4
  marker(8, true);      // 5
  EXPECT_EQ(log_->last_stable_offset(Offset(6)), Offset(4));
  marker(7, false);  // 6
  EXPECT_EQ(log_->last_stable_offset(Offset(7)), Offset(7));
  auto aborted = [&](int64_t from, int64_t to) {
    return log_->aborted_transactions(Offset(from), Offset(to)).value();
  };
  std::vector<AbortedTransaction> both{{ProducerId(7), Offset(1)}, {ProducerId(7), Offset(4)}};
  EXPECT_EQ(aborted(0, 7), both);
  EXPECT_EQ(aborted(4, 7), (std::vector<AbortedTransaction>{{ProducerId(7), Offset(4)}}));
  EXPECT_EQ(aborted(0, 2), (std::vector<AbortedTransaction>{{ProducerId(7), Offset(1)}}));
  EXPECT_EQ(aborted(7, 9), (std::vector<AbortedTransaction>{}));
  // A killed broker finds them again in the batches.
  ASSERT_TRUE(disk_.remove("/data/t-0/00000000000000000000.txnindex"));
  reopen(false);
  EXPECT_EQ(aborted(0, 7), both);
  EXPECT_EQ(log_->last_stable_offset(Offset(7)), Offset(7));
  EXPECT_TRUE(disk_.exists("/data/t-0/00000000000000000000.txnindex"));
}

TEST_F(Producers, OpenTransactionsOutliveARestart) {
  transactional(7, 0);
  append(*log_, make_batch({}));
  for (bool clean : {true, false}) {
    reopen(clean);
    EXPECT_EQ(log_->last_stable_offset(Offset(2)), Offset(0));
    EXPECT_EQ(log_->producers()[0].transaction_start, Offset(0));
  }
  // Without a marker the transaction keeps its producer alive.
  log_->expire_producers(WallMs(int64_t{1} << 40));
  EXPECT_EQ(log_->producers().size(), 1u);
  EXPECT_EQ(append(*log_, make_batch({.producer = 7, .sequence = 1})).error,
            ErrorCode::kInvalidTxnState);
}

TEST_F(Producers, MarkersAreFenced) {
  transactional(7, 0);
  marker(7, true, 1, 5);
  EXPECT_EQ(log_->producers()[0].epoch, ProducerEpoch(1));
  EXPECT_EQ(log_->producers()[0].coordinator_epoch, 5);
  EXPECT_EQ(marker(7, true, 1, 4).error, ErrorCode::kTransactionCoordinatorFenced);
  EXPECT_EQ(marker(7, true, 0, 6).error, ErrorCode::kInvalidProducerEpoch);
  EXPECT_EQ(log_->end(), Offset(2));
}

TEST_F(Producers, ATransactionBeginsWithItsGuard) {
  const auto begin = [&](int16_t epoch, int32_t sequence, bool bumps) {
    return log_->begin_verification(ProducerId(7), ProducerEpoch(epoch), sequence, bumps,
                                    WallMs(now_));
  };
  const auto send_with = [&](uint64_t guard, int32_t sequence, int16_t epoch) {
    ByteBuffer batch = make_batch({.timestamp = now_,
                                   .producer = 7,
                                   .producer_epoch = epoch,
                                   .sequence = sequence,
                                   .transactional = true});
    auto r = log_->append_as_leader(batch, LeaderEpoch(0), AppendOrigin::kClient, WallMs(now_),
                                    {.guard = guard, .verified_only = true});
    return r->error;
  };
  EXPECT_EQ(send_with(0, 0, 1), ErrorCode::kInvalidTxnState);
  const uint64_t guard = begin(1, 0, false).guard;
  EXPECT_NE(guard, 0U);
  EXPECT_EQ(begin(1, 1, false).guard, guard);  // of the same producer
  EXPECT_EQ(send_with(guard + 1, 0, 1), ErrorCode::kInvalidTxnState);
  // What was announced first comes first.
  EXPECT_EQ(send_with(guard, 1, 1), ErrorCode::kOutOfOrderSequenceNumber);
  EXPECT_EQ(send_with(guard, 0, 1), ErrorCode::kNone);
  EXPECT_EQ(begin(1, 1, false).guard, 0U);  // open: nothing is needed
  EXPECT_EQ(send_with(0, 1, 1), ErrorCode::kNone);
  EXPECT_EQ(begin(0, 0, false).error, ErrorCode::kInvalidProducerEpoch);
  EXPECT_EQ(send_with(0, 0, 0), ErrorCode::kInvalidProducerEpoch);

  // A marker makes worthless what was verified before it.
  EXPECT_EQ(marker(7, true, 1).error, ErrorCode::kNone);
  const uint64_t early = begin(1, 2, false).guard;
  EXPECT_EQ(marker(7, false, 1).error, ErrorCode::kNone);
  EXPECT_EQ(send_with(early, 2, 1), ErrorCode::kInvalidTxnState);
  // But not that of the transaction before, where every transaction has an epoch of its own.
  const uint64_t next = begin(2, 0, true).guard;
  EXPECT_EQ(marker(7, true, 2).error, ErrorCode::kNone);
  EXPECT_EQ(send_with(next, 0, 2), ErrorCode::kNone);
}

TEST_F(Producers, SoManyTransactionsMayBeAboutToBegin) {
  const auto begin = [&](int64_t id) {
    return log_->begin_verification(ProducerId(id), ProducerEpoch(0), 0, false, WallMs(now_)).guard;
  };
  const uint64_t first = begin(0);
  for (int64_t id = 1; id < 10'000; id++) ASSERT_NE(begin(id), 0U);
  EXPECT_EQ(begin(0), first);
  begin(10'000);  // one too many: the oldest has to begin anew
  EXPECT_NE(begin(0), first);
}

TEST_F(Producers, WithAnEpochForEachTransactionTheFirstBatchIsNumberedZero) {
  const uint64_t guard =
      log_->begin_verification(ProducerId(7), ProducerEpoch(0), 3, true, WallMs(now_)).guard;
  ByteBuffer batch =
      make_batch({.timestamp = now_, .producer = 7, .sequence = 3, .transactional = true});
  auto r = log_->append_as_leader(batch, LeaderEpoch(0), AppendOrigin::kClient, WallMs(now_),
                                  {.guard = guard, .verified_only = true});
  EXPECT_EQ(r->error, ErrorCode::kOutOfOrderSequenceNumber);
}

TEST_F(Producers, MarkersOfTransactionVersion2HaveANewEpoch) {
  const auto end = [&](int16_t epoch, int16_t version) {
    const TransactionRules rules{.marker_version = version};
    const auto expected = log_->check_marker(ProducerId(7), ProducerEpoch(epoch), 1, rules);
    ByteBuffer batch = wire::end_transaction_batch(Offset(0), LeaderEpoch(0), ProducerId(7),
                                                   ProducerEpoch(epoch), true, 1, WallMs(now_));
    auto r = log_->append_as_leader(batch, LeaderEpoch(0), AppendOrigin::kCoordinator, WallMs(now_),
                                    rules);
    EXPECT_EQ(r->error, expected);
    return r->error;
  };
  EXPECT_EQ(transactional(7, 0).error, ErrorCode::kNone);
  EXPECT_EQ(end(0, 2), ErrorCode::kInvalidProducerEpoch);
  EXPECT_EQ(end(1, 2), ErrorCode::kNone);
  EXPECT_EQ(end(1, 2), ErrorCode::kNone);  // once more: nothing is open
  EXPECT_EQ(end(0, 0), ErrorCode::kInvalidProducerEpoch);
  EXPECT_EQ(end(1, 0), ErrorCode::kNone);
}

TEST_F(Producers, TruncationTakesTransactionsBack) {
  transactional(7, 0);  // 0
  marker(7, false);     // 1
  append(*log_, make_batch({}));
  ASSERT_TRUE(log_->truncate_to(Offset(1)).value());
  EXPECT_EQ(log_->last_stable_offset(Offset(1)), Offset(0));
  EXPECT_TRUE(log_->aborted_transactions(Offset(0), Offset(9))->empty());
}

ByteBuffer unhex(std::string_view text) {
  ByteBuffer bytes;
  for (size_t n = 0; n + 1 < text.size(); n += 2) {
    bytes.push_back(static_cast<uint8_t>(std::stoi(std::string(text.substr(n, 2)), nullptr, 16)));
  }
  return bytes;
}

TEST(ProducerSnapshot, KafkasBytes) {
  ByteBuffer kafka = unhex(
      "000144dc9acf00000002000000000000232900030000002900000000000005e0000000040000018bcfe56801"
      "0000001100000000000005dc000000000000232a0000ffffffffffffffffffffffff000000000000018bcfe5"
      "6802ffffffffffffffffffffffff");
  auto entries = decode_snapshot(kafka);
  ASSERT_TRUE(entries);
  ASSERT_EQ(entries->size(), 2u);
  const ProducerEntry& first = (*entries)[0];
  EXPECT_EQ(first.id, ProducerId(9001));
  EXPECT_EQ(first.epoch, ProducerEpoch(3));
  EXPECT_EQ(first.batch_count, 1u);
  EXPECT_EQ(first.batches[0], (ProducerBatch{41, 4, Offset(1504), WallMs(1700000000001)}));
  EXPECT_EQ(first.coordinator_epoch, 17);
  EXPECT_EQ(first.transaction_start, Offset(1500));
  EXPECT_EQ((*entries)[1].batch_count, 0u);
  EXPECT_EQ((*entries)[1].transaction_start, kNoOffset);
  EXPECT_EQ(encode_snapshot(*entries), kafka);
  EXPECT_EQ(encode_snapshot({}), unhex("000148674bc700000000"));
  for (size_t n = 0; n < kafka.size(); n++) {
    EXPECT_FALSE(decode_snapshot(ByteView(kafka).first(n)));
    ByteBuffer flipped = kafka;
    flipped[n] ^= 4;
    EXPECT_FALSE(decode_snapshot(flipped)) << n;
  }
}

TEST(ProducerSnapshot, OneEntryForEachProducer) {
  const ProducerEntry entry{.id = ProducerId(7), .epoch = ProducerEpoch(0)};
  EXPECT_TRUE(decode_snapshot(encode_snapshot(std::vector{entry})));
  EXPECT_FALSE(decode_snapshot(encode_snapshot(std::vector{entry, entry})));
}

}  // namespace
}  // namespace odradek::log
