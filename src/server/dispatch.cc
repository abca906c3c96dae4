#include "server/dispatch.h"

#include <fmt/format.h>

#include "server/handlers/handlers.h"

namespace odradek::server {

namespace {

using wire::ApiKey;

constexpr bool kYes = true;
constexpr bool kNo = false;

// clang-format off
constexpr ApiEntry kServed[] = {
    // key                             advertised min  max  broker  controller  order              handler
    {ApiKey::kProduce,                 0,         3,   13,  kYes,   kNo,        Order::kReleases,  handle_produce},
    {ApiKey::kFetch,                   4,         4,   18,  kYes,   kNo,        Order::kOverlaps,  handle_fetch},
    {ApiKey::kListOffsets,             1,         1,   11,  kYes,   kNo,        Order::kBarrier,   handle_list_offsets},
    {ApiKey::kMetadata,                0,         0,   13,  kYes,   kNo,        Order::kBarrier,   handle_metadata},
    {ApiKey::kFindCoordinator,         0,         0,   6,   kYes,   kNo,        Order::kBarrier,   handle_find_coordinator},
    {ApiKey::kApiVersions,             0,         0,   4,   kYes,   kYes,       Order::kBarrier,   handle_api_versions},
    {ApiKey::kCreateTopics,            2,         2,   7,   kYes,   kYes,       Order::kBarrier,   handle_create_topics},
    {ApiKey::kDeleteTopics,            1,         1,   6,   kYes,   kYes,       Order::kBarrier,   handle_delete_topics},
    {ApiKey::kDeleteRecords,           0,         0,   2,   kYes,   kNo,        Order::kBarrier,   handle_delete_records},
    {ApiKey::kInitProducerId,          0,         0,   5,   kYes,   kNo,        Order::kBarrier,   handle_init_producer_id},
    {ApiKey::kOffsetForLeaderEpoch,    2,         2,   4,   kYes,   kNo,        Order::kBarrier,   handle_offset_for_leader_epoch},
    {ApiKey::kDescribeConfigs,         1,         1,   4,   kYes,   kYes,       Order::kBarrier,   handle_describe_configs},
    {ApiKey::kAlterConfigs,            0,         0,   2,   kYes,   kYes,       Order::kBarrier,   handle_alter_configs},
    {ApiKey::kDescribeLogDirs,         1,         1,   5,   kYes,   kNo,        Order::kBarrier,   handle_describe_log_dirs},
    {ApiKey::kCreatePartitions,        0,         0,   3,   kYes,   kYes,       Order::kBarrier,   handle_create_partitions},
    {ApiKey::kElectLeaders,            0,         0,   2,   kYes,   kYes,       Order::kBarrier,   handle_elect_leaders},
    {ApiKey::kIncrementalAlterConfigs, 0,         0,   1,   kYes,   kYes,       Order::kBarrier,   handle_incremental_alter_configs},
    {ApiKey::kDescribeQuorum,          0,         0,   2,   kYes,   kYes,       Order::kBarrier,   handle_describe_quorum},
    {ApiKey::kUpdateFeatures,          0,         0,   2,   kYes,   kYes,       Order::kBarrier,   handle_update_features},
    {ApiKey::kDescribeCluster,         0,         0,   2,   kYes,   kYes,       Order::kBarrier,   handle_describe_cluster},
    {ApiKey::kDescribeProducers,       0,         0,   0,   kYes,   kNo,        Order::kBarrier,   handle_describe_producers},
    {ApiKey::kListConfigResources,     0,         0,   1,   kYes,   kNo,        Order::kBarrier,   handle_list_config_resources},
    {ApiKey::kDescribeTopicPartitions, 0,         0,   0,   kYes,   kNo,        Order::kBarrier,   handle_describe_topic_partitions},
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
