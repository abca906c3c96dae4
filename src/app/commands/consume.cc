// `odradek consume TOPIC`: prints records of all or some partitions, by assignment, without a
// group.
#include <fmt/format.h>

#include <charconv>
#include <memory>

#include "app/cli.h"
#include "app/rdkafka.h"

namespace odradek::app {

namespace {

constexpr int kMetadataTimeoutMs = 10000;

struct ConsumeOptions {
  std::string topic;
  std::vector<int32_t> partitions;
  std::string from = "end";
  int64_t count = -1;
  bool exit_at_end = false;
  bool keys = false;
  std::vector<std::string> properties;
};

std::optional<int64_t> start_offset(const std::string& from) {
  if (from == "beginning") return RD_KAFKA_OFFSET_BEGINNING;
  if (from == "end") return RD_KAFKA_OFFSET_END;
  int64_t n = 0;
  auto [end, ec] = std::from_chars(from.data(), from.data() + from.size(), n);
  if (ec != std::errc() || end != from.data() + from.size()) return std::nullopt;
  return n < 0 ? RD_KAFKA_OFFSET_TAIL(-n) : n;
}

/// All partitions of the topic, or why not.
Result<std::vector<int32_t>> partitions_of(rd_kafka_t* client, const std::string& topic) {
  rd_kafka_topic_t* handle = rd_kafka_topic_new(client, topic.c_str(), nullptr);
  const rd_kafka_metadata_t* raw = nullptr;
  auto err = rd_kafka_metadata(client, 0, handle, &raw, kMetadataTimeoutMs);
  rd_kafka_topic_destroy(handle);
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) return fail(Errc::kIo, rd_kafka_err2str(err));
  RdPtr<const rd_kafka_metadata_t> metadata(raw);
  if (metadata->topic_cnt != 1 || metadata->topics[0].err != RD_KAFKA_RESP_ERR_NO_ERROR)
    return fail(Errc::kNotFound,
                fmt::format("topic {}: {}", topic, rd_kafka_err2str(metadata->topics[0].err)));
  std::vector<int32_t> out;
  for (int i = 0; i < metadata->topics[0].partition_cnt; i++)
    out.push_back(metadata->topics[0].partitions[i].id);
  return out;
}

std::string_view text_of(const void* data, size_t size) {
  return {static_cast<const char*>(data), size};
}

void print_message(const Cli& cli, const ConsumeOptions& options, const rd_kafka_message_t* m) {
  auto value = text_of(m->payload, m->len);
  if (!cli.json) {
    if (options.keys) {
      fmt::print("{}\t{}\n", m->key ? text_of(m->key, m->key_len) : "null",
                 m->payload ? value : "null");
    } else {
      fmt::print("{}\n", m->payload ? value : "null");
    }
    return;
  }
  boost::json::object o{{"partition", m->partition}, {"offset", m->offset}};
  rd_kafka_timestamp_type_t type;
  o["timestamp"] = rd_kafka_message_timestamp(m, &type);
  o["key"] = m->key ? boost::json::value(text_of(m->key, m->key_len)) : nullptr;
  o["value"] = m->payload ? boost::json::value(value) : nullptr;
  boost::json::array list;
  rd_kafka_headers_t* headers = nullptr;
  if (rd_kafka_message_headers(m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
    const char* name;
    const void* data;
    size_t size;
    for (size_t i = 0;
         rd_kafka_header_get_all(headers, i, &name, &data, &size) == RD_KAFKA_RESP_ERR_NO_ERROR;
         i++)
      list.push_back(
          {{"name", name}, {"value", data ? boost::json::value(text_of(data, size)) : nullptr}});
  }
  o["headers"] = list;
  print_json(o);
}

void poll_records(Cli& cli, const ConsumeOptions& options, rd_kafka_t* client, size_t partitions) {
  int64_t seen = 0;
  size_t ended = 0;
  while (options.count < 0 || seen < options.count) {
    RdPtr<rd_kafka_message_t> m(rd_kafka_consumer_poll(client, 1000));
    if (!m) {
      std::fflush(stdout);
      continue;
    }
    if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
      if (options.exit_at_end && ++ended == partitions) break;
      continue;
    }
    if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
      report(cli, rd_kafka_message_errstr(m.get()));
      if (m->err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) continue;
      break;
    }
    print_message(cli, options, m.get());
    seen++;
  }
  std::fflush(stdout);
}

void consume(Cli& cli, const ConsumeOptions& options) {
  auto offset = start_offset(options.from);
  if (!offset)
    return report(
        cli, fmt::format("--from takes beginning, end, an offset or -N, not '{}'", options.from));
  std::vector<std::string> properties{"group.id=odradek-cli", "enable.auto.commit=false",
                                      "enable.partition.eof=true", "auto.offset.reset=error"};
  properties.insert(properties.end(), options.properties.begin(), options.properties.end());
  auto client = make_client(RD_KAFKA_CONSUMER, cli.bootstrap, properties, nullptr, nullptr);
  if (!client) return report(cli, client.error().message);
  auto partitions = options.partitions;
  if (partitions.empty()) {
    auto all = partitions_of(client->get(), options.topic);
    if (!all) return report(cli, all.error().message, "`odradek topic list` shows what there is.");
    partitions = *all;
  }
  RdPtr<rd_kafka_topic_partition_list_t> list(
      rd_kafka_topic_partition_list_new(static_cast<int>(partitions.size())));
  for (int32_t p : partitions)
    rd_kafka_topic_partition_list_add(list.get(), options.topic.c_str(), p)->offset = *offset;
  if (auto err = rd_kafka_assign(client->get(), list.get()); err != RD_KAFKA_RESP_ERR_NO_ERROR)
    return report(cli, rd_kafka_err2str(err));
  poll_records(cli, options, client->get(), partitions.size());
  rd_kafka_consumer_close(client->get());
}

}  // namespace

void add_consume(CLI::App& program, Cli& cli) {
  auto* command = program.add_subcommand("consume", "Print the records of a topic");
  auto options = std::make_shared<ConsumeOptions>();
  command->add_option("topic", options->topic, "the topic")->required();
  command->add_option("-p,--partition", options->partitions, "partitions (default: all)");
  command->add_option("-f,--from", options->from, "beginning, end, an offset, or -N for the last N")
      ->capture_default_str();
  command->add_option("-n,--count", options->count, "stop after this many records");
  command->add_flag("-e,--exit", options->exit_at_end, "stop at the end of all partitions");
  command->add_flag("-K,--keys", options->keys, "print keys too");
  command->add_option("-X,--property", options->properties, "name=value of librdkafka, repeatable");
  add_client_options(*command, cli);
  command->callback([&cli, options] { consume(cli, *options); });
}

}  // namespace odradek::app
