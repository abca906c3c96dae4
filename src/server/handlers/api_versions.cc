// ApiVersions (18), versions 0-4: what this listener serves, and the features of the cluster.
//
// 3: the client tells its name; features. 4: features whose lowest level is 0.
// - A version that we do not know is answered with a version 0 body, UNSUPPORTED_VERSION and our
//   range of this API alone, so that the client can ask again.
// - Answers carry response header 0 in every version.
// - Clients before version 4 refuse a feature whose lowest level is 0: such supported features are
//   left out for them. Finalized ones are all listed.
// - Once there are several nodes, the range of a forwardable API is the intersection with the
//   active controller's; alone, the two are the same table.
#include "wire/gen/api_versions.h"
#include "metadata/features.h"
#include "metadata/image.h"
#include "server/dispatch.h"
#include "server/handlers/handlers.h"
#include "server/services.h"
#include "wire/errors.h"

namespace odradek::server {

namespace {

/// Letters and digits, with dots and dashes inside, as Apache demands of a client's name and
/// version.
bool is_software_text(std::string_view text) {
  auto alphanumeric = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  if (text.empty() || !alphanumeric(text.front()) || !alphanumeric(text.back())) return false;
  for (char c : text)
    if (!alphanumeric(c) && c != '-' && c != '.') return false;
  return true;
}

void add_api(Arena& arena, wire::ApiVersionsResponse& response, const ApiEntry& entry) {
  auto& api = response.api_keys.add(arena);
  api.api_key = static_cast<int16_t>(entry.key);
  api.min_version = entry.advertised_min;
  api.max_version = entry.max;
}

void add_features(Request& request, wire::ApiVersionsResponse& response) {
  Arena& arena = request.arena();
  for (const metadata::FeatureInfo& feature : metadata::supported_features()) {
    if (feature.min == 0 && request.version() < 4) continue;
    auto& f = response.supported_features.add(arena);
    f.name = feature.name;
    f.min_version = feature.min;
    f.max_version = feature.max;
  }
  const Services& services = request.services();
  response.finalized_features_epoch = services.image->provenance.offset.value;
  auto finalize = [&](std::string_view name, int16_t level) {
    auto& f = response.finalized_features.add(arena);
    f.name = name;
    f.min_version_level = level;
    f.max_version_level = level;
  };
  for (const auto& [name, level] : services.image->features) finalize(name, level);
  if (services.kraft_version > 0) finalize(metadata::kKraftVersion, services.kraft_version);
}

}  // namespace

io::Task<void> handle_api_versions(Request& request) {
  const DispatchTable& table = request.services().dispatch;
  wire::ApiVersionsResponse response;
  const ApiEntry& own = *table.find(wire::ApiVersionsRequest::kApiKey);
  if (request.version() < own.min || request.version() > own.max) {
    response.error_code = wire::wire_value(wire::ErrorCode::kUnsupportedVersion);
    add_api(request.arena(), response, own);
    request.respond_as(response, 0);
    co_return;
  }
  wire::ApiVersionsRequest body;
  if (!request.decode(body)) co_return;
  if (request.version() >= 3) {
    if (!is_software_text(body.client_software_name) ||
        !is_software_text(body.client_software_version)) {
      response.error_code = wire::wire_value(wire::ErrorCode::kInvalidRequest);
      request.respond(response);
      co_return;
    }
    request.mutable_connection().software_name = body.client_software_name;
    request.mutable_connection().software_version = body.client_software_version;
  }
  for (const ApiEntry& entry : table.entries())
    if (entry.serves(request.listener().kind)) add_api(request.arena(), response, entry);
  if (request.version() >= 3) add_features(request, response);
  request.respond(response);
}

}  // namespace odradek::server
