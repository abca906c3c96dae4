#include "sim/wire_client.h"

namespace odradek::sim {
namespace {

io::Task<Result<void>> read_fully(io::Socket& socket, MutableBytes into) {
  while (!into.empty()) {
    Result<size_t> n = co_await socket.read(into);
    if (!n) co_return std::unexpected(n.error());
    if (*n == 0) co_return fail(Errc::kClosed, "the broker closed the connection");
    into = into.subspan(*n);
  }
  co_return Result<void>();
}

}  // namespace

io::Task<Result<ByteBuffer>> WireClient::exchange(ByteBuffer request) {
  if (!socket_) {
    io::Completion<Result<std::unique_ptr<io::Socket>>> connected;
    loop_.net().start_connect(broker_, connected);
    Result<std::unique_ptr<io::Socket>> socket = co_await connected;
    if (!socket) co_return std::unexpected(socket.error());
    socket_ = std::move(*socket);
  }
  Chain chain;
  chain.add(std::move(request));
  Result<ByteBuffer> answer = co_await exchange_on(*socket_, chain);
  if (!answer) socket_.reset();
  co_return answer;
}

io::Task<Result<ByteBuffer>> WireClient::exchange_on(io::Socket& socket, const Chain& request) {
  if (Result<void> r = co_await socket.write(request); !r) co_return std::unexpected(r.error());
  uint8_t size[4];
  if (Result<void> r = co_await read_fully(socket, size); !r) co_return std::unexpected(r.error());
  ByteBuffer frame(load_be<uint32_t>(size));
  if (Result<void> r = co_await read_fully(socket, frame); !r) co_return std::unexpected(r.error());
  co_return frame;
}

}  // namespace odradek::sim
