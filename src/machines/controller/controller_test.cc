// The controller as a whole: the first records, replay, what is not served.
#include "machines/controller/controller.h"

#include "machines/controller/controller_testing.h"
#include "metadata/delta.h"
#include "wire/gen/abort_transaction_record.h"
#include "wire/gen/begin_transaction_record.h"
#include "wire/gen/topic_record.h"

namespace odradek::machines {
namespace {

static_assert(Machine<Controller>);

TEST(Controller, TheFirstRecordsAreApaches) {
  const TestController c;
  // As Apache Kafka 4.3.1 writes them at offsets 3 to 11 of a fresh log.
  EXPECT_EQ(c.lines(), (Lines{
                           R"(BeginTransactionRecord v0 {"name":"Bootstrap records"})",
                           feature_line("metadata.version", 30),
                           feature_line("eligible.leader.replicas.version", 1),
                           feature_line("group.version", 1),
                           feature_line("share.version", 1),
                           feature_line("streams.version", 1),
                           feature_line("transaction.version", 2),
                           config_line(4, "", "min.insync.replicas", "\"1\""),
                           R"(EndTransactionRecord v0 {})",
                       }));
  EXPECT_EQ(c.next(), Offset(12));
}

TEST(Controller, WithoutElrNoMinIsrIsWritten) {
  const TestController c({}, 0);
  EXPECT_EQ(c.lines().size(), 7U);
  EXPECT_TRUE(c.image().default_broker_config().empty());
}

TEST(Controller, AFreshOneFedTheLogEqualsTheLiveOne) {
  TestController c;
  c.add_broker(1);
  c.add_broker(2);
  c.add_broker(3);
  c.create("a", 3, 2);
  c.create("b");
  c.fire("session/2");
  Controller fresh(c.settings());
  Offset offset{3};
  for (const auto& record : c.log()) {
    fresh.replay(offset, record);
    offset = offset + int64_t{1};
  }
  EXPECT_EQ(metadata::to_records(fresh.image()), metadata::to_records(c.image()));
  // It is no fresh log: nothing is written, and who is unfenced has a whole session.
  const auto decision = fresh.loaded({WallMs(0), 1, offset});
  EXPECT_TRUE(decision.records.empty());
  EXPECT_EQ(decision.timers[0], (TimerOrder{"session/3", Millis(9000)}));
  EXPECT_EQ(decision.timers[1], (TimerOrder{"preferred-election", Millis(300'000)}));
}

TEST(Controller, AnOpenTransactionIsAborted) {
  TestController c;
  Controller fresh(c.settings());
  int64_t offset = 3;
  for (const auto& record : c.log()) fresh.replay(Offset(offset++), record);
  wire::BeginTransactionRecord begin;
  begin.name = "x";
  fresh.replay(Offset(offset++), metadata::Record::of(begin, 0));
  wire::TopicRecord topic;
  topic.name = "never";
  topic.topic_id = test_uuid(9);
  fresh.replay(Offset(offset++), metadata::Record::of(topic, 0));
  EXPECT_NE(fresh.image().topic("never"), nullptr);
  const auto decision = fresh.loaded({WallMs(0), 1, Offset(offset)});
  ASSERT_EQ(decision.records.size(), 1U);
  EXPECT_EQ(decision.records[0].to_line(),
            R"(AbortTransactionRecord v0 {"reason":"Controller failover"})");
  fresh.replay(Offset(offset), decision.records[0]);
  EXPECT_EQ(fresh.image().topic("never"), nullptr);
  EXPECT_EQ(metadata::to_records(fresh.image()), metadata::to_records(c.image()));
}

TEST(Controller, RefusesWhatItDoesNotServeOrCannotRead) {
  const TestController c;
  Controller controller(c.settings());
  const auto send = [&](wire::ApiKey api, ByteBuffer body) {
    return controller.decide(ControllerRequest{api, 2, std::move(body)}, {}).response.error().kind;
  };
  EXPECT_EQ(send(wire::ApiKey::kFetch, {}), Errc::kUnsupported);
  EXPECT_EQ(send(wire::ApiKey::kCreateTopics, {1, 2, 3}), Errc::kCorrupt);
}

}  // namespace
}  // namespace odradek::machines
