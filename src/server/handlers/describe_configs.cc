// DescribeConfigs (32), versions 1-4: the settings of topics, brokers, groups and client metrics.
//
// 1: synonyms, with the source of each value. 3: types and documentation. 4: flexible.
// - Values of sensitive settings are never told.
// - A broker answers for itself and for the dynamic defaults of all ("").
// - An empty list of keys means all, like null.
// - Without an error the message is empty, not null, as Apache writes it.
#include <vector>

#include "metadata/broker_config.h"
#include "metadata/config_describe.h"
#include "metadata/image.h"
#include "server/handlers/handlers.h"
#include "server/handlers/topic_view.h"
#include "server/services.h"
#include "wire/errors.h"
#include "wire/gen/describe_configs.h"

namespace odradek::server {

namespace {

using Response = wire::DescribeConfigsResponse;

std::optional<std::string_view> copy(Arena& arena, const std::optional<std::string>& text) {
  if (!text) return std::nullopt;
  return arena.copy(*text);
}

void add_config(Arena& arena, Response::DescribeConfigsResult& result,
                const metadata::DescribedConfig& config) {
  auto& c = result.configs.add(arena);
  c.name = arena.copy(config.name);
  c.value = copy(arena, config.value);
  c.read_only = config.read_only;
  c.config_source = static_cast<int8_t>(config.source);
  c.is_sensitive = config.sensitive;
  c.config_type = static_cast<int8_t>(config.type);
  c.documentation = copy(arena, config.documentation);
  for (const metadata::DescribedSynonym& synonym : config.synonyms) {
    auto& s = c.synonyms.add(arena);
    s.name = arena.copy(synonym.name);
    s.value = copy(arena, synonym.value);
    s.source = static_cast<int8_t>(synonym.source);
  }
}

}  // namespace

io::Task<void> handle_describe_configs(Request& request) {
  wire::DescribeConfigsRequest body;
  if (!request.decode(body)) co_return;
  Arena& arena = request.arena();
  const metadata::ImagePtr image = request.services().image;
  const metadata::BrokerConfigPtr config = request.services().config;
  Response response;
  for (const auto& resource : body.resources) {
    metadata::DescribeQuery query;
    query.resource.type = static_cast<metadata::ResourceType>(resource.resource_type);
    query.resource.name = resource.resource_name;
    query.synonyms = body.include_synonyms;
    query.documentation = request.version() >= 3 && body.include_documentation;
    if (resource.configuration_keys && !resource.configuration_keys->empty())
      query.keys.emplace(resource.configuration_keys->begin(), resource.configuration_keys->end());
    metadata::DescribeAnswer answer = metadata::describe_config(*image, *config, query);
    if (query.resource.type == metadata::ResourceType::kTopic &&
        !is_valid_topic_name(resource.resource_name)) {
      answer.error = wire::ErrorCode::kInvalidTopicException;
      answer.message = wire::message(answer.error);
    }

    Response::DescribeConfigsResult& result = response.results.add(arena);
    result.error_code = wire::wire_value(answer.error);
    if (!answer.message.empty()) result.error_message = arena.copy(answer.message);
    result.resource_type = resource.resource_type;
    result.resource_name = resource.resource_name;
    for (const metadata::DescribedConfig& c : answer.configs) add_config(arena, result, c);
  }
  request.respond(response);
}

}  // namespace odradek::server
