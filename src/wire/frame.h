// Frames of a connection: int32 size, header, body.
//
// Reading starts behind the size, which whoever reads the socket has checked and cut.
#pragma once

#include <fmt/format.h>

#include <optional>
#include <string_view>

#include "wire/api_keys.h"
#include "wire/gen/header.h"
#include "wire/reader.h"
#include "wire/writer.h"

namespace odradek::wire {

/// Reads a request's header and leaves the reader at the body. Fails for API keys that do not exist
/// (their header version is unknown) and for malformed headers; versions that do not exist pass.
inline Result<void> decode_request_header(Reader& r, RequestHeader& header) {
  const ByteView start = r.rest();
  if (start.size() < 8) return fail(Errc::kCorrupt, "a request shorter than its header");
  const auto key = load_be<int16_t>(start.data());
  const auto version = load_be<int16_t>(start.data() + 2);
  const ApiInfo* info = find_api(key);
  if (info == nullptr || info->removed())
    return fail(Errc::kUnsupported, fmt::format("no API has the key {}", key));
  return header.decode(r, request_header_version(*info, version));
}

/// Writes a whole request frame; true size included.
template <class Request>
void encode_request_frame(Writer& w, const Request& body, int16_t version, int32_t correlation_id,
                          std::optional<std::string_view> client_id) {
  const Writer::FrameMark frame = w.begin_frame();
  RequestHeader header;
  header.request_api_key = Request::kApiKey;
  header.request_api_version = version;
  header.correlation_id = correlation_id;
  header.client_id = client_id;
  header.encode(w, request_header_version(*find_api(Request::kApiKey), version));
  body.encode(w, version);
  w.end_frame(frame);
}

/// Writes a whole response frame. ApiVersions answers in version 0 to a version that it does not
/// know: pass 0 then.
template <class Response>
void encode_response_frame(Writer& w, const Response& body, int16_t version,
                           int32_t correlation_id) {
  const Writer::FrameMark frame = w.begin_frame();
  ResponseHeader header;
  header.correlation_id = correlation_id;
  header.encode(w, response_header_version(*find_api(Response::kApiKey), version));
  body.encode(w, version);
  w.end_frame(frame);
}

/// Reads a response's header (behind the size) and leaves the reader at the body.
inline Result<void> decode_response_header(Reader& r, ResponseHeader& header, ApiKey key,
                                           int16_t version) {
  return header.decode(r, response_header_version(api(key), version));
}

}  // namespace odradek::wire
