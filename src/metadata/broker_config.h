// BrokerConfig: server.properties, overrides and dynamic settings as typed, checked values.
//
// Immutable: a change of a dynamic setting makes a new one (`with_dynamic`), which is posted to the
// loops like an image. Names, types and rules are Apache's (config_defs.h).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "metadata/config_defs.h"
#include "metadata/image.h"
#include "metadata/properties.h"

namespace odradek::metadata {

/// One of `controller.quorum.voters`, or of `controller.quorum.bootstrap.servers` (id −1).
struct QuorumAddress {
  BrokerId id = kNoBroker;
  std::string host;
  uint16_t port = 0;
  bool operator==(const QuorumAddress&) const = default;
};

class BrokerConfig;
using BrokerConfigPtr = std::shared_ptr<const BrokerConfig>;

class BrokerConfig {
 public:
  /// Lines for the log: names that we do not know, names without meaning here.
  struct Loaded {
    BrokerConfigPtr config;
    std::vector<std::string> warnings;
  };
  /// Checks everything that Apache checks of a combined node. The error is one line that names the
  /// setting; it also refuses what is not built yet (other roles, TLS, SASL, an authorizer) and
  /// Java plug-ins that we do not map.
  static Result<Loaded> load(Properties properties);
  /// What `odradek server` uses without --config: loopback listeners, ./odradek-data, internal
  /// topics with one replica.
  static Properties standalone_properties();

  /// The same with other dynamic settings. Values that do not parse are left out, each with one
  /// line in `warnings`, as Apache does.
  BrokerConfigPtr with_dynamic(const ConfigMap& cluster_default, const ConfigMap& this_broker,
                               std::vector<std::string>* warnings) const;

  // Effective values: dynamic of this broker, else dynamic default, else file, else default. The
  // type must fit the key and the value must not be null (`is_null`).
  bool boolean(BrokerKey key) const;
  int32_t int32(BrokerKey key) const { return static_cast<int32_t>(int64(key)); }
  int64_t int64(BrokerKey key) const;
  Millis millis(BrokerKey key) const { return Millis(int64(key)); }
  double real(BrokerKey key) const;
  const std::string& text(BrokerKey key) const;
  const std::vector<std::string>& list(BrokerKey key) const;
  bool is_null(BrokerKey key) const;
  const ConfigValue& value(BrokerKey key) const { return values_[static_cast<size_t>(key)]; }

  // Derived from the static settings.
  BrokerId node_id() const { return node_id_; }
  std::optional<std::string> rack() const;
  /// Where brokers' clients connect; controller listeners are not among them.
  const std::vector<Endpoint>& listeners() const { return listeners_; }
  const std::vector<Endpoint>& controller_listeners() const { return controller_listeners_; }
  /// Beside `listeners`; a wildcard host must be replaced by the machine's name, port 0 by the
  /// bound one.
  const std::vector<Endpoint>& advertised_listeners() const { return advertised_; }
  const std::vector<Endpoint>& advertised_controller_listeners() const {
    return advertised_controllers_;
  }
  const std::string& inter_broker_listener() const { return inter_broker_listener_; }
  bool is_controller_listener(std::string_view name) const;
  /// Static voters; empty with dynamic ones.
  const std::vector<QuorumAddress>& quorum_voters() const { return voters_; }
  const std::vector<QuorumAddress>& quorum_bootstrap_servers() const { return bootstrap_; }
  const std::vector<std::string>& log_dirs() const { return log_dirs_; }
  const std::string& metadata_log_dir() const { return metadata_log_dir_; }
  /// log.retention.ms, or minutes, or hours: the first one that is set. −1: no limit.
  Millis log_retention() const;
  Millis log_roll() const;
  Millis log_roll_jitter() const;

  // As given, for DescribeConfigs.
  const Properties& static_properties() const { return static_; }
  const ConfigMap& dynamic_defaults() const { return dynamic_defaults_; }
  const ConfigMap& dynamic_own() const { return dynamic_own_; }

 private:
  BrokerConfig() = default;
  Result<void> parse_static(std::vector<std::string>& warnings);
  void overlay(const ConfigMap& values, bool own, std::vector<std::string>* warnings);
  // broker_config_check.cc: what follows from the values, and rules between them.
  Result<void> derive();
  Result<void> derive_roles();
  Result<void> derive_protocols();
  Result<void> derive_listeners();
  Result<void> derive_advertised(const std::vector<Endpoint>& all);
  Result<void> derive_inter_broker_listener();
  Result<void> derive_quorum();
  Result<void> derive_dirs();
  Result<void> check_numbers() const;
  Result<void> check_group_bounds() const;
  Result<void> check_connections() const;
  Result<void> refuse_unbuilt() const;
  Result<std::vector<Endpoint>> parse_endpoints(BrokerKey key, bool distinct_ports) const;
  bool given(BrokerKey key) const { return static_.contains(def(key).name); }

  Properties static_;
  ConfigMap dynamic_defaults_;
  ConfigMap dynamic_own_;
  std::vector<ConfigValue> static_values_;  // by BrokerKey
  std::vector<ConfigValue> values_;         // effective, by BrokerKey

  BrokerId node_id_ = kNoBroker;
  std::map<std::string, SecurityProtocol, std::less<>> protocols_;  // by listener name
  std::vector<Endpoint> listeners_, controller_listeners_, advertised_, advertised_controllers_;
  std::string inter_broker_listener_;
  std::vector<std::string> controller_listener_names_;
  std::vector<QuorumAddress> voters_, bootstrap_;
  std::vector<std::string> log_dirs_;
  std::string metadata_log_dir_;
};

/// Java class names among values that we have our own implementation of; such settings take no
/// other class.
bool known_class(std::string_view class_name);
/// Name of the setting behind a per-listener one: "listener.name.x.ssl.keystore.type" →
/// "ssl.keystore.type"; the name itself when it has no such prefix.
std::string_view without_listener_prefix(std::string_view name);
/// Whether it configures TLS or SASL, which are not built yet.
bool is_security_setting(std::string_view name);

}  // namespace odradek::metadata
