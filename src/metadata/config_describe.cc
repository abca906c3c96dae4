#include "metadata/config_describe.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "metadata/topic_config.h"
#include "wire/errors.h"

namespace odradek::metadata {
namespace {

using wire::ErrorCode;

DescribeAnswer refuse(ErrorCode error, std::string message) {
  return {error, std::move(message), {}};
}

/// Settings of the broker that stand for each other, first one first.
std::vector<std::string_view> broker_family(std::string_view name) {
  if (name == "log.roll.ms" || name == "log.roll.hours") return {"log.roll.ms", "log.roll.hours"};
  if (name == "log.roll.jitter.ms" || name == "log.roll.jitter.hours")
    return {"log.roll.jitter.ms", "log.roll.jitter.hours"};
  if (name == "log.flush.interval.ms")
    return {"log.flush.interval.ms", "log.flush.scheduler.interval.ms"};
  if (name == "log.retention.ms" || name == "log.retention.minutes" ||
      name == "log.retention.hours")
    return {"log.retention.ms", "log.retention.minutes", "log.retention.hours"};
  const std::string_view base = without_listener_prefix(name);
  if (base.size() != name.size()) return {name, base};
  return {name};
}

/// Everything that could supply a broker setting, from what wins down to the default. As Apache
/// does it, what comes before the setting's own name first appears is left out: retention.ms of a
/// broker with log.retention.minutes shows no synonym at all.
std::vector<DescribedSynonym> broker_synonyms(const BrokerConfig& broker, std::string_view name,
                                              bool sensitive) {
  std::vector<DescribedSynonym> all;
  const std::vector<std::string_view> family = broker_family(name);
  const auto add = [&](std::string_view n, std::optional<std::string_view> value,
                       ConfigSource source) {
    if (!value) return;
    all.push_back(
        {std::string(n), sensitive ? std::nullopt : std::optional<std::string>(*value), source});
  };
  const auto add_map = [&](const ConfigMap& map, ConfigSource source) {
    for (const std::string_view n : family) {
      if (const auto at = map.find(n); at != map.end()) add(n, at->second, source);
    }
  };
  add_map(broker.dynamic_own(), ConfigSource::kDynamicBroker);
  add_map(broker.dynamic_defaults(), ConfigSource::kDynamicDefaultBroker);
  add_map(broker.static_properties(), ConfigSource::kStaticBroker);
  for (const std::string_view n : family) {
    const ConfigDef* d = find_broker_config(n);
    if (d == nullptr) continue;
    add(n, d->fallback, ConfigSource::kDefault);
    add(n, d->apache_fallback, ConfigSource::kDefault);
  }
  const auto first = std::ranges::find(all, name, &DescribedSynonym::name);
  all.erase(all.begin(), first);
  return all;
}

bool wanted(const DescribeQuery& query, std::string_view name) {
  return !query.keys || query.keys->empty() ||
         std::ranges::find(*query.keys, name) != query.keys->end();
}

/// Fills in what all kinds of resources share, and drops what was not asked for.
void finish(const DescribeQuery& query, const ConfigDef* d, DescribedConfig& c) {
  c.source = c.synonyms.empty() ? ConfigSource::kDefault : c.synonyms.front().source;
  if (!query.synonyms) c.synonyms.clear();
  if (d == nullptr) return;
  c.type = d->type;
  if (query.documentation) c.documentation = std::string(d->documentation);
}

DescribeAnswer describe_topic(const Image& image, const BrokerConfig& broker,
                              const DescribeQuery& query) {
  if (image.topic(query.resource.name) == nullptr)
    return refuse(ErrorCode::kUnknownTopicOrPartition, "");
  const ConfigMap& own = image.topic_config(query.resource.name);
  DescribeAnswer answer;
  for (const ConfigDef& d : topic_configs()) {
    if (d.internal || !wanted(query, d.name)) continue;
    DescribedConfig c;
    c.name = std::string(d.name);
    c.value = config_text(resolve_topic_value(d, own, broker));
    if (!d.synonyms.empty()) c.synonyms = broker_synonyms(broker, d.synonyms.front().name, false);
    if (own.contains(d.name))
      c.synonyms.insert(c.synonyms.begin(), {c.name, c.value, ConfigSource::kDynamicTopic});
    finish(query, &d, c);
    answer.configs.push_back(std::move(c));
  }
  return answer;
}

/// One setting of the broker; `own_view`: as this broker has it, else only the cluster's default.
DescribedConfig broker_entry(const BrokerConfig& broker, const DescribeQuery& query,
                             std::string_view name, std::optional<std::string> value,
                             bool own_view) {
  const ConfigDef* d = find_broker_config(without_listener_prefix(name));
  DescribedConfig c;
  c.name = std::string(name);
  // What we do not know could be a password.
  c.sensitive = d == nullptr || d->sensitive;
  if (!c.sensitive) c.value = std::move(value);
  c.synonyms = broker_synonyms(broker, name, c.sensitive);
  if (!own_view) {
    std::erase_if(c.synonyms, [](const DescribedSynonym& s) {
      return s.source != ConfigSource::kDynamicDefaultBroker;
    });
  }
  c.read_only = d == nullptr || d->update == UpdateMode::kReadOnly;
  finish(query, d, c);
  return c;
}

DescribeAnswer describe_broker_defaults(const BrokerConfig& broker, const DescribeQuery& query) {
  DescribeAnswer answer;
  for (const auto& [name, value] : broker.dynamic_defaults()) {
    if (wanted(query, name))
      answer.configs.push_back(broker_entry(broker, query, name, value, false));
  }
  return answer;
}

/// Empty when `name` is this broker's id.
std::string not_this_broker(std::string_view name, const BrokerConfig& broker,
                            std::string_view expected_more) {
  int32_t id = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
  if (error != std::errc{} || end != name.data() + name.size())
    return fmt::format("Broker id must be an integer, but it is: {}", name);
  if (id == broker.node_id().value) return {};
  return fmt::format("Unexpected broker id, expected {}{}, but received {}", broker.node_id().value,
                     expected_more, name);
}

DescribeAnswer describe_broker(const BrokerConfig& broker, const DescribeQuery& query) {
  if (query.resource.name.empty()) return describe_broker_defaults(broker, query);
  if (auto why = not_this_broker(query.resource.name, broker, " or empty string"); !why.empty())
    return refuse(ErrorCode::kInvalidRequest, std::move(why));
  DescribeAnswer answer;
  for (const ConfigDef& d : broker_configs()) {
    if (d.internal || !wanted(query, d.name)) continue;
    // Apache shows these once they are set.
    if (dynamic_only(d.name) && !broker.dynamic_own().contains(d.name) &&
        !broker.dynamic_defaults().contains(d.name))
      continue;
    const auto key = static_cast<BrokerKey>(&d - broker_configs().data());
    answer.configs.push_back(
        broker_entry(broker, query, d.name, config_text(broker.value(key)), true));
  }
  // Names of the file or of dynamic settings that have no definition: of listeners, or unknown.
  std::set<std::string_view> others;
  for (const auto* map :
       {&broker.static_properties(), &broker.dynamic_own(), &broker.dynamic_defaults()}) {
    for (const auto& [name, value] : *map) {
      if (find_broker_config(name) == nullptr) others.insert(name);
    }
  }
  for (const std::string_view name : others) {
    if (!wanted(query, name)) continue;
    std::optional<std::string> value;
    for (const auto* map :
         {&broker.dynamic_own(), &broker.dynamic_defaults(), &broker.static_properties()}) {
      if (const auto at = map->find(name); at != map->end() && !value) value = at->second;
    }
    answer.configs.push_back(broker_entry(broker, query, name, std::move(value), true));
  }
  std::ranges::sort(answer.configs, {}, &DescribedConfig::name);
  return answer;
}

DescribeAnswer describe_group(const Image& image, const BrokerConfig& broker,
                              const DescribeQuery& query) {
  if (query.resource.name.empty())
    return refuse(ErrorCode::kInvalidRequest, "Group name must not be empty");
  const ConfigMap& own = image.config(ResourceType::kGroup, query.resource.name);
  DescribeAnswer answer;
  for (const ConfigDef& d : group_configs()) {
    if (d.internal || !wanted(query, d.name)) continue;
    DescribedConfig c;
    c.name = std::string(d.name);
    c.value = config_text(resolve_topic_value(d, own, broker));
    if (own.contains(d.name)) c.synonyms.push_back({c.name, c.value, ConfigSource::kGroup});
    if (!d.synonyms.empty()) {
      for (auto& s : broker_synonyms(broker, d.synonyms.front().name, false))
        c.synonyms.push_back(std::move(s));
    } else if (d.fallback) {
      c.synonyms.push_back({c.name, std::string(*d.fallback), ConfigSource::kDefault});
    }
    finish(query, &d, c);
    answer.configs.push_back(std::move(c));
  }
  return answer;
}

DescribeAnswer describe_client_metrics(const Image& image, const BrokerConfig& broker,
                                       const DescribeQuery& query) {
  if (query.resource.name.empty()) {
    return refuse(ErrorCode::kInvalidRequest, "Client metrics subscription name must not be empty");
  }
  const ConfigMap& own = image.config(ResourceType::kClientMetrics, query.resource.name);
  DescribeAnswer answer;
  for (const ConfigDef& d : client_metrics_configs()) {
    if (!wanted(query, d.name)) continue;
    DescribedConfig c;
    c.name = std::string(d.name);
    c.value = config_text(resolve_topic_value(d, own, broker));
    if (own.contains(d.name)) c.synonyms.push_back({c.name, c.value, ConfigSource::kClientMetrics});
    finish(query, &d, c);
    answer.configs.push_back(std::move(c));
  }
  return answer;
}

DescribeAnswer describe_broker_logger(const BrokerConfig& broker, const DescribeQuery& query) {
  if (query.resource.name.empty())
    return refuse(ErrorCode::kInvalidRequest, "Broker id must not be empty");
  if (auto why = not_this_broker(query.resource.name, broker, ""); !why.empty())
    return refuse(ErrorCode::kInvalidRequest, std::move(why));
  return {};  // Java logger names mean nothing here
}

}  // namespace

DescribeAnswer describe_config(const Image& image, const BrokerConfig& broker,
                               const DescribeQuery& query) {
  switch (query.resource.type) {
    case ResourceType::kTopic:
      return describe_topic(image, broker, query);
    case ResourceType::kBroker:
      return describe_broker(broker, query);
    case ResourceType::kBrokerLogger:
      return describe_broker_logger(broker, query);
    case ResourceType::kClientMetrics:
      return describe_client_metrics(image, broker, query);
    case ResourceType::kGroup:
      return describe_group(image, broker, query);
    default:
      return refuse(ErrorCode::kInvalidRequest, "Unsupported resource type: UNKNOWN");
  }
}

}  // namespace odradek::metadata
