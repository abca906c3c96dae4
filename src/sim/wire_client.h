// WireClient: a Kafka client of a simulation, one request at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/result.h"
#include "io/io.h"
#include "wire/frame.h"
#include "wire/reader.h"
#include "wire/writer.h"

namespace odradek::sim {

/// A decoded answer with the memory that it points into.
template <class Response>
struct Reply {
  ByteBuffer frame;
  std::unique_ptr<Arena> arena;
  Response body;
};

class WireClient {
 public:
  WireClient(io::Loop& loop, io::Endpoint broker) : loop_(loop), broker_(std::move(broker)) {}

  /// Connects if need be, sends, waits for the answer. After an error it is unknown whether the
  /// request was done; the next call uses a new connection.
  template <class Request, class Response>
  io::Task<Result<Reply<Response>>> call(const Request& request, int16_t version) {
    const int32_t id = next_id_++;
    wire::Writer writer;
    wire::encode_request_frame(writer, request, version, id, "sim");
    if (writer.error()) co_return std::unexpected(*writer.error());
    Result<ByteBuffer> frame = co_await exchange(writer.take());
    if (!frame) co_return std::unexpected(frame.error());
    Reply<Response> reply{std::move(*frame), std::make_unique<Arena>(), {}};
    wire::Reader reader(reply.frame, *reply.arena);
    wire::ResponseHeader header;
    auto api = static_cast<wire::ApiKey>(Request::kApiKey);
    if (auto r = wire::decode_response_header(reader, header, api, version); !r) {
      co_return std::unexpected(r.error());
    }
    if (header.correlation_id != id) co_return fail(Errc::kCorrupt, "an answer to another request");
    if (auto r = reply.body.decode(reader, version); !r) co_return std::unexpected(r.error());
    co_return reply;
  }
  /// The next call uses a new connection. Not while one is under way.
  void disconnect() { socket_.reset(); }

 private:
  io::Task<Result<ByteBuffer>> exchange(ByteBuffer request);
  io::Task<Result<ByteBuffer>> exchange_on(io::Socket& socket, const Chain& request);

  io::Loop& loop_;
  io::Endpoint broker_;
  std::unique_ptr<io::Socket> socket_;
  int32_t next_id_ = 1;
};

}  // namespace odradek::sim
