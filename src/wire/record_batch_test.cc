#include "wire/record_batch.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "wire/gen/leader_change_message.h"
#include "wire/reader.h"

namespace odradek::wire {
namespace {

ByteBuffer batch_of(BatchOptions options, int count, size_t value_size = 20) {
  BatchBuilder b(options);
  const std::string value(value_size, 'v');
  for (int i = 0; i < count; i++) {
    const std::string key = "key-" + std::to_string(i);
    const RecordHeader headers[] = {{"h", as_bytes("x")}, {"h", std::nullopt}};
    b.add(WallMs(1000 + i), as_bytes(key), as_bytes(value), headers);
  }
  auto out = b.build();
  EXPECT_TRUE(out);
  return std::move(*out);
}

TEST(BatchBuilder, HeaderSaysWhatWasAskedFor) {
  const ByteBuffer bytes = batch_of({.base_offset = Offset(70),
                                     .leader_epoch = LeaderEpoch(3),
                                     .transactional = true,
                                     .producer_id = ProducerId(9),
                                     .producer_epoch = ProducerEpoch(1),
                                     .base_sequence = INT32_MAX},
                                    3);
  const auto batch = BatchHeader::parse(bytes);
  ASSERT_TRUE(batch);
  EXPECT_EQ(batch->size(), bytes.size());
  EXPECT_EQ(batch->base_offset(), Offset(70));
  EXPECT_EQ(batch->last_offset(), Offset(72));
  EXPECT_EQ(batch->next_offset(), Offset(73));
  EXPECT_EQ(batch->leader_epoch(), LeaderEpoch(3));
  EXPECT_TRUE(batch->is_transactional());
  EXPECT_FALSE(batch->is_control());
  EXPECT_EQ(batch->base_timestamp(), WallMs(1000));
  EXPECT_EQ(batch->max_timestamp(), WallMs(1002));
  EXPECT_EQ(batch->last_sequence(), 1);  // wraps to 0
  EXPECT_TRUE(batch->crc_matches());
}

TEST(BatchBuilder, SizeBoundHolds) {
  BatchBuilder b({});
  const RecordHeader headers[] = {{"name", as_bytes("value")}};
  const size_t before = b.size();
  b.add(WallMs(-1), as_bytes("key"), std::nullopt, headers);
  EXPECT_LE(b.size() - before, BatchBuilder::size_bound(as_bytes("key"), std::nullopt, headers));
}

TEST(RecordIterator, GivesBackTheRecordsUnderEveryCodec) {
  Decompressor d;
  for (const Codec codec :
       {Codec::kNone, Codec::kGzip, Codec::kSnappy, Codec::kLz4, Codec::kZstd}) {
    // The second size makes each record larger than the window.
    for (const size_t value_size : {size_t{20}, size_t{100'000}}) {
      const ByteBuffer bytes = batch_of({.base_offset = Offset(5), .codec = codec}, 50, value_size);
      RecordIterator it(BatchHeader(bytes.data()), d);
      RecordView r;
      for (int i = 0; i < 50; i++) {
        const auto more = it.next(r);
        ASSERT_TRUE(more) << name(codec) << more.error().message;
        ASSERT_TRUE(*more);
        EXPECT_EQ(r.offset, Offset(5 + i));
        EXPECT_EQ(r.timestamp, WallMs(1000 + i));
        EXPECT_EQ(as_text(*r.key), "key-" + std::to_string(i));
        EXPECT_EQ(r.value->size(), value_size);
        std::vector<std::string> headers;
        r.for_each_header([&](const RecordHeader& h) {
          headers.push_back(std::string(h.key) +
                            (h.value ? "=" + std::string(as_text(*h.value)) : ""));
        });
        EXPECT_EQ(headers, (std::vector<std::string>{"h=x", "h"}));
      }
      EXPECT_FALSE(it.next(r).value());
      EXPECT_FALSE(it.next(r).value());
    }
  }
}

TEST(RecordIterator, CountAndBytesMustAgree) {
  Decompressor d;
  for (const Codec codec : {Codec::kNone, Codec::kZstd}) {
    for (const int32_t count : {2, 4}) {
      ByteBuffer bytes = batch_of({.codec = codec}, 3);
      store_be(bytes.data() + 57, count);
      RecordIterator it(BatchHeader(bytes.data()), d);
      RecordView r;
      Result<bool> more = true;
      while (more && *more) more = it.next(r);
      ASSERT_FALSE(more);
      EXPECT_EQ(more.error().kind, Errc::kCorrupt);
    }
  }
}

TEST(RecordIterator, LogAppendTimeReadsAsMaxTimestamp) {
  ByteBuffer bytes = batch_of({}, 2);
  set_max_timestamp(bytes, TimestampType::kLogAppendTime, WallMs(7777));
  const BatchHeader batch(bytes.data());
  EXPECT_TRUE(batch.crc_matches());
  Decompressor d;
  RecordIterator it(batch, d);
  RecordView r;
  ASSERT_TRUE(it.next(r).value());
  EXPECT_EQ(r.timestamp, WallMs(7777));
}

TEST(BatchHeader, RefusesWhatIsNoBatch) {
  ByteBuffer bytes = batch_of({}, 1);
  EXPECT_FALSE(BatchHeader::parse(ByteView(bytes).first(16)));
  EXPECT_FALSE(BatchHeader::parse(ByteView(bytes).first(bytes.size() - 1)));
  bytes[16] = 1;
  EXPECT_EQ(BatchHeader::parse(bytes).error().kind, Errc::kUnsupported);
  bytes[16] = 9;
  EXPECT_EQ(BatchHeader::parse(bytes).error().kind, Errc::kCorrupt);
  bytes[16] = 2;
  store_be<int32_t>(bytes.data() + 8, 48);
  EXPECT_EQ(BatchHeader::parse(bytes).error().kind, Errc::kCorrupt);
  store_be<int32_t>(bytes.data() + 8, -5);
  EXPECT_EQ(BatchHeader::parse(bytes).error().kind, Errc::kCorrupt);
}

TEST(BatchHeader, LeaderStampsWithoutTouchingTheChecksum) {
  ByteBuffer bytes = batch_of({}, 1);
  set_base_offset(bytes.data(), Offset(123456789));
  set_leader_epoch(bytes.data(), LeaderEpoch(42));
  const BatchHeader batch(bytes.data());
  EXPECT_TRUE(batch.crc_matches());
  EXPECT_EQ(batch.base_offset(), Offset(123456789));
  EXPECT_EQ(batch.leader_epoch(), LeaderEpoch(42));
}

TEST(BatchIterator, StopsAtAPartOfABatchAndFailsOnNonsense) {
  ByteBuffer bytes = batch_of({.base_offset = Offset(0)}, 2);
  const size_t first = bytes.size();
  const ByteBuffer second = batch_of({.base_offset = Offset(2)}, 2);
  bytes.insert(bytes.end(), second.begin(), second.end());
  for (size_t cut = first; cut < bytes.size(); cut++) {
    BatchIterator it(ByteView(bytes).first(cut));
    ASSERT_TRUE(it.next().value());
    const auto rest = it.next();
    ASSERT_TRUE(rest) << cut;
    EXPECT_FALSE(*rest);
    EXPECT_EQ(it.rest().size(), cut - first);
  }
  BatchIterator all(bytes);
  ASSERT_TRUE(all.next().value());
  EXPECT_EQ(all.next().value()->base_offset(), Offset(2));
  EXPECT_FALSE(all.next().value());
  bytes[first + 16] = 77;
  BatchIterator bad(bytes);
  ASSERT_TRUE(bad.next().value());
  EXPECT_FALSE(bad.next());
}

TEST(ControlBatch, TransactionMarker) {
  const ByteBuffer bytes = end_transaction_batch(Offset(10), LeaderEpoch(1), ProducerId(5),
                                                 ProducerEpoch(2), false, 33, WallMs(1));
  const BatchHeader batch(bytes.data());
  EXPECT_EQ(batch.attributes(), 48);
  EXPECT_EQ(batch.base_sequence(), -1);
  Decompressor d;
  RecordIterator it(batch, d);
  RecordView r;
  ASSERT_TRUE(it.next(r).value());
  EXPECT_EQ(control_type(r).value(), ControlType::kAbort);
  EXPECT_EQ(marker_coordinator_epoch(r).value(), 33);
}

TEST(ControlBatch, MessagesAreWrittenBare) {
  BatchBuilder b({.control = true});
  LeaderChangeMessage change;
  change.leader_id = 7;
  b.add_control(WallMs(1), ControlType::kLeaderChange, change);
  const auto bytes = b.build();
  ASSERT_TRUE(bytes);
  Decompressor d;
  RecordIterator it(BatchHeader(bytes->data()), d);
  RecordView r;
  ASSERT_TRUE(it.next(r).value());
  EXPECT_EQ(control_type(r).value(), ControlType::kLeaderChange);
  Arena arena;
  Reader reader(*r.value, arena);
  LeaderChangeMessage back;
  ASSERT_TRUE(back.decode(reader, 0));
  EXPECT_EQ(back.leader_id, 7);
}

TEST(Recompress, KeepsEverythingButTheCodec) {
  Decompressor d;
  const ByteBuffer bytes = batch_of({.base_offset = Offset(4), .codec = Codec::kLz4}, 100);
  const BatchHeader before(bytes.data());
  const auto other = recompress(before, Codec::kZstd, std::nullopt, d);
  ASSERT_TRUE(other);
  const auto after = BatchHeader::parse(*other);
  ASSERT_TRUE(after);
  EXPECT_TRUE(after->crc_matches());
  EXPECT_EQ(after->codec(), Codec::kZstd);
  EXPECT_EQ(after->count(), 100);
  Decompressor e;
  EXPECT_EQ(decompress(d, Codec::kLz4, before.records(), 1 << 30).value(),
            decompress(e, Codec::kZstd, after->records(), 1 << 30).value());
}

}  // namespace
}  // namespace odradek::wire
