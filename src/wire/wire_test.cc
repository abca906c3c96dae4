// Reader, Writer, frames and prefixes. Whole messages are checked by tests/golden.
#include <gtest/gtest.h>

#include "wire/errors.h"
#include "wire/frame.h"
#include "wire/framed_record.h"
#include "wire/gen/fetch.h"
#include "wire/gen/find_coordinator.h"
#include "wire/gen/group_offset_commit.h"
#include "wire/gen/metadata.h"
#include "wire/gen/partition_change_record.h"
#include "wire/gen/produce.h"

namespace odradek::wire {
namespace {

ByteBuffer bytes(std::initializer_list<int> list) {
  ByteBuffer out;
  for (int b : list) out.push_back(static_cast<uint8_t>(b));
  return out;
}

TEST(Reader, NumbersAndVarints) {
  const ByteBuffer in = bytes({0xff, 0xfe, 0x80, 0x01, 0x03, 0xff, 0xff, 0xff, 0xff, 0x0f});
  Arena arena;
  Reader r(in, arena);
  EXPECT_EQ(r.int16(), -2);
  EXPECT_EQ(r.uvarint(), 128U);
  EXPECT_EQ(r.varint(), -2);
  EXPECT_EQ(r.varint(), INT32_MIN);
  EXPECT_TRUE(r.expect_end("x", 0));
  EXPECT_EQ(r.int8(), 0);
  EXPECT_FALSE(r.ok());
}

TEST(Reader, ErrorsStickAndNameThePlace) {
  const ByteBuffer in = bytes({0x00, 0x05, 'a'});
  Arena arena;
  Reader r(in, arena);
  EXPECT_EQ(r.string(), "");
  EXPECT_EQ(r.int8(), 0);
  const auto result = r.result("Some", 3);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message, "Some version 3, byte 2: 5 more bytes are needed, 1 are left");
}

TEST(Reader, ATooLongVarintIsRefused) {
  const ByteBuffer in = bytes({0x80, 0x80, 0x80, 0x80, 0x80, 0x00});
  Arena arena;
  Reader r(in, arena);
  r.uvarint();
  EXPECT_FALSE(r.ok());
}

TEST(Reader, ACountThatCannotFitTakesNoMemory) {
  // MetadataRequest 1: an array of two thousand million topic names in four bytes.
  const ByteBuffer in = bytes({0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0});
  Arena arena;
  Reader r(in, arena);
  MetadataRequest request;
  EXPECT_FALSE(request.decode(r, 1));
  EXPECT_EQ(arena.reserved(), 0U);
}

TEST(Reader, ArraysOfTinyElementsMeetTheMemoryLimit) {
  // Every element takes two bytes here and dozens in memory.
  ByteBuffer in(32U << 20, 0);
  store_be<int32_t>(in.data(), 16'000'000 - 10);
  Arena arena;
  Reader r(in, arena);
  MetadataRequest request;
  const auto result = request.decode(r, 0);
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find("memory"), std::string::npos);
  EXPECT_LT(arena.reserved(), 1U << 20);
}

TEST(Reader, NullWhereTheVersionKnowsNone) {
  const ByteBuffer in = bytes({0xff, 0xff, 0xff, 0xff});
  Arena arena;
  Reader zero(in, arena);
  MetadataRequest request;
  EXPECT_FALSE(request.decode(zero, 0));
  Reader one(in, arena);
  ASSERT_TRUE(request.decode(one, 1));
  EXPECT_FALSE(request.topics.has_value());
}

TEST(Reader, TaggedFieldsMustFillTheirSize) {
  // PartitionChangeRecord 0: leader (tag 1) in five bytes instead of four.
  ByteBuffer in(20, 0);
  for (int b : {1, 1, 5, 0, 0, 0, 7, 9}) in.push_back(static_cast<uint8_t>(b));
  Arena arena;
  Reader r(in, arena);
  PartitionChangeRecord record;
  const auto result = record.decode(r, 0);
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find("tagged field 1"), std::string::npos);
}

TEST(Reader, UnknownVersionIsAnError) {
  Arena arena;
  Reader r({}, arena);
  MetadataRequest request;
  const auto result = request.decode(r, 99);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, Errc::kUnsupported);
}

TEST(Writer, RefusesAValueThatTheVersionCannotCarry) {
  MetadataRequest request;
  request.allow_auto_topic_creation = false;
  Writer old;
  request.encode(old, 3);
  ASSERT_TRUE(old.error());
  EXPECT_EQ(old.error()->message, "MetadataRequest version 3 cannot carry AllowAutoTopicCreation");
  Writer now;
  request.encode(now, 4);
  EXPECT_FALSE(now.error());
}

TEST(Writer, RefusesANullThatTheVersionDoesNotKnow) {
  MetadataRequest request;
  request.topics.reset();
  Writer w;
  request.encode(w, 0);
  EXPECT_TRUE(w.error());
}

TEST(Writer, LongTaggedFieldsGetALongSize) {
  Arena arena;
  PartitionChangeRecord record;
  auto& isr = record.isr.emplace();
  for (int i = 0; i < 5000; i++) isr.add(arena, i);
  record.leader = 3;
  Writer w;
  record.encode(w, 0);
  const ByteBuffer out = w.take();
  Reader r(out, arena);
  PartitionChangeRecord back;
  ASSERT_TRUE(back.decode(r, 0));
  EXPECT_TRUE(r.expect_end("PartitionChangeRecord", 0));
  ASSERT_TRUE(back.isr.has_value());
  EXPECT_EQ(back.isr->size(), 5000U);
  EXPECT_EQ((*back.isr)[4999], 4999);
  EXPECT_EQ(back.leader, 3);
}

TEST(Writer, RecordsAreSplicedNotCopied) {
  Arena arena;
  const ByteBuffer big(5000, 7);
  const ByteBuffer small(10, 8);
  const Piece pieces[] = {{big, nullptr, 0, 0}, {small, nullptr, 0, 0}};
  FetchResponse response;
  auto& partition = response.responses.add(arena).partitions.add(arena);
  partition.high_watermark = 42;
  partition.records = RecordsRef{pieces};

  Writer flat;
  encode_response_frame(flat, response, 17, 5);
  const uint64_t size = flat.size();
  const ByteBuffer all = flat.take();
  ASSERT_EQ(all.size(), size);
  EXPECT_EQ(load_be<int32_t>(all.data()), static_cast<int32_t>(size - 4));

  Writer chained;
  encode_response_frame(chained, response, 17, 5);
  const Chain chain = chained.take_chain();
  ASSERT_EQ(chain.pieces().size(), 3U);
  EXPECT_EQ(chain.pieces()[1].memory.data(), big.data());
  ByteBuffer joined;
  for (const Piece& p : chain.pieces())
    joined.insert(joined.end(), p.memory.begin(), p.memory.end());
  EXPECT_EQ(joined, all);

  Reader r(ByteView(all).subspan(4), arena);
  ResponseHeader header;
  ASSERT_TRUE(decode_response_header(r, header, ApiKey::kFetch, 17));
  EXPECT_EQ(header.correlation_id, 5);
  FetchResponse back;
  ASSERT_TRUE(back.decode(r, 17));
  EXPECT_TRUE(r.expect_end("FetchResponse", 17));
  EXPECT_EQ(back.responses[0].partitions[0].records->size(), 5010U);
}

TEST(Frame, RequestHeadersOfBothKinds) {
  for (const int16_t version : std::initializer_list<int16_t>{8, 9}) {
    Arena arena;
    ProduceRequest request;
    request.acks = -1;
    Writer w;
    encode_request_frame(w, request, version, 77, "me");
    const ByteBuffer out = w.take();
    Reader r(ByteView(out).subspan(4), arena);
    RequestHeader header;
    ASSERT_TRUE(decode_request_header(r, header));
    EXPECT_EQ(header.request_api_key, 0);
    EXPECT_EQ(header.request_api_version, version);
    EXPECT_EQ(header.client_id, "me");
    ProduceRequest back;
    ASSERT_TRUE(back.decode(r, version));
    EXPECT_EQ(back.acks, -1);
    EXPECT_TRUE(r.expect_end("ProduceRequest", version));
  }
}

TEST(Frame, TheExampleOfTheDocumentation) {
  // docs/formats/wire.md
  FindCoordinatorRequest request;
  request.key = "g";
  Writer w;
  encode_request_frame(w, request, 3, 7, "me");
  EXPECT_EQ(w.take(),
            bytes({0, 0, 0, 0x11, 0, 0x0a, 0, 3, 0, 0, 0, 7, 0, 2, 0x6d, 0x65, 0, 2, 0x67, 0, 0}));
  Writer classic;
  encode_request_frame(classic, request, 2, 7, "me");
  EXPECT_EQ(classic.take(),
            bytes({0, 0, 0, 0x10, 0, 0x0a, 0, 2, 0, 0, 0, 7, 0, 2, 0x6d, 0x65, 0, 1, 0x67, 0}));
}

TEST(Frame, UnknownApisAreRefused) {
  Arena arena;
  const ByteBuffer in = bytes({0x03, 0xe7, 0, 0, 0, 0, 0, 1, 0xff, 0xff});
  Reader r(in, arena);
  RequestHeader header;
  const auto result = decode_request_header(r, header);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message, "no API has the key 999");
}

TEST(FramedRecord, MetadataPrefix) {
  Arena arena;
  PartitionChangeRecord record;
  record.partition_id = 4;
  Writer w;
  encode_framed(w, record, 2);
  const ByteBuffer out = w.take();
  EXPECT_EQ(ByteBuffer(out.begin(), out.begin() + 3), bytes({1, 5, 2}));
  Reader r(out, arena);
  const auto header = decode_framed_header(r);
  ASSERT_TRUE(header);
  EXPECT_EQ(header->type, PartitionChangeRecord::kRecordType);
  EXPECT_EQ(header->version, 2);
}

TEST(FramedRecord, GroupPrefixes) {
  Arena arena;
  OffsetCommitKey key;
  key.group = "g";
  Writer w;
  encode_record_key(w, key);
  const ByteBuffer out = w.take();
  Reader r(out, arena);
  EXPECT_EQ(decode_record_prefix(r).value(), 1);
  OffsetCommitKey back;
  ASSERT_TRUE(back.decode(r, 0));
  EXPECT_EQ(back.group, "g");
}

TEST(Tables, ErrorsAndApis) {
  EXPECT_EQ(name(ErrorCode::kOffsetOutOfRange), "OFFSET_OUT_OF_RANGE");
  EXPECT_TRUE(retriable(ErrorCode::kNotLeaderOrFollower));
  EXPECT_FALSE(retriable(ErrorCode::kInvalidRecord));
  EXPECT_EQ(name(static_cast<ErrorCode>(9999)), "UNKNOWN_SERVER_ERROR");
  EXPECT_EQ(api(ApiKey::kFetch).max, FetchRequest::kMaxVersion);
  EXPECT_TRUE(find_api(4)->removed());
  EXPECT_EQ(find_api(-1), nullptr);
  EXPECT_TRUE(api(ApiKey::kInitProducerId).unstable_latest);
}

}  // namespace
}  // namespace odradek::wire
