#include "server/handlers/forward.h"

#include <fmt/format.h>

#include "server/services.h"

namespace odradek::server {

io::Task<void> forward_to_controller(Request& request) {
  const ByteView body = request.body();
  const Result<ByteBuffer> answer = co_await ask_controller(
      request.services(), request.api(), request.version(), ByteBuffer(body.begin(), body.end()));
  if (answer) {
    request.respond_body(*answer);
  } else {
    request.close(fmt::format("{} version {}: {}", wire::name(request.api()), request.version(),
                              answer.error().message));
  }
}

}  // namespace odradek::server
