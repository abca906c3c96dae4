// What follows from a broker's static settings (listeners, quorum, directories), and the rules
// between them. Texts of errors are Apache's where it has one.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "metadata/broker_config.h"

namespace odradek::metadata {
namespace {

using Key = BrokerKey;

std::unexpected<Error> invalid(std::string message) {
  return fail(Errc::kInvalid, std::move(message));
}

std::string show(const std::vector<std::string>& list) {
  return fmt::format("[{}]", fmt::join(list, ", "));
}

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return out;
}

std::optional<SecurityProtocol> parse_protocol(std::string_view name) {
  const std::string n = upper(name);
  if (n == "PLAINTEXT") return SecurityProtocol::kPlaintext;
  if (n == "SSL") return SecurityProtocol::kSsl;
  if (n == "SASL_PLAINTEXT") return SecurityProtocol::kSaslPlaintext;
  if (n == "SASL_SSL") return SecurityProtocol::kSaslSsl;
  return std::nullopt;
}

template <class T>
std::optional<T> parse_number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

struct HostPort {
  std::string host;
  uint16_t port;
};
/// "host:port", "[::1]:port"; the host may be empty.
std::optional<HostPort> parse_host_port(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const auto port = parse_number<uint16_t>(text.substr(colon + 1));
  if (!port) return std::nullopt;
  if (host.starts_with('[') && host.ends_with(']') && host.size() > 1) {
    host = host.substr(1, host.size() - 2);
  } else if (host.find_first_of("[]") != std::string_view::npos) {
    return std::nullopt;
  }
  const bool clean = std::ranges::all_of(host, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           std::string_view("-%._:").find(c) != std::string_view::npos;
  });
  if (!clean) return std::nullopt;
  return HostPort{std::string(host), *port};
}

bool is_ipv6(std::string_view host) { return host.find(':') != std::string_view::npos; }
bool is_ipv4(std::string_view host) {
  return std::ranges::count(host, '.') == 3 &&
         host.find_first_not_of("0123456789.") == std::string_view::npos;
}

/// Rules between endpoints; empty when they hold.
std::string endpoint_conflict(const std::vector<Endpoint>& endpoints, bool distinct_ports,
                              const std::vector<std::string>& texts) {
  for (size_t i = 0; i < endpoints.size(); i++) {
    for (size_t j = 0; j < i; j++) {
      const Endpoint& a = endpoints[j];
      const Endpoint& b = endpoints[i];
      const bool two_families =
          (is_ipv4(a.host) && is_ipv6(b.host)) || (is_ipv6(a.host) && is_ipv4(b.host));
      if (a.name == b.name && !two_families)
        return fmt::format("Each listener must have a different name, listeners: {}", show(texts));
      if (distinct_ports && a.port == b.port && a.port != 0 && !two_families) {
        return fmt::format(
            "If you have two listeners on the same port then one needs to be IPv4 and "
            "the other IPv6, listeners: {}, port: {}",
            show(texts), a.port);
      }
    }
  }
  return {};
}

}  // namespace

Result<void> BrokerConfig::derive() {
  using Step = Result<void> (BrokerConfig::*)();
  constexpr Step kSteps[] = {
      &BrokerConfig::derive_roles,     &BrokerConfig::derive_protocols,
      &BrokerConfig::derive_listeners, &BrokerConfig::derive_inter_broker_listener,
      &BrokerConfig::derive_quorum,    &BrokerConfig::derive_dirs};
  for (const Step step : kSteps) {
    if (auto r = (this->*step)(); !r) return r;
  }
  using Check = Result<void> (BrokerConfig::*)() const;
  constexpr Check kChecks[] = {&BrokerConfig::check_numbers, &BrokerConfig::check_group_bounds,
                               &BrokerConfig::check_connections, &BrokerConfig::refuse_unbuilt};
  for (const Check check : kChecks) {
    if (auto r = (this->*check)(); !r) return r;
  }
  return {};
}

Result<void> BrokerConfig::derive_roles() {
  node_id_ = BrokerId(int32(Key::kNodeId));
  if (int64(Key::kBrokerId) != node_id_.value)
    return invalid("You must set `node.id` to the same value as `broker.id`.");
  if (list(Key::kProcessRoles).size() != 2) {
    return invalid(fmt::format(
        "process.roles={}: only a combined node (broker,controller) is supported in this version",
        list(Key::kProcessRoles)[0]));
  }
  return {};
}

Result<void> BrokerConfig::derive_protocols() {
  for (const std::string& entry : split_list(text(Key::kListenerSecurityProtocolMap))) {
    const size_t colon = entry.rfind(':');
    if (colon == std::string::npos || colon == 0) {
      return invalid(fmt::format(
          "Error parsing configuration property 'listener.security.protocol.map': {}", entry));
    }
    const std::string name = entry.substr(colon + 1);
    const auto protocol = parse_protocol(name);
    if (!protocol) {
      return invalid(fmt::format(
          "Invalid security protocol `{}` defined in listener.security.protocol.map", name));
    }
    protocols_[upper(entry.substr(0, colon))] = *protocol;
  }
  for (const std::string& name : list(Key::kControllerListenerNames))
    controller_listener_names_.push_back(upper(name));
  // Without a map of his own a user need not map the controller listeners.
  if (!given(Key::kListenerSecurityProtocolMap)) {
    for (const std::string& name : controller_listener_names_)
      protocols_.emplace(name, SecurityProtocol::kPlaintext);
  }
  return {};
}

Result<std::vector<Endpoint>> BrokerConfig::parse_endpoints(Key key, bool distinct_ports) const {
  const std::vector<std::string>& texts = list(key);
  const auto wrong = [&](std::string_view why) {
    return invalid(fmt::format("Error creating broker listeners from '{}': {}", show(texts), why));
  };
  std::vector<Endpoint> endpoints;
  for (const std::string& entry : texts) {
    const size_t at = entry.find("://");
    if (at == std::string::npos || at == 0)
      return invalid(fmt::format("Unable to parse a listener name from {}", entry));
    const auto address = parse_host_port(std::string_view(entry).substr(at + 3));
    if (!address) return wrong(fmt::format("Unable to parse {} to a broker endpoint", entry));
    const std::string name = upper(entry.substr(0, at));
    const auto protocol = protocols_.find(name);
    if (protocol == protocols_.end())
      return wrong(fmt::format("No security protocol defined for listener {}", name));
    endpoints.push_back({name, address->host, address->port, protocol->second});
  }
  if (auto why = endpoint_conflict(endpoints, distinct_ports, texts); !why.empty())
    return wrong(why);
  return endpoints;
}

Result<void> BrokerConfig::derive_listeners() {
  auto all = parse_endpoints(Key::kListeners, true);
  if (!all) return std::unexpected(all.error());
  for (const Endpoint& e : *all)
    (is_controller_listener(e.name) ? controller_listeners_ : listeners_).push_back(e);
  if (controller_listeners_.empty()) {
    return invalid(
        "controller.listener.names must contain at least one value appearing in the 'listeners' "
        "configuration when running the KRaft controller role");
  }
  for (const std::string& name : controller_listener_names_) {
    if (std::ranges::find(controller_listeners_, name, &Endpoint::name) ==
        controller_listeners_.end()) {
      return invalid(
          "controller.listener.names must only contain values appearing in the 'listeners' "
          "configuration when running the KRaft controller role");
    }
  }
  return derive_advertised(*all);
}

Result<void> BrokerConfig::derive_advertised(const std::vector<Endpoint>& all) {
  std::vector<Endpoint> named = all;
  if (!is_null(Key::kAdvertisedListeners)) {
    auto parsed = parse_endpoints(Key::kAdvertisedListeners, false);
    if (!parsed) return std::unexpected(parsed.error());
    named = std::move(*parsed);
  }
  for (const Endpoint& e : named) {
    if (is_controller_listener(e.name)) continue;
    if (e.host == "0.0.0.0") {
      return invalid(
          "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP "
          "address.");
    }
    if (std::ranges::find(listeners_, e.name, &Endpoint::name) == listeners_.end()) {
      return invalid(fmt::format(
          "advertised.listeners listener names must be equal to or a subset of the ones defined in "
          "listeners; {} is not",
          e.name));
    }
    advertised_.push_back(e);
  }
  if (advertised_.empty()) {
    return invalid(
        "There must be at least one broker advertised listener. Perhaps all listeners appear in "
        "controller.listener.names?");
  }
  for (const Endpoint& e : controller_listeners_) {
    const auto at = std::ranges::find(named, e.name, &Endpoint::name);
    advertised_controllers_.push_back(at == named.end() ? e : *at);
  }
  return {};
}

Result<void> BrokerConfig::derive_inter_broker_listener() {
  if (!is_null(Key::kInterBrokerListenerName)) {
    if (given(Key::kSecurityInterBrokerProtocol)) {
      return invalid(
          "Only one of inter.broker.listener.name and security.inter.broker.protocol should be "
          "set.");
    }
    inter_broker_listener_ = upper(text(Key::kInterBrokerListenerName));
    if (!protocols_.contains(inter_broker_listener_)) {
      return invalid(
          fmt::format("Listener with name {} defined in inter.broker.listener.name not "
                      "found in listener.security.protocol.map.",
                      inter_broker_listener_));
    }
  } else {
    inter_broker_listener_ = text(Key::kSecurityInterBrokerProtocol);
  }
  std::vector<std::string> names;
  for (const Endpoint& e : advertised_) names.push_back(e.name);
  if (std::ranges::find(names, inter_broker_listener_) == names.end()) {
    return invalid(fmt::format(
        "inter.broker.listener.name must be a listener name defined in advertised.listeners. The "
        "valid options based on currently configured listeners are {}",
        fmt::join(names, ",")));
  }
  return {};
}

Result<void> BrokerConfig::derive_quorum() {
  for (const std::string& entry : list(Key::kControllerQuorumVoters)) {
    const size_t at = entry.find('@');
    if (at == std::string::npos) {
      return invalid(
          "Invalid configuration value for controller.quorum.voters. Each entry should be in the "
          "form `{id}@{host}:{port}`.");
    }
    const auto id = parse_number<int32_t>(std::string_view(entry).substr(0, at));
    if (!id) return invalid("Failed to parse voter ID as an integer from " + entry.substr(0, at));
    const auto address = parse_host_port(std::string_view(entry).substr(at + 1));
    if (!address || address->host.empty()) {
      return invalid(
          fmt::format("Failed to parse host name from entry {} for the configuration "
                      "controller.quorum.voters. Each entry should be in the form "
                      "`{{id}}@{{host}}:{{port}}`.",
                      entry));
    }
    voters_.push_back({BrokerId(*id), address->host, address->port});
  }
  for (const std::string& entry : list(Key::kControllerQuorumBootstrapServers)) {
    const auto address = parse_host_port(entry);
    if (!address || address->host.empty()) {
      return invalid(
          fmt::format("Failed to parse host name from {} for the configuration "
                      "controller.quorum.bootstrap.servers. Each entry should be in the "
                      "form \"{{host}}:{{port}}\"",
                      entry));
    }
    bootstrap_.push_back({kNoBroker, address->host, address->port});
  }
  if (voters_.empty() && bootstrap_.empty()) {
    return invalid(
        "If using process.roles, either controller.quorum.bootstrap.servers must contain the set "
        "of "
        "bootstrap controllers or controller.quorum.voters must contain a parseable set of "
        "controllers.");
  }
  if (voters_.empty()) return {};
  if (std::ranges::find(voters_, node_id_, &QuorumAddress::id) == voters_.end()) {
    return invalid(
        fmt::format("If process.roles contains the 'controller' role, the node id {} must "
                    "be included in the set of voters controller.quorum.voters={}",
                    node_id_.value, join_list(list(Key::kControllerQuorumVoters))));
  }
  if (std::ranges::any_of(voters_, [&](const QuorumAddress& v) { return v.id != node_id_; })) {
    return invalid("controller.quorum.voters: only this node itself can vote in this version");
  }
  return {};
}

Result<void> BrokerConfig::derive_dirs() {
  log_dirs_ = is_null(Key::kLogDirs) ? list(Key::kLogDir) : list(Key::kLogDirs);
  if (log_dirs_.empty())
    return invalid("At least one log directory must be defined via log.dirs or log.dir.");
  metadata_log_dir_ = is_null(Key::kMetadataLogDir) || text(Key::kMetadataLogDir).empty()
                          ? log_dirs_.front()
                          : text(Key::kMetadataLogDir);
  if (is_null(Key::kCordonedLogDirs)) return {};
  const std::vector<std::string>& cordoned = list(Key::kCordonedLogDirs);
  std::vector<std::string> missing;
  for (const std::string& dir : cordoned) {
    if (dir == "*" && cordoned.size() == 1) continue;
    if (dir == "*")
      return invalid("When cordoned.log.dirs is set to *, it must not contain other values");
    if (std::ranges::find(log_dirs_, dir) == log_dirs_.end()) missing.push_back(dir);
  }
  if (!missing.empty()) {
    return invalid(
        fmt::format("All entries in cordoned.log.dirs must be present in log.dirs or "
                    "log.dir. Missing entries : {}",
                    fmt::join(missing, ",")));
  }
  return {};
}

Result<void> BrokerConfig::check_numbers() const {
  const auto at_least_one_or_none = [](int64_t n) { return n < 0 || n >= 1; };
  if (!at_least_one_or_none(log_retention().value))
    return invalid("log.retention.ms must be unlimited (-1) or, greater than or equal to 1");
  if (log_roll().value < 1) return invalid("log.roll.ms must be greater than or equal to 1");
  if (log_roll_jitter().value < 0)
    return invalid("log.roll.jitter.ms must be greater than or equal to 0");
  if (int64(Key::kReplicaFetchWaitMaxMs) > int64(Key::kReplicaSocketTimeoutMs)) {
    return invalid(
        "replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms to prevent "
        "unnecessary socket timeouts");
  }
  if (int64(Key::kReplicaFetchWaitMaxMs) > int64(Key::kReplicaLagTimeMaxMs)) {
    return invalid(
        "replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms "
        "to "
        "prevent frequent changes in ISR");
  }
  for (const Key key :
       {Key::kOffsetsTopicCompressionCodec, Key::kShareCoordinatorStateTopicCompressionCodec}) {
    if (int64(key) < 0 || int64(key) > 4)
      return invalid(fmt::format("Unknown compression type id: {}", int64(key)));
  }
  const int64_t cleaners = int64(Key::kLogCleanerThreads);
  if (cleaners > 0 && int64(Key::kLogCleanerDedupeBufferSize) / cleaners <= 1024 * 1024)
    return invalid("log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.");
  const auto& protocols = list(Key::kGroupCoordinatorRebalanceProtocols);
  if (std::ranges::find(protocols, "classic") == protocols.end())
    return invalid("Disabling the 'classic' protocol is not supported.");
  return {};
}

Result<void> BrokerConfig::check_group_bounds() const {
  struct Bound {
    Key low;
    Key high;  // must be at least `low`
  };
  // Apache's GroupCoordinatorConfig and ShareGroupConfig: min ≤ value ≤ max.
  constexpr Bound kBounds[] = {
      {Key::kGroupConsumerMinHeartbeatIntervalMs, Key::kGroupConsumerMaxHeartbeatIntervalMs},
      {Key::kGroupConsumerMinHeartbeatIntervalMs, Key::kGroupConsumerHeartbeatIntervalMs},
      {Key::kGroupConsumerHeartbeatIntervalMs, Key::kGroupConsumerMaxHeartbeatIntervalMs},
      {Key::kGroupConsumerMinSessionTimeoutMs, Key::kGroupConsumerMaxSessionTimeoutMs},
      {Key::kGroupConsumerMinSessionTimeoutMs, Key::kGroupConsumerSessionTimeoutMs},
      {Key::kGroupConsumerSessionTimeoutMs, Key::kGroupConsumerMaxSessionTimeoutMs},
      {Key::kGroupConsumerMinAssignmentIntervalMs, Key::kGroupConsumerAssignmentIntervalMs},
      {Key::kGroupConsumerAssignmentIntervalMs, Key::kGroupConsumerMaxAssignmentIntervalMs},
      {Key::kGroupShareMinHeartbeatIntervalMs, Key::kGroupShareMaxHeartbeatIntervalMs},
      {Key::kGroupShareMinHeartbeatIntervalMs, Key::kGroupShareHeartbeatIntervalMs},
      {Key::kGroupShareHeartbeatIntervalMs, Key::kGroupShareMaxHeartbeatIntervalMs},
      {Key::kGroupShareMinSessionTimeoutMs, Key::kGroupShareMaxSessionTimeoutMs},
      {Key::kGroupShareMinSessionTimeoutMs, Key::kGroupShareSessionTimeoutMs},
      {Key::kGroupShareSessionTimeoutMs, Key::kGroupShareMaxSessionTimeoutMs},
      {Key::kGroupShareMinRecordLockDurationMs, Key::kGroupShareRecordLockDurationMs},
      {Key::kGroupShareRecordLockDurationMs, Key::kGroupShareMaxRecordLockDurationMs},
      {Key::kGroupShareMinDeliveryCountLimit, Key::kGroupShareDeliveryCountLimit},
      {Key::kGroupShareDeliveryCountLimit, Key::kGroupShareMaxDeliveryCountLimit},
      {Key::kGroupShareMinPartitionMaxRecordLocks, Key::kGroupSharePartitionMaxRecordLocks},
      {Key::kGroupSharePartitionMaxRecordLocks, Key::kGroupShareMaxPartitionMaxRecordLocks},
      {Key::kGroupStreamsMinHeartbeatIntervalMs, Key::kGroupStreamsHeartbeatIntervalMs},
      {Key::kGroupStreamsHeartbeatIntervalMs, Key::kGroupStreamsMaxHeartbeatIntervalMs},
      {Key::kGroupStreamsMinSessionTimeoutMs, Key::kGroupStreamsSessionTimeoutMs},
      {Key::kGroupStreamsSessionTimeoutMs, Key::kGroupStreamsMaxSessionTimeoutMs},
      {Key::kGroupStreamsNumStandbyReplicas, Key::kGroupStreamsMaxStandbyReplicas},
  };
  for (const Bound& b : kBounds) {
    if (int64(b.low) <= int64(b.high)) continue;
    const bool upper_is_max = def(b.high).name.find(".max.") != std::string_view::npos &&
                              def(b.low).name.find(".min.") == std::string_view::npos;
    if (upper_is_max) {
      return invalid(
          fmt::format("{} must be less than or equal to {}", def(b.low).name, def(b.high).name));
    }
    return invalid(
        fmt::format("{} must be greater than or equal to {}", def(b.high).name, def(b.low).name));
  }
  constexpr Bound kBelow[] = {
      {Key::kGroupConsumerHeartbeatIntervalMs, Key::kGroupConsumerSessionTimeoutMs},
      {Key::kGroupShareHeartbeatIntervalMs, Key::kGroupShareSessionTimeoutMs},
      {Key::kGroupStreamsHeartbeatIntervalMs, Key::kGroupStreamsSessionTimeoutMs},
  };
  for (const Bound& b : kBelow) {
    if (int64(b.low) >= int64(b.high))
      return invalid(fmt::format("{} must be less than {}", def(b.low).name, def(b.high).name));
  }
  return {};
}

Result<void> BrokerConfig::check_connections() const {
  const std::string& overrides = text(Key::kMaxConnectionsPerIpOverrides);
  for (const std::string& entry : split_list(overrides)) {
    const size_t colon = entry.rfind(':');
    if (colon == std::string::npos ||
        !parse_number<int32_t>(std::string_view(entry).substr(colon + 1))) {
      return invalid(fmt::format(
          "Error parsing configuration property 'max.connections.per.ip.overrides': {}", entry));
    }
  }
  if (int64(Key::kMaxConnectionsPerIp) == 0 && overrides.empty()) {
    return invalid(
        "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides "
        "property "
        "is set.");
  }
  if (given(Key::kQueuedMaxRequestBytes) && int64(Key::kQueuedMaxRequestBytes) > 0 &&
      int64(Key::kQueuedMaxRequestBytes) < int64(Key::kSocketRequestMaxBytes)) {
    return invalid("queued.max.request.bytes must be larger or equal to socket.request.max.bytes");
  }
  const int64_t idle = int64(Key::kConnectionsMaxIdleMs);
  const int64_t delay = int64(Key::kConnectionFailedAuthenticationDelayMs);
  if (idle > 0 && delay >= idle) {
    return invalid(fmt::format(
        "connection.failed.authentication.delay.ms={} should always be less than "
        "connections.max.idle.ms={} to prevent failed authentication responses from timing out",
        delay, idle));
  }
  if (is_null(Key::kEarlyStartListeners)) return {};
  for (const std::string& name : list(Key::kEarlyStartListeners)) {
    const std::string n = upper(name);
    if (!is_controller_listener(n) &&
        std::ranges::find(listeners_, n, &Endpoint::name) == listeners_.end()) {
      return invalid(
          fmt::format("early.start.listeners contains listener {}, but this is not "
                      "contained in listeners or controller.listener.names",
                      name));
    }
  }
  return {};
}

Result<void> BrokerConfig::refuse_unbuilt() const {
  for (const auto* endpoints : {&listeners_, &controller_listeners_}) {
    for (const Endpoint& e : *endpoints) {
      if (e.protocol == SecurityProtocol::kPlaintext) continue;
      return invalid(fmt::format(
          "listeners: {} uses TLS or SASL, which this version does not have yet", e.name));
    }
  }
  if (!text(Key::kAuthorizerClassName).empty()) {
    return invalid(
        fmt::format("authorizer.class.name={}: this version does not have access control "
                    "yet",
                    text(Key::kAuthorizerClassName)));
  }
  if (!is_null(Key::kDelegationTokenSecretKey))
    return invalid("delegation.token.secret.key: this version does not have delegation tokens yet");
  if (!is_null(Key::kSecurityProviders))
    return invalid("security.providers: Java plug-ins cannot be loaded");
  if (boolean(Key::kRemoteLogStorageSystemEnable)) {
    return invalid(
        "remote.log.storage.system.enable: this version does not have tiered storage yet");
  }
  if (!list(Key::kConfigProviders).empty())
    return invalid("config.providers: Java plug-ins cannot be loaded");
  for (const ConfigDef& d : broker_configs()) {
    const auto key = static_cast<Key>(&d - broker_configs().data());
    const bool classes = d.name == "metric.reporters" || d.name == "kafka.metrics.reporters" ||
                         d.name == "group.consumer.assignors" ||
                         d.name == "group.share.assignors" || d.name == "replica.selector.class" ||
                         d.name == "group.share.persister.class.name";
    if ((d.type != ConfigType::kClass && !classes) || is_null(key)) continue;
    const auto names = d.type == ConfigType::kList ? list(key) : std::vector{text(key)};
    for (const std::string& name : names) {
      if (known_class(name)) continue;
      return invalid(fmt::format("{}={}: Java plug-ins cannot be loaded", d.name, name));
    }
  }
  return {};
}

}  // namespace odradek::metadata
