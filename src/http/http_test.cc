#include <gtest/gtest.h>

#include "http/http_server.h"
#include "http/prometheus.h"
#include "sim/sim_io.h"

namespace odradek::http {
namespace {

class HttpTest : public ::testing::TestWithParam<uint64_t> {
 protected:
  HttpTest() : sim_(GetParam()), node_(sim_.add_node("broker", 1)), client_(sim_.add_node("c", 1)) {
    HttpLimits limits;
    limits.connections_max = 3;
    server_ = std::make_unique<HttpServer>(
        node_.loop(0), Logger(),
        std::vector{text_view("/metrics", "text/plain; version=0.0.4", "numbers",
                              [] { return std::string("up 1\n"); }),
                    health_view([this] { return state_; }),
                    View{"/slow", "text/plain", "later", [this] { return slow(); }}},
        limits);
    EXPECT_TRUE(server_->listen({"", 9644}));
  }
  ~HttpTest() override {
    server_->close();
    server_.reset();
    sim_.run_for(Millis(60'000));
  }

  io::Task<Page> slow() {
    co_await node_.loop(0).sleep(Millis(500));
    co_return Page{200, "late\n"};
  }
  std::unique_ptr<io::Socket> connect() {
    io::Completion<Result<std::unique_ptr<io::Socket>>> done;
    client_.loop(0).net().start_connect({"broker", 9644}, done);
    EXPECT_TRUE(sim_.run_until([&] { return done.done(); }, Millis(1'000)));
    return std::move(*done.await_resume());
  }
  static io::Task<void> talk(io::Socket& socket, std::string text, std::string& answer,
                             bool& closed) {
    Chain chain;
    chain.add_view(as_bytes(text));
    if (!text.empty()) co_await socket.write(chain);
    ByteBuffer buffer(1000);
    while (true) {
      const Result<size_t> n = co_await socket.read(buffer);
      if (!n || *n == 0) break;
      answer += as_text(ByteView(buffer).first(*n));
    }
    closed = true;
  }
  /// What comes back for `text` until the server closes, or `limit` passes.
  std::string ask(std::string text, Millis limit = Millis(5'000)) {
    auto socket = connect();
    std::string answer;
    bool closed = false;
    io::spawn(talk(*socket, std::move(text), answer, closed));
    sim_.run_until([&] { return closed; }, limit);
    server_closed_ = closed;
    socket->close();
    sim_.run_until([&] { return closed; }, Millis(1'000));
    return answer;
  }

  std::string state_ = "ready";
  sim::Simulation sim_;
  sim::SimIo& node_;
  sim::SimIo& client_;
  std::unique_ptr<HttpServer> server_;
  bool server_closed_ = false;
};

INSTANTIATE_TEST_SUITE_P(Seeds, HttpTest, ::testing::Range<uint64_t>(1, 9));

TEST_P(HttpTest, ServesItsViews) {
  const std::string answer = ask("GET /metrics?x=1 HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer;
  EXPECT_TRUE(answer.contains("Content-Type: text/plain; version=0.0.4\r\n")) << answer;
  EXPECT_TRUE(answer.contains("Content-Length: 5\r\n"));
  EXPECT_TRUE(answer.ends_with("\r\n\r\nup 1\n"));
  EXPECT_TRUE(server_closed_);
  EXPECT_TRUE(ask("GET / HTTP/1.0\r\n\r\n").contains("href=\"/healthz\""));
}

TEST(Prometheus, LabelsAreOneLineOfUtf8WhateverAClientChose) {
  EXPECT_EQ(label("group", "orders"), R"(group="orders")");
  EXPECT_EQ(label("g", "a\"b\\c\nd"), R"(g="a\"b\\c\nd")");
  EXPECT_EQ(label("g", "\xC3\xBC\xFF\xE2\x82"),
            "g=\"\xC3\xBC\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
}

TEST(Prometheus, AGaugeWithoutSamplesIsNotTold) {
  Gauge gauge("lag", "Help.");
  EXPECT_EQ(gauge.text(), "");
  gauge.add("", 3);
  gauge.add(label("g", "x"), 0.25);
  EXPECT_EQ(gauge.text(), "# HELP lag Help.\n# TYPE lag gauge\nlag 3\nlag{g=\"x\"} 0.25\n");
}

TEST_P(HttpTest, AViewMayTakeItsTime) {
  const std::string answer = ask("GET /slow HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(answer.ends_with("\r\n\r\nlate\n")) << answer;
}

TEST_P(HttpTest, ClosesWhileAViewIsMade) {
  auto socket = connect();
  std::string answer;
  bool closed = false;
  io::spawn(talk(*socket, "GET /slow HTTP/1.0\r\n\r\n", answer, closed));
  sim_.run_for(Millis(100));
  server_->close();
  sim_.run_for(Millis(1'000));
  EXPECT_TRUE(closed);
  EXPECT_EQ(answer, "");
}

TEST_P(HttpTest, HealthFollowsTheState) {
  EXPECT_TRUE(ask("GET /healthz HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200 "));
  state_ = "stopping";
  const std::string answer = ask("GET /healthz HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 503 ")) << answer;
  EXPECT_TRUE(answer.ends_with("stopping\n"));
}

TEST_P(HttpTest, KeepsConnectionsAndAnswersPipelinedRequests) {
  const std::string one = "GET /metrics HTTP/1.1\r\nHost: b\r\n\r\n";
  const std::string last = "GET /metrics HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n";
  const std::string answer = ask(one + one + last);
  size_t count = 0;
  for (size_t at = 0; (at = answer.find("up 1\n", at)) != std::string::npos; at++) count++;
  EXPECT_EQ(count, 3U) << answer;
  EXPECT_TRUE(server_closed_);
}

TEST_P(HttpTest, HeadHasNoBody) {
  const std::string answer = ask("HEAD /metrics HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(answer.contains("Content-Length: 5\r\n"));
  EXPECT_TRUE(answer.ends_with("\r\n\r\n"));
}

TEST_P(HttpTest, RefusesWhatItDoesNotServe) {
  EXPECT_TRUE(ask("GET /nothing HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 404 "));
  const std::string post = ask("POST /metrics HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi");
  EXPECT_TRUE(post.starts_with("HTTP/1.1 405 "));
  EXPECT_TRUE(post.contains("Allow: GET, HEAD\r\n"));
  const std::string nonsense = ask("nonsense\r\n\r\n");
  EXPECT_TRUE(nonsense.starts_with("HTTP/1.1 400 ")) << nonsense;
  EXPECT_TRUE(server_closed_);
  EXPECT_TRUE(
      ask("GET /" + std::string(9'000, 'x') + " HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 4"));
  EXPECT_TRUE(server_closed_);
  const std::string much = ask("POST / HTTP/1.0\r\nContent-Length: 99999999\r\n\r\nhi");
  EXPECT_TRUE(much.starts_with("HTTP/1.1 413 ")) << much;
}

TEST_P(HttpTest, DoesNotWaitForever) {
  EXPECT_EQ(ask("GET /metrics HTTP/1.1\r\nHo", Millis(11'000)), "");
  EXPECT_TRUE(server_closed_);
}

TEST_P(HttpTest, HoldsAtMostSoManyConnections) {
  auto one = connect();
  auto two = connect();
  auto three = connect();
  sim_.run_for(Millis(10));
  EXPECT_EQ(server_->connection_count(), 3U);
  EXPECT_EQ(ask("GET /metrics HTTP/1.0\r\n\r\n"), "");
  one->close();
  sim_.run_for(Millis(10));
  EXPECT_TRUE(ask("GET /metrics HTTP/1.0\r\n\r\n").ends_with("up 1\n"));
}

TEST(Prometheus, AddsUpSetsAndWritesText) {
  MetricSet a, b;
  a.counter("requests_total", "api=\"Fetch\"", "Requests.").add(3);
  b.counter("requests_total", "api=\"Fetch\"", "Requests.").add(4);
  b.counter("requests_total", "api=\"Produce\"", "Requests.").add(1);
  a.gauge("connections", "", "Open.").set(2);
  a.histogram("seconds", "phase=\"x\"", "Time.").record(1024);
  b.histogram("seconds", "phase=\"x\"", "Time.").record(2'000'000'000);
  b.histogram("seconds", "phase=\"unused\"", "Time.");
  const MetricSet* sets[] = {&a, &b};
  const std::string text = prometheus_text(sets);
  EXPECT_TRUE(text.contains("# TYPE requests_total counter\nrequests_total{api=\"Fetch\"} 7\n"));
  EXPECT_TRUE(text.contains("requests_total{api=\"Produce\"} 1\n"));
  EXPECT_TRUE(text.contains("# TYPE connections gauge\nconnections 2\n"));
  EXPECT_TRUE(text.contains("seconds_bucket{phase=\"x\",le=\"1.024e-06\"} 1\n")) << text;
  EXPECT_TRUE(text.contains("seconds_bucket{phase=\"x\",le=\"+Inf\"} 2\n"));
  EXPECT_TRUE(text.contains("seconds_sum{phase=\"x\"} 2.000001024\n")) << text;
  EXPECT_TRUE(text.contains("seconds_count{phase=\"x\"} 2\n"));
  EXPECT_FALSE(text.contains("unused"));
}

TEST(ParseListener, TakesHostAndPort) {
  EXPECT_EQ(*parse_listener("http://127.0.0.1:9644"), (io::Endpoint{"127.0.0.1", 9644}));
  EXPECT_EQ(*parse_listener("http://[::1]:80"), (io::Endpoint{"::1", 80}));
  EXPECT_EQ(*parse_listener("localhost:1"), (io::Endpoint{"localhost", 1}));
  EXPECT_FALSE(parse_listener("http://host"));
  EXPECT_FALSE(parse_listener("host:99999"));
  EXPECT_FALSE(parse_listener("host:"));
}

}  // namespace
}  // namespace odradek::http
