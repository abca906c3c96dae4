// CleanedTransactions: what a cleaning knows of transactions while it passes over a log's batches
// in order: which were aborted (their records go), and which markers no longer end anything.
// Rules: Apache's CleanedTransactionMetadata.
#pragma once

#include <optional>
#include <set>
#include <span>
#include <unordered_map>
#include <unordered_set>

#include "base/ids.h"
#include "base/result.h"
#include "log/batch_view.h"
#include "log/txn_index.h"

namespace odradek::log {

class CleanedTransactions {
 public:
  /// Aborted transactions that end at or behind what is read next. Telling one twice is no harm as
  /// long as its marker has not been read.
  void add(std::span<const AbortedEntry> aborted);

  /// A batch of records: true if its transaction was aborted.
  bool on_records(const BatchView& batch);

  struct Marker {
    bool empty = false;                   // of its transaction nothing is left: it may go
    std::optional<AbortedEntry> entry{};  // for the txnindex of what is cleaned
  };
  /// A control batch, whole. kCorrupt if its record cannot be read.
  Result<Marker> on_control(const BatchView& batch);

 private:
  struct Aborted {
    AbortedEntry entry;
    bool seen = false;  // batches of it
  };
  struct ByFirst {
    bool operator()(const AbortedEntry& a, const AbortedEntry& b) const {
      return a.first != b.first ? a.first < b.first : a.producer < b.producer;
    }
  };

  void reach(Offset offset);

  std::set<AbortedEntry, ByFirst> ahead_;
  std::unordered_map<ProducerId, Aborted> aborted_;  // begun, marker not reached
  std::unordered_set<ProducerId> committed_;         // batches seen, marker not reached
};

}  // namespace odradek::log
