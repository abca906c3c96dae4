// `odradek txn list|describe|find-hanging|abort`: transactions, and those that nobody will end.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>

#include "app/cli.h"
#include "wire/gen/describe_producers.h"
#include "wire/gen/describe_transactions.h"
#include "wire/gen/find_coordinator.h"
#include "wire/gen/list_transactions.h"
#include "wire/gen/metadata.h"
#include "wire/gen/write_txn_markers.h"

namespace odradek::app {

namespace {

constexpr int8_t kTransactionKey = 1;

struct TxnOptions {
  std::vector<std::string> ids;
  std::vector<std::string> states;
  int64_t older_than_ms = -1;
  std::vector<std::string> topics;
  int64_t minutes = 15;
  int32_t partition = 0;
  int64_t start = 0;
};

struct Broker {
  int32_t id = 0;
  std::string where;
};
struct Place {
  std::string topic;
  int32_t index = 0;
  int32_t leader = -1;
};
struct Cluster {
  std::vector<Broker> brokers;
  std::vector<Place> partitions;

  std::string where(int32_t id) const {
    for (const Broker& b : brokers) {
      if (b.id == id) return b.where;
    }
    return "";
  }
};

/// A producer's open transaction on a partition.
struct Open {
  Place at;
  int64_t producer = -1;
  int32_t epoch = -1;
  int32_t coordinator_epoch = -1;
  int64_t last_timestamp = -1;
  int64_t start = -1;
};

struct Known {
  std::string id;
  int64_t producer = -1;
  std::string state;
};

int64_t now_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

/// Brokers, and the partitions of those topics (none: of all).
Result<Cluster> read_cluster(AdminClient& client, const std::vector<std::string>& topics) {
  Arena arena;
  wire::MetadataRequest request;
  if (topics.empty()) {
    request.topics.reset();
  } else {
    auto& wanted = request.topics.emplace();
    for (const std::string& t : topics) wanted.add(arena).name = t;
  }
  auto answer = client.call<wire::MetadataRequest, wire::MetadataResponse>(request, arena);
  if (!answer) return std::unexpected(answer.error());
  Cluster out;
  for (const auto& b : answer->brokers)
    out.brokers.push_back({b.node_id, fmt::format("{}:{}", b.host, b.port)});
  for (const auto& t : answer->topics) {
    if (t.error_code != 0)
      return fail(Errc::kIo, fmt::format("{}: {}", t.name.value_or(""),
                                         describe_error(t.error_code, std::nullopt)));
    for (const auto& p : t.partitions)
      out.partitions.push_back({std::string(t.name.value_or("")), p.partition_index, p.leader_id});
  }
  return out;
}

Result<std::vector<Known>> list_all(const Cluster& cluster,
                                    const wire::ListTransactionsRequest& request) {
  std::vector<Known> out;
  for (const Broker& b : cluster.brokers) {
    auto client = AdminClient::connect(b.where);
    if (!client) return std::unexpected(client.error());
    Arena arena;
    auto answer =
        client->call<wire::ListTransactionsRequest, wire::ListTransactionsResponse>(request, arena);
    if (!answer) return std::unexpected(answer.error());
    if (answer->error_code != 0)
      return fail(Errc::kIo, describe_error(answer->error_code, std::nullopt));
    for (const auto& t : answer->transaction_states)
      out.push_back(
          {std::string(t.transactional_id), t.producer_id, std::string(t.transaction_state)});
  }
  std::ranges::sort(out, {}, &Known::id);
  return out;
}

// ---- list

void list(Cli& cli, const TxnOptions& options) {
  auto client = connect_or_report(cli);
  if (!client) return;
  const auto cluster = read_cluster(*client, {});
  if (!cluster) return report(cli, cluster.error().message);
  Arena arena;
  wire::ListTransactionsRequest request;
  for (const auto& s : options.states) request.state_filters.add(arena, s);
  request.duration_filter = options.older_than_ms;
  const auto known = list_all(*cluster, request);
  if (!known) return report(cli, known.error().message);
  if (cli.json) {
    boost::json::array out;
    for (const Known& k : *known)
      out.push_back({{"id", k.id}, {"producerId", k.producer}, {"state", k.state}});
    return print_json(out);
  }
  std::vector<std::vector<std::string>> rows;
  for (const Known& k : *known) rows.push_back({k.id, fmt::format("{}", k.producer), k.state});
  print_table({"TRANSACTIONAL-ID", "PRODUCER", "STATE"}, rows);
}

// ---- describe

using Described = wire::DescribeTransactionsResponse::TransactionState;

Result<AdminClient> connect_to_coordinator(const Cli& cli, const std::string& id) {
  auto client = AdminClient::connect(cli.bootstrap);
  if (!client) return client;
  Arena arena;
  wire::FindCoordinatorRequest request;
  request.key_type = kTransactionKey;
  request.coordinator_keys.add(arena, id);
  auto answer =
      client->call<wire::FindCoordinatorRequest, wire::FindCoordinatorResponse>(request, arena);
  if (!answer) return std::unexpected(answer.error());
  if (answer->coordinators.empty()) return fail(Errc::kUnsupported, "the broker is too old");
  const auto& at = answer->coordinators[0];
  if (at.error_code != 0) return fail(Errc::kIo, describe_error(at.error_code, at.error_message));
  const std::string where = fmt::format("{}:{}", at.host, at.port);
  return where == client->peer() ? std::move(client) : AdminClient::connect(where);
}

Result<Described> describe_one(const Cli& cli, const std::string& id, Arena& arena) {
  auto client = connect_to_coordinator(cli, id);
  if (!client) return std::unexpected(client.error());
  wire::DescribeTransactionsRequest request;
  request.transactional_ids.add(arena, id);
  auto answer = client->call<wire::DescribeTransactionsRequest, wire::DescribeTransactionsResponse>(
      request, arena);
  if (!answer) return std::unexpected(answer.error());
  const Described& t = answer->transaction_states[0];
  if (t.error_code != 0)
    return fail(Errc::kIo, fmt::format("{}: {}", id, describe_error(t.error_code, std::nullopt)));
  return t;
}

void describe(Cli& cli, const TxnOptions& options) {
  for (const std::string& id : options.ids) {
    Arena arena;
    const auto t = describe_one(cli, id, arena);
    if (!t) return report(cli, t.error().message);
    const bool open = t->transaction_start_time_ms >= 0 && t->transaction_state == "Ongoing";
    boost::json::array partitions;
    std::string text;
    for (const auto& topic : t->topics) {
      for (const int32_t index : topic.partitions) {
        partitions.push_back(boost::json::string(fmt::format("{}-{}", topic.topic, index)));
        text += fmt::format(" {}-{}", topic.topic, index);
      }
    }
    if (cli.json) {
      print_json({{"id", id},
                  {"state", t->transaction_state},
                  {"producerId", t->producer_id},
                  {"producerEpoch", t->producer_epoch},
                  {"timeoutMs", t->transaction_timeout_ms},
                  {"startTimeMs", t->transaction_start_time_ms},
                  {"partitions", partitions}});
      continue;
    }
    fmt::print("{}: {}, producer {} epoch {}, timeout {} ms\n", id, t->transaction_state,
               t->producer_id, t->producer_epoch, t->transaction_timeout_ms);
    if (open) fmt::print("  open for {} ms\n", now_ms() - t->transaction_start_time_ms);
    if (!text.empty()) fmt::print("  partitions:{}\n", text);
  }
}

// ---- find-hanging

/// Everything that is open on the partitions that a broker leads.
Result<std::vector<Open>> open_on(const Broker& broker, const std::vector<Place>& places) {
  auto client = AdminClient::connect(broker.where);
  if (!client) return std::unexpected(client.error());
  Arena arena;
  wire::DescribeProducersRequest request;
  for (const Place& p : places) {
    if (p.leader != broker.id) continue;
    if (request.topics.empty() || request.topics.back().name != p.topic)
      request.topics.add(arena).name = p.topic;
    request.topics.back().partition_indexes.add(arena) = p.index;
  }
  auto answer =
      client->call<wire::DescribeProducersRequest, wire::DescribeProducersResponse>(request, arena);
  if (!answer) return std::unexpected(answer.error());
  std::vector<Open> out;
  for (const auto& t : answer->topics) {
    for (const auto& p : t.partitions) {
      for (const auto& a : p.active_producers) {
        if (a.current_txn_start_offset < 0) continue;
        out.push_back({{std::string(t.name), p.partition_index, broker.id},
                       a.producer_id,
                       a.producer_epoch,
                       a.coordinator_epoch,
                       a.last_timestamp,
                       a.current_txn_start_offset});
      }
    }
  }
  return out;
}

Result<std::vector<Open>> open_transactions(const Cluster& cluster) {
  std::vector<Open> out;
  for (const Broker& b : cluster.brokers) {
    auto open = open_on(b, cluster.partitions);
    if (!open) return open;
    out.insert(out.end(), open->begin(), open->end());
  }
  return out;
}

/// Whether a coordinator knows of it, and so will end it.
Result<bool> is_looked_after(const Cli& cli, const Open& open, const std::vector<Known>& known) {
  for (const Known& k : known) {
    if (k.producer != open.producer) continue;
    Arena arena;
    const auto t = describe_one(cli, k.id, arena);
    if (!t) return std::unexpected(t.error());
    for (const auto& topic : t->topics) {
      if (topic.topic == open.at.topic && std::ranges::count(topic.partitions, open.at.index) > 0)
        return true;
    }
  }
  return false;
}

void print_open(Cli& cli, const std::vector<Open>& all) {
  if (cli.json) {
    boost::json::array out;
    for (const Open& o : all) {
      out.push_back({{"topic", o.at.topic},
                     {"partition", o.at.index},
                     {"producerId", o.producer},
                     {"producerEpoch", o.epoch},
                     {"coordinatorEpoch", o.coordinator_epoch},
                     {"startOffset", o.start},
                     {"lastTimestamp", o.last_timestamp}});
    }
    return print_json(out);
  }
  std::vector<std::vector<std::string>> rows;
  for (const Open& o : all) {
    rows.push_back({o.at.topic, fmt::format("{}", o.at.index), fmt::format("{}", o.producer),
                    fmt::format("{}", o.epoch), fmt::format("{}", o.start),
                    fmt::format("{}", (now_ms() - o.last_timestamp) / 60'000)});
  }
  print_table({"TOPIC", "PARTITION", "PRODUCER", "EPOCH", "START-OFFSET", "MINUTES"}, rows);
}

void find_hanging(Cli& cli, const TxnOptions& options) {
  auto client = connect_or_report(cli);
  if (!client) return;
  const auto cluster = read_cluster(*client, options.topics);
  if (!cluster) return report(cli, cluster.error().message);
  const auto open = open_transactions(*cluster);
  if (!open) return report(cli, open.error().message);
  const auto known = list_all(*cluster, {});
  if (!known) return report(cli, known.error().message);
  std::vector<Open> hanging;
  for (const Open& o : *open) {
    if (now_ms() - o.last_timestamp < options.minutes * 60'000) continue;
    const auto after = is_looked_after(cli, o, *known);
    if (!after) return report(cli, after.error().message);
    if (!*after) hanging.push_back(o);
  }
  print_open(cli, hanging);
}

// ---- abort

void abort_one(Cli& cli, const Cluster& cluster, const Open& o) {
  auto client = AdminClient::connect(cluster.where(o.at.leader));
  if (!client) return report(cli, client.error().message);
  Arena arena;
  wire::WriteTxnMarkersRequest request;
  auto& marker = request.markers.add(arena);
  marker.producer_id = o.producer;
  marker.producer_epoch = static_cast<int16_t>(o.epoch);
  marker.transaction_result = false;
  marker.coordinator_epoch = std::max(o.coordinator_epoch, 0);
  auto& topic = marker.topics.add(arena);
  topic.name = o.at.topic;
  topic.partition_indexes.add(arena) = o.at.index;
  auto answer =
      client->call<wire::WriteTxnMarkersRequest, wire::WriteTxnMarkersResponse>(request, arena);
  if (!answer) return report(cli, answer.error().message);
  for (const auto& m : answer->markers) {
    for (const auto& t : m.topics) {
      for (const auto& p : t.partitions) {
        if (p.error_code != 0) return report(cli, describe_error(p.error_code, std::nullopt));
      }
    }
  }
  if (!cli.json) fmt::print("aborted\n");
}

void abort_at(Cli& cli, const TxnOptions& options) {
  auto client = connect_or_report(cli);
  if (!client) return;
  auto cluster = read_cluster(*client, options.topics);
  if (!cluster) return report(cli, cluster.error().message);
  std::erase_if(cluster->partitions, [&](const Place& p) { return p.index != options.partition; });
  if (cluster->partitions.empty()) return report(cli, "there is no such partition");
  const auto open = open_transactions(*cluster);
  if (!open) return report(cli, open.error().message);
  for (const Open& o : *open) {
    if (o.start == options.start) return abort_one(cli, *cluster, o);
  }
  report(cli, fmt::format("no transaction is open there that begins at offset {}", options.start),
         "`odradek txn find-hanging --minutes 0` lists them.");
}

}  // namespace

void add_txn(CLI::App& program, Cli& cli) {
  auto* txn = program.add_subcommand("txn", "Transactions: list, describe, find-hanging, abort");
  txn->require_subcommand(1);
  auto options = std::make_shared<TxnOptions>();

  auto* all = txn->add_subcommand("list", "Transactional ids and their states");
  all->add_option("--state", options->states, "only in this state, repeatable");
  all->add_option("--older-than", options->older_than_ms, "only open for more than so many ms");
  add_client_options(*all, cli);
  all->callback([&cli, options] { list(cli, *options); });

  auto* one = txn->add_subcommand("describe", "A transactional id and its transaction");
  one->add_option("id", options->ids, "transactional ids")->required();
  add_client_options(*one, cli);
  one->callback([&cli, options] { describe(cli, *options); });

  auto* hanging =
      txn->add_subcommand("find-hanging", "Open on a partition, and no coordinator will end it");
  hanging->add_option("--topic", options->topics, "only of this topic, repeatable");
  hanging->add_option("--minutes", options->minutes, "silent for so long (default 15)");
  add_client_options(*hanging, cli);
  hanging->callback([&cli, options] { find_hanging(cli, *options); });

  auto* abort = txn->add_subcommand("abort", "Ends a hanging transaction on one partition");
  abort->add_option("topic", options->topics, "topic")->required()->expected(1);
  abort->add_option("partition", options->partition, "partition")->required();
  abort->add_option("start-offset", options->start, "where it begins")->required();
  add_client_options(*abort, cli);
  abort->callback([&cli, options] { abort_at(cli, *options); });
}

}  // namespace odradek::app
