#include "server/server_metrics.h"

#include <fmt/format.h>

namespace odradek::server {

ServerMetrics::ServerMetrics(MetricSet& set, const DispatchTable& table)
    : connections(set.gauge("odradek_connections", "", "Open connections.")),
      connections_accepted(
          set.counter("odradek_connections_accepted_total", "", "Connections that were accepted.")),
      connections_refused(set.counter("odradek_connections_refused_total", "",
                                      "Connections over max.connections or a limit per host.")),
      connections_idle_closed(set.counter("odradek_connections_idle_closed_total", "",
                                          "Connections closed after connections.max.idle.ms.")),
      connections_slow_closed(set.counter("odradek_connections_slow_closed_total", "",
                                          "Connections closed because answers were not read.")),
      requests_refused(set.counter("odradek_requests_refused_total", "",
                                   "Requests that closed their connection: malformed, too large, "
                                   "or not served.")),
      bytes_in(set.counter("odradek_network_received_bytes_total", "", "Bytes read from clients.")),
      bytes_out(set.counter("odradek_network_sent_bytes_total", "", "Bytes written to clients.")),
      queued_bytes(set.gauge("odradek_request_queued_bytes", "",
                             "Bytes of requests that are being served or wait to be.")),
      reads_stopped(set.counter("odradek_connection_reads_stopped_total", "",
                                "Times that reading a connection stopped at a limit.")) {
  for (const ApiEntry& entry : table.entries()) {
    const std::string label = fmt::format("api=\"{}\"", wire::name(entry.key));
    auto phase = [&](std::string_view name) {
      return &set.histogram("odradek_request_seconds", fmt::format("{},phase=\"{}\"", label, name),
                            "Time of requests by phase: queue, local (its handler), remote "
                            "(waiting), send, total.");
    };
    Api& a = apis_[static_cast<size_t>(entry.key)];
    a.requests = &set.counter("odradek_requests_total", label, "Requests answered.");
    a.queue = phase("queue");
    a.local = phase("local");
    a.remote = phase("remote");
    a.send = phase("send");
    a.total = phase("total");
  }
}

}  // namespace odradek::server
