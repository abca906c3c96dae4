// `odradek txn list|describe|find-hanging|abort`: transactions, and those that nobody will end.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "app/cli.h"
#include "app/group_client.h"
#include "app/txn_facts.h"
#include "wire/gen/write_txn_markers.h"

namespace odradek::app {

namespace {

struct TxnOptions {
  std::vector<std::string> ids;
  std::vector<std::string> states;
  int64_t older_than_ms = -1;
  std::vector<std::string> topics;
  std::string topic;
  int64_t minutes = 15;
  int32_t partition = 0;
  int64_t start = 0;
};

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
    for (const KnownTransaction& k : *known)
      out.push_back({{"id", k.id}, {"producerId", k.producer}, {"state", k.state}});
    return print_json(out);
  }
  std::vector<std::vector<std::string>> rows;
  for (const KnownTransaction& k : *known)
    rows.push_back({k.id, fmt::format("{}", k.producer), k.state});
  print_table({"TRANSACTIONAL-ID", "PRODUCER", "STATE"}, rows);
}

// ---- describe

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

/// Whether a coordinator knows of it, and so will end it.
Result<bool> is_looked_after(const Cli& cli, const OpenTransaction& open,
                             const std::vector<KnownTransaction>& known) {
  for (const KnownTransaction& k : known) {
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

void print_open(Cli& cli, const std::vector<OpenTransaction>& all) {
  if (cli.json) {
    boost::json::array out;
    for (const OpenTransaction& o : all) {
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
  for (const OpenTransaction& o : all) {
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
  std::vector<OpenTransaction> hanging;
  for (const OpenTransaction& o : *open) {
    if (now_ms() - o.last_timestamp < options.minutes * 60'000) continue;
    const auto after = is_looked_after(cli, o, *known);
    if (!after) return report(cli, after.error().message);
    if (!*after) hanging.push_back(o);
  }
  print_open(cli, hanging);
}

// ---- abort

void abort_one(Cli& cli, const Cluster& cluster, const OpenTransaction& o) {
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
  if (cli.json) return print_json({{"aborted", true}});
  fmt::print("{}-{}: aborted\n", o.at.topic, o.at.index);
}

void abort_at(Cli& cli, const TxnOptions& options) {
  auto client = connect_or_report(cli);
  if (!client) return;
  auto cluster = read_cluster(*client, {options.topic});
  if (!cluster) return report(cli, cluster.error().message);
  std::erase_if(cluster->partitions,
                [&](const LedPartition& p) { return p.index != options.partition; });
  if (cluster->partitions.empty()) return report(cli, "there is no such partition");
  const auto open = open_transactions(*cluster);
  if (!open) return report(cli, open.error().message);
  for (const OpenTransaction& o : *open) {
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

  auto* hanging = txn->add_subcommand(
      "find-hanging", "Transactions that are open on a partition and that no coordinator will end");
  hanging->add_option("--topic", options->topics, "only of this topic, repeatable");
  hanging->add_option("--minutes", options->minutes, "silent for so long (default 15)");
  add_client_options(*hanging, cli);
  hanging->callback([&cli, options] { find_hanging(cli, *options); });

  auto* abort = txn->add_subcommand("abort", "Ends a hanging transaction on one partition");
  abort->add_option("topic", options->topic, "topic")->required();
  abort->add_option("partition", options->partition, "partition")->required();
  abort->add_option("start-offset", options->start, "where it begins")->required();
  add_client_options(*abort, cli);
  abort->callback([&cli, options] { abort_at(cli, *options); });
}

}  // namespace odradek::app
