// `odradek consume TOPIC`: prints records of all or some partitions, by assignment; with `--group`
// as a member of a consumer group (classic protocol), of the partitions that it is given.
#include <fmt/format.h>

#include <chrono>
#include <csignal>
#include <map>
#include <memory>
#include <set>

#include "app/cli.h"
#include "app/rdkafka.h"

namespace odradek::app {

namespace {

constexpr int kMetadataTimeoutMs = 10000;
constexpr int kPollMs = 100;

using Clock = std::chrono::steady_clock;

struct ConsumeOptions {
  std::string topic;
  std::string group;
  std::optional<double> timeout_s;
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
  const auto n = whole_number(from);
  if (!n) return std::nullopt;
  return *n < 0 ? RD_KAFKA_OFFSET_TAIL(-*n) : *n;
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

/// Nothing has come for as long as --timeout allows.
bool silent_for_long(const ConsumeOptions& options, Clock::time_point last) {
  return options.timeout_s &&
         Clock::now() - last > std::chrono::duration<double>(*options.timeout_s);
}

void poll_records(Cli& cli, const ConsumeOptions& options, rd_kafka_t* client, size_t partitions) {
  int64_t seen = 0;
  size_t ended = 0;
  Clock::time_point last = Clock::now();
  while (options.count < 0 || seen < options.count) {
    RdPtr<rd_kafka_message_t> m(rd_kafka_consumer_poll(client, kPollMs));
    if (!m) {
      std::fflush(stdout);
      if (silent_for_long(options, last)) break;
      continue;
    }
    last = Clock::now();
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

// ---- as a member of a group

volatile std::sig_atomic_t stopped = 0;

/// A member that prints what it is given and commits what it has printed: after kill -9 a record
/// may come twice, but none is missed.
class Member {
 public:
  Member(Cli& cli, const ConsumeOptions& options, rd_kafka_t* client)
      : cli_(cli), options_(options), client_(client) {}

  void run() {
    while (stopped == 0 && (options_.count < 0 || seen_ < options_.count)) {
      RdPtr<rd_kafka_message_t> m(rd_kafka_consumer_poll(client_, printed_.empty() ? kPollMs : 0));
      if (m ? !take(*m) : !idle()) break;
    }
    settle();
  }

 private:
  static constexpr int64_t kSettleAfter = 1'000;

  /// False: it is over.
  bool take(const rd_kafka_message_t& m) {
    if (m.err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
      ended_.insert(m.partition);
      return !(options_.exit_at_end && all_ended());
    }
    if (m.err != RD_KAFKA_RESP_ERR_NO_ERROR) {
      report(cli_, rd_kafka_message_errstr(&m));
      return m.err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN;
    }
    last_ = Clock::now();
    print_message(cli_, options_, &m);
    ended_.erase(m.partition);
    printed_[m.partition] = m.offset + 1;
    if (++seen_ % kSettleAfter == 0) settle();
    return true;
  }
  bool idle() {
    settle();
    return !silent_for_long(options_, last_);
  }
  /// What is printed may be committed: in the background, before partitions go, and at the end.
  void settle() {
    std::fflush(stdout);
    if (printed_.empty()) return;
    RdPtr<rd_kafka_topic_partition_list_t> list(
        rd_kafka_topic_partition_list_new(static_cast<int>(printed_.size())));
    for (const auto& [partition, offset] : printed_)
      rd_kafka_topic_partition_list_add(list.get(), options_.topic.c_str(), partition)->offset =
          offset;
    rd_kafka_offsets_store(client_, list.get());  // of partitions that went: somebody else's now
    printed_.clear();
  }
  bool all_ended() const {
    rd_kafka_topic_partition_list_t* raw = nullptr;
    if (rd_kafka_assignment(client_, &raw) != RD_KAFKA_RESP_ERR_NO_ERROR) return false;
    RdPtr<rd_kafka_topic_partition_list_t> mine(raw);
    for (int i = 0; i < mine->cnt; i++) {
      if (!ended_.contains(mine->elems[i].partition)) return false;
    }
    return mine->cnt > 0;
  }

  Cli& cli_;
  const ConsumeOptions& options_;
  rd_kafka_t* client_;
  std::map<int32_t, int64_t> printed_;  // not settled yet
  std::set<int32_t> ended_;
  int64_t seen_ = 0;
  Clock::time_point last_ = Clock::now();
};

void consume_as_member(Cli& cli, const ConsumeOptions& options) {
  if (options.from != "beginning" && options.from != "end")
    return report(cli,
                  "with --group, --from takes beginning or end: where a group without offsets "
                  "begins");
  if (!options.partitions.empty())
    return report(cli, "--partition and --group exclude each other: the group shares partitions");
  std::vector<std::string> properties{
      "group.id=" + options.group, "enable.auto.offset.store=false", "auto.commit.interval.ms=1000",
      "enable.partition.eof=true",
      "auto.offset.reset=" + std::string(options.from == "beginning" ? "earliest" : "latest")};
  properties.insert(properties.end(), options.properties.begin(), options.properties.end());
  auto client = make_client(RD_KAFKA_CONSUMER, cli.bootstrap, properties, nullptr, nullptr);
  if (!client) return report(cli, client.error().message);
  auto known = partitions_of(client->get(), options.topic);
  if (!known)
    return report(cli, known.error().message, "`odradek topic list` shows what there is.");
  RdPtr<rd_kafka_topic_partition_list_t> list(rd_kafka_topic_partition_list_new(1));
  rd_kafka_topic_partition_list_add(list.get(), options.topic.c_str(), RD_KAFKA_PARTITION_UA);
  if (auto err = rd_kafka_subscribe(client->get(), list.get()); err != RD_KAFKA_RESP_ERR_NO_ERROR)
    return report(cli, rd_kafka_err2str(err));
  // Whoever stops it wants the others to have its partitions at once.
  std::signal(SIGINT, [](int) { stopped = 1; });
  std::signal(SIGTERM, [](int) { stopped = 1; });
  Member(cli, options, client->get()).run();
  if (auto err = rd_kafka_consumer_close(client->get()); err != RD_KAFKA_RESP_ERR_NO_ERROR)
    report(cli, rd_kafka_err2str(err));
}

// ---- by assignment

void consume(Cli& cli, const ConsumeOptions& options) {
  if (!options.group.empty()) return consume_as_member(cli, options);
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
  command->add_option("-n,--count,--max-messages", options->count, "stop after this many records");
  command->add_option("-g,--group", options->group,
                      "as a member of this group, which remembers how far it has read");
  command->add_option("--timeout", options->timeout_s,
                      "stop when no record has come for so many seconds");
  command->add_flag("-e,--exit", options->exit_at_end, "stop at the end of all partitions");
  command->add_flag("-K,--keys", options->keys, "print keys too");
  command->add_option("-X,--property", options->properties, "name=value of librdkafka, repeatable");
  add_client_options(*command, cli);
  command->callback([&cli, options] { consume(cli, *options); });
}

}  // namespace odradek::app
