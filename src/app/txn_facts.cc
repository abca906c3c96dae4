#include "app/txn_facts.h"

#include <fmt/format.h>

#include <algorithm>

#include "wire/gen/describe_producers.h"
#include "wire/gen/find_coordinator.h"
#include "wire/gen/metadata.h"

namespace odradek::app {

namespace {
constexpr int8_t kTransactionKey = 1;
}  // namespace

Result<Cluster> read_cluster(AdminClient& client, const std::vector<std::string>& topics) {
  Arena arena;
  wire::MetadataRequest request;
  request.allow_auto_topic_creation = false;
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

Result<std::vector<KnownTransaction>> list_all(const Cluster& cluster,
                                               const wire::ListTransactionsRequest& request) {
  std::vector<KnownTransaction> out;
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
  std::ranges::sort(out, {}, &KnownTransaction::id);
  return out;
}

namespace {

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

/// Everything that is open on the partitions that a broker leads.
Result<std::vector<OpenTransaction>> open_on(const Broker& broker,
                                             const std::vector<LedPartition>& places) {
  auto client = AdminClient::connect(broker.where);
  if (!client) return std::unexpected(client.error());
  Arena arena;
  wire::DescribeProducersRequest request;
  for (const LedPartition& p : places) {
    if (p.leader != broker.id) continue;
    if (request.topics.empty() || request.topics.back().name != p.topic)
      request.topics.add(arena).name = p.topic;
    request.topics.back().partition_indexes.add(arena) = p.index;
  }
  auto answer =
      client->call<wire::DescribeProducersRequest, wire::DescribeProducersResponse>(request, arena);
  if (!answer) return std::unexpected(answer.error());
  std::vector<OpenTransaction> out;
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

}  // namespace

Result<DescribedTransaction> describe_one(const Cli& cli, const std::string& id, Arena& arena) {
  auto client = connect_to_coordinator(cli, id);
  if (!client) return std::unexpected(client.error());
  wire::DescribeTransactionsRequest request;
  request.transactional_ids.add(arena, id);
  auto answer = client->call<wire::DescribeTransactionsRequest, wire::DescribeTransactionsResponse>(
      request, arena);
  if (!answer) return std::unexpected(answer.error());
  const DescribedTransaction& t = answer->transaction_states[0];
  if (t.error_code != 0)
    return fail(Errc::kIo, fmt::format("{}: {}", id, describe_error(t.error_code, std::nullopt)));
  return t;
}

Result<std::vector<OpenTransaction>> open_transactions(const Cluster& cluster) {
  std::vector<OpenTransaction> out;
  for (const Broker& b : cluster.brokers) {
    auto open = open_on(b, cluster.partitions);
    if (!open) return open;
    out.insert(out.end(), open->begin(), open->end());
  }
  return out;
}

}  // namespace odradek::app
