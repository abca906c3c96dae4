// The registry of every setting: Apache's, from config/*.txt, and our own `odradek.*`
// (config/odradek.txt). The tables are generated at build time (config/generate.py), and with them
// the keys: BrokerKey::kNumPartitions for num.partitions, TopicKey, GroupKey.
#pragma once

#include <span>
#include <string_view>

#include "metadata/config_value.h"
#include "metadata/gen/config_keys.h"

namespace odradek::metadata {

/// All settings of a kind, by name; a key is an index into them.
std::span<const ConfigDef> broker_configs();
std::span<const ConfigDef> topic_configs();
std::span<const ConfigDef> group_configs();
std::span<const ConfigDef> client_metrics_configs();

/// Null when there is no such setting.
const ConfigDef* find_broker_config(std::string_view name);
const ConfigDef* find_topic_config(std::string_view name);
const ConfigDef* find_group_config(std::string_view name);
const ConfigDef* find_client_metrics_config(std::string_view name);

const ConfigDef& def(BrokerKey key);
const ConfigDef& def(TopicKey key);
const ConfigDef& def(GroupKey key);

/// A default of ours that is not Apache's.
struct ChangedDefault {
  std::string_view name;
  std::string_view ours;
  std::string_view why;
};
std::span<const ChangedDefault> changed_defaults();

/// Names that Apache knows only as dynamic settings: refused by nobody, but not in its static file.
bool dynamic_only(std::string_view broker_name);

}  // namespace odradek::metadata
