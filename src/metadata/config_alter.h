// What AlterConfigs and IncrementalAlterConfigs may do: pure rules that the controller machine and
// the broker's handlers share.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "metadata/broker_config.h"
#include "metadata/image.h"
#include "metadata/record.h"

namespace odradek::wire {
enum class ErrorCode : int16_t;
}

namespace odradek::metadata {

enum class AlterOp : int8_t { kSet = 0, kDelete = 1, kAppend = 2, kSubtract = 3 };

struct AlterEntry {
  std::string_view name;
  AlterOp op = AlterOp::kSet;
  std::optional<std::string_view> value;
};

struct AlterOutcome {
  wire::ErrorCode error{};  // kNone (0): `records` may be written
  std::string message;
  std::vector<Record> records;  // ConfigRecords, and ClearElr where a min ISR changes under ELR
};

/// IncrementalAlterConfigs of one resource, as the controller decides it. `image` is the
/// controller's state; `config` its own settings. `new_topic`: the settings are those of a
/// CreateTopics that is being decided (the topic need not exist yet).
AlterOutcome alter_incrementally(const Image& image, const BrokerConfig& config,
                                 const ConfigResource& resource,
                                 std::span<const AlterEntry> entries, bool new_topic = false);
/// AlterConfigs: the resource has exactly these settings afterwards.
AlterOutcome alter_wholly(const Image& image, const BrokerConfig& config,
                          const ConfigResource& resource, std::span<const AlterEntry> entries);

/// What the broker that got the request checks before it forwards it: names twice, null values, and
/// for broker resources read-only and per-broker names, values, and whether the name is this broker
/// (or ""). `incremental` tells which API. kNone: forward it.
AlterOutcome check_before_forwarding(const Image& image, const BrokerConfig& config,
                                     const ConfigResource& resource,
                                     std::span<const AlterEntry> entries, bool incremental);

}  // namespace odradek::metadata
