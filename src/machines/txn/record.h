// Record: what changes the state of the transaction coordinator.
//
// Stored records lie in `__transaction_state` exactly as Apache writes them: the transactional id,
// and all that is known of it, or nothing (the id is forgotten). Beside them there are soft
// records, which replay applies and nobody stores.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "base/bytes.h"
#include "base/ids.h"

namespace odradek::machines::txn {

struct Transaction;

/// A key and value as they lie in the log.
struct Stored {
  std::string key;                   // int16 type, body
  std::optional<std::string> value;  // int16 version, body
  bool operator==(const Stored&) const = default;
};

/// The epoch that a producer had before it got its own: whoever comes with it repeats a request.
/// Apache does not store it either.
struct LastEpoch {
  std::string id;
  ProducerEpoch epoch{-1};
  bool operator==(const LastEpoch&) const = default;
};

/// Finalized transaction.version.
struct Version {
  int16_t version = 0;
  bool operator==(const Version&) const = default;
};

struct Record {
  std::variant<Stored, LastEpoch, Version> body;

  bool operator==(const Record&) const = default;
  bool soft() const { return !std::holds_alternative<Stored>(body); }
  const Stored& stored() const { return std::get<Stored>(body); }

  /// `version` is the cluster's transaction.version: 0 has an older format.
  static Record of(const std::string& id, const Transaction& transaction, int16_t version);
  static Record tombstone(const std::string& id);
  /// As it was found in the log; there are no transactions in this one.
  static Record loaded(ByteView key, const std::optional<ByteView>& value, ProducerId);

  /// One line for people and tests: `TransactionLogKey {…} TransactionLogValue v1 {…}`.
  std::string to_line() const;
};

}  // namespace odradek::machines::txn
