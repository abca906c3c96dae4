// IncrementalAlterConfigs (44), versions 0-1: settings of a resource are set, deleted, appended to
// or taken from; others stay.
//
// 1: flexible.
#include "wire/gen/incremental_alter_configs.h"
#include "server/handlers/alter_common.h"
#include "server/handlers/handlers.h"

namespace odradek::server {

namespace {

using Resource = wire::IncrementalAlterConfigsRequest::AlterConfigsResource;

std::vector<metadata::AlterEntry> entries_of(const Resource& resource) {
  std::vector<metadata::AlterEntry> entries;
  for (const auto& c : resource.configs)
    entries.push_back({c.name, static_cast<metadata::AlterOp>(c.config_operation), c.value});
  return entries;
}

}  // namespace

io::Task<void> handle_incremental_alter_configs(Request& request) {
  return alter_configs<wire::IncrementalAlterConfigsRequest, wire::IncrementalAlterConfigsResponse>(
      request, true, entries_of);
}

}  // namespace odradek::server
