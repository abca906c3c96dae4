#include "server/dispatch.h"

#include <fmt/format.h>

#include "server/handlers/handlers.h"

namespace odradek::server {

namespace {

using enum wire::ApiKey;
using enum Order;

constexpr bool kYes = true;
constexpr bool kNo = false;

// clang-format off
constexpr ApiEntry kServed[] = {
    // key                     advertised-min, min, max; broker, controller; order; handler
    {kProduce,                 0, 3, 13, kYes, kNo,  kReleases, handle_produce},
    {kFetch,                   4, 4, 18, kYes, kNo,  kOverlaps, handle_fetch},
    {kListOffsets,             1, 1, 11, kYes, kNo,  kBarrier,  handle_list_offsets},
    {kMetadata,                0, 0, 13, kYes, kNo,  kBarrier,  handle_metadata},
    {kOffsetCommit,            2, 2, 10, kYes, kNo,  kOverlaps, handle_offset_commit},
    {kOffsetFetch,             1, 1, 10, kYes, kNo,  kBarrier,  handle_offset_fetch},
    {kFindCoordinator,         0, 0, 6,  kYes, kNo,  kBarrier,  handle_find_coordinator},
    {kJoinGroup,               0, 0, 9,  kYes, kNo,  kBarrier,  handle_join_group},
    {kHeartbeat,               0, 0, 4,  kYes, kNo,  kBarrier,  handle_heartbeat},
    {kLeaveGroup,              0, 0, 5,  kYes, kNo,  kBarrier,  handle_leave_group},
    {kSyncGroup,               0, 0, 5,  kYes, kNo,  kBarrier,  handle_sync_group},
    {kDescribeGroups,          0, 0, 6,  kYes, kNo,  kBarrier,  handle_describe_groups},
    {kListGroups,              0, 0, 5,  kYes, kNo,  kBarrier,  handle_list_groups},
    {kApiVersions,             0, 0, 4,  kYes, kYes, kBarrier,  handle_api_versions},
    {kCreateTopics,            2, 2, 7,  kYes, kYes, kBarrier,  handle_create_topics},
    {kDeleteTopics,            1, 1, 6,  kYes, kYes, kBarrier,  handle_delete_topics},
    {kDeleteRecords,           0, 0, 2,  kYes, kNo,  kBarrier,  handle_delete_records},
    {kInitProducerId,          0, 0, 5,  kYes, kNo,  kBarrier,  handle_init_producer_id},
    {kOffsetForLeaderEpoch,    2, 2, 4,  kYes, kNo,  kBarrier,  handle_offset_for_leader_epoch},
    {kAddPartitionsToTxn,      0, 0, 5,  kYes, kNo,  kBarrier,  handle_add_partitions_to_txn},
    {kAddOffsetsToTxn,         0, 0, 4,  kYes, kNo,  kBarrier,  handle_add_offsets_to_txn},
    {kEndTxn,                  0, 0, 5,  kYes, kNo,  kBarrier,  handle_end_txn},
    {kWriteTxnMarkers,         1, 1, 2,  kYes, kNo,  kBarrier,  handle_write_txn_markers},
    {kTxnOffsetCommit,         0, 0, 5,  kYes, kNo,  kBarrier,  handle_txn_offset_commit},
    {kDescribeConfigs,         1, 1, 4,  kYes, kYes, kBarrier,  handle_describe_configs},
    {kAlterConfigs,            0, 0, 2,  kYes, kYes, kBarrier,  handle_alter_configs},
    {kAlterReplicaLogDirs,     1, 1, 2,  kYes, kNo,  kBarrier,  handle_alter_replica_log_dirs},
    {kDescribeLogDirs,         1, 1, 5,  kYes, kNo,  kBarrier,  handle_describe_log_dirs},
    {kCreatePartitions,        0, 0, 3,  kYes, kYes, kBarrier,  handle_create_partitions},
    {kDeleteGroups,            0, 0, 2,  kYes, kNo,  kBarrier,  handle_delete_groups},
    {kElectLeaders,            0, 0, 2,  kYes, kYes, kBarrier,  handle_elect_leaders},
    {kIncrementalAlterConfigs, 0, 0, 1,  kYes, kYes, kBarrier,  handle_incremental_alter_configs},
    {kAlterPartitionReassignments,
                               0, 0, 1,  kYes, kYes, kBarrier,
                                                         handle_alter_partition_reassignments},
    {kListPartitionReassignments,
                               0, 0, 0,  kYes, kYes, kBarrier,
                                                         handle_list_partition_reassignments},
    {kOffsetDelete,            0, 0, 0,  kYes, kNo,  kBarrier,  handle_offset_delete},
    {kDescribeQuorum,          0, 0, 2,  kYes, kYes, kBarrier,  handle_describe_quorum},
    {kUpdateFeatures,          0, 0, 2,  kYes, kYes, kBarrier,  handle_update_features},
    {kDescribeCluster,         0, 0, 2,  kYes, kYes, kBarrier,  handle_describe_cluster},
    {kDescribeProducers,       0, 0, 0,  kYes, kNo,  kBarrier,  handle_describe_producers},
    {kDescribeTransactions,    0, 0, 0,  kYes, kNo,  kBarrier,  handle_describe_transactions},
    {kListTransactions,        0, 0, 2,  kYes, kNo,  kBarrier,  handle_list_transactions},
    {kConsumerGroupHeartbeat,  0, 0, 1,  kYes, kNo,  kBarrier,  handle_consumer_group_heartbeat},
    {kConsumerGroupDescribe,   0, 0, 1,  kYes, kNo,  kBarrier,  handle_consumer_group_describe},
    {kAssignReplicasToDirs,    0, 0, 0,  kNo,  kYes, kBarrier,  handle_assign_replicas_to_dirs},
    {kListConfigResources,     0, 0, 1,  kYes, kNo,  kBarrier,  handle_list_config_resources},
    {kDescribeTopicPartitions, 0, 0, 0,  kYes, kNo,  kBarrier,  handle_describe_topic_partitions},
};
// clang-format on

/// What is served must exist in the protocol, where the protocol has it, and in the order of keys.
constexpr bool table_fits_protocol() {
  int16_t last = -1;
  for (const ApiEntry& e : kServed) {
    const wire::ApiInfo& info = wire::api(e.key);
    const auto key = static_cast<int16_t>(e.key);
    if (key <= last || e.min < info.min || e.max > info.max || e.min > e.max) return false;
    if (e.advertised_min > e.min || e.handle == nullptr) return false;
    if ((e.broker && !info.on_broker) || (e.controller && !info.on_controller)) return false;
    last = key;
  }
  return true;
}
static_assert(table_fits_protocol());

}  // namespace

const DispatchTable& dispatch_table() {
  static const DispatchTable table(kServed);
  return table;
}

std::string api_table_markdown() {
  std::string out =
      "| key | API | versions | of Kafka 4.3 | broker | controller |\n|---|---|---|---|---|---|\n";
  for (const wire::ApiInfo& info : wire::kApis) {
    if (info.removed()) continue;
    const auto key = static_cast<int16_t>(info.key);
    const int max = info.unstable_latest ? info.max - 1 : info.max;
    const ApiEntry* e = dispatch_table().find(key);
    out += fmt::format("| {} | {} | {} | {}-{} | {} | {} |\n", key, info.name,
                       e ? fmt::format("{}-{}", e->min, e->max) : "not yet", info.min, max,
                       e && e->broker ? "yes" : "", e && e->controller ? "yes" : "");
  }
  return out;
}

}  // namespace odradek::server
