// AdminClient: a blocking client for the commands of the command line, over our own codecs. One connection at a time,
// one request in flight. Debian's librdkafka lacks most newer admin calls, so admin commands speak the wire directly.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/result.h"
#include "wire/codec.h"
#include "wire/errors.h"

namespace odradek::app {

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
    auto version = negotiate(Request::kApiKey, Request::kMinVersion, Request::kMaxVersion);
    if (!version) return std::unexpected(version.error());
    wire::Writer writer;
    request.encode(writer, *version);
    if (!writer.error().empty()) return fail(Errc::kUnsupported, std::string(writer.error()));
    ByteBuffer body = writer.take();
    bool flexible = *version >= Request::kFirstFlexible;
    auto answer = exchange(Request::kApiKey, *version, flexible, body, arena);
    if (!answer) return std::unexpected(answer.error());
    wire::Reader reader(*answer, arena);
    Response response;
    if (auto r = response.decode(reader, *version); !r) return std::unexpected(r.error());
    return response;
  }

  /// Where we are connected.
  const std::string& peer() const { return peer_; }

 private:
  Result<int16_t> negotiate(int16_t api, int16_t min, int16_t max) const;
  /// One request and its answer's body, in memory of `arena`.
  Result<ByteView> exchange(int16_t api, int16_t version, bool flexible, ByteView body, Arena& arena);
  Result<void> learn_versions();
  Result<void> send_all(ByteView bytes);
  Result<void> receive(MutableBytes into);

  int fd_ = -1;
  int32_t next_id_ = 1;
  std::string peer_;
  std::map<int16_t, std::pair<int16_t, int16_t>> versions_;
};

}  // namespace odradek::app
