// TxnHost: the transaction coordinators of one loop: one for each partition of
// `__transaction_state` that the loop owns and this node leads; and the markers that they have
// written to the partitions of their transactions.
//
// A resource of its loop. It follows the shard's partitions by itself (replica::PartitionWatcher).
#pragma once

#include <map>
#include <memory>

#include "base/logger.h"
#include "machines/txn/txn_machine.h"
#include "metadata/broker_config.h"
#include "metadata/delta.h"
#include "node/coordinator.h"
#include "replica/shard.h"
#include "server/markers.h"
#include "server/services.h"
#include "server/txn_access.h"

namespace odradek::node {

class TxnHost final : public server::TxnCoordinators, private replica::PartitionWatcher {
 public:
  /// Before the shard's first `apply`. `services` are those of this loop.
  TxnHost(replica::Shard& shard, server::Services& services, Logger logger);
  ~TxnHost() override;

  void submit(int32_t partition, machines::txn::Command command, Done done) override;
  /// transaction.version may have changed.
  void follow(const metadata::Image& image);

 private:
  using Machine = machines::TxnMachine;
  struct Hosted {
    int32_t index = 0;
    replica::Partition* partition = nullptr;
    std::unique_ptr<Coordinator<Machine>> coordinator;
    /// Another one with each loading: what was begun before it is for nobody any more.
    std::shared_ptr<bool> current;
  };

  void changed(replica::Partition& partition) override;
  void committed(replica::Partition& partition) override;
  void gone(replica::Partition& partition) override;
  void begin(replica::Partition& partition);
  void take(Hosted& hosted, machines::txn::Message message);
  void tell(const machines::txn::Finish& finish) const;
  void tell_waiting(const machines::txn::Finish& finish,
                    const std::vector<server::MarkerTarget>& left) const;
  io::Task<void> finish(Hosted* hosted, std::shared_ptr<bool> current,
                        machines::txn::Finish finish);
  io::Task<void> time_out(Hosted* hosted, std::shared_ptr<bool> current,
                          machines::txn::NeedsProducerId message);

  replica::Shard& shard_;
  server::Services& services_;
  Logger logger_;
  int16_t version_ = 0;  // finalized transaction.version
  std::map<int32_t, std::unique_ptr<Hosted>> hosted_;
};

}  // namespace odradek::node
