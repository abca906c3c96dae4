// AlterConfigs (33), versions 0-2: a resource gets exactly these settings; others are dropped.
//
// 2: flexible. Deprecated in favour of IncrementalAlterConfigs, and without broker loggers.
#include "wire/gen/alter_configs.h"
#include "server/handlers/alter_common.h"
#include "server/handlers/handlers.h"

namespace odradek::server {

namespace {

using Resource = wire::AlterConfigsRequest::AlterConfigsResource;

std::vector<metadata::AlterEntry> entries_of(const Resource& resource) {
  std::vector<metadata::AlterEntry> entries;
  for (const auto& c : resource.configs)
    entries.push_back({c.name, metadata::AlterOp::kSet, c.value});
  return entries;
}

}  // namespace

io::Task<void> handle_alter_configs(Request& request) {
  return alter_configs<wire::AlterConfigsRequest, wire::AlterConfigsResponse>(request, false,
                                                                              entries_of);
}

}  // namespace odradek::server
