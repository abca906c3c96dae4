// What the golden tests do not reach: refusals of from_json, escapes, and how messages are found.
#include "wire/json.h"

#include <gtest/gtest.h>

#include "wire/gen/fetch.h"
#include "wire/gen/metadata.h"

namespace odradek::wire {
namespace {

TEST(Json, RefusesWhatTheMessageCannotHold) {
  const char* cases[] = {
      "{",                                    // no JSON
      "[]",                                   // no object
      R"({"nonsense":1})",                    // no such member
      R"({"topics":null})",                   // null from version 1 on
      R"({"topics":{}})",                     // no array
      R"({"topics":[{"name":7}]})",           // no string
      R"({"allowAutoTopicCreation":false})",  // from version 4 on
  };
  for (const char* text : cases) {
    Arena arena;
    MetadataRequest request;
    EXPECT_FALSE(from_json(request, text, 0, arena)) << text;
  }
  Arena arena;
  FetchRequest fetch;
  EXPECT_FALSE(from_json(fetch, R"({"maxWaitMs":2147483648})", 4, arena));
  EXPECT_FALSE(from_json(fetch, R"({"maxWaitMs":1.5})", 4, arena));
  EXPECT_TRUE(from_json(fetch, R"({"maxWaitMs":2147483647})", 4, arena));
  EXPECT_EQ(fetch.max_wait_ms, 2147483647);
}

TEST(Json, EscapesAndNulls) {
  Arena arena;
  MetadataRequest request;
  request.topics.emplace().add(arena).name = "a\"\\\n\x01";
  EXPECT_EQ(to_json(request, 1), R"({"topics":[{"name":"a\"\\\n\u0001"}]})");
  request.topics.reset();
  EXPECT_EQ(to_json(request, 1), R"({"topics":null})");
}

TEST(Json, FindsMessages) {
  EXPECT_EQ(find_message("FetchRequest"), &FetchRequest::info());
  EXPECT_EQ(find_message("Fetch"), nullptr);
  EXPECT_EQ(find_message(MessageKind::kResponse, 1), &FetchResponse::info());
  // Type 0 exists in four domains.
  EXPECT_EQ(find_record(Domain::kMetadata, MessageKind::kValue, 0)->name, "RegisterBrokerRecord");
  EXPECT_EQ(find_record(Domain::kGroup, MessageKind::kValue, 0)->name, "LegacyOffsetCommitValue");
  EXPECT_EQ(find_record(Domain::kTransaction, MessageKind::kKey, 0)->name, "TransactionLogKey");
  EXPECT_EQ(find_record(Domain::kShare, MessageKind::kValue, 0)->name, "ShareSnapshotValue");
  EXPECT_EQ(find_record(Domain::kMetadata, MessageKind::kValue, 999), nullptr);
}

}  // namespace
}  // namespace odradek::wire
