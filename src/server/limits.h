// Limits of connections, as configured. One copy per loop; per-node limits are already divided.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/ids.h"

namespace odradek::server {

struct Limits {
  int32_t frame_bytes_max = 100 << 20;              // socket.request.max.bytes
  int64_t connections_max = INT32_MAX;              // max.connections, whole node
  int64_t connections_per_ip_max = INT32_MAX;       // max.connections.per.ip, whole node
  std::map<std::string, int64_t> per_ip_overrides;  // max.connections.per.ip.overrides, whole node
  Millis idle_max{600'000};                         // connections.max.idle.ms; −1: never

  // Ours; beyond a limit the connection is not read, below half of it again.
  int64_t loop_queued_bytes_max = 256 << 20;       // queued.max.request.bytes / loops, if set
  int64_t connection_queued_bytes_max = 32 << 20;  // odradek.connection.max.queued.bytes
  int32_t connection_requests_max = 64;            // odradek.connection.max.waiting.requests
  int64_t connection_unsent_bytes_max = 32 << 20;  // odradek.connection.max.unsent.bytes
  Millis send_max{300'000};                        // odradek.connection.send.timeout.ms, one write
  Millis stall_max{10'000};                        // a half-sent frame while others wait for memory
};

}  // namespace odradek::server
