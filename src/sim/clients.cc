#include "sim/clients.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/wire_client.h"
#include "wire/errors.h"
#include "wire/gen/create_topics.h"
#include "wire/gen/delete_records.h"
#include "wire/gen/delete_topics.h"
#include "wire/gen/fetch.h"
#include "wire/gen/find_coordinator.h"
#include "wire/gen/init_producer_id.h"
#include "wire/gen/list_offsets.h"
#include "wire/gen/metadata.h"
#include "wire/gen/produce.h"
#include "wire/record_batch.h"

namespace odradek::sim {
using wire::ErrorCode;

const KnownTopic* ClientWorld::topic(const Uuid& id) const {
  const auto found = std::ranges::find(topics, id, &KnownTopic::id);
  return found == topics.end() ? nullptr : &*found;
}

const Uuid& ClientWorld::topic_id(const std::string& name) const {
  return std::ranges::find(topics, name, &KnownTopic::name)->id;
}

bool may_retry(ClientWorld& world, const char* what, int16_t code) {
  const auto error = static_cast<ErrorCode>(code);
  if (wire::retriable(error) || world.trouble) return true;
  world.history.fail(fmt::format("{} was answered {}", what, wire::name(error)));
  return false;
}

io::Task<bool> find_coordinator(ClientWorld& world, WireClient& client, CoordinatorOf of,
                                std::string key) {
  Arena arena;
  wire::FindCoordinatorRequest request;
  const auto version =
      static_cast<int16_t>(world.sim.rng().between(of == CoordinatorOf::kGroup ? 0 : 1, 6));
  request.key = key;
  if (version >= 1) request.key_type = static_cast<int8_t>(of);
  if (version >= 4) request.coordinator_keys.add(arena) = key;
  auto reply = co_await client.call<wire::FindCoordinatorRequest, wire::FindCoordinatorResponse>(
      request, version);
  if (!reply) co_return false;
  const auto& many = reply->body.coordinators;
  const int16_t code = version >= 4 ? many[0].error_code : reply->body.error_code;
  if (code == 0) co_return true;
  (void)may_retry(world, "FindCoordinator", code);
  co_return false;
}

namespace {

Millis pause(ClientWorld& world) {
  Rng& rng = world.sim.rng();
  return Millis(rng.one_in(10) ? rng.between(0, 200) : rng.between(0, world.pause_ms));
}

// ------------------------------------------------------------------------------------------------
// producing

struct Producer {
  ClientWorld& world;
  std::string name;
  ProducerKind kind;
  WireClient client;
  ProducerId id{-1};
  ProducerEpoch epoch{-1};
  std::map<History::Partition, int32_t> next_sequence{};
};

struct Batch {
  KnownTopic topic;
  History::Partition at;
  std::vector<std::string> values;
  ByteBuffer bytes;
};

/// Whether a partition is one to append to.
bool usable(ClientWorld& world, const History::Partition& at) {
  return !world.history.is_deleted(at.topic) && !world.history.rotten(at);
}

Batch make_batch(Producer& p) {
  Rng& rng = p.world.sim.rng();
  Batch batch;
  batch.topic = p.world.topics[rng.below(p.world.topics.size())];
  batch.at = {batch.topic.name,
              static_cast<int32_t>(rng.below(static_cast<uint64_t>(batch.topic.partitions)))};
  wire::BatchOptions options;
  constexpr wire::Codec kCodecs[] = {wire::Codec::kNone, wire::Codec::kLz4, wire::Codec::kZstd};
  options.codec = kCodecs[rng.one_in(2) ? 0 : rng.below(3)];
  if (p.kind == ProducerKind::kIdempotent) {
    options.producer_id = p.id;
    options.producer_epoch = p.epoch;
    options.base_sequence = p.next_sequence[batch.at];
  }
  wire::BatchBuilder builder(options);
  const auto count = static_cast<int>(rng.one_in(4) ? 1 + rng.below(50) : 1 + rng.below(3));
  const bool large = batch.topic.kind == TopicKind::kPlain && rng.one_in(20);
  const size_t padding = large ? rng.below(20'000) : rng.below(200);
  for (int i = 0; i < count; i++) {
    std::string value = fmt::format("{}.{}", p.name, p.world.next_value++);
    std::string padded = value + '|' + std::string(padding, 'x');
    // A key of its own each: compacted topics want one, and must keep them all.
    builder.add(p.world.loop.clock().wall(), as_bytes(value), as_bytes(padded));
    batch.values.push_back(std::move(value));
  }
  batch.bytes = *builder.build();
  return batch;
}

enum class Fate { kAcked, kUnknown, kFailed };

io::Task<Fate> send_once(Producer& p, const Batch& batch) {
  Arena arena;
  wire::ProduceRequest request;
  request.acks = p.kind == ProducerKind::kAcksOne ? 1 : -1;
  request.timeout_ms = 30'000;
  auto& topic = request.topic_data.add(arena);
  topic.name = batch.topic.name;
  topic.topic_id = batch.topic.id;
  auto& partition = topic.partition_data.add(arena);
  partition.index = batch.at.index;
  partition.records = batch.bytes;
  const auto version = static_cast<int16_t>(p.world.sim.rng().between(9, 13));
  const int power_losses = p.world.history.power_losses();
  auto reply =
      co_await p.client.call<wire::ProduceRequest, wire::ProduceResponse>(request, version);
  if (!reply) co_return Fate::kUnknown;
  const auto& responses = reply->body.responses;
  if (responses.size() != 1 || responses[0].partition_responses.size() != 1) {
    p.world.history.fail("a produce answer without its partition");
    co_return Fate::kFailed;
  }
  const auto& answer = responses[0].partition_responses[0];
  if (!usable(p.world, batch.at)) co_return Fate::kUnknown;
  if (answer.error_code != 0) {
    const std::string what = fmt::format("produce of {} to {}", batch.values[0], batch.at.text());
    co_return may_retry(p.world, what.c_str(), answer.error_code) ? Fate::kUnknown : Fate::kFailed;
  }
  // The answer may have been under way when the power failed: with acks=1 it promises nothing then.
  const bool outdated = power_losses != p.world.history.power_losses();
  if (outdated && p.kind == ProducerKind::kAcksOne) co_return Fate::kUnknown;
  for (size_t i = 0; i < batch.values.size(); i++) {
    p.world.history.acked(
        batch.at, answer.base_offset + static_cast<int64_t>(i), p.name, batch.values[i],
        p.kind == ProducerKind::kAcksOne ? History::Acks::kOne : History::Acks::kAll);
  }
  co_return Fate::kAcked;
}

io::Task<void> get_producer_id(Producer& p) {
  while (p.id.value < 0) {
    wire::InitProducerIdRequest request;
    request.transactional_id = std::nullopt;
    auto reply = co_await p.client.call<wire::InitProducerIdRequest, wire::InitProducerIdResponse>(
        request, 4);
    if (reply && reply->body.error_code == 0) {
      p.id = ProducerId(reply->body.producer_id);
      p.epoch = ProducerEpoch(reply->body.producer_epoch);
    } else {
      if (reply && !may_retry(p.world, "InitProducerId", reply->body.error_code)) co_return;
      co_await p.world.loop.sleep(kRetryPause);
    }
  }
}

/// Sends until it is acknowledged, for an idempotent producer; else once.
io::Task<void> deliver(Producer& p, const Batch& batch) {
  for (;;) {
    const Fate fate = co_await send_once(p, batch);
    if (fate == Fate::kAcked && p.kind == ProducerKind::kIdempotent) {
      p.next_sequence[batch.at] += static_cast<int32_t>(batch.values.size());
    }
    if (fate != Fate::kUnknown || p.world.history.failure()) co_return;
    if (!usable(p.world, batch.at)) co_return;
    co_await p.world.loop.sleep(kRetryPause);
    if (p.kind != ProducerKind::kIdempotent) co_return;
  }
}

// ------------------------------------------------------------------------------------------------
// consuming

using FetchedPartition = wire::FetchResponse::PartitionData;

/// Finds the batches of aborted transactions in an answer at read_committed, which names these by
/// producer and first offset; the markers tell where they end (as in Apache's CompletedFetch).
class AbortedFilter {
 public:
  explicit AbortedFilter(const FetchedPartition& answer) {
    if (!answer.aborted_transactions) return;
    for (const auto& t : *answer.aborted_transactions)
      begins_[t.first_offset].insert(t.producer_id);
  }

  /// Batch after batch. True: no client may see its records.
  bool hides(const wire::BatchHeader& batch, wire::Decompressor& decompressor) {
    while (!begins_.empty() && begins_.begin()->first <= batch.last_offset().value) {
      aborted_.merge(begins_.begin()->second);
      begins_.erase(begins_.begin());
    }
    if (!batch.is_control())
      return batch.is_transactional() && aborted_.contains(batch.producer_id().value);
    wire::RecordIterator it(batch, decompressor);
    wire::RecordView record;
    const auto more = it.next(record);
    // Of a marker that was cleaned away only the header is left.
    if (more && *more) {
      const auto type = wire::control_type(record);
      if (type && *type == wire::ControlType::kAbort) aborted_.erase(batch.producer_id().value);
    }
    return true;
  }

 private:
  std::map<int64_t, std::set<int64_t>> begins_;  // producers, by first offset
  std::set<int64_t> aborted_;                    // producers
};

/// The values of what was fetched from `position` on; moves it behind them.
void take_records(ClientWorld& world, const History::Partition& at, AbortedFilter aborted,
                  ByteView records, int64_t& position,
                  const std::function<void(int64_t, std::string)>& each) {
  wire::Decompressor decompressor;
  wire::BatchIterator batches(records);
  for (;;) {
    auto batch = batches.next();
    if (!batch) return world.history.fail(fmt::format("{}: {}", at.text(), batch.error().message));
    if (!*batch) return;
    if (!(*batch)->crc_matches()) {
      if (world.history.rotten(at)) {  // that is how it shows
        position = (*batch)->next_offset().value;
        continue;
      }
      return world.history.fail(fmt::format("{} offset {}: the checksum is wrong", at.text(),
                                            (*batch)->base_offset().value));
    }
    const bool hidden = aborted.hides(**batch, decompressor);
    wire::RecordIterator it(**batch, decompressor);
    wire::RecordView record;
    while (!hidden) {
      auto more = it.next(record);
      if (!more) return world.history.fail(fmt::format("{}: {}", at.text(), more.error().message));
      if (!*more) break;
      if (record.offset.value < position) continue;
      std::string_view text = as_text(*record.value);
      each(record.offset.value, std::string(text.substr(0, text.find('|'))));
    }
    position = std::max(position, (*batch)->next_offset().value);
  }
}

/// Moves positions that lie before the start of their partitions, as consumers do.
io::Task<void> find_starts(ClientWorld& world, WireClient& client, Positions& positions,
                           std::vector<History::Partition> lost) {
  for (const History::Partition& at : lost) {
    Arena arena;
    wire::ListOffsetsRequest request;
    auto& topic = request.topics.add(arena);
    topic.name = at.topic;
    auto& partition = topic.partitions.add(arena);
    partition.partition_index = at.index;
    partition.timestamp = -2;
    const int64_t before = positions[at];
    const int power_losses = world.history.power_losses();
    auto reply =
        co_await client.call<wire::ListOffsetsRequest, wire::ListOffsetsResponse>(request, 7);
    if (!reply) co_return;
    const auto& answer = reply->body.topics[0].partitions[0];
    if (answer.error_code != 0) continue;
    // A power loss may bring back what retention has removed.
    if (answer.offset <= before && power_losses == world.history.power_losses() &&
        !world.history.rotten(at) && !world.history.is_deleted(at.topic)) {
      world.history.fail(fmt::format("{}: offset {} is out of range, and the start is {}",
                                     at.text(), before, answer.offset));
    }
    positions[at] = answer.offset;
  }
}

/// From the beginning on, where it is not known.
void follow_all(const ClientWorld& world, Positions& positions) {
  for (const KnownTopic& t : world.topics) {
    for (int32_t i = 0; i < t.partitions; i++) positions.try_emplace({t.name, i}, 0);
  }
}

}  // namespace

io::Task<Fetched> fetch(
    ClientWorld& world, WireClient& client, Positions& positions,
    const std::function<void(const History::Partition&, int64_t, std::string)>& each,
    Isolation isolation) {
  Rng& rng = world.sim.rng();
  Arena arena;
  wire::FetchRequest request;
  request.isolation_level = static_cast<int8_t>(isolation);
  request.max_wait_ms = static_cast<int32_t>(rng.between(0, 300));
  request.min_bytes = 1;
  request.max_bytes = rng.one_in(4) ? 10'000 : 10'000'000;
  const std::vector<KnownTopic> topics = world.topics;
  std::map<History::Partition, int64_t> floors;
  for (const KnownTopic& t : topics) {
    const auto first = positions.lower_bound({t.name, 0});
    if (first == positions.end() || first->first.topic != t.name) continue;
    auto& topic = request.topics.add(arena);
    topic.topic = t.name;
    topic.topic_id = t.id;
    for (int32_t i = 0; i < t.partitions; i++) {
      if (!positions.contains({t.name, i})) continue;
      auto& partition = topic.partitions.add(arena);
      partition.partition = i;
      partition.fetch_offset = positions[{t.name, i}];
      floors[{t.name, i}] = world.history.known_high_watermark({t.name, i});
      partition.partition_max_bytes = rng.one_in(4) ? 1'000 : 1'000'000;
    }
  }
  const auto version = static_cast<int16_t>(rng.between(11, 17));
  auto reply = co_await client.call<wire::FetchRequest, wire::FetchResponse>(request, version);
  Fetched fetched;
  if (!reply) co_return fetched;
  if (reply->body.error_code != 0) {
    (void)may_retry(world, "fetch", reply->body.error_code);
    co_return fetched;
  }
  fetched.ok = true;
  std::vector<History::Partition> lost;
  for (auto& t : reply->body.responses) {
    auto known = std::ranges::find_if(topics, [&](const KnownTopic& k) {
      return version >= 13 ? k.id == t.topic_id : k.name == t.topic;
    });
    if (known == topics.end()) {
      world.history.fail("a fetch answer with a topic that was not asked for");
      co_return fetched;
    }
    for (auto& p : t.partitions) {
      const History::Partition at{known->name, p.partition_index};
      if (world.history.is_deleted(at.topic)) continue;
      if (p.error_code != 0) {
        const bool front = world.history.may_be_cut_in_front(at) || world.history.rotten(at);
        if (static_cast<ErrorCode>(p.error_code) == ErrorCode::kOffsetOutOfRange && front) {
          lost.push_back(at);
          continue;
        }
        if (world.history.rotten(at)) continue;
        const std::string what = fmt::format("fetch of {} from {}", at.text(), positions[at]);
        (void)may_retry(world, what.c_str(), p.error_code);
        continue;
      }
      world.history.high_watermark(at, p.high_watermark, floors[at]);
      fetched.high_watermarks[at] = p.high_watermark;
      fetched.last_stable[at] = p.last_stable_offset;
      if (!p.records) continue;
      ByteBuffer bytes;
      for (const Piece& piece : p.records->pieces) {
        bytes.insert(bytes.end(), piece.memory.begin(), piece.memory.end());
      }
      take_records(world, at, AbortedFilter(p), bytes, positions[at],
                   [&](int64_t offset, std::string value) { each(at, offset, std::move(value)); });
      if (positions[at] > p.high_watermark && !world.history.rotten(at)) {
        world.history.fail(fmt::format("{}: offset {} was fetched above the high watermark {}",
                                       at.text(), positions[at] - 1, p.high_watermark));
      }
    }
  }
  co_await find_starts(world, client, positions, std::move(lost));
  co_return fetched;
}

// ------------------------------------------------------------------------------------------------
// topics

namespace {

/// Settings of a new topic of that kind, from the seed.
std::vector<std::pair<std::string, std::string>> settings_for(Rng& rng, TopicKind kind) {
  if (kind == TopicKind::kPlain || (kind == TopicKind::kDoomed && rng.one_in(2))) return {};
  std::vector<std::pair<std::string, std::string>> settings = {
      {"internal.segment.bytes", fmt::format("{}", rng.between(25'000, 60'000))},
      {"index.interval.bytes", fmt::format("{}", rng.between(0, 2'000))},
      {"file.delete.delay.ms", fmt::format("{}", rng.between(0, 1'000))}};
  if (rng.one_in(3)) settings.emplace_back("segment.index.bytes", "80");
  if (kind == TopicKind::kLimited) {
    settings.emplace_back("retention.bytes", fmt::format("{}", rng.between(0, 100'000)));
  }
  if (kind == TopicKind::kCompacted) {
    settings.emplace_back("cleanup.policy", "compact");
    settings.emplace_back("min.cleanable.dirty.ratio", "0");
    settings.emplace_back("segment.ms", fmt::format("{}", rng.between(20, 1'000)));
  }
  return settings;
}

}  // namespace

io::Task<void> create_topic(ClientWorld& world, WireClient& client, std::string name,
                            int32_t partitions, TopicKind kind) {
  const auto settings = settings_for(world.sim.rng(), kind);
  bool tried = false;
  while (!world.history.failure()) {
    Arena arena;
    wire::CreateTopicsRequest request;
    auto& topic = request.topics.add(arena);
    topic.name = name;
    topic.num_partitions = partitions;
    topic.replication_factor = 1;
    for (const auto& [key, value] : settings) {
      auto& config = topic.configs.add(arena);
      config.name = key;
      config.value = value;
    }
    auto reply =
        co_await client.call<wire::CreateTopicsRequest, wire::CreateTopicsResponse>(request, 7);
    if (reply) {
      const auto& answer = reply->body.topics[0];
      const auto error = static_cast<ErrorCode>(answer.error_code);
      if (error == ErrorCode::kNone) {
        world.topics.push_back({name, answer.topic_id, partitions, kind});
        for (int32_t i = 0; i < partitions && kind == TopicKind::kLimited; i++) {
          world.history.may_begin_at({name, i}, History::kEverything);
        }
        co_return;
      }
      // The first try may have been done without its answer arriving: such a topic is not used.
      if (error == ErrorCode::kTopicAlreadyExists && tried) co_return;
      if (!may_retry(world, "CreateTopics", answer.error_code)) co_return;
    }
    tried = true;
    co_await world.loop.sleep(kRetryPause);
  }
}

namespace {

/// DeleteRecords up to somewhere below the high watermark.
io::Task<void> trim(ClientWorld& world, WireClient& client, const KnownTopic& topic) {
  Rng& rng = world.sim.rng();
  const History::Partition at{
      topic.name, static_cast<int32_t>(rng.below(static_cast<uint64_t>(topic.partitions)))};
  const int64_t mark = world.history.known_high_watermark(at);
  if (mark == 0 || world.history.rotten(at)) co_return;
  const int64_t offset = rng.between(0, mark);
  world.history.may_begin_at(at, offset);
  Arena arena;
  wire::DeleteRecordsRequest request;
  auto& t = request.topics.add(arena);
  t.name = topic.name;
  auto& p = t.partitions.add(arena);
  p.partition_index = at.index;
  p.offset = offset;
  request.timeout_ms = 30'000;
  auto reply =
      co_await client.call<wire::DeleteRecordsRequest, wire::DeleteRecordsResponse>(request, 2);
  if (!reply) co_return;
  const auto& answer = reply->body.topics[0].partitions[0];
  if (answer.error_code == 0) {
    world.history.begins_at(at, offset);
  } else if (!world.history.rotten(at)) {
    (void)may_retry(world, "DeleteRecords", answer.error_code);
  }
}

/// Asks until it is answered; from the first try on nobody relies on the topic.
io::Task<void> delete_topic(ClientWorld& world, WireClient& client, std::string name) {
  std::erase_if(world.topics, [&](const KnownTopic& t) { return t.name == name; });
  world.history.deleted(name);
  while (!world.history.failure() && !world.stopping) {
    Arena arena;
    wire::DeleteTopicsRequest request;
    request.topic_names.add(arena) = name;
    request.timeout_ms = 30'000;
    auto reply =
        co_await client.call<wire::DeleteTopicsRequest, wire::DeleteTopicsResponse>(request, 5);
    if (reply) {
      const auto error = static_cast<ErrorCode>(reply->body.responses[0].error_code);
      if (error == ErrorCode::kNone || error == ErrorCode::kUnknownTopicOrPartition) {
        world.gone.push_back(std::move(name));
        co_return;
      }
      if (!may_retry(world, "DeleteTopics", reply->body.responses[0].error_code)) co_return;
    }
    co_await world.loop.sleep(kRetryPause);
  }
}

/// Every known topic must be there, as it was created, and no deleted one.
io::Task<void> check_topics(ClientWorld& world, WireClient& client) {
  const std::vector<KnownTopic> known = world.topics;
  const std::vector<std::string> gone = world.gone;
  wire::MetadataRequest request;
  request.topics = std::nullopt;
  request.allow_auto_topic_creation = false;
  auto reply = co_await client.call<wire::MetadataRequest, wire::MetadataResponse>(request, 12);
  if (!reply) co_return;
  for (const KnownTopic& topic : known) {
    auto& topics = reply->body.topics;
    auto found = std::ranges::find_if(topics, [&](auto& t) { return t.name == topic.name; });
    if (world.history.is_deleted(topic.name)) continue;
    if (found == topics.end()) {
      world.history.fail(fmt::format("topic {} was created and is gone", topic.name));
    } else if (found->topic_id != topic.id ||
               found->partitions.size() != static_cast<size_t>(topic.partitions)) {
      world.history.fail(fmt::format("topic {} has become another one", topic.name));
    }
  }
  for (auto& topic : reply->body.topics) {
    if (std::ranges::count(gone, topic.name) == 0) continue;
    world.history.fail(fmt::format("topic {} was deleted and is back", *topic.name));
  }
}

/// Does to one of the topics what its kind says.
io::Task<void> work_on_topics(ClientWorld& world, WireClient& client) {
  if (world.topics.empty()) co_return;
  const KnownTopic topic = world.topics[world.sim.rng().below(world.topics.size())];
  if (topic.kind == TopicKind::kTrimmed) co_await trim(world, client, topic);
  const bool due = topic.kind == TopicKind::kDoomed && world.sim.rng().one_in(4);
  if (due) co_await delete_topic(world, client, topic.name);
}

}  // namespace

io::Task<void> run_producer(ClientWorld& world, std::string name, ProducerKind kind) {
  world.running++;
  Producer producer{world, std::move(name), kind, WireClient(world.loop, world.broker)};
  while (world.topics.empty() && !world.stopping) co_await world.loop.sleep(kRetryPause);
  if (kind == ProducerKind::kIdempotent) co_await get_producer_id(producer);
  while (!world.stopping && !world.history.failure()) {
    if (!world.topics.empty()) {
      const Batch batch = make_batch(producer);
      if (usable(world, batch.at)) co_await deliver(producer, batch);
    }
    co_await world.loop.sleep(pause(world));
  }
  world.running--;
}

io::Task<void> run_consumer(ClientWorld& world) {
  world.running++;
  WireClient client(world.loop, world.broker);
  Positions positions;
  const std::function<void(const History::Partition&, int64_t, std::string)> each =
      [&world](const History::Partition& at, int64_t offset, std::string value) {
        world.history.observed(at, offset, value);
      };
  while (!world.stopping && !world.history.failure()) {
    follow_all(world, positions);
    const Fetched fetched = co_await fetch(world, client, positions, each);
    co_await world.loop.sleep(fetched.ok ? pause(world) : kRetryPause);
  }
  world.running--;
}

io::Task<void> run_administrator(ClientWorld& world, int count) {
  world.running++;
  WireClient client(world.loop, world.broker);
  for (int created = 0; !world.stopping && !world.history.failure();) {
    if (created < count && (created == 0 || world.sim.rng().one_in(3))) {
      const auto partitions = static_cast<int32_t>(world.sim.rng().between(1, 6));
      const auto kind = static_cast<TopicKind>(world.sim.rng().below(6));
      co_await create_topic(world, client, fmt::format("topic{}", created++), partitions, kind);
    }
    co_await check_topics(world, client);
    co_await work_on_topics(world, client);
    co_await world.loop.sleep(Millis(world.sim.rng().between(1, 400)));
  }
  world.running--;
}

io::Task<void> read_everything(ClientWorld& world, bool& finished) {
  WireClient client(world.loop, world.broker);
  std::map<History::Partition, std::map<int64_t, std::string>> content;
  const std::function<void(const History::Partition&, int64_t, std::string)> each =
      [&](const History::Partition& at, int64_t offset, std::string value) {
        content[at][offset] = std::move(value);
      };
  Positions positions;
  // Where rot has cut what lies behind the last record of a compacted log, no position moves up to
  // the high watermark: so many empty answers (others may have filled some) are its end.
  constexpr int kEmptyMax = 50;
  std::map<History::Partition, int> empty;
  for (bool all = false; !all && !world.history.failure();) {
    follow_all(world, positions);
    const Positions before = positions;
    const Fetched fetched = co_await fetch(world, client, positions, each);
    all = fetched.ok;
    for (const KnownTopic& topic : world.topics) {
      for (int32_t i = 0; i < topic.partitions; i++) {
        const History::Partition at{topic.name, i};
        auto hw = fetched.high_watermarks.find(at);
        if (positions[at] >= world.history.rotten_from(at)) continue;
        const auto old = before.find(at);
        const bool moved = old == before.end() || old->second != positions[at];
        empty[at] = moved ? 0 : empty[at] + 1;
        if (world.history.rotten(at) && empty[at] > kEmptyMax) continue;
        all = all && hw != fetched.high_watermarks.end() && positions[at] >= hw->second;
      }
    }
    if (!fetched.ok) co_await world.loop.sleep(kRetryPause);
  }
  for (const KnownTopic& topic : world.topics) {
    for (int32_t i = 0; i < topic.partitions; i++) {
      const History::Partition at{topic.name, i};
      const int64_t end = positions[at];
      const int64_t start = content[at].empty() ? end : content[at].begin()->first;
      world.history.check_all(at, start, end, content[at]);
    }
  }
  finished = true;
}

}  // namespace odradek::sim
