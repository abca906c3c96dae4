// How a node asks other nodes. Interfaces only: `node` connects them.
#pragma once

#include <cstdint>
#include <functional>

#include "base/bytes.h"
#include "base/result.h"
#include "wire/api_keys.h"

namespace odradek::wire {

/// The door to the active controller, wherever it is. One per loop; used from that loop only.
class ToController {
 public:
  /// The body of the answer in the version that was asked, or kClosed / kUnsupported when no
  /// controller could take the request.
  using Done = std::move_only_function<void(Result<ByteBuffer>)>;

  virtual ~ToController() = default;
  /// Sends the body of a request, without header. `done` is called once, on the calling loop, now
  /// or in a later turn. For requests that change metadata it is called only after every loop of
  /// this node has the image that contains the change.
  virtual void send(ApiKey api, int16_t version, ByteBuffer body, Done done) = 0;
};

}  // namespace odradek::wire
