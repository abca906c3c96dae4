#include "metadata/broker_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/check.h"

namespace odradek::metadata {
namespace {

// Apache's settings that nothing here reads: given in a file they are accepted, with one line.
constexpr std::string_view kWithoutMeaning[] = {
    "alter.log.dirs.replication.quota.",
    "background.threads",
    "controlled.shutdown.",
    "controller.performance.",
    "controller.quota.",
    "delete.records.purgatory.",
    "fetch.purgatory.",
    "group.coordinator.append.linger.ms",
    "group.coordinator.background.threads",
    "group.coordinator.cached.buffer.max.bytes",
    "group.coordinator.threads",
    "kafka.metrics.",
    "metric.reporters",
    "metrics.",
    "num.io.threads",
    "num.network.threads",
    "num.replica.alter.log.dirs.threads",
    "offsets.commit.timeout.ms",
    "offsets.load.buffer.size",
    "producer.purgatory.",
    "queued.max.requests",
    "remote.",
    "share.coordinator.cached.buffer.max.bytes",
    "share.coordinator.load.buffer.size",
    "share.coordinator.threads",
    "share.fetch.purgatory.",
    "transaction.state.log.load.buffer.size",
};

bool without_meaning(std::string_view name) {
  return std::ranges::any_of(kWithoutMeaning, [&](std::string_view entry) {
    return entry.ends_with('.') ? name.starts_with(entry) : name == entry;
  });
}

constexpr std::string_view kKnownClasses[] = {
    "org.apache.kafka.common.metrics.JmxReporter",
    "org.apache.kafka.common.replica.RackAwareReplicaSelector",
    "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder",
    "org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever",
    "org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator",
    "org.apache.kafka.coordinator.group.assignor.RangeAssignor",
    "org.apache.kafka.coordinator.group.assignor.SimpleAssignor",
    "org.apache.kafka.coordinator.group.assignor.UniformAssignor",
    "org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager",
    "org.apache.kafka.server.share.persister.DefaultStatePersister",
    "range",
    "simple",
    "uniform",
};

size_t index_of(const ConfigDef& d) { return static_cast<size_t>(&d - broker_configs().data()); }

template <class T>
const T& get(const ConfigValue& value) {
  const T* p = std::get_if<T>(&value);
  ODRADEK_CHECK(p != nullptr);
  return *p;
}

}  // namespace

bool known_class(std::string_view class_name) {
  return std::ranges::find(kKnownClasses, class_name) != std::end(kKnownClasses);
}

std::string_view without_listener_prefix(std::string_view name) {
  constexpr std::string_view kPrefix = "listener.name.";
  if (!name.starts_with(kPrefix)) return name;
  const size_t dot = name.find('.', kPrefix.size());
  return dot == std::string_view::npos ? name : name.substr(dot + 1);
}

bool is_security_setting(std::string_view name) {
  // A SASL setting of a listener has the mechanism before it:
  // listener.name.x.plain.sasl.jaas.config.
  const std::string_view base = without_listener_prefix(name);
  return base.starts_with("ssl.") || base.starts_with("sasl.") ||
         (base.size() != name.size() && base.find(".sasl.") != std::string_view::npos);
}

Properties BrokerConfig::standalone_properties() {
  return {
      {"process.roles", "broker,controller"},
      {"node.id", "1"},
      {"listeners", "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"},
      {"controller.listener.names", "CONTROLLER"},
      {"controller.quorum.bootstrap.servers", "127.0.0.1:9093"},
      {"log.dirs", "./odradek-data"},
      {"offsets.topic.replication.factor", "1"},
      {"transaction.state.log.replication.factor", "1"},
      {"transaction.state.log.min.isr", "1"},
      {"share.coordinator.state.topic.replication.factor", "1"},
      {"share.coordinator.state.topic.min.isr", "1"},
  };
}

Result<BrokerConfig::Loaded> BrokerConfig::load(Properties properties) {
  std::shared_ptr<BrokerConfig> config(new BrokerConfig());
  Loaded loaded;
  config->static_ = std::move(properties);
  // Apache fills it in the same way, and shows it.
  if (const auto id = config->static_.find("node.id");
      id != config->static_.end() && !config->static_.contains("broker.id"))
    config->static_["broker.id"] = id->second;
  if (auto r = config->parse_static(loaded.warnings); !r) return std::unexpected(r.error());
  config->values_ = config->static_values_;
  if (auto r = config->derive(); !r) return std::unexpected(r.error());
  loaded.config = std::move(config);
  return loaded;
}

Result<void> BrokerConfig::parse_static(std::vector<std::string>& warnings) {
  for (const ConfigDef& d : broker_configs()) {
    const auto at = static_.find(d.name);
    if (at == static_.end() && d.required) {
      return fail(
          Errc::kInvalid,
          fmt::format("Missing required configuration \"{}\" which has no default value.", d.name));
    }
    const auto text =
        at != static_.end() ? std::optional<std::string_view>(at->second) : d.fallback;
    auto value = parse_config(d, text);
    if (!value) return std::unexpected(value.error());
    static_values_.push_back(std::move(*value));
  }
  for (const auto& [name, value] : static_) {
    const std::string_view base = without_listener_prefix(name);
    if (find_broker_config(base) == nullptr && !is_security_setting(name)) {
      warnings.push_back(fmt::format("{}: unknown setting, ignored", name));
    } else if (without_meaning(base)) {
      warnings.push_back(fmt::format("{}: has no meaning here, ignored", name));
    } else if (is_security_setting(name)) {
      warnings.push_back(fmt::format("{}: no listener uses TLS or SASL, ignored", name));
    }
  }
  return {};
}

BrokerConfigPtr BrokerConfig::with_dynamic(const ConfigMap& cluster_default,
                                           const ConfigMap& this_broker,
                                           std::vector<std::string>* warnings) const {
  std::shared_ptr<BrokerConfig> config(new BrokerConfig(*this));
  config->values_ = static_values_;
  config->dynamic_defaults_.clear();
  config->dynamic_own_.clear();
  config->overlay(cluster_default, false, warnings);
  config->overlay(this_broker, true, warnings);
  return config;
}

void BrokerConfig::overlay(const ConfigMap& values, bool own, std::vector<std::string>* warnings) {
  const auto leave_out = [&](std::string_view name, std::string_view why) {
    if (warnings != nullptr)
      warnings->push_back(fmt::format("dynamic setting {} is left out: {}", name, why));
  };
  for (const auto& [name, text] : values) {
    ConfigMap& kept = own ? dynamic_own_ : dynamic_defaults_;
    const std::string_view base = without_listener_prefix(name);
    const ConfigDef* d = find_broker_config(base);
    if (d == nullptr || base.size() != name.size()) {
      kept[name] = text;  // shown, as Apache does; nothing reads it
      continue;
    }
    if (d->update == UpdateMode::kReadOnly) {
      leave_out(name, "it takes a restart");
    } else if (d->update == UpdateMode::kPerBroker && !own) {
      leave_out(name, "it can be set for a single broker only");
    } else if (auto value = parse_config(*d, text); !value) {
      leave_out(name, value.error().message);
    } else {
      values_[index_of(*d)] = std::move(*value);
      kept[name] = text;
    }
  }
}

bool BrokerConfig::boolean(BrokerKey key) const { return get<bool>(value(key)); }
int64_t BrokerConfig::int64(BrokerKey key) const { return get<int64_t>(value(key)); }
double BrokerConfig::real(BrokerKey key) const { return get<double>(value(key)); }
const std::string& BrokerConfig::text(BrokerKey key) const { return get<std::string>(value(key)); }
const std::vector<std::string>& BrokerConfig::list(BrokerKey key) const {
  return get<std::vector<std::string>>(value(key));
}
bool BrokerConfig::is_null(BrokerKey key) const {
  return std::holds_alternative<std::monostate>(value(key));
}

std::optional<std::string> BrokerConfig::rack() const {
  if (is_null(BrokerKey::kBrokerRack)) return std::nullopt;
  return text(BrokerKey::kBrokerRack);
}

bool BrokerConfig::is_controller_listener(std::string_view name) const {
  return std::ranges::find(controller_listener_names_, name) != controller_listener_names_.end();
}

Millis BrokerConfig::log_retention() const {
  int64_t ms = int64(BrokerKey::kLogRetentionHours) * 3600000;
  if (!is_null(BrokerKey::kLogRetentionMinutes))
    ms = int64(BrokerKey::kLogRetentionMinutes) * 60000;
  if (!is_null(BrokerKey::kLogRetentionMs)) ms = int64(BrokerKey::kLogRetentionMs);
  return Millis(ms < 0 ? -1 : ms);
}

Millis BrokerConfig::log_roll() const {
  return Millis(is_null(BrokerKey::kLogRollMs) ? int64(BrokerKey::kLogRollHours) * 3600000
                                               : int64(BrokerKey::kLogRollMs));
}

Millis BrokerConfig::log_roll_jitter() const {
  return Millis(is_null(BrokerKey::kLogRollJitterMs)
                    ? int64(BrokerKey::kLogRollJitterHours) * 3600000
                    : int64(BrokerKey::kLogRollJitterMs));
}

}  // namespace odradek::metadata
