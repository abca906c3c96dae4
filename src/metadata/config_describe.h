// DescribeConfigs: every setting of a resource with its value, where that comes from, and what
// would apply without it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "metadata/broker_config.h"
#include "metadata/config_value.h"
#include "metadata/image.h"

namespace odradek::wire {
enum class ErrorCode : int16_t;
}

namespace odradek::metadata {

/// Numbers are those of DescribeConfigs.
enum class ConfigSource : int8_t {
  kUnknown = 0,
  kDynamicTopic = 1,
  kDynamicBroker = 2,
  kDynamicDefaultBroker = 3,
  kStaticBroker = 4,
  kDefault = 5,
  kDynamicBrokerLogger = 6,
  kClientMetrics = 7,
  kGroup = 8,
};

struct DescribedSynonym {
  std::string name;
  std::optional<std::string> value;
  ConfigSource source = ConfigSource::kUnknown;
  bool operator==(const DescribedSynonym&) const = default;
};

struct DescribedConfig {
  std::string name;
  std::optional<std::string> value;  // null: none, or sensitive
  bool read_only = false;
  ConfigSource source = ConfigSource::kUnknown;
  bool sensitive = false;
  std::vector<DescribedSynonym> synonyms;
  ConfigType type = ConfigType::kUnknown;
  std::optional<std::string> documentation;
};

struct DescribeQuery {
  ConfigResource resource;
  /// Names to tell; none: all.
  std::optional<std::vector<std::string_view>> keys;
  bool synonyms = false;
  bool documentation = false;
};

struct DescribeAnswer {
  wire::ErrorCode error{};
  std::string message;
  std::vector<DescribedConfig> configs;
};

/// Describes one resource, by name of setting. Broker resources are answered for this broker and
/// for
/// "" (dynamic defaults only); for another broker's id INVALID_REQUEST.
DescribeAnswer describe_config(const Image& image, const BrokerConfig& broker,
                               const DescribeQuery& query);

}  // namespace odradek::metadata
