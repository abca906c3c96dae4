#include "metadata/config_defs.h"

#include <algorithm>
#include <array>
#include <iterator>

#include "base/check.h"

namespace odradek::metadata {
namespace {

using Kind = ConfigRule::Kind;
#include "metadata/gen/config_tables.inc"

// Every default that is not Apache's. docs/configuration.md repeats the reasons.
constexpr ChangedDefault kChangedDefaults[] = {
    {"log.flush.interval.messages", "1",
     "what acks=all acknowledged is on disk; all appends that wait share one sync"},
    {"queued.max.request.bytes", "268435456", "every queue has a bound"},
};

/// The broker's table with our defaults in place of Apache's.
constexpr auto kBroker = [] {
  std::array<ConfigDef, std::size(kBrokerConfigs)> all{};
  for (size_t i = 0; i < all.size(); i++) {
    all[i] = kBrokerConfigs[i];
    for (const ChangedDefault& c : kChangedDefaults) {
      if (c.name != all[i].name) continue;
      all[i].apache_fallback = all[i].fallback;
      all[i].fallback = c.ours;
    }
  }
  return all;
}();

const ConfigDef* find(std::span<const ConfigDef> table, std::string_view name) {
  const auto at = std::ranges::lower_bound(table, name, {}, &ConfigDef::name);
  return at != table.end() && at->name == name ? &*at : nullptr;
}

}  // namespace

std::span<const ConfigDef> broker_configs() { return kBroker; }
std::span<const ConfigDef> topic_configs() { return kTopicConfigs; }
std::span<const ConfigDef> group_configs() { return kGroupConfigs; }
std::span<const ConfigDef> client_metrics_configs() { return kClientMetricsConfigs; }

const ConfigDef* find_broker_config(std::string_view name) { return find(kBroker, name); }
const ConfigDef* find_topic_config(std::string_view name) { return find(kTopicConfigs, name); }
const ConfigDef* find_group_config(std::string_view name) { return find(kGroupConfigs, name); }
const ConfigDef* find_client_metrics_config(std::string_view name) {
  return find(kClientMetricsConfigs, name);
}

const ConfigDef& def(BrokerKey key) { return kBroker[static_cast<size_t>(key)]; }
const ConfigDef& def(TopicKey key) { return kTopicConfigs[static_cast<size_t>(key)]; }
const ConfigDef& def(GroupKey key) { return kGroupConfigs[static_cast<size_t>(key)]; }

std::span<const ChangedDefault> changed_defaults() { return kChangedDefaults; }

bool dynamic_only(std::string_view broker_name) {
  return broker_name == "follower.replication.throttled.rate" ||
         broker_name == "leader.replication.throttled.rate" ||
         broker_name == "replica.alter.log.dirs.io.max.bytes.per.second";
}

}  // namespace odradek::metadata
