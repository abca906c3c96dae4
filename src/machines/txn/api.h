// What the transaction coordinator is asked and what it answers: decoded, owned values. Handlers
// translate them (src/server/handlers), the host sends markers (src/node/txn_host.h).
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "machines/machine.h"
#include "wire/errors.h"

namespace odradek::machines::txn {

using wire::ErrorCode;

/// A producer id has so many epochs; the last is kept for fencing.
inline constexpr ProducerEpoch kLastEpoch{INT16_MAX - 1};
/// transaction.version from which on every transaction has an epoch of its own.
inline constexpr int16_t kEpochBumps = 2;

struct TopicPartition {
  std::string topic;
  int32_t index = 0;
  auto operator<=>(const TopicPartition&) const = default;
};

/// A producer of transactional id `id` as it sees itself.
struct Producer {
  std::string id;
  ProducerId producer{-1};
  ProducerEpoch epoch{-1};
  bool operator==(const Producer&) const = default;
};

// ---- transactions

/// InitProducerId. `who` names the producer and epoch that the client has, or −1. `fresh` is a new
/// producer id, if the answer to an earlier try was that one is needed.
struct Init {
  Producer who;
  int32_t timeout_ms = 0;
  ProducerId fresh{-1};
};
struct InitAnswer {
  ErrorCode error{};
  bool needs_id = false;  // again, with a fresh producer id
  ProducerId producer{-1};
  ProducerEpoch epoch{-1};
};

struct Add {
  Producer who;
  int16_t version = 0;  // transaction.version of the client
  std::vector<TopicPartition> partitions{};
};
struct AddAnswer {
  ErrorCode error{};
};

/// Whether the partitions belong to the ongoing transaction.
struct Verify {
  Producer who;
  std::vector<TopicPartition> partitions{};
};
struct VerifyAnswer {
  std::vector<ErrorCode> results{};  // by partition
};

struct End {
  Producer who;
  bool commit = false;
  int16_t version = 0;
  ProducerId fresh{-1};
};
struct EndAnswer {
  ErrorCode error{};
  bool needs_id = false;
  // with transaction.version 2: what the next transaction is to use
  ProducerId producer{-1};
  ProducerEpoch epoch{-1};
};

// ---- from the host

/// The markers that a Finish asked for are written.
struct MarkersWritten {
  Producer who;
};
/// A transaction has been open for too long, and its abort needs a fresh producer id.
struct TimeOut {
  Producer who;
  ProducerId fresh{-1};
};
/// Finalized transaction.version of the cluster.
struct SetVersion {
  int16_t version = 0;
};

// ---- administration

struct Describe {
  std::vector<std::string> ids;
};
struct DescribeAnswer {
  struct Transaction {
    ErrorCode error{};
    std::string state{};
    int32_t timeout_ms = 0;
    int64_t started_ms = 0;
    ProducerId producer{0};
    ProducerEpoch epoch{0};
    std::vector<TopicPartition> partitions{};
  };
  std::vector<Transaction> transactions{};  // in the order of the command
};

struct List {
  std::vector<std::string> states{};  // none: all
  std::vector<ProducerId> producers{};
  Millis duration{-1};  // −1: any; else only what began longer ago
};
struct ListAnswer {
  struct Transaction {
    std::string id;
    ProducerId producer;
    std::string state{};
  };
  std::vector<Transaction> transactions{};
};

using Command = std::variant<Init, Add, Verify, End, MarkersWritten, TimeOut, SetVersion, Describe,
                             List, TimerFired>;
struct NoAnswer {};
using Response = std::variant<NoAnswer, InitAnswer, AddAnswer, VerifyAnswer, EndAnswer,
                              DescribeAnswer, ListAnswer>;

// ---- to the host

enum class Cause {
  kClient,    // EndTxn
  kTimedOut,  // open for longer than its timeout
  kFenced,    // a newer producer of that id has come
  kLoaded,    // was being ended when the coordinator went
};

/// Write the marker to every partition, then say MarkersWritten.
struct Finish {
  Producer who;  // as the marker names it
  bool commit = false;
  int16_t version = 0;
  std::vector<TopicPartition> partitions{};
  Cause cause{};
  int32_t timeout_ms = 0;
  bool operator==(const Finish&) const = default;
};
/// Come back with TimeOut and a fresh producer id.
struct NeedsProducerId {
  Producer who;
  bool operator==(const NeedsProducerId&) const = default;
};
using Message = std::variant<Finish, NeedsProducerId>;

}  // namespace odradek::machines::txn
