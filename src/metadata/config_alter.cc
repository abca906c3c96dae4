#include "metadata/config_alter.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "metadata/topic_config.h"
#include "wire/errors.h"
#include "wire/gen/clear_elr_record.h"
#include "wire/gen/config_record.h"

namespace odradek::metadata {
namespace {

using wire::ErrorCode;

constexpr std::string_view kMinIsr = "min.insync.replicas";
constexpr size_t kValueBytesMax = 32767;

AlterOutcome refuse(ErrorCode error, std::string message) {
  return {error, std::move(message), {}};
}
AlterOutcome fine() { return {ErrorCode::kNone, "", {}}; }

std::string_view op_name(AlterOp op) {
  return op == AlterOp::kAppend ? "APPEND" : op == AlterOp::kSubtract ? "SUBTRACT" : "SET";
}

const ConfigDef* find_def(ResourceType type, std::string_view name) {
  switch (type) {
    case ResourceType::kTopic:
      return find_topic_config(name);
    case ResourceType::kBroker:
      return find_broker_config(name);
    case ResourceType::kGroup:
      return find_group_config(name);
    case ResourceType::kClientMetrics:
      return find_client_metrics_config(name);
    default:
      return nullptr;
  }
}

/// The list after APPEND or SUBTRACT; without a value of its own it starts from the default.
std::string edit_list(const ConfigDef& d, const std::string* current, const AlterEntry& entry) {
  std::vector<std::string> list;
  const std::string_view start =
      current != nullptr ? std::string_view(*current) : d.fallback.value_or(std::string_view());
  for (std::string& e : split_list(start)) {
    if (!e.empty()) list.push_back(std::move(e));
  }
  for (const std::string& e : split_list(entry.value.value_or(""))) {
    if (entry.op == AlterOp::kSubtract) {
      std::erase(list, e);
    } else if (std::ranges::find(list, e) == list.end()) {
      list.push_back(e);
    }
  }
  return join_list(list);
}

/// Topic.validate: empty when the name may be a topic's.
std::string bad_topic_name(std::string_view name) {
  const auto wrong = [&](std::string_view why) {
    return fmt::format("Topic name is invalid: {}", why);
  };
  if (name == "." || name == "..") return wrong("'.' or '..' are not allowed");
  if (name.size() > 249)
    return wrong(fmt::format("the length of '{}' is longer than the max allowed length 249", name));
  const bool legal = std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
  if (legal) return {};
  return wrong(fmt::format(
      "'{}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
      name));
}

std::optional<int32_t> parse_id(std::string_view text) {
  int32_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return id;
}

/// The values that the resource would have, checked as a whole.
AlterOutcome check_all(const BrokerConfig& config, const ConfigResource& resource,
                       const ConfigMap& all) {
  const auto as_config_error = [](const Result<void>& r) {
    return r ? fine() : refuse(ErrorCode::kInvalidConfig, r.error().message);
  };
  switch (resource.type) {
    case ResourceType::kTopic:
      if (resource.name.empty())
        return refuse(ErrorCode::kInvalidRequest, "Default topic resources are not allowed.");
      if (auto why = bad_topic_name(resource.name); !why.empty())
        return refuse(ErrorCode::kInvalidTopicException, std::move(why));
      return as_config_error(validate_topic_config(all, config));
    case ResourceType::kBroker:
      if (resource.name.empty()) return fine();
      if (const auto id = parse_id(resource.name); !id) {
        return refuse(ErrorCode::kInvalidRequest,
                      "Unable to parse broker name as a base 10 number.");
      } else if (*id < 0) {
        return refuse(ErrorCode::kInvalidRequest, "Invalid negative broker ID.");
      }
      return fine();
    case ResourceType::kClientMetrics: {
      if (resource.name.empty())
        return refuse(ErrorCode::kInvalidRequest, "Subscription name can't be empty");
      AlterOutcome outcome = as_config_error(validate_client_metrics_config(all));
      // Apache throws InvalidRequest for these two and InvalidConfig for the rest.
      if (outcome.message.starts_with("Unknown client metrics") ||
          outcome.message.find("interval must be between") != std::string::npos)
        outcome.error = ErrorCode::kInvalidRequest;
      return outcome;
    }
    case ResourceType::kGroup:
      if (resource.name.empty())
        return refuse(ErrorCode::kInvalidRequest, "Default group resources are not allowed.");
      return as_config_error(validate_group_config(all, config));
    default:
      return refuse(ErrorCode::kInvalidRequest,
                    fmt::format("Unknown resource type {}", static_cast<int>(resource.type)));
  }
}

AlterOutcome check_exists(const Image& image, const ConfigResource& resource) {
  if (resource.type == ResourceType::kTopic && image.topic(resource.name) == nullptr) {
    return refuse(ErrorCode::kUnknownTopicOrPartition,
                  fmt::format("The topic '{}' does not exist.", resource.name));
  }
  if (resource.type == ResourceType::kBroker && !resource.name.empty()) {
    const BrokerId id(parse_id(resource.name).value_or(-1));
    if (image.broker(id) == nullptr && image.controller(id) == nullptr) {
      return refuse(ErrorCode::kBrokerIdNotRegistered,
                    fmt::format("No node with id {} found.", resource.name));
    }
  }
  return fine();
}

/// With eligible leader replicas the cluster has one min ISR, set at cluster level or per topic.
AlterOutcome check_min_isr(const Image& image, const ConfigResource& resource,
                           const std::map<std::string, std::optional<std::string>>& changes) {
  const auto at = changes.find(std::string(kMinIsr));
  if (resource.type != ResourceType::kBroker || !image.elr_enabled() || at == changes.end())
    return fine();
  if (!resource.name.empty()) {
    return refuse(ErrorCode::kInvalidConfig,
                  "Broker-level min.insync.replicas cannot be altered while ELR is enabled.");
  }
  if (!at->second) {
    return refuse(ErrorCode::kInvalidConfig,
                  "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.");
  }
  return fine();
}

Record config_record(const ConfigResource& resource, const std::string& name,
                     const std::optional<std::string>& value) {
  wire::ConfigRecord r;
  r.resource_type = static_cast<int8_t>(resource.type);
  r.resource_name = resource.name;
  r.name = name;
  r.value = value ? std::optional<std::string_view>(*value) : std::nullopt;
  return Record::of(r, 0);
}

/// Checks the changes against what the resource has and makes their records.
AlterOutcome decide(const Image& image, const BrokerConfig& config, const ConfigResource& resource,
                    const std::map<std::string, std::optional<std::string>>& changes,
                    bool new_topic) {
  ConfigMap all = image.config(resource.type, resource.name);
  for (const auto& [name, value] : changes) {
    if (value && value->size() > kValueBytesMax) {
      return refuse(ErrorCode::kInvalidConfig,
                    "The configuration value cannot be added because it exceeds the maximum value "
                    "size of 32767 bytes.");
    }
    if (value) {
      all[name] = *value;
    } else {
      all.erase(name);
    }
  }
  if (auto r = check_min_isr(image, resource, changes); r.error != ErrorCode::kNone) return r;
  if (auto r = check_all(config, resource, all); r.error != ErrorCode::kNone) return r;
  if (!new_topic) {
    if (auto r = check_exists(image, resource); r.error != ErrorCode::kNone) return r;
  }
  AlterOutcome outcome = fine();
  for (const auto& [name, value] : changes)
    outcome.records.push_back(config_record(resource, name, value));
  const bool min_isr_moves =
      changes.contains(std::string(kMinIsr)) && !new_topic &&
      (resource.type == ResourceType::kTopic || resource.type == ResourceType::kBroker);
  if (min_isr_moves && image.elr_enabled()) {
    wire::ClearElrRecord clear;
    clear.topic_name = resource.name;  // "" of the cluster's default: every topic
    outcome.records.push_back(Record::of(clear, 0));
  }
  return outcome;
}

}  // namespace

AlterOutcome alter_incrementally(const Image& image, const BrokerConfig& config,
                                 const ConfigResource& resource,
                                 std::span<const AlterEntry> entries, bool new_topic) {
  const ConfigMap& current = image.config(resource.type, resource.name);
  std::map<std::string, std::optional<std::string>> changes;
  for (const AlterEntry& entry : entries) {
    const auto at = current.find(entry.name);
    const std::string* old = at == current.end() ? nullptr : &at->second;
    std::optional<std::string> value;
    if (entry.op == AlterOp::kSet) {
      if (entry.value) value = std::string(*entry.value);
    } else if (entry.op == AlterOp::kAppend || entry.op == AlterOp::kSubtract) {
      const ConfigDef* d = find_def(resource.type, entry.name);
      if (d == nullptr || d->type != ConfigType::kList) {
        return refuse(ErrorCode::kInvalidConfig,
                      fmt::format("Can't {} to key {} because its type is not LIST.",
                                  op_name(entry.op), entry.name));
      }
      value = edit_list(*d, old, entry);
    } else if (entry.op != AlterOp::kDelete) {
      return refuse(ErrorCode::kInvalidRequest,
                    fmt::format("Unknown operations type {}", static_cast<int>(entry.op)));
    }
    const bool same = value ? old != nullptr && *old == *value : old == nullptr;
    // Brokers read again what a setting's files hold, so theirs are written even if nothing
    // changes.
    if (!same || resource.type == ResourceType::kBroker)
      changes[std::string(entry.name)] = std::move(value);
  }
  return decide(image, config, resource, changes, new_topic);
}

AlterOutcome alter_wholly(const Image& image, const BrokerConfig& config,
                          const ConfigResource& resource, std::span<const AlterEntry> entries) {
  const ConfigMap& current = image.config(resource.type, resource.name);
  std::map<std::string, std::optional<std::string>> changes;
  for (const AlterEntry& entry : entries) {
    const auto at = current.find(entry.name);
    const bool same = at != current.end() && entry.value && at->second == *entry.value;
    if (!same || resource.type == ResourceType::kBroker) {
      changes[std::string(entry.name)] =
          entry.value ? std::optional<std::string>(*entry.value) : std::nullopt;
    }
  }
  for (const auto& [name, value] : current) {
    const bool kept = std::ranges::any_of(
        entries, [&](const AlterEntry& e) { return e.name == name && e.value.has_value(); });
    // With eligible leader replicas the cluster-level min ISR may not go away.
    const bool needed = resource.type == ResourceType::kBroker && resource.name.empty() &&
                        name == kMinIsr && image.elr_enabled();
    if (!kept && !needed) changes[name] = std::nullopt;
  }
  return decide(image, config, resource, changes, false);
}

namespace {

using Names = std::set<std::string>;

std::string show(const Names& names) { return fmt::format("[{}]", fmt::join(names, ", ")); }

/// TLS stores: dynamic, but only of one listener.
bool only_per_listener(std::string_view name) {
  constexpr std::string_view kNames[] = {"ssl.key.password",
                                         "ssl.keystore.certificate.chain",
                                         "ssl.keystore.key",
                                         "ssl.keystore.location",
                                         "ssl.keystore.password",
                                         "ssl.keystore.type",
                                         "ssl.truststore.certificates",
                                         "ssl.truststore.location",
                                         "ssl.truststore.password",
                                         "ssl.truststore.type"};
  return std::ranges::find(kNames, name) != std::end(kNames);
}

/// Thread counts may at most double or halve in one change, as Apache's pools do.
std::string check_threads(const ConfigDef& d, int64_t now, int64_t then) {
  if (d.name == "log.cleaner.threads") {
    if (then > now * 2) {
      return fmt::format(
          "Log cleaner threads cannot be increased to more than double the current value {}", now);
    }
    if (then < now / 2) {
      return fmt::format(
          "Log cleaner threads cannot be reduced to less than half the current value {}", now);
    }
    return {};
  }
  constexpr std::string_view kNames[] = {"background.threads", "num.io.threads",
                                         "num.network.threads", "num.recovery.threads.per.data.dir",
                                         "num.replica.fetchers"};
  if (std::ranges::find(kNames, d.name) == std::end(kNames)) return {};
  const std::string head = fmt::format(
      "Dynamic thread count update validation failed for {}={}, value should", d.name, then);
  if (then > now * 2)
    return fmt::format("{} not be greater than double the current value {}", head, now);
  if (then < now / 2) return fmt::format("{} be at least half the current value {}", head, now);
  return {};
}

/// One dynamic value of this broker; empty when it can be used.
std::string check_broker_value(const BrokerConfig& config, const ConfigDef& d,
                               std::string_view text) {
  const auto value = parse_config(d, text);
  if (!value) return value.error().message;
  const auto key = static_cast<BrokerKey>(&d - broker_configs().data());
  if (const auto* n = std::get_if<int64_t>(&*value); n != nullptr && !config.is_null(key)) {
    if (auto why = check_threads(d, config.int64(key), *n); !why.empty()) return why;
  }
  if (d.type == ConfigType::kClass && !known_class(std::get<std::string>(*value))) {
    return fmt::format("Invalid value {} for configuration {}: Class {} could not be found.", text,
                       d.name, text);
  }
  return {};
}

/// What Apache can change while it runs and we cannot yet; empty when we can.
std::string cannot_change(std::string_view name) {
  if (is_security_setting(name))
    return fmt::format("{}: this version does not have TLS and SASL yet", name);
  if (name == "listeners" || name == "listener.security.protocol.map")
    return fmt::format("{} takes a restart in this version", name);
  return {};
}

/// Rules between the broker's settings, as at its start.
std::string check_broker_rules(const BrokerConfig& config, const ConfigMap& all) {
  Properties together = config.static_properties();
  for (const auto& [name, value] : all) together.insert_or_assign(name, value);
  const auto loaded = BrokerConfig::load(std::move(together));
  return loaded ? std::string() : loaded.error().message;
}

AlterOutcome check_broker(const BrokerConfig& config, bool one_broker, const ConfigMap& all) {
  Names read_only;
  Names security;
  Names per_broker;
  for (const auto& [name, value] : all) {
    const ConfigDef* d = find_broker_config(without_listener_prefix(name));
    if (d == nullptr) continue;
    if (d->update == UpdateMode::kReadOnly) read_only.insert(name);
    if (only_per_listener(name)) security.insert(name);
    if (d->update == UpdateMode::kPerBroker && d->name == name) per_broker.insert(name);
  }
  const auto invalid = [](std::string message) {
    return refuse(ErrorCode::kInvalidRequest, std::move(message));
  };
  if (!read_only.empty())
    return invalid(fmt::format("Cannot update these configs dynamically: {}", show(read_only)));
  if (!security.empty()) {
    return invalid(
        fmt::format("These security configs can be dynamically updated only per-listener "
                    "using the listener prefix: {}",
                    show(security)));
  }
  if (!one_broker && !per_broker.empty()) {
    return invalid(
        fmt::format("Cannot update these configs at default cluster level, broker id must "
                    "be specified: {}",
                    show(per_broker)));
  }
  for (const auto& [name, text] : all) {
    const ConfigDef* d = find_broker_config(without_listener_prefix(name));
    if (d == nullptr) continue;
    if (auto why = check_broker_value(config, *d, text); !why.empty()) return invalid(why);
  }
  if (auto why = check_broker_rules(config, all); !why.empty()) return invalid(std::move(why));
  for (const auto& [name, text] : all) {
    if (auto why = cannot_change(name); !why.empty()) return invalid(std::move(why));
  }
  return fine();
}

/// Names twice, or values that are missing.
AlterOutcome check_entries(std::span<const AlterEntry> entries, bool incremental) {
  std::set<std::string_view> names;
  std::vector<std::string_view> nulls;
  for (const AlterEntry& e : entries) {
    if (!names.insert(e.name).second)
      return refuse(ErrorCode::kInvalidRequest, "Error due to duplicate config keys");
    if (!e.value && !(incremental && e.op == AlterOp::kDelete)) nulls.push_back(e.name);
  }
  if (nulls.empty()) return fine();
  return refuse(ErrorCode::kInvalidRequest,
                fmt::format("Null value not supported for : {}", fmt::join(nulls, ", ")));
}

}  // namespace

AlterOutcome check_before_forwarding(const Image& image, const BrokerConfig& config,
                                     const ConfigResource& resource,
                                     std::span<const AlterEntry> entries, bool incremental) {
  if (auto r = check_entries(entries, incremental); r.error != ErrorCode::kNone) return r;
  switch (resource.type) {
    case ResourceType::kTopic:
    case ResourceType::kClientMetrics:
    case ResourceType::kGroup:
      return fine();
    case ResourceType::kBroker:
      break;
    case ResourceType::kBrokerLogger:
      if (incremental && parse_id(resource.name) != config.node_id().value) {
        return refuse(ErrorCode::kInvalidRequest,
                      fmt::format("Node id must be {}, but it is: {}", config.node_id().value,
                                  resource.name));
      }
      if (incremental && !entries.empty()) {
        return refuse(ErrorCode::kInvalidConfig,
                      fmt::format("Logger {} does not exist!", entries[0].name));
      }
      [[fallthrough]];
    default:
      return refuse(ErrorCode::kInvalidRequest,
                    fmt::format("Unknown resource type {}", static_cast<int>(resource.type)));
  }
  if (!resource.name.empty()) {
    const auto id = parse_id(resource.name);
    if (!id) {
      return refuse(ErrorCode::kInvalidRequest,
                    fmt::format("Node id must be an integer, but it is: {}", resource.name));
    }
    if (*id != config.node_id().value) {
      return refuse(ErrorCode::kInvalidRequest,
                    fmt::format("Unexpected broker id, expected {}, but received {}",
                                config.node_id().value, resource.name));
    }
  }
  ConfigMap all;
  if (incremental) all = image.config(resource.type, resource.name);
  for (const AlterEntry& e : entries) {
    if (e.op == AlterOp::kDelete) {
      if (const auto at = all.find(e.name); at != all.end()) all.erase(at);
      continue;
    }
    std::string value(*e.value);
    if (e.op == AlterOp::kAppend || e.op == AlterOp::kSubtract) {
      const ConfigDef* d = find_broker_config(e.name);
      if (d == nullptr || d->type != ConfigType::kList) {
        return refuse(ErrorCode::kInvalidConfig,
                      fmt::format("Config value {} is not allowed for config key: {}",
                                  e.op == AlterOp::kAppend ? "append" : "subtract", e.name));
      }
      const auto at = all.find(e.name);
      value = edit_list(*d, at == all.end() ? nullptr : &at->second, e);
    }
    all.insert_or_assign(std::string(e.name), std::move(value));
  }
  return check_broker(config, !resource.name.empty(), all);
}

}  // namespace odradek::metadata
