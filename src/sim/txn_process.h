// A process of a simulation as tests/consistency knows them: one producer, one consumer, one
// operation at a time, each written down (TxnHistory).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "io/io.h"
#include "sim/clients.h"
#include "sim/txn_history.h"
#include "sim/txn_producer.h"

namespace odradek::sim {

/// A process as it is planned.
struct TxnProcessPlan {
  std::string name;  // of its own
  TxnProducerPlan producer;
  /// It goes on where its group stands, and what it has read is the group's progress. Else it reads
  /// from the beginning.
  bool continues = false;
  std::string group{};  // of its transactions' offsets
  std::vector<History::Partition> reads;
  /// It stands by until all of these are gone. (They are not fenced by it.)
  std::vector<std::string> follows{};
  Millis life{0};  // how long it stays, roughly
};

/// A process that lives, and what it is doing.
struct TxnLife {
  TxnProcessPlan plan;
  std::string f{};  // of the operation that is under way; empty: none
  std::vector<TxnStep> steps{};
  bool committing = false;
};

/// What the processes of one scenario share. Lives longer than they run.
struct TxnWorld {
  explicit TxnWorld(ClientWorld& c) : clients(c), history(c.sim) {}

  ClientWorld& clients;
  TxnHistory history;
  int64_t pause_ms = 50;  // between operations, at most
  bool calm = false;      // nobody dawdles, gives up or dies
  bool over = false;      // whoever has ended an operation ends
  std::map<std::string, TxnIdUse> ids{};
  /// Those that have not ended, by name.
  std::map<std::string, TxnLife> alive{};
  uint64_t processes = 0;
  uint64_t crashes = 0;
  uint64_t fenced = 0;

  bool failed() const { return clients.history.failure().has_value(); }
};

/// Lives as planned; it is among `alive` from the call until it has ended.
io::Task<void> run_txn_process(TxnWorld& world, io::Loop& loop, TxnProcessPlan plan);
/// The process dies with its machine; its coroutine must never run again.
void txn_process_killed(TxnWorld& world, const std::string& name);

}  // namespace odradek::sim
