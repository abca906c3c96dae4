// TxnProducer: a producer of a simulation with transactions, or idempotent without: what librdkafka
// and Apache's producer say to the broker, one request at a time.
//
// It speaks as clients of both generations do: up to transaction.version 1 they announce what a
// transaction is going to write to (AddPartitionsToTxn, AddOffsetsToTxn) and keep their epoch;
// since 2 (KIP-890) the broker adds it, and the end of a transaction gives the epoch of the next.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "base/ids.h"
#include "io/io.h"
#include "sim/clients.h"
#include "sim/wire_client.h"
#include "wire/errors.h"

namespace odradek::sim {

/// Who has asked for a producer of a transactional id so far.
struct TxnIdUse {
  uint64_t inits = 0;  // InitProducerId, by whomever
  uint64_t open = 0;   // of these, without an answer, or not yet: they may still be done
};

/// How a producer is.
struct TxnProducerPlan {
  std::string transactional_id{};  // empty: without transactions
  bool bumps = false;              // speaks as since transaction.version 2
  int32_t timeout_ms = 1'000;      // of a transaction
};

class TxnProducer {
 public:
  enum class Answer {
    kDone,
    kRefused,  // certainly not done; a transaction must be aborted
    kFenced,   // there is a newer producer, or the transaction was open for too long
    kUnknown,  // without an answer for too long
  };
  /// `lost`: before this answer came, there was one that was lost or told to try again: it may have
  /// been done nevertheless.
  struct Result {
    Answer answer = Answer::kUnknown;
    bool lost = false;
    wire::ErrorCode error = wire::ErrorCode::kNone;
  };

  /// `use` is that of its transactional id.
  TxnProducer(ClientWorld& world, io::Loop& loop, TxnProducerPlan plan, TxnIdUse& use)
      : world_(world),
        loop_(loop),
        plan_(std::move(plan)),
        use_(use),
        coordinator_(loop, world.broker),
        leader_(loop, world.broker) {}

  /// InitProducerId. Again, with an id: an epoch more, and all sequences anew.
  io::Task<Result> init(Millis patience);
  /// Sends a record; `offset` is where it was put.
  io::Task<Result> send(const KnownTopic& topic, int32_t partition, std::string value,
                        Millis patience, int64_t& offset);
  /// Makes the group's positions part of the transaction.
  io::Task<Result> send_offsets(std::string group, Positions positions, Millis patience);
  /// EndTxn; nothing is asked if nothing was begun.
  io::Task<Result> end(bool commit, Millis patience);

  bool transactional() const { return !plan_.transactional_id.empty(); }
  const TxnProducerPlan& plan() const { return plan_; }
  /// A record without an answer: only `init` makes the sequences whole again.
  bool torn() const { return torn_; }
  /// Whether somebody can have fenced it: another of its id, or its transaction's timeout.
  bool may_be_fenced() const;
  /// What has come of it, for the log.
  std::string text() const;

 private:
  using ErrorCode = wire::ErrorCode;

  /// Repeats `once`, which answers an error code (NETWORK_EXCEPTION: none came), until it is final.
  template <class Once>
  io::Task<Result> repeat(const char* what, Millis patience, Once once);
  /// Nothing: try again.
  std::optional<Answer> judge(const char* what, ErrorCode error);
  void touch();

  io::Task<ErrorCode> find(CoordinatorOf of, std::string key);
  io::Task<ErrorCode> init_once();
  io::Task<ErrorCode> add_partition(const History::Partition& at);
  io::Task<ErrorCode> produce(const KnownTopic& topic, int32_t partition, const std::string& value,
                              int64_t& offset);
  io::Task<ErrorCode> add_offsets(const std::string& group);
  io::Task<ErrorCode> commit_offsets(const std::string& group, const Positions& positions);
  io::Task<ErrorCode> end_once(bool commit);
  void begin_epoch(int64_t id, int16_t epoch);

  ClientWorld& world_;
  io::Loop& loop_;
  TxnProducerPlan plan_;
  TxnIdUse& use_;
  WireClient coordinator_;
  WireClient leader_;
  ProducerId id_{-1};
  ProducerEpoch epoch_{-1};
  uint64_t mine_ =
      0;  // which of the inits of `use_` made it a producer; 0: others may have come later
  std::map<History::Partition, int32_t> next_sequence_;
  std::set<History::Partition> added_;  // to this transaction, by version 1
  bool begun_ = false;                  // something of the transaction was sent
  MonoNs begun_at_{0};
  bool torn_ = false;
};

}  // namespace odradek::sim
