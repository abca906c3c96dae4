// ListConfigResources (74), versions 0-1: names of the things that can have settings.
//
// 0 is the former ListClientMetricsResources: client metrics subscriptions only. 1: types to list,
// none meaning all.
// - Topics and brokers are listed whether they have settings or not; groups and client metrics
// exist
//   here only by having some.
#include <algorithm>

#include <fmt/format.h>

#include "metadata/image.h"
#include "server/handlers/handlers.h"
#include "server/services.h"
#include "wire/errors.h"
#include "wire/gen/list_config_resources.h"

namespace odradek::server {

namespace {

using metadata::ResourceType;
constexpr ResourceType kListed[] = {ResourceType::kTopic, ResourceType::kBroker,
                                    ResourceType::kBrokerLogger, ResourceType::kClientMetrics,
                                    ResourceType::kGroup};

class Lister {
 public:
  explicit Lister(Request& request) : arena_(request.arena()), image_(*request.services().image) {}

  void list(ResourceType type) {
    switch (type) {
      case ResourceType::kTopic:
        return image_.for_each_topic([&](const metadata::TopicPtr& t) { add(type, t->name); });
      case ResourceType::kBroker:
      case ResourceType::kBrokerLogger:
        for (const auto& [id, broker] : image_.brokers)
          add(type, arena_.copy(fmt::format("{}", id.value)));
        return;
      default:
        image_.configs.for_each([&](const auto& c) {
          if (c->resource.type == type) add(type, c->resource.name);
        });
    }
  }
  wire::ListConfigResourcesResponse response;

 private:
  void add(ResourceType type, std::string_view name) {
    auto& r = response.config_resources.add(arena_);
    r.resource_type = static_cast<int8_t>(type);
    r.resource_name = name;
  }
  Arena& arena_;
  const metadata::Image& image_;
};

}  // namespace

io::Task<void> handle_list_config_resources(Request& request) {
  wire::ListConfigResourcesRequest body;
  if (!request.decode(body)) co_return;
  Lister lister(request);
  if (request.version() == 0) {
    lister.list(ResourceType::kClientMetrics);
  } else if (body.resource_types.empty()) {
    for (ResourceType type : kListed) lister.list(type);
  } else {
    const bool known = std::ranges::all_of(body.resource_types, [](int8_t t) {
      return std::ranges::find(kListed, static_cast<ResourceType>(t)) != std::end(kListed);
    });
    for (ResourceType type : kListed) {
      if (known && std::ranges::find(body.resource_types, static_cast<int8_t>(type)) !=
                       body.resource_types.end())
        lister.list(type);
    }
    if (!known) lister.response.error_code = wire::wire_value(wire::ErrorCode::kUnsupportedVersion);
  }
  request.respond(lister.response);
}

}  // namespace odradek::server
