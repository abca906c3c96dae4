// What the transaction coordinator knows of its transactional ids. Plain values; only State::replay
// changes them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/result.h"
#include "machines/txn/api.h"
#include "machines/txn/record.h"

namespace odradek::machines::txn {

/// The numbers are those of the log.
enum class Status : int8_t {
  kEmpty = 0,  // no transaction yet
  kOngoing = 1,
  kPrepareCommit = 2,  // decided: markers are being written
  kPrepareAbort = 3,
  kCompleteCommit = 4,
  kCompleteAbort = 5,
};
/// As it travels: "PrepareCommit".
std::string_view name(Status status);
/// Whether a client may ask for it; Apache knows two more, which nobody sees.
bool is_status_name(std::string_view text);

/// A transactional id and its last transaction.
struct Transaction {
  ProducerId producer{-1};
  ProducerId previous{-1};  // what `producer` was before the last change of any kind
  ProducerId next{-1};      // what it will be once the markers are written; −1: the same
  ProducerEpoch epoch{-1};
  int32_t timeout_ms = 0;
  Status status = Status::kEmpty;
  std::set<TopicPartition> partitions{};
  int64_t started_ms = -1;
  int64_t updated_ms = -1;
  int16_t version = 0;           // transaction.version of the client that made the last change
  ProducerEpoch last_epoch{-1};  // soft, see LastEpoch
  bool operator==(const Transaction&) const = default;

  bool is_ending() const {
    return status == Status::kPrepareCommit || status == Status::kPrepareAbort;
  }
  bool is_exhausted() const { return epoch >= kLastEpoch; }
};

class State {
 public:
  using Transactions = std::map<std::string, Transaction, std::less<>>;

  explicit State(int16_t version) : version_(version) {}
  const Transactions& transactions() const { return transactions_; }
  /// Null when there is none.
  const Transaction* find(std::string_view id) const;
  /// How many are ongoing.
  size_t ongoing() const { return ongoing_; }
  /// Finalized transaction.version.
  int16_t version() const { return version_; }

  void replay(Offset offset, const Record& record);
  /// Records that could not be read, since the start, and what the last one was.
  uint64_t unreadable() const { return unreadable_; }
  const std::string& problem() const { return problem_; }

 private:
  Result<void> apply(const Stored& stored);
  void set(std::string_view id, std::optional<Transaction> transaction);

  Transactions transactions_;
  size_t ongoing_ = 0;
  int16_t version_;
  uint64_t unreadable_ = 0;
  std::string problem_;
};

}  // namespace odradek::machines::txn
