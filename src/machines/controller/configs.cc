// AlterConfigs 0-2 and IncrementalAlterConfigs 0-1. What a change may be is metadata's business
// (metadata/config_alter.h); here resources are told apart and answered one by one.
#include <set>

#include "machines/controller/apis.h"
#include "metadata/config_alter.h"

namespace odradek::machines::control {

namespace {

using metadata::ResourceType;
using wire::ErrorCode;

bool known(int8_t type) {
  switch (static_cast<ResourceType>(type)) {
    case ResourceType::kTopic:
    case ResourceType::kBroker:
    case ResourceType::kBrokerLogger:
    case ResourceType::kClientMetrics:
    case ResourceType::kGroup:
      return true;
    case ResourceType::kUnknown:
      break;
  }
  return false;
}

/// Decides resource by resource; `decide` gives the outcome of one.
template <class Request, class Response, class Decide>
Response alter(Context& context, const Request& request, Decide decide) {
  using Key = std::pair<int8_t, std::string_view>;
  Response response;
  std::set<Key> seen;
  std::set<Key> twice;
  for (const auto& r : request.resources)
    if (!seen.insert({r.resource_type, r.resource_name}).second)
      twice.insert({r.resource_type, r.resource_name});
  const auto add = [&](const Key& key, const ApiError& error) {
    auto& out = response.responses.add(context.arena);
    out.resource_type = key.first;
    out.resource_name = key.second;
    out.error_code = wire_value(error.code);
    out.error_message = context.keep(error.message);
  };
  for (const auto& r : request.resources) {
    const Key key{r.resource_type, r.resource_name};
    if (!known(r.resource_type)) {
      add(key,
          api_error(ErrorCode::kUnsupportedVersion, "Unknown resource type {}.", r.resource_type));
      continue;
    }
    if (twice.contains(key)) continue;
    const metadata::ConfigResource resource{static_cast<ResourceType>(r.resource_type),
                                            std::string(r.resource_name)};
    metadata::AlterOutcome outcome = decide(resource, r);
    if (outcome.error != ErrorCode::kNone) {
      add(key, {outcome.error, outcome.message});
      continue;
    }
    for (auto& record : outcome.records) context.records.push_back(std::move(record));
    add(key, {});
  }
  for (const Key& key : twice)
    if (known(key.first)) add(key, api_error(ErrorCode::kInvalidRequest, "Duplicate resource."));
  if (context.records.size() > kRecordsMax) {
    context.records.clear();
    response = {};
    for (const Key& key : seen) add(key, too_many_records());
  }
  if (request.validate_only) context.records.clear();
  return response;
}

}  // namespace

wire::AlterConfigsResponse alter_configs(Context& context, const wire::AlterConfigsRequest& request,
                                         int16_t) {
  return alter<wire::AlterConfigsRequest, wire::AlterConfigsResponse>(
      context, request, [&](const metadata::ConfigResource& resource, const auto& asked) {
        std::vector<metadata::AlterEntry> entries;
        for (const auto& c : asked.configs)
          entries.push_back({c.name, metadata::AlterOp::kSet, c.value});
        return metadata::alter_wholly(context.image, *context.settings.config, resource, entries);
      });
}

wire::IncrementalAlterConfigsResponse incremental_alter_configs(
    Context& context, const wire::IncrementalAlterConfigsRequest& request, int16_t) {
  return alter<wire::IncrementalAlterConfigsRequest, wire::IncrementalAlterConfigsResponse>(
      context, request, [&](const metadata::ConfigResource& resource, const auto& asked) {
        std::vector<metadata::AlterEntry> entries;
        for (const auto& c : asked.configs) {
          if (c.config_operation < 0 || c.config_operation > 3)
            return metadata::AlterOutcome{
                ErrorCode::kInvalidRequest,
                fmt::format("Unknown operation type {}", c.config_operation),
                {}};
          entries.push_back({c.name, static_cast<metadata::AlterOp>(c.config_operation), c.value});
        }
        return metadata::alter_incrementally(context.image, *context.settings.config, resource,
                                             entries);
      });
}

}  // namespace odradek::machines::control
