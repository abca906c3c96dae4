#include "http/http_server.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <charconv>
#include <optional>

#include "base/check.h"

namespace odradek::http {

namespace beast = boost::beast::http;

namespace {

constexpr Millis kDrain{1'000};

using Parser = beast::request_parser<beast::string_body>;

std::string_view reason(int status) {
  const auto text = beast::obsolete_reason(static_cast<beast::status>(status));
  return {text.data(), text.size()};
}

int status_of(const boost::beast::error_code& error) {
  if (error == beast::error::header_limit) return 431;
  if (error == beast::error::body_limit) return 413;
  return 400;
}

std::string render(const Page& page, std::string_view content_type, bool keep_alive, bool head) {
  std::string out = fmt::format(
      "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n"
      "X-Content-Type-Options: nosniff\r\nConnection: {}\r\n",
      page.status, reason(page.status), content_type, page.body.size(),
      keep_alive ? "keep-alive" : "close");
  if (page.status == 405) out += "Allow: GET, HEAD\r\n";
  out += "\r\n";
  if (!head) out += page.body;
  return out;
}

io::Task<Page> made(Page page) { co_return page; }

}  // namespace

View text_view(std::string path, std::string content_type, std::string about,
               std::function<std::string()> make) {
  return {std::move(path), std::move(content_type), std::move(about),
          [make = std::move(make)] { return made({200, make()}); }};
}

View health_view(std::function<std::string()> state) {
  return {"/healthz", "text/plain; charset=utf-8", "200 when this node serves clients, else 503",
          [state = std::move(state)] {
            const std::string now = state();
            return made({now == "ready" ? 200 : 503, now + "\n"});
          }};
}

struct HttpServer::Connection {
  std::unique_ptr<io::Socket> socket;
  std::string unread;  // bytes behind the request that was parsed last
  io::TimerId timer = io::TimerId::kNone;
  bool closed = false;  // by `close`; the server may be gone
};

HttpServer::HttpServer(io::Loop& loop, Logger logger, std::vector<View> views, HttpLimits limits)
    : loop_(loop), logger_(logger), views_(std::move(views)), limits_(limits) {}

HttpServer::~HttpServer() { ODRADEK_CHECK(connections_.empty()); }

Result<void> HttpServer::listen(const io::Endpoint& at) {
  auto listener = loop_.net().listen(
      at, false, [this](std::unique_ptr<io::Socket> socket) { accepted(std::move(socket)); });
  if (!listener)
    return fail(listener.error().kind,
                fmt::format("http listener {}:{}: {}", at.host, at.port, listener.error().message));
  listeners_.push_back(std::move(*listener));
  return {};
}

std::vector<io::Endpoint> HttpServer::endpoints() const {
  std::vector<io::Endpoint> all;
  for (const auto& listener : listeners_) all.push_back(listener->local());
  return all;
}

void HttpServer::close() {
  listeners_.clear();
  for (const auto& connection : std::vector(connections_)) {
    loop_.timers().cancel(connection->timer);
    connection->closed = true;
    connection->socket->close();
  }
  // The coroutines hold their connections until their operation has come back.
  connections_.clear();
}

void HttpServer::accepted(std::unique_ptr<io::Socket> socket) {
  if (connections_.size() >= limits_.connections_max) {
    logger_.warn("refused an HTTP connection from {}: {} are open", socket->peer().host,
                 connections_.size());
    return;
  }
  auto connection = std::make_shared<Connection>();
  connection->socket = std::move(socket);
  connections_.push_back(connection);
  io::spawn(serve(std::move(connection)));
}

io::Task<void> HttpServer::serve(std::shared_ptr<Connection> connection) {
  bool more = true;
  while (more) {
    connection->timer =
        loop_.timers().start(limits_.exchange_max, [c = connection.get()] { c->socket->close(); });
    more = co_await exchange(*connection);
    // After `close` this server may be gone: nothing of it may be touched.
    if (connection->closed) co_return;
    loop_.timers().cancel(connection->timer);
  }
  std::erase(connections_, connection);
}

/// Reads one request and answers it; false when the connection is over.
io::Task<bool> HttpServer::exchange(Connection& connection) {
  Parser parser;
  parser.header_limit(static_cast<uint32_t>(limits_.request_bytes_max));
  parser.body_limit(limits_.request_bytes_max);
  parser.eager(true);
  std::string& input = connection.unread;
  boost::beast::error_code error;
  while (!parser.is_done()) {
    if (!input.empty()) {
      const size_t used = parser.put(boost::asio::buffer(input), error);
      input.erase(0, used);
      if (error && error != beast::error::need_more) break;
      error = {};
      if (parser.is_done()) break;
    }
    if (input.size() >= limits_.request_bytes_max) {
      error = beast::error::header_limit;
      break;
    }
    std::array<uint8_t, 4096> buffer;
    const Result<size_t> n = co_await connection.socket->read(buffer);
    if (!n || *n == 0) co_return false;
    input.append(reinterpret_cast<const char*>(buffer.data()), *n);
  }
  Page page;
  std::string content_type = "text/plain; charset=utf-8";
  bool keep_alive = false;
  bool head = false;
  if (error) {
    page = {status_of(error), fmt::format("{}\n", reason(status_of(error)))};
  } else {
    const auto& request = parser.get();
    const std::string method(request.method_string().data(), request.method_string().size());
    const std::string target(request.target().data(), request.target().size());
    keep_alive = request.keep_alive();
    head = method == "HEAD";
    page = co_await answer(method, target.substr(0, target.find('?')), content_type);
  }
  if (connection.closed) co_return false;
  Chain chain;
  const std::string text = render(page, content_type, keep_alive, head);
  chain.add_view(as_bytes(text));
  const Result<void> written = co_await connection.socket->write(chain);
  if (written.has_value() && error && !connection.closed) co_await drain(connection);
  co_return written.has_value() && keep_alive;
}

/// Reads what the client still sends for a moment: closing with unread bytes would reset the
/// connection, and the client might never see why.
io::Task<void> HttpServer::drain(Connection& connection) {
  loop_.timers().cancel(connection.timer);
  connection.timer = loop_.timers().start(kDrain, [&connection] { connection.socket->close(); });
  std::array<uint8_t, 4096> buffer;
  while (true) {
    const Result<size_t> n = co_await connection.socket->read(buffer);
    if (!n || *n == 0) co_return;
  }
}

/// While a view is made this server may be closed, and go.
io::Task<Page> HttpServer::answer(std::string method, std::string path,
                                  std::string& content_type) const {
  auto view = std::ranges::find(views_, path, &View::path);
  if (view == views_.end() && path != "/") co_return Page{404, "Not Found\n"};
  if (method != "GET" && method != "HEAD") co_return Page{405, "Method Not Allowed\n"};
  if (view == views_.end()) {
    content_type = "text/html; charset=utf-8";
    co_return Page{200, index()};
  }
  content_type = view->content_type;
  co_return co_await view->make();
}

std::string HttpServer::index() const {
  std::string out = "<!doctype html><title>Odradek</title><h1>Odradek</h1><ul>\n";
  for (const View& view : views_)
    out += fmt::format("<li><a href=\"{0}\">{0}</a> {1}</li>\n", view.path, view.about);
  return out + "</ul>\n";
}

Result<io::Endpoint> parse_listener(std::string_view text) {
  std::string_view rest = text;
  if (rest.starts_with("http://")) rest.remove_prefix(7);
  const size_t colon = rest.rfind(':');
  io::Endpoint endpoint;
  if (colon != std::string_view::npos) {
    const std::string_view port = rest.substr(colon + 1);
    const auto parsed = std::from_chars(port.data(), port.data() + port.size(), endpoint.port);
    std::string_view host = rest.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    endpoint.host = host;
    if (parsed.ec == std::errc() && parsed.ptr == port.data() + port.size() && !port.empty())
      return endpoint;
  }
  return fail(Errc::kInvalid, fmt::format("\"{}\" is not http://host:port", text));
}

}  // namespace odradek::http
