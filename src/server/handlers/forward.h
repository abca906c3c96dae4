// Requests that the active controller decides.
#pragma once

#include "io/task.h"
#include "server/request.h"

namespace odradek::server {

/// Passes the body on and answers with what comes back, in the same version. The client is answered
/// only after every loop of this node has the image that contains the change (wire/peers.h
/// promises it), so that whoever asks next, on any connection, sees it. When no controller takes
/// the request, or finds it malformed, the connection closes: the client connects again and
/// repeats, as with Apache when forwarding fails.
io::Task<void> forward_to_controller(Request& request);

}  // namespace odradek::server
