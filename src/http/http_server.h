// HttpServer: pages for people, probes and scrapers over HTTP/1.1. Not for Kafka clients.
//
// Lives on one loop. It knows paths and functions that make their content, which `node` hands in;
// `/` lists them. Only GET and HEAD, bounded requests, a bounded number of connections, and a time
// limit on each exchange, so that it cannot harm the broker beside it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/logger.h"
#include "base/result.h"
#include "io/io.h"
#include "io/task.h"

namespace odradek::http {

struct Page {
  int status = 200;
  std::string body;
};

/// One path.
struct View {
  std::string path;          // "/metrics"
  std::string content_type;  // "text/plain; version=0.0.4"
  std::string about;         // one line for the index
  /// May go to other loops to find out, and comes back.
  std::function<io::Task<Page>()> make;
};

/// For `/metrics` and the like: always 200.
View text_view(std::string path, std::string content_type, std::string about,
               std::function<std::string()> make);
/// `/healthz`: 200 with "ready", or 503 with what `state` says ("starting", "stopping").
View health_view(std::function<std::string()> state);

struct HttpLimits {
  size_t request_bytes_max = 8192;  // line, headers and body together
  size_t connections_max = 64;
  Millis exchange_max{10'000};  // one request and its answer, and the pause before it
};

class HttpServer {
 public:
  HttpServer(io::Loop& loop, Logger logger, std::vector<View> views, HttpLimits limits = {});
  /// `close` must have been called if it listened.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// kExists: the port is in use.
  Result<void> listen(const io::Endpoint& at);
  /// Where it listens, with real ports.
  std::vector<io::Endpoint> endpoints() const;
  /// Stops listening and closes every connection.
  void close();
  size_t connection_count() const { return connections_.size(); }

 private:
  struct Connection;

  void accepted(std::unique_ptr<io::Socket> socket);
  io::Task<void> serve(std::shared_ptr<Connection> connection);
  io::Task<bool> exchange(Connection& connection);
  io::Task<void> drain(Connection& connection);
  io::Task<Page> answer(std::string method, std::string path, std::string& content_type) const;
  std::string index() const;

  io::Loop& loop_;
  Logger logger_;
  std::vector<View> views_;
  HttpLimits limits_;
  std::vector<std::unique_ptr<io::Listener>> listeners_;
  std::vector<std::shared_ptr<Connection>> connections_;
};

/// An entry of odradek.http.listeners: "http://host:port", or "host:port".
Result<io::Endpoint> parse_listener(std::string_view text);

}  // namespace odradek::http
