// What the cluster knows of transactions, for the commands that tell of them: transactional ids
// from their coordinators, and what is open on partitions from their leaders.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "app/admin_client.h"
#include "app/cli.h"
#include "base/arena.h"
#include "base/result.h"
#include "wire/gen/describe_transactions.h"
#include "wire/gen/list_transactions.h"

namespace odradek::app {

struct Broker {
  int32_t id = 0;
  std::string where;
};
struct LedPartition {
  std::string topic;
  int32_t index = 0;
  int32_t leader = -1;
};
struct Cluster {
  std::vector<Broker> brokers;
  std::vector<LedPartition> partitions;

  std::string where(int32_t id) const {
    for (const Broker& b : brokers) {
      if (b.id == id) return b.where;
    }
    return "";
  }
};

/// A producer's open transaction on a partition.
struct OpenTransaction {
  LedPartition at;
  int64_t producer = -1;
  int32_t epoch = -1;
  int32_t coordinator_epoch = -1;
  int64_t last_timestamp = -1;
  int64_t start = -1;
};

struct KnownTransaction {
  std::string id;
  int64_t producer = -1;
  std::string state;
};

/// Brokers, and the partitions of those topics (none: of all).
Result<Cluster> read_cluster(AdminClient& client, const std::vector<std::string>& topics);

/// The transactional ids of all coordinators, by name.
Result<std::vector<KnownTransaction>> list_all(const Cluster& cluster,
                                               const wire::ListTransactionsRequest& request);

using DescribedTransaction = wire::DescribeTransactionsResponse::TransactionState;
/// What the id's coordinator says of it. Views live in the arena.
Result<DescribedTransaction> describe_one(const Cli& cli, const std::string& id, Arena& arena);

/// Everything that is open on those partitions, as their leaders see it.
Result<std::vector<OpenTransaction>> open_transactions(const Cluster& cluster);

}  // namespace odradek::app
