// `odradek produce TOPIC`: one record a line from standard input.
#include <fmt/format.h>

#include <chrono>
#include <iostream>
#include <memory>

#include "app/cli.h"
#include "app/rdkafka.h"

namespace odradek::app {

namespace {

struct ProduceOptions {
  std::string topic;
  int32_t partition = RD_KAFKA_PARTITION_UA;
  std::string key_separator;
  std::vector<std::string> headers;
  std::vector<std::string> properties;
};

struct Delivered {
  uint64_t good = 0;
  uint64_t bad = 0;
  std::string first_error;
};

void on_delivery(rd_kafka_t*, const rd_kafka_message_t* m, void* opaque) {
  auto& d = *static_cast<Delivered*>(opaque);
  if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
    d.good++;
  } else if (d.bad++ == 0) {
    d.first_error = rd_kafka_err2str(m->err);
  }
}

/// Queues one line; waits while librdkafka's queue is full.
rd_kafka_resp_err_t send_line(rd_kafka_t* client, const ProduceOptions& options,
                              const std::string& line) {
  std::string key;
  std::string value = line;
  bool keyed = false;
  if (!options.key_separator.empty()) {
    size_t at = line.find(options.key_separator);
    if (at != std::string::npos) {
      keyed = true;
      key = line.substr(0, at);
      value = line.substr(at + options.key_separator.size());
    }
  }
  rd_kafka_headers_t* headers = rd_kafka_headers_new(options.headers.size());
  for (const auto& h : options.headers) {
    size_t eq = h.find('=');
    std::string header_value = eq == std::string::npos ? "" : h.substr(eq + 1);
    rd_kafka_header_add(headers, h.data(), static_cast<ssize_t>(std::min(eq, h.size())),
                        header_value.data(), static_cast<ssize_t>(header_value.size()));
  }
  for (;;) {
    rd_kafka_headers_t* copy = rd_kafka_headers_copy(headers);
    auto err = rd_kafka_producev(
        client, RD_KAFKA_V_TOPIC(options.topic.c_str()), RD_KAFKA_V_PARTITION(options.partition),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_KEY(keyed ? key.data() : nullptr, key.size()),
        RD_KAFKA_V_VALUE(value.data(), value.size()), RD_KAFKA_V_HEADERS(copy), RD_KAFKA_V_END);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) rd_kafka_headers_destroy(copy);
    if (err != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
      rd_kafka_headers_destroy(headers);
      return err;
    }
    rd_kafka_poll(client, 100);
  }
}

void produce(Cli& cli, const ProduceOptions& options) {
  Delivered delivered;
  auto client =
      make_client(RD_KAFKA_PRODUCER, cli.bootstrap, options.properties, on_delivery, &delivered);
  if (!client) return report(cli, client.error().message);
  auto shown = std::chrono::steady_clock::now();
  std::string line;
  while (std::getline(std::cin, line)) {
    if (auto err = send_line(client->get(), options, line); err != RD_KAFKA_RESP_ERR_NO_ERROR) {
      report(cli, fmt::format("cannot produce: {}", rd_kafka_err2str(err)));
      break;
    }
    rd_kafka_poll(client->get(), 0);
    if (auto now = std::chrono::steady_clock::now(); now - shown > std::chrono::seconds(2)) {
      shown = now;
      fmt::print(stderr, "{} records acknowledged\n", delivered.good);
    }
  }
  rd_kafka_flush(client->get(), 30000);
  uint64_t pending = static_cast<uint64_t>(rd_kafka_outq_len(client->get()));
  if (delivered.bad + pending > 0)
    report(cli,
           fmt::format("{} records were not acknowledged{}{}", delivered.bad + pending,
                       delivered.first_error.empty() ? "" : ": ", delivered.first_error),
           "Is a broker running at " + cli.bootstrap + "?");
  if (cli.json) {
    print_json({{"acknowledged", delivered.good}, {"failed", delivered.bad + pending}});
  } else {
    fmt::print("{} records acknowledged\n", delivered.good);
  }
}

}  // namespace

void add_produce(CLI::App& program, Cli& cli) {
  auto* command = program.add_subcommand("produce", "Send one record a line from standard input");
  auto options = std::make_shared<ProduceOptions>();
  command->add_option("topic", options->topic, "the topic")->required();
  command->add_option("-p,--partition", options->partition, "the partition (default: by key)");
  command->add_option("-k,--key-separator", options->key_separator,
                      "what stands between key and value in a line");
  command->add_option("-H,--header", options->headers, "name=value, repeatable");
  command->add_option("-X,--property", options->properties, "name=value of librdkafka, repeatable");
  add_client_options(*command, cli);
  command->callback([&cli, options] { produce(cli, *options); });
}

}  // namespace odradek::app
