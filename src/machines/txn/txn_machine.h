// TxnMachine: the transaction coordinator of one partition of `__transaction_state`: transactional
// ids, their producers and their transactions. Its records are Apache's (record.h), its commands
// decoded requests (api.h).
//
// A transaction is ended in two steps. EndTxn (or the timeout, or a newer producer) is decided by
// one record, PrepareCommit or PrepareAbort; once that is committed the host writes a marker to
// every partition of the transaction and says so, which is the second record, Complete*. After a
// restart `loaded` begins the second step anew.
//
// Which file decides what: init.cc, partitions.cc, end.cc, upkeep.cc (timeouts, expiry), admin.cc.
#pragma once

#include "machines/machine.h"
#include "machines/txn/api.h"
#include "machines/txn/draft.h"
#include "machines/txn/record.h"
#include "machines/txn/state.h"

namespace odradek::machines {

class TxnMachine {
 public:
  using Record = txn::Record;
  using Command = txn::Command;
  using Response = txn::Response;
  using Message = txn::Message;
  using Decision = machines::Decision<Record, Response, Message>;

  explicit TxnMachine(txn::Settings settings) : settings_(settings), state_(settings.version) {}

  Decision decide(const Command& command, Now now) const;
  void replay(Offset offset, const Record& record) { state_.replay(offset, record); }
  Decision loaded(Now now) const;

  const txn::State& state() const { return state_; }
  /// Records that could not be read so far, and why the last one.
  uint64_t unreadable() const { return state_.unreadable(); }
  const std::string& problem() const { return state_.problem(); }

 private:
  txn::Settings settings_;
  txn::State state_;
};

}  // namespace odradek::machines
