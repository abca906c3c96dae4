// What AlterConfigs and IncrementalAlterConfigs share. The broker that got the request refuses what
// it can judge alone (broker resources above all: only this broker knows its own settings) and
// passes the rest on; the controller judges again and writes.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "metadata/config_alter.h"
#include "metadata/image.h"
#include "server/handlers/forward.h"
#include "server/request.h"
#include "server/services.h"
#include "wire/errors.h"

namespace odradek::server {

/// `entries_of(resource)` gives the changes as metadata::AlterEntry.
template <class RequestBody, class ResponseBody, class EntriesOf>
io::Task<void> alter_configs(Request& request, bool incremental, EntriesOf entries_of) {
  // A controller listener has no broker part: the controller alone decides.
  if (request.listener().kind == ListenerKind::kController) {
    co_await forward_to_controller(request);
    co_return;
  }
  RequestBody body;
  if (!request.decode(body)) co_return;
  Services& services = request.services();
  Arena& arena = request.arena();
  ResponseBody response;
  RequestBody rest;
  rest.validate_only = body.validate_only;
  auto answer = [&](const auto& resource, wire::ErrorCode error, std::string_view text) {
    auto& r = response.responses.add(arena);
    r.error_code = wire::wire_value(error);
    r.error_message = arena.copy(text);
    r.resource_type = resource.resource_type;
    r.resource_name = resource.resource_name;
  };
  for (const auto& resource : body.resources) {
    const bool twice = std::ranges::count_if(body.resources, [&](const auto& other) {
                         return other.resource_type == resource.resource_type &&
                                other.resource_name == resource.resource_name;
                       }) > 1;
    if (twice) {
      answer(resource, wire::ErrorCode::kInvalidRequest, "Each resource must appear at most once.");
      continue;
    }
    const metadata::ConfigResource named{
        static_cast<metadata::ResourceType>(resource.resource_type),
        std::string(resource.resource_name)};
    const std::vector<metadata::AlterEntry> entries = entries_of(resource);
    const metadata::AlterOutcome outcome = metadata::check_before_forwarding(
        *services.image, *services.config, named, entries, incremental);
    if (outcome.error != wire::ErrorCode::kNone) {
      answer(resource, outcome.error, outcome.message);
    } else {
      rest.resources.add(arena, resource);
    }
  }
  if (rest.resources.empty()) {
    request.respond(response);
    co_return;
  }
  wire::Writer writer;
  rest.encode(writer, request.version());
  const Result<ByteBuffer> decided =
      co_await ask_controller(services, request.api(), request.version(), writer.take());
  if (!decided) {
    request.close(fmt::format("{}: {}", wire::name(request.api()), decided.error().message));
    co_return;
  }
  ResponseBody from_controller;
  wire::Reader reader(*decided, arena);
  if (Result<void> r = from_controller.decode(reader, request.version()); !r) {
    request.close("the controller's answer: " + r.error().message);
    co_return;
  }
  for (const auto& r : from_controller.responses) response.responses.add(arena, r);
  request.respond(response);
}

}  // namespace odradek::server
