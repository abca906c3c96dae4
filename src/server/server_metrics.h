// The numbers that one loop's server keeps. Registered when the loop is set up; serving only
// increments.
#pragma once

#include <array>

#include "base/metrics.h"
#include "server/dispatch.h"

namespace odradek::server {

class ServerMetrics {
 public:
  struct Api {
    Counter* requests;  // answered, whatever the answer
    Histogram* queue;   // received → handler called
    Histogram* local;   // handler called → first wait, or end
    Histogram* remote;  // waiting → answer encoded
    Histogram* send;    // answer encoded → written to the socket
    Histogram* total;   // received → written
  };

  ServerMetrics(MetricSet& set, const DispatchTable& table);

  /// Of a served API.
  Api& api(wire::ApiKey key) { return apis_[static_cast<size_t>(key)]; }

  Counter& connections;  // open now
  Counter& connections_accepted;
  Counter& connections_refused;  // over a limit
  Counter& connections_idle_closed;
  Counter& connections_slow_closed;
  Counter& requests_refused;  // malformed, unknown, too large: the connection was closed
  Counter& bytes_in;
  Counter& bytes_out;
  Counter& queued_bytes;   // frames held now
  Counter& reads_stopped;  // times that a connection stopped reading at a limit

 private:
  std::array<Api, 128> apis_{};
};

}  // namespace odradek::server
