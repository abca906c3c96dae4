#include "server/handlers/auto_create.h"

#include <fmt/format.h>

#include "metadata/broker_config.h"
#include "wire/errors.h"
#include "wire/gen/create_topics.h"

namespace odradek::server {

namespace {

using metadata::BrokerConfig;
using metadata::BrokerKey;
using Creatable = wire::CreateTopicsRequest::CreatableTopic;

constexpr int16_t kCreateTopicsVersion = 7;

void set(Arena& arena, Creatable& topic, std::string_view name, std::string_view value) {
  auto& c = topic.configs.add(arena);
  c.name = name;
  c.value = value;
}

/// Partitions, replicas and settings of a topic that is created by itself.
void describe(Arena& arena, const BrokerConfig& config, Creatable& topic) {
  auto number = [&](BrokerKey key) { return arena.copy(fmt::format("{}", config.int64(key))); };
  auto size = [&](BrokerKey partitions, BrokerKey replicas) {
    topic.num_partitions = config.int32(partitions);
    topic.replication_factor = static_cast<int16_t>(config.int32(replicas));
  };
  if (topic.name == "__consumer_offsets") {
    size(BrokerKey::kOffsetsTopicNumPartitions, BrokerKey::kOffsetsTopicReplicationFactor);
    set(arena, topic, "cleanup.policy", "compact");
    set(arena, topic, "compression.type", "producer");
    set(arena, topic, "segment.bytes", number(BrokerKey::kOffsetsTopicSegmentBytes));
  } else if (topic.name == "__transaction_state") {
    size(BrokerKey::kTransactionStateLogNumPartitions,
         BrokerKey::kTransactionStateLogReplicationFactor);
    set(arena, topic, "unclean.leader.election.enable", "false");
    set(arena, topic, "compression.type", "uncompressed");
    set(arena, topic, "cleanup.policy", "compact");
    set(arena, topic, "min.insync.replicas", number(BrokerKey::kTransactionStateLogMinIsr));
    set(arena, topic, "segment.bytes", number(BrokerKey::kTransactionStateLogSegmentBytes));
  } else if (topic.name == "__share_group_state") {
    size(BrokerKey::kShareCoordinatorStateTopicNumPartitions,
         BrokerKey::kShareCoordinatorStateTopicReplicationFactor);
    set(arena, topic, "cleanup.policy", "delete");
    set(arena, topic, "compression.type", "producer");
    set(arena, topic, "segment.bytes", number(BrokerKey::kShareCoordinatorStateTopicSegmentBytes));
  } else {
    size(BrokerKey::kNumPartitions, BrokerKey::kDefaultReplicationFactor);
  }
}

/// Clients that wait for a topic ask ten times a second.
constexpr Millis kTellAgain{10'000};

void tell(Services& services, std::string failure) {
  const MonoNs now = services.loop.clock().now();
  if (failure == services.create_failure && now < services.create_failure_told + kTellAgain) return;
  services.logger.warn("{}", failure);
  services.create_failure = std::move(failure);
  services.create_failure_told = now;
}

void log_failures(Request& request, const ByteBuffer& answer) {
  wire::CreateTopicsResponse response;
  wire::Reader reader(answer, request.arena());
  if (!response.decode(reader, kCreateTopicsVersion)) return;
  for (const auto& t : response.topics) {
    const auto error = static_cast<wire::ErrorCode>(t.error_code);
    // Somebody else was faster: as good as created.
    if (error == wire::ErrorCode::kNone || error == wire::ErrorCode::kTopicAlreadyExists) continue;
    tell(request.services(), fmt::format("could not create topic {} by itself: {} {}", t.name,
                                         wire::name(error), t.error_message.value_or("")));
  }
}

}  // namespace

bool may_auto_create(const Services& services) {
  return services.config->boolean(BrokerKey::kAutoCreateTopicsEnable);
}

io::Task<void> auto_create_topics(Request& request, std::span<const std::string_view> names) {
  Services& services = request.services();
  wire::CreateTopicsRequest body;
  body.timeout_ms = services.config->int32(BrokerKey::kRequestTimeoutMs);
  for (std::string_view name : names) {
    Creatable& topic = body.topics.add(request.arena());
    topic.name = name;
    describe(request.arena(), *services.config, topic);
  }
  wire::Writer writer;
  body.encode(writer, kCreateTopicsVersion);
  const Result<ByteBuffer> answer = co_await ask_controller(services, wire::ApiKey::kCreateTopics,
                                                            kCreateTopicsVersion, writer.take());
  if (answer) {
    log_failures(request, *answer);
  } else {
    tell(services,
         fmt::format("could not create topics by themselves: {}", answer.error().message));
  }
}

}  // namespace odradek::server
