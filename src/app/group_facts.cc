#include "app/group_facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "app/cli.h"
#include "app/metrics_client.h"
#include "wire/gen/describe_configs.h"
#include "wire/gen/describe_producers.h"
#include "wire/gen/describe_transactions.h"
#include "wire/gen/list_transactions.h"

namespace odradek::app {

namespace {

constexpr int8_t kBrokerResource = 4;

/// What the group names: topics of its offsets, of its assignments, of its subscriptions.
Result<void> find_topics(GroupClient& client, const Offsets& committed, GroupFacts& facts) {
  std::set<std::string> named;
  for (const auto& [place, offset] : committed) named.insert(place.first);
  for (const GroupMember& m : facts.group.members) {
    for (const Place& p : m.assigned) named.insert(p.first);
    facts.subscribed.insert(m.topics.begin(), m.topics.end());
  }
  named.insert(facts.subscribed.begin(), facts.subscribed.end());
  if (named.empty()) return {};
  auto topics = client.topics(named);
  if (!topics) return std::unexpected(topics.error());
  facts.topics = std::move(*topics);
  for (const std::string& name : named) {
    if (!facts.topics.contains(name)) facts.missing.insert(name);
  }
  return {};
}

/// Offsets now, of what is committed, assigned or subscribed to.
Result<GroupPartitions> look(GroupClient& client, const GroupFacts& facts) {
  auto rows = client.partitions(facts.group);
  if (!rows) return rows;
  Offsets more;
  for (const std::string& topic : facts.subscribed) {
    const auto known = facts.topics.find(topic);
    if (known == facts.topics.end()) continue;
    for (const int32_t p : known->second) {
      if (!rows->contains({topic, p})) more[{topic, p}] = 0;
    }
  }
  auto ends = client.list_offsets(more, kLatest);
  if (!ends) return std::unexpected(ends.error());
  for (const auto& [place, unused] : more)
    (*rows)[place].end = ends->contains(place) ? (*ends)[place] : -1;
  return rows;
}

// ---- transactions

/// Its transactional id and when its transaction began, if a broker tells.
void find_transaction(GroupClient& client, PinnedBy& open) {
  for (const int32_t id : client.broker_ids()) {
    auto broker = client.broker(id);
    if (!broker) continue;
    Arena arena;
    wire::ListTransactionsRequest request;
    request.producer_id_filters.add(arena, open.producer);
    auto listed = (*broker)->call<wire::ListTransactionsRequest, wire::ListTransactionsResponse>(
        request, arena);
    if (!listed || listed->transaction_states.empty()) continue;
    open.id = listed->transaction_states[0].transactional_id;
    wire::DescribeTransactionsRequest about;
    about.transactional_ids.add(arena, open.id);
    auto told =
        (*broker)->call<wire::DescribeTransactionsRequest, wire::DescribeTransactionsResponse>(
            about, arena);
    if (!told || told->transaction_states.empty()) return;
    const auto& state = told->transaction_states[0];
    if (state.error_code == 0 && state.transaction_start_time_ms > 0)
      open.open_for_ms = now_ms() - state.transaction_start_time_ms;
    return;
  }
}

PinnedBy find_producer(GroupClient& client, const Place& place, int64_t stable) {
  PinnedBy open{.stable = stable};
  auto broker = client.leader(place);
  if (!broker) return open;
  Arena arena;
  wire::DescribeProducersRequest request;
  auto& topic = request.topics.add(arena);
  topic.name = place.first;
  topic.partition_indexes.add(arena, place.second);
  auto answer = (*broker)->call<wire::DescribeProducersRequest, wire::DescribeProducersResponse>(
      request, arena);
  if (!answer) return open;
  for (const auto& t : answer->topics) {
    for (const auto& p : t.partitions) {
      for (const auto& producer : p.active_producers) {
        if (producer.current_txn_start_offset != stable) continue;
        open.producer = producer.producer_id;
        open.epoch = static_cast<int16_t>(producer.producer_epoch);
        open.last_record = producer.last_timestamp;
      }
    }
  }
  if (open.producer >= 0) find_transaction(client, open);
  return open;
}

// ---- metrics

/// host:port of the coordinator's metrics, by its configuration; empty: it has none.
std::string metrics_address(GroupClient& client, AdminClient& coordinator, int32_t id) {
  Arena arena;
  wire::DescribeConfigsRequest request;
  auto& resource = request.resources.add(arena);
  const std::string name = std::to_string(id);
  resource.resource_type = kBrokerResource;
  resource.resource_name = name;
  resource.configuration_keys->add(arena, "odradek.http.listeners");
  auto answer =
      coordinator.call<wire::DescribeConfigsRequest, wire::DescribeConfigsResponse>(request, arena);
  if (!answer || answer->results.empty() || answer->results[0].configs.empty()) return {};
  std::string text(answer->results[0].configs[0].value.value_or(""));
  text = text.substr(0, text.find(','));
  if (text.starts_with("http://")) text = text.substr(7);
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) return {};
  const std::string host = text.substr(0, colon);
  if (!host.empty() && host != "0.0.0.0" && host != "[::]") return text;
  const std::string broker = client.address(id);
  return broker.substr(0, broker.rfind(':')) + text.substr(colon);
}

void read_group(const std::string& address, GroupFacts& facts) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return;
  auto all = read_metrics(address.substr(0, colon), address.substr(colon + 1), "odradek_group_");
  if (!all) return;
  facts.has_metrics = true;
  for (const Series& s : *all) {
    if (s.label("group") != facts.group.id) continue;
    if (s.name == "odradek_group_state_seconds") facts.state_s = s.value;
    if (s.name == "odradek_group_commit_age_seconds") facts.commit_age_s = s.value;
    if (s.name == "odradek_group_awaited_seconds") {
      facts.awaited.push_back({.member = std::string(s.label("member")),
                               .client = std::string(s.label("client")),
                               .host = std::string(s.label("host")),
                               .what = std::string(s.label("for")),
                               .seconds = s.value});
    }
    if (s.name != "odradek_group_awaited_left_seconds") continue;
    for (AwaitedMember& m : facts.awaited) {
      if (m.member == s.label("member")) m.left = s.value;
    }
  }
}

Result<void> watch(GroupClient& client, double seconds, GroupFacts& facts) {
  auto before = look(client, facts);
  if (!before) return std::unexpected(before.error());
  facts.before = std::move(*before);
  Offsets places;
  for (const auto& [place, row] : facts.before) places[place] = 0;
  auto stable_before = client.list_offsets(places, kLatest, kReadCommitted);
  if (!stable_before) return std::unexpected(stable_before.error());
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  facts.watched_s = seconds;
  auto after = look(client, facts);
  if (!after) return std::unexpected(after.error());
  facts.after = std::move(*after);
  auto starts = client.list_offsets(places, kEarliest);
  if (!starts) return std::unexpected(starts.error());
  facts.starts = std::move(*starts);
  auto stable = client.list_offsets(places, kLatest, kReadCommitted);
  if (!stable) return std::unexpected(stable.error());
  for (const auto& [place, offset] : *stable) {
    // Every transaction holds it for a moment.
    if (!stable_before->contains(place) || (*stable_before)[place] != offset) continue;
    if (offset < facts.before[place].end)
      facts.pinned[place] = find_producer(client, place, offset);
  }
  auto unstable = client.unstable(facts.group.id);
  if (unstable) facts.unstable = std::move(*unstable);
  return {};
}

}  // namespace

Result<GroupFacts> gather_facts(GroupClient& client, const std::string& group, double seconds,
                                const std::string& metrics) {
  GroupFacts facts;
  facts.group.id = group;
  auto coordinator = client.coordinator(group);
  facts.coordinator = client.coordinator_name();
  if (!coordinator) {
    facts.coordinator_problem = coordinator.error().message;
    return facts;
  }
  auto view = client.describe(group);
  if (!view) {
    facts.coordinator_problem = view.error().message;
    return facts;
  }
  facts.group = std::move(*view);
  if (facts.group.error != 0) {
    facts.coordinator_problem = describe_error(facts.group.error, {});
    return facts;
  }
  if (!facts.group.exists()) return facts;
  auto committed = client.committed(group);
  if (!committed) {
    facts.coordinator_problem = committed.error().message;
    return facts;
  }
  if (auto r = find_topics(client, *committed, facts); !r) return std::unexpected(r.error());
  if (auto r = watch(client, seconds, facts); !r) return std::unexpected(r.error());
  // What it has come to meanwhile; who is awaited is told of the same moment.
  if (auto now = client.describe(group); now && now->exists()) facts.group = std::move(*now);
  const std::string where =
      metrics.empty() ? metrics_address(client, **coordinator, client.coordinator_id()) : metrics;
  read_group(where, facts);
  return facts;
}

}  // namespace odradek::app
