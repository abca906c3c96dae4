// The APIs of Kafka 4.3: keys, versions, where they are served, and which header goes with a
// version.
//
// `kApis` (generated from schemas/api-keys.txt) is indexed by key. It says what the protocol has;
// what this broker serves and advertises is the dispatch table's business.
#pragma once

#include <iterator>

#include "wire/gen/api_key_table.h"

namespace odradek::wire {

/// The row of `key`; null when there is no such key.
constexpr const ApiInfo* find_api(int16_t key) {
  if (key < 0 || key >= static_cast<int16_t>(std::size(kApis))) return nullptr;
  return &kApis[key];
}
constexpr const ApiInfo& api(ApiKey key) { return kApis[static_cast<int16_t>(key)]; }
/// "Fetch", or "Unknown".
constexpr std::string_view name(ApiKey key) {
  const ApiInfo* info = find_api(static_cast<int16_t>(key));
  return info ? info->name : std::string_view("Unknown");
}

/// Version of the request header before a body of `version`: 2 when that version is flexible,
/// else 1. Holds for versions that we do not know as well (ApiVersions needs it).
constexpr int16_t request_header_version(const ApiInfo& info, int16_t version) {
  return version >= info.first_flexible ? 2 : 1;
}
/// Version of the response header. ApiVersions answers always carry header 0, so that a client
/// which guessed the version wrong can read the answer.
constexpr int16_t response_header_version(const ApiInfo& info, int16_t version) {
  return info.key != ApiKey::kApiVersions && version >= info.first_flexible ? 1 : 0;
}

constexpr bool api_table_is_indexed_by_key() {
  for (size_t i = 0; i < std::size(kApis); i++)
    if (kApis[i].key != static_cast<ApiKey>(i)) return false;
  return true;
}
static_assert(api_table_is_indexed_by_key());

}  // namespace odradek::wire
