// `odradek explain partition TOPIC PARTITION`: why consumers that read committed records stand
// still on it.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "app/cli.h"
#include "app/group_client.h"
#include "app/txn_facts.h"
#include "wire/gen/list_offsets.h"

namespace odradek::app {

namespace {

struct PartitionOptions {
  std::string topic;
  int32_t index = 0;
};

/// What is known of an open transaction, in words.
struct Reason {
  OpenTransaction open;
  std::string id;  // empty: no coordinator knows it
  std::string text;
};

/// The end of what that isolation level reads.
Result<int64_t> end_of(AdminClient& leader, const PartitionOptions& options, int8_t isolation) {
  Arena arena;
  wire::ListOffsetsRequest request;
  request.replica_id = -1;
  request.isolation_level = isolation;
  request.timeout_ms = 30'000;
  auto& topic = request.topics.add(arena);
  topic.name = options.topic;
  auto& p = topic.partitions.add(arena);
  p.partition_index = options.index;
  p.timestamp = -1;
  auto answer = leader.call<wire::ListOffsetsRequest, wire::ListOffsetsResponse>(request, arena);
  if (!answer) return std::unexpected(answer.error());
  const auto& told = answer->topics[0].partitions[0];
  if (told.error_code != 0) return fail(Errc::kIo, describe_error(told.error_code, std::nullopt));
  return told.offset;
}

/// What its coordinator will do about it.
std::string outlook(const OpenTransaction& open, const DescribedTransaction& t) {
  const bool has_it = std::ranges::any_of(t.topics, [&](const auto& topic) {
    return topic.topic == open.at.topic && std::ranges::count(topic.partitions, open.at.index) > 0;
  });
  if (!has_it)
    return fmt::format(
        "its id has gone on without it: it hangs; `odradek txn abort {} {} {}` ends it",
        open.at.topic, open.at.index, open.start);
  if (t.transaction_state != "Ongoing")
    return fmt::format("it is being ended ({}): its marker is on its way", t.transaction_state);
  const int64_t age = now_ms() - t.transaction_start_time_ms;
  return fmt::format("it has been open for {} ms and is aborted after {} ms", age,
                     t.transaction_timeout_ms);
}

Result<std::vector<Reason>> reasons(const Cli& cli, const Cluster& cluster) {
  auto open = open_transactions(cluster);
  if (!open) return std::unexpected(open.error());
  const auto known = list_all(cluster, {});
  if (!known) return std::unexpected(known.error());
  std::ranges::sort(*open, {}, &OpenTransaction::start);
  std::vector<Reason> out;
  for (const OpenTransaction& o : *open) {
    Reason r{o, "", ""};
    for (const KnownTransaction& k : *known) {
      if (k.producer == o.producer) r.id = k.id;
    }
    if (r.id.empty()) {
      r.text = fmt::format(
          "no coordinator knows its producer: it hangs; `odradek txn abort {} {} {}` ends it",
          o.at.topic, o.at.index, o.start);
    } else {
      Arena arena;
      const auto t = describe_one(cli, r.id, arena);
      if (!t) return std::unexpected(t.error());
      r.text = outlook(o, *t);
    }
    out.push_back(std::move(r));
  }
  return out;
}

void print(const Cli& cli, const PartitionOptions& options, int64_t high, int64_t stable,
           const std::vector<Reason>& why) {
  if (cli.json) {
    boost::json::array open;
    for (const Reason& r : why) {
      open.push_back({{"producerId", r.open.producer},
                      {"producerEpoch", r.open.epoch},
                      {"startOffset", r.open.start},
                      {"transactionalId", r.id},
                      {"text", r.text}});
    }
    return print_json({{"topic", options.topic},
                       {"partition", options.index},
                       {"highWatermark", high},
                       {"lastStableOffset", stable},
                       {"open", std::move(open)}});
  }
  fmt::print("{}-{}: high watermark {}, last stable offset {}\n", options.topic, options.index,
             high, stable);
  if (why.empty()) fmt::print("- no transaction is open on it: everything can be read\n");
  for (const Reason& r : why) {
    fmt::print("- from offset {}: transaction of producer {} epoch {}{}: {}\n", r.open.start,
               r.open.producer, r.open.epoch, r.id.empty() ? "" : " (" + r.id + ")", r.text);
  }
}

void explain(Cli& cli, const PartitionOptions& options) {
  auto client = connect_or_report(cli);
  if (!client) return;
  auto cluster = read_cluster(*client, {options.topic});
  if (!cluster) return report(cli, cluster.error().message);
  std::erase_if(cluster->partitions,
                [&](const LedPartition& p) { return p.index != options.index; });
  if (cluster->partitions.empty()) return report(cli, "there is no such partition");
  const std::string where = cluster->where(cluster->partitions[0].leader);
  if (where.empty()) {
    return report(
        cli, fmt::format("{}-{} has no leader: nobody can read it", options.topic, options.index));
  }
  auto leader = AdminClient::connect(where);
  if (!leader) return report(cli, leader.error().message);
  const auto high = end_of(*leader, options, 0);
  if (!high) return report(cli, high.error().message);
  const auto stable = end_of(*leader, options, 1);
  if (!stable) return report(cli, stable.error().message);
  const auto why = reasons(cli, *cluster);
  if (!why) return report(cli, why.error().message);
  print(cli, options, *high, *stable, *why);
}

}  // namespace

void add_explain_partition(CLI::App& parent, Cli& cli) {
  auto* command = parent.add_subcommand("partition", "Why committed records are not read further");
  auto options = std::make_shared<PartitionOptions>();
  command->add_option("topic", options->topic, "topic")->required();
  command->add_option("partition", options->index, "partition")->required();
  add_client_options(*command, cli);
  command->callback([&cli, options] { explain(cli, *options); });
}

}  // namespace odradek::app
