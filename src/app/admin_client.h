// AdminClient: a blocking client for the commands of the command line, over our own codecs. One
// connection at a time, one request in flight. Debian's librdkafka lacks most newer admin calls, so
// admin commands speak the wire directly.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/result.h"
#include "wire/errors.h"
#include "wire/frame.h"
#include "wire/reader.h"
#include "wire/writer.h"

namespace odradek::app {

/// A connected socket that is the caller's to close, or why not.
Result<int> dial(const std::string& host, const std::string& port);

/// One connection to one broker. Not thread safe. Answers' views live in the arena given to `call`.
class AdminClient {
 public:
  AdminClient() = default;
  ~AdminClient();
  AdminClient(AdminClient&& other) noexcept;
  AdminClient& operator=(AdminClient&& other) noexcept;

  /// Connects to the first of `host:port,host:port…` that answers and learns its versions.
  static Result<AdminClient> connect(const std::string& bootstrap);

  /// Sends `request` in the highest version that both sides know and decodes the answer.
  template <class Request, class Response>
  Result<Response> call(const Request& request, Arena& arena) {
    return call_up_to<Request, Response>(request, Request::kMaxVersion, arena);
  }
  /// The same, in none above `most`.
  template <class Request, class Response>
  Result<Response> call_up_to(const Request& request, int16_t most, Arena& arena) {
    auto version = negotiate(Request::kApiKey, Request::kMinVersion, most);
    if (!version) return std::unexpected(version.error());
    return call_version<Request, Response>(request, *version, arena);
  }

  /// Where we are connected.
  const std::string& peer() const { return peer_; }

 private:
  template <class Request, class Response>
  Result<Response> call_version(const Request& request, int16_t version, Arena& arena) {
    const int32_t id = next_id_++;
    wire::Writer writer;
    wire::encode_request_frame(writer, request, version, id, "odradek-cli");
    if (writer.error()) return std::unexpected(*writer.error());
    if (auto r = send_all(writer.take()); !r) return std::unexpected(r.error());
    auto frame = receive_frame(arena);
    if (!frame) return std::unexpected(frame.error());
    wire::Reader reader(*frame, arena);
    wire::ResponseHeader header;
    auto key = static_cast<wire::ApiKey>(Request::kApiKey);
    if (auto r = wire::decode_response_header(reader, header, key, version); !r)
      return std::unexpected(r.error());
    if (header.correlation_id != id) return fail(Errc::kCorrupt, "an answer to another request");
    Response response;
    if (auto r = response.decode(reader, version); !r) return std::unexpected(r.error());
    return response;
  }
  Result<int16_t> negotiate(int16_t api, int16_t min, int16_t max) const;
  /// The next frame without its size, in memory of `arena`.
  Result<ByteView> receive_frame(Arena& arena);
  Result<void> learn_versions();
  Result<void> send_all(ByteView bytes);
  Result<void> receive(MutableBytes into);

  int fd_ = -1;
  int32_t next_id_ = 1;
  std::string peer_;
  std::map<int16_t, std::pair<int16_t, int16_t>> versions_;
};

}  // namespace odradek::app
