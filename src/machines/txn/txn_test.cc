// The transaction coordinator's decisions as values.
#include <gtest/gtest.h>

#include "machines/txn/txn_testing.h"

namespace odradek::machines::txn {
namespace {

using enum ErrorCode;

constexpr int16_t kOld = 0;  // transaction.version of clients that do not bump

Producer with_epoch(Producer p, int16_t epoch) {
  p.epoch = ProducerEpoch(epoch);
  return p;
}

TEST(Txn, ANewIdGetsAFreshProducer) {
  TestTxns t;
  EXPECT_TRUE(t.send<InitAnswer>(Init{{"x"}, 60'000}).needs_id);
  EXPECT_EQ(t.lines(), Lines());
  const auto a = t.init("x");
  EXPECT_EQ(a.error, kNone);
  EXPECT_EQ(a.producer, ProducerId(100));
  EXPECT_EQ(a.epoch, ProducerEpoch(0));
  EXPECT_EQ(t.lines(),
            Lines({R"(TransactionLogKey {"transactionalId":"x"} TransactionLogValue v1 )"
                   R"({"producerId":100,"previousProducerId":100,"producerEpoch":0,)"
                   R"("transactionTimeoutMs":60000,"transactionStatus":0,)"
                   R"("transactionPartitions":null,"transactionLastUpdateTimestampMs":1000000,)"
                   R"("transactionStartTimestampMs":-1})"}));
  EXPECT_TRUE(t.has_timer(kExpiryTimer));
  EXPECT_FALSE(t.has_timer(kTimeoutTimer));
}

TEST(Txn, TheNextInstanceFencesTheOneBefore) {
  TestTxns t;
  const Producer first = t.start("x");
  const Producer second = t.start("x");
  EXPECT_EQ(second.producer, first.producer);
  EXPECT_EQ(second.epoch, ProducerEpoch(1));
  EXPECT_EQ(t.add(first, {{"t", 0}}), kProducerFenced);
  EXPECT_EQ(t.end(first, true).error, kProducerFenced);
  EXPECT_EQ(t.end(first, true, kOld).error, kProducerFenced);
  EXPECT_EQ(t.init("x", first.producer, first.epoch).error, kProducerFenced);
  EXPECT_EQ(t.add({"x", ProducerId(7), ProducerEpoch(1)}, {{"t", 0}}), kInvalidProducerIdMapping);
  EXPECT_EQ(t.add({"y", ProducerId(7), ProducerEpoch(1)}, {{"t", 0}}), kInvalidProducerIdMapping);
  EXPECT_EQ(t.add(second, {{"t", 0}}), kNone);
}

// KIP-360: a producer that goes on after an error names itself; the same request again gets the
// same answer.
TEST(Txn, AProducerThatNamesItselfGoesOn) {
  TestTxns t;
  const Producer p = t.start("x");
  const auto a = t.init("x", p.producer, p.epoch);
  EXPECT_EQ(a.epoch, ProducerEpoch(1));
  const auto again = t.init("x", p.producer, p.epoch);
  EXPECT_EQ(again.error, kNone);
  EXPECT_EQ(again.epoch, ProducerEpoch(1));
  EXPECT_EQ(t.init("x", ProducerId(7), ProducerEpoch(1)).error, kProducerFenced);
  t.start("x");
  EXPECT_EQ(t.init("x", p.producer, ProducerEpoch(1)).error, kProducerFenced);
}

TEST(Txn, CommitWithAnEpochOfItsOwn) {
  TestTxns t;
  const Producer p = t.start("x");
  EXPECT_EQ(t.add(p, {{"t", 1}, {"t", 0}}), kNone);
  EXPECT_TRUE(t.has_timer(kTimeoutTimer));
  EXPECT_EQ(t.line("x"), "Ongoing 100/0 t-0 t-1");
  EXPECT_EQ(t.add(p, {{"t", 1}}), kNone);
  EXPECT_EQ(t.lines(), Lines());  // was there
  EXPECT_EQ(t.add(p, {{"u", 0}}), kNone);
  const auto a = t.end(p, true);
  EXPECT_EQ(a.error, kNone);
  EXPECT_EQ(a.producer, p.producer);
  EXPECT_EQ(a.epoch, ProducerEpoch(1));
  EXPECT_EQ(t.line("x"), "PrepareCommit 100/1 t-0 t-1 u-0");
  EXPECT_EQ(t.messages(), Lines({"commit x 100/1 v2 client: t-0 t-1 u-0"}));
  // Until the markers are written nothing else is decided.
  const Producer next = with_epoch(p, 1);
  EXPECT_EQ(t.add(next, {{"t", 0}}), kConcurrentTransactions);
  EXPECT_EQ(t.end(p, true).error, kConcurrentTransactions);
  EXPECT_EQ(t.end(p, false).error, kConcurrentTransactions);
  EXPECT_EQ(t.init("x").error, kConcurrentTransactions);
  EXPECT_EQ(t.send<VerifyAnswer>(Verify{next, {{"t", 0}}}).results,
            std::vector{kConcurrentTransactions});
  t.write_markers();
  EXPECT_EQ(t.line("x"), "CompleteCommit 100/1");
  EXPECT_EQ(t.add(next, {{"t", 0}}), kNone);
  EXPECT_EQ(t.line("x"), "Ongoing 100/1 t-0");
}

// The table of end.cc.
TEST(Txn, EndsThatComeAgainWithAnEpochOfTheirOwn) {
  TestTxns t;
  Producer p = t.start("x");
  EXPECT_EQ(t.end(with_epoch(p, -1), false).error, kProducerFenced);
  EXPECT_EQ(t.end(p, true).error, kInvalidTxnState);
  auto a = t.end(p, false);  // nothing was added: aborts all the same
  EXPECT_EQ(a.error, kNone);
  EXPECT_EQ(a.epoch, ProducerEpoch(1));
  EXPECT_EQ(t.messages(), Lines({"abort x 100/1 v2 client:"}));
  t.write_markers();
  EXPECT_EQ(t.line("x"), "CompleteAbort 100/1");
  EXPECT_EQ(t.end(p, true).error, kInvalidTxnState);
  a = t.end(p, false);
  EXPECT_EQ(a.error, kNone);
  EXPECT_EQ(a.epoch, ProducerEpoch(1));
  EXPECT_EQ(t.lines(), Lines());
  p = with_epoch(p, 1);
  EXPECT_EQ(t.end(p, true).error, kInvalidTxnState);
  EXPECT_EQ(t.end(p, false).epoch, ProducerEpoch(2));
  t.write_markers();
  p = with_epoch(p, 2);
  EXPECT_EQ(t.add(p, {{"t", 0}}), kNone);
  EXPECT_EQ(t.end(p, true).epoch, ProducerEpoch(3));
  t.write_markers();
  EXPECT_EQ(t.line("x"), "CompleteCommit 100/3");
  EXPECT_EQ(t.end(p, true).epoch, ProducerEpoch(3));
  EXPECT_EQ(t.end(p, false).error, kInvalidTxnState);
  EXPECT_EQ(t.end(with_epoch(p, 3), true).error, kInvalidTxnState);
  EXPECT_EQ(t.end(with_epoch(p, 3), false).epoch, ProducerEpoch(4));
}

TEST(Txn, EndsOfOlderClients) {
  TestTxns t;
  const Producer p = t.start("x");
  EXPECT_EQ(t.end(p, true, kOld).error, kInvalidTxnState);
  EXPECT_EQ(t.end(p, false, kOld).error, kInvalidTxnState);
  EXPECT_EQ(t.add(p, {{"t", 0}}, kOld), kNone);
  const auto a = t.end(p, true, kOld);
  EXPECT_EQ(a.error, kNone);
  EXPECT_EQ(a.producer, ProducerId(-1));
  EXPECT_EQ(t.messages(), Lines({"commit x 100/0 v0 client: t-0"}));
  EXPECT_EQ(t.end(p, true, kOld).error, kConcurrentTransactions);
  t.write_markers();
  EXPECT_EQ(t.line("x"), "CompleteCommit 100/0");
  EXPECT_EQ(t.end(p, true, kOld).error, kNone);
  EXPECT_EQ(t.lines(), Lines());
  EXPECT_EQ(t.end(p, false, kOld).error, kInvalidTxnState);
  EXPECT_EQ(t.add(p, {{"t", 0}}, kOld), kNone);
  EXPECT_EQ(t.end(p, false, kOld).error, kNone);
  t.write_markers();
  EXPECT_EQ(t.line("x"), "CompleteAbort 100/0");
  EXPECT_EQ(t.end(p, false, kOld).error, kNone);
  EXPECT_EQ(t.end(p, true, kOld).error, kInvalidTxnState);
}

TEST(Txn, ANewInstanceAbortsWhatIsOpen) {
  TestTxns t;
  const Producer p = t.start("x");
  EXPECT_EQ(t.add(p, {{"t", 0}}), kNone);
  EXPECT_EQ(t.init("x").error, kConcurrentTransactions);
  EXPECT_EQ(t.messages(), Lines({"abort x 100/1 v2 fenced: t-0"}));
  EXPECT_EQ(t.init("x").error, kConcurrentTransactions);
  t.write_markers();
  const auto a = t.init("x");
  EXPECT_EQ(a.error, kNone);
  EXPECT_EQ(a.epoch, ProducerEpoch(2));
  EXPECT_EQ(t.end(p, true).error, kProducerFenced);
}

TEST(Txn, UnderAnOlderTransactionVersionTheFenceIsAnEpochToo) {
  TestTxns t({.version = 0});
  const Producer p = t.start("x");
  EXPECT_EQ(t.add(p, {{"t", 0}}, kOld), kNone);
  EXPECT_NE(t.lines()[0].find("TransactionLogValue v0"), std::string::npos) << t.lines()[0];
  EXPECT_EQ(t.init("x").error, kConcurrentTransactions);
  EXPECT_EQ(t.messages(), Lines({"abort x 100/1 v0 fenced: t-0"}));
  t.write_markers();
  EXPECT_EQ(t.line("x"), "CompleteAbort 100/1");
  EXPECT_EQ(t.init("x").epoch, ProducerEpoch(2));
}

TEST(Txn, WhatIsOpenTooLongIsAborted) {
  TestTxns t;
  const Producer p = t.start("x");
  const Producer q = t.start("y");
  EXPECT_EQ(t.add(p, {{"t", 0}}), kNone);
  t.advance(55'000);
  EXPECT_EQ(t.add(q, {{"t", 1}}), kNone);
  EXPECT_EQ(t.messages(), Lines());
  t.advance(15'000);
  EXPECT_EQ(t.messages(), Lines({"abort x 100/1 v2 timed out: t-0"}));
  t.write_markers();
  EXPECT_EQ(t.end(p, true).error, kInvalidTxnState);  // it is the abort's repeat, but a commit
  EXPECT_EQ(t.add(p, {{"t", 0}}), kProducerFenced);
  t.advance(60'000);
  EXPECT_EQ(t.messages(), Lines({"abort y 101/1 v2 timed out: t-1"}));
  t.write_markers();
  t.advance(20'000);
  EXPECT_FALSE(t.has_timer(kTimeoutTimer));  // nothing to look for
}

TEST(Txn, EpochsRunOut) {
  TestTxns t;
  t.store("x", {.producer = ProducerId(7),
                .previous = ProducerId(7),
                .epoch = kLastEpoch,
                .timeout_ms = 60'000,
                .updated_ms = t.clock()});
  const Producer p{"x", ProducerId(7), kLastEpoch};
  EXPECT_EQ(t.add(p, {{"t", 0}}), kNone);
  EXPECT_TRUE(t.send<EndAnswer>(End{p, true, 2}).needs_id);
  auto a = t.end(p, true);
  EXPECT_EQ(a.producer, ProducerId(100));
  EXPECT_EQ(a.epoch, ProducerEpoch(0));
  EXPECT_EQ(t.line("x"), "PrepareCommit 7/32767 then 100 t-0");
  EXPECT_EQ(t.messages(), Lines({"commit x 7/32767 v2 client: t-0"}));
  t.write_markers();
  EXPECT_EQ(t.line("x"), "CompleteCommit 100/0");
  a = t.end(p, true);  // the answer was lost
  EXPECT_EQ(a.error, kNone);
  EXPECT_EQ(a.producer, ProducerId(100));
  EXPECT_EQ(t.end(p, false).error, kInvalidTxnState);
  EXPECT_EQ(t.add({"x", ProducerId(100), ProducerEpoch(0)}, {{"t", 0}}), kNone);
}

TEST(Txn, EpochsRunOutInInitAndInATimeout) {
  TestTxns t;
  const Transaction exhausted{.producer = ProducerId(7),
                              .previous = ProducerId(7),
                              .epoch = kLastEpoch,
                              .timeout_ms = 60'000,
                              .updated_ms = t.clock()};
  t.store("x", exhausted);
  EXPECT_EQ(t.init("x", ProducerId(7), ProducerEpoch(3)).error, kUnknownServerError);
  auto a = t.init("x", ProducerId(7), kLastEpoch);
  EXPECT_EQ(a.producer, ProducerId(100));
  EXPECT_EQ(a.epoch, ProducerEpoch(0));
  // Again: it did not get the answer.
  a = t.init("x", ProducerId(7), kLastEpoch);
  EXPECT_EQ(a.error, kNone);
  EXPECT_EQ(a.producer, ProducerId(100));
  EXPECT_EQ(a.epoch, ProducerEpoch(0));
  t.store("y", exhausted);
  EXPECT_EQ(t.add({"y", ProducerId(7), kLastEpoch}, {{"t", 0}}), kNone);
  t.advance(80'000);
  EXPECT_EQ(t.messages(), Lines({"y needs a producer id", "y needs a producer id"}));
  t.write_markers();  // brings ids; the second one comes too late
  EXPECT_EQ(t.messages(), Lines({"abort y 7/32767 v2 timed out: t-0"}));
  t.write_markers();
  EXPECT_EQ(t.line("y"), "CompleteAbort 101/0");
}

TEST(Txn, OldClientsRunOutOfEpochs) {
  TestTxns t({.version = 0});
  t.store("x", {.producer = ProducerId(7),
                .previous = ProducerId(-1),
                .epoch = kLastEpoch,
                .timeout_ms = 60'000,
                .updated_ms = t.clock()});
  EXPECT_EQ(t.add({"x", ProducerId(7), kLastEpoch}, {{"t", 0}}, kOld), kNone);
  EXPECT_EQ(t.init("x").error, kConcurrentTransactions);
  t.write_markers();
  EXPECT_EQ(t.line("x"), "CompleteAbort 7/32767");
  const auto a = t.init("x");
  EXPECT_EQ(a.producer, ProducerId(100));
  EXPECT_EQ(a.epoch, ProducerEpoch(0));
}

TEST(Txn, VerificationAddsNothing) {
  TestTxns t;
  const Producer p = t.start("x");
  EXPECT_EQ(t.add(p, {{"t", 0}}, kOld), kNone);
  EXPECT_EQ(t.send<VerifyAnswer>(Verify{p, {{"t", 0}, {"t", 1}}}).results,
            (std::vector{kNone, kTransactionAbortable}));
  EXPECT_EQ(t.lines(), Lines());
  EXPECT_EQ(t.send<VerifyAnswer>(Verify{with_epoch(p, 1), {{"t", 0}}}).results,
            std::vector{kProducerFenced});
  EXPECT_EQ(
      t.send<VerifyAnswer>(Verify{{"y", ProducerId(1), ProducerEpoch(0)}, {{"t", 0}}}).results,
      std::vector{kInvalidProducerIdMapping});
}

TEST(Txn, AfterARestartTheMarkersAreWrittenAgain) {
  TestTxns t;
  const Producer p = t.start("x");
  const Producer q = t.start("y");
  const Producer r = t.start("z");
  EXPECT_EQ(t.add(p, {{"t", 0}}), kNone);
  EXPECT_EQ(t.add(q, {{"t", 1}}), kNone);
  EXPECT_EQ(t.add(r, {{"t", 2}}), kNone);
  EXPECT_EQ(t.end(p, true).error, kNone);
  EXPECT_EQ(t.end(q, false).error, kNone);
  t.restart();
  EXPECT_EQ(t.messages(), Lines({"commit x 100/1 v2 loaded: t-0", "abort y 101/1 v2 loaded: t-1"}));
  t.write_markers();
  t.restart();
  EXPECT_EQ(t.messages(), Lines());
  EXPECT_EQ(t.line("z"), "Ongoing 102/0 t-2");
  t.advance(70'000);
  EXPECT_EQ(t.messages(), Lines({"abort z 102/1 v2 timed out: t-2"}));
}

TEST(Txn, MarkersThatAreToldLateChangeNothing) {
  TestTxns t;
  const Producer p = t.start("x");
  EXPECT_EQ(t.add(p, {{"t", 0}}), kNone);
  t.end(p, true);
  t.write_markers();
  EXPECT_EQ(t.add(with_epoch(p, 1), {{"t", 0}}), kNone);
  t.send(MarkersWritten{with_epoch(p, 1)});
  EXPECT_EQ(t.line("x"), "Ongoing 100/1 t-0");
  t.end(with_epoch(p, 1), false);
  t.send(MarkersWritten{with_epoch(p, 1)});
  EXPECT_EQ(t.line("x"), "PrepareAbort 100/2 t-0");
}

TEST(Txn, IdsThatNobodyUsesAreForgotten) {
  TestTxns t({.expiration = Millis(10'000'000), .expiration_check = Millis(3'600'000)});
  t.start("x");
  const Producer p = t.start("y");
  EXPECT_EQ(t.add(p, {{"t", 0}}), kNone);
  t.advance(3'700'000);
  EXPECT_EQ(t.line("x"), "Empty 100/0");
  t.write_markers();
  t.advance(7'200'000);
  EXPECT_EQ(t.line("x"), "nothing");
  EXPECT_NE(t.line("y"), "nothing");
  t.advance(7'200'000);
  EXPECT_EQ(t.state().transactions().size(), 0U);
  EXPECT_EQ(t.shadow().transactions().size(), 0U);
  EXPECT_FALSE(t.has_timer(kExpiryTimer));
}

TEST(Txn, DescribeAndList) {
  TestTxns t;
  const Producer p = t.start("x");
  t.start("y");
  EXPECT_EQ(t.add(p, {{"t", 0}, {"u", 3}}), kNone);
  const auto d = t.send<DescribeAnswer>(Describe{{"x", "none"}}).transactions;
  EXPECT_EQ(d[0].state, "Ongoing");
  EXPECT_EQ(d[0].producer, p.producer);
  EXPECT_EQ(d[0].timeout_ms, 60'000);
  EXPECT_EQ(d[0].started_ms, t.clock());
  EXPECT_EQ(d[0].partitions, (std::vector<TopicPartition>{{"t", 0}, {"u", 3}}));
  EXPECT_EQ(d[1].error, kTransactionalIdNotFound);
  const auto ids = [&](const List& c) {
    Lines out;
    for (const auto& i : t.send<ListAnswer>(c).transactions) out.push_back(i.id + " " + i.state);
    return out;
  };
  EXPECT_EQ(ids({}), Lines({"x Ongoing", "y Empty"}));
  EXPECT_EQ(ids({.states = {"Empty", "Nonsense"}}), Lines({"y Empty"}));
  EXPECT_EQ(ids({.producers = {p.producer}}), Lines({"x Ongoing"}));
  EXPECT_EQ(ids({.states = {"Ongoing"}, .duration = Millis(0)}), Lines());
  t.advance(5);
  EXPECT_EQ(ids({.states = {"Ongoing"}, .duration = Millis(0)}), Lines({"x Ongoing"}));
  EXPECT_EQ(ids({.states = {"Ongoing"}, .duration = Millis(5)}), Lines());
}

TEST(Txn, RecordsThatCannotBeReadAreCounted) {
  TxnMachine machine{Settings{}};
  machine.replay(Offset(0), Record{Stored{std::string("\0\7x", 3), std::nullopt}});
  machine.replay(Offset(1), Record{Stored{"", std::nullopt}});
  Record good = Record::of("x", {.producer = ProducerId(1), .epoch = ProducerEpoch(0)}, 2);
  Stored cut = good.stored();
  cut.value->resize(9);
  machine.replay(Offset(2), Record{cut});
  EXPECT_EQ(machine.unreadable(), 3U);
  machine.replay(Offset(3), good);
  EXPECT_EQ(machine.unreadable(), 3U);
  EXPECT_EQ(machine.state().transactions().size(), 1U);
}

}  // namespace
}  // namespace odradek::machines::txn
