#include "replica/partition.h"

#include "replica/testing/replica_fixture.h"

namespace odradek::replica {
namespace {

using wire::ErrorCode;

class PartitionTest : public ReplicaFixture {
 protected:
  ByteBuffer read(const Uuid& id, Offset from) {
    ByteBuffer out;
    on_loop([&] {
      FetchOutcome f = partition(id).fetch({.from = from, .bytes_max = 1 << 20});
      EXPECT_EQ(f.error, ErrorCode::kNone);
      if (f.piece.size() > 0) out = *log::read_piece(f.piece);
    });
    return out;
  }
  ErrorCode fetch_error(const Uuid& id, const FetchOptions& options) {
    ErrorCode error{};
    on_loop([&] { error = partition(id).fetch(options).error; });
    return error;
  }
};

TEST_F(PartitionTest, AppendsStampOffsetAndEpoch) {
  const Uuid id = create_topic("t");
  produce(id, {.records = 3});
  const ProduceOutcome second = produce(id, {.records = 2});
  EXPECT_EQ(second.first, Offset(3));
  EXPECT_EQ(second.end, Offset(5));
  EXPECT_EQ(second.log_start, Offset(0));
  EXPECT_EQ(second.append_time, kNoTimestamp);
  sim.run_for(Millis(50));
  const ByteBuffer bytes = read(id, Offset(3));
  const wire::BatchHeader header(bytes.data());
  EXPECT_EQ(header.base_offset(), Offset(3));
  EXPECT_EQ(header.leader_epoch(), LeaderEpoch(0));
  EXPECT_TRUE(header.crc_matches());
}

TEST_F(PartitionTest, ARepeatedBatchIsAnsweredWithItsFirstOffset) {
  const Uuid id = create_topic("t");
  const BatchSpec spec{
      .records = 2, .producer = ProducerId(5), .epoch = ProducerEpoch(0), .sequence = 0};
  EXPECT_EQ(produce(id, spec).first, Offset(0));
  const ProduceOutcome again = produce(id, spec);
  EXPECT_EQ(again.error, ErrorCode::kNone);
  EXPECT_EQ(again.first, Offset(0));
  EXPECT_EQ(again.end, Offset(2));
  EXPECT_EQ(partition(id).log_end(), Offset(2));
  BatchSpec gap = spec;
  gap.sequence = 7;
  EXPECT_EQ(produce(id, gap).error, ErrorCode::kOutOfOrderSequenceNumber);
  EXPECT_EQ(produce(id, gap).log_start, Offset(0));
}

TEST_F(PartitionTest, RefusesWhatApacheRefuses) {
  const Uuid id = create_topic("t", 1, {{"max.message.bytes", "500"}});
  EXPECT_EQ(produce(id, {.value_size = 1'000}).error, ErrorCode::kMessageTooLarge);
  on_loop([&] {
    ByteBuffer batch = make_batch();
    batch.back() ^= 1;
    const ProduceOutcome out = partition(id).produce(batch, {.now = WallMs(0)});
    EXPECT_EQ(out.error, ErrorCode::kCorruptMessage);
    EXPECT_EQ(out.log_start, kNoOffset);
  });
  on_loop([&] {
    ByteBuffer batch = make_batch({.timestamp = WallMs(100'000'000)});
    const ProduceOutcome out = partition(id).produce(batch, {.now = WallMs(0)});
    EXPECT_EQ(out.error, ErrorCode::kInvalidTimestamp);
    EXPECT_FALSE(out.record_errors.empty());
    EXPECT_EQ(out.log_start, Offset(0));
  });
  EXPECT_EQ(partition(id).log_end(), Offset(0));
}

TEST_F(PartitionTest, TooFewInSyncReplicasRefuseAcksAllOnly) {
  // Apache counts at most as many as there are replicas, so one replica satisfies any setting.
  const Uuid id = create_topic("t", 1, {{"min.insync.replicas", "2"}});
  EXPECT_EQ(produce(id).error, ErrorCode::kNone);
  on_loop([&] {
    partition(id).set_state({.leader = kNode,
                             .leader_epoch = LeaderEpoch(1),
                             .partition_epoch = 9,
                             .isr_size = 1,
                             .replica_count = 3},
                            true);
  });
  EXPECT_EQ(produce(id, {}, -1).error, ErrorCode::kNotEnoughReplicas);
  EXPECT_EQ(produce(id, {}, 1).error, ErrorCode::kNone);
}

TEST_F(PartitionTest, LogAppendTimeAndCompressionRewriteTheBatch) {
  const Uuid id = create_topic(
      "t", 1, {{"message.timestamp.type", "LogAppendTime"}, {"compression.type", "gzip"}});
  const ProduceOutcome out = produce(id, {.records = 5});
  ASSERT_EQ(out.error, ErrorCode::kNone);
  EXPECT_NE(out.append_time, kNoTimestamp);
  sim.run_for(Millis(50));
  const ByteBuffer bytes = read(id, Offset(0));
  const wire::BatchHeader header(bytes.data());
  EXPECT_EQ(header.codec(), wire::Codec::kGzip);
  EXPECT_EQ(header.timestamp_type(), wire::TimestampType::kLogAppendTime);
  EXPECT_EQ(header.max_timestamp(), out.append_time);
  EXPECT_EQ(header.count(), 5);
  EXPECT_TRUE(header.crc_matches());
}

TEST_F(PartitionTest, FetchChecksOffsetsAndEpochs) {
  const Uuid id = create_topic("t");
  produce(id, {.records = 4});
  sim.run_for(Millis(50));
  EXPECT_EQ(fetch_error(id, {.from = Offset(4), .bytes_max = 1}), ErrorCode::kNone);
  EXPECT_EQ(fetch_error(id, {.from = Offset(5), .bytes_max = 1}), ErrorCode::kOffsetOutOfRange);
  EXPECT_EQ(fetch_error(id, {.from = Offset(0), .current_epoch = LeaderEpoch(3)}),
            ErrorCode::kUnknownLeaderEpoch);
  set_leader(id, kNode);
  EXPECT_EQ(fetch_error(id, {.from = Offset(0), .current_epoch = LeaderEpoch(0)}),
            ErrorCode::kFencedLeaderEpoch);
  produce(id);
  sim.run_for(Millis(50));
  on_loop([&] {
    // A fetcher that claims more of epoch 0 than there is.
    const FetchOutcome out = partition(id).fetch(
        {.from = Offset(5), .last_fetched_epoch = LeaderEpoch(0), .bytes_max = 100});
    EXPECT_EQ(out.error, ErrorCode::kNone);
    EXPECT_EQ(out.diverging, (log::EpochEnd{LeaderEpoch(0), Offset(4)}));
    EXPECT_EQ(out.piece.size(), 0U);
  });
}

TEST_F(PartitionTest, DeleteRecordsMovesTheStart) {
  const Uuid id = create_topic("t");
  for (int i = 0; i < 5; i++) produce(id);
  sim.run_for(Millis(50));
  on_loop([&] {
    Partition& p = partition(id);
    EXPECT_EQ(p.delete_records(Offset(6)).error, ErrorCode::kOffsetOutOfRange);
    EXPECT_EQ(p.delete_records(Offset(-2)).error, ErrorCode::kOffsetOutOfRange);
    EXPECT_EQ(p.delete_records(Offset(2)).low_watermark, Offset(2));
    EXPECT_EQ(p.delete_records(Offset(1)).low_watermark, Offset(2));  // never back
    EXPECT_EQ(p.fetch({.from = Offset(1), .bytes_max = 9}).error, ErrorCode::kOffsetOutOfRange);
    EXPECT_EQ(p.offset_for_timestamp(kEarliest)->offset, Offset(2));
    EXPECT_EQ(p.delete_records(Offset(-1)).low_watermark, Offset(5));
  });
  const Uuid compacted = create_topic("c", 1, {{"cleanup.policy", "compact"}});
  on_loop([&] {
    EXPECT_EQ(partition(compacted).delete_records(Offset(0)).error, ErrorCode::kPolicyViolation);
  });
}

TEST_F(PartitionTest, TimestampsAreLookedUp) {
  const Uuid id = create_topic("t");
  produce(id, {.timestamp = WallMs(100)});
  produce(id, {.timestamp = WallMs(300)});
  produce(id, {.timestamp = WallMs(200)});
  sim.run_for(Millis(50));
  on_loop([&] {
    Partition& p = partition(id);
    EXPECT_EQ(p.offset_for_timestamp(150)->offset, Offset(1));
    EXPECT_EQ(p.offset_for_timestamp(400)->offset, kNoOffset);
    EXPECT_EQ(p.offset_for_timestamp(kMaxTimestamp)->offset, Offset(1));
    EXPECT_EQ(p.offset_for_timestamp(kLatestTiered)->offset, kNoOffset);
    EXPECT_EQ(p.offset_for_timestamp(kEarliest)->epoch, LeaderEpoch(0));
  });
}

}  // namespace
}  // namespace odradek::replica
