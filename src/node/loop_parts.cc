#include "node/loop_parts.h"

#include <utility>

#include "metadata/topic_config.h"
#include "replica/topic_settings.h"
#include "server/dispatch.h"

namespace odradek::node {
namespace {

replica::ShardSettings shard_settings(const io::Io& io, const metadata::BrokerConfig& c) {
  using enum metadata::BrokerKey;
  replica::ShardSettings s;
  s.node_id = c.node_id();
  s.loops = io.loop_count();
  s.retention_check = c.millis(kLogRetentionCheckIntervalMs);
  s.high_watermark_checkpoint = c.millis(kReplicaHighWatermarkCheckpointIntervalMs);
  s.recovery_point_checkpoint = c.millis(kLogFlushOffsetCheckpointIntervalMs);
  s.log_start_checkpoint = c.millis(kLogFlushStartOffsetCheckpointIntervalMs);
  s.producer_expiration_check = c.millis(kProducerIdExpirationCheckIntervalMs);
  s.decompressed_max = static_cast<uint64_t>(c.int32(kOdradekMaxDecompressedBatchBytes));
  return s;
}

/// What one loop may copy of replicas that change their directory.
int64_t move_rate(const metadata::BrokerConfig& c, int loops) {
  const int64_t all = c.int64(metadata::BrokerKey::kReplicaAlterLogDirsIoMaxBytesPerSecond);
  return all == INT64_MAX ? all : all / loops;
}

size_t session_slots(const io::Io& io, const metadata::BrokerConfig& c) {
  const auto all =
      static_cast<size_t>(c.int32(metadata::BrokerKey::kMaxIncrementalFetchSessionCacheSlots));
  const auto loops = static_cast<size_t>(io.loop_count());
  return (all + loops - 1) / loops;
}

bool concerns_broker(const metadata::Delta& delta, BrokerId node) {
  using metadata::ConfigResource;
  using metadata::ResourceType;
  return delta.configs.contains(ConfigResource{ResourceType::kBroker, ""}) ||
         delta.configs.contains(ConfigResource{ResourceType::kBroker, std::to_string(node.value)});
}

}  // namespace

replica::CleanerSettings cleaner_settings(const metadata::BrokerConfig& c) {
  using enum metadata::BrokerKey;
  return {.enabled = c.boolean(kLogCleanerEnable),
          .threads = c.int32(kLogCleanerThreads),
          .dedupe_bytes =
              static_cast<uint64_t>(std::max<int64_t>(c.int64(kLogCleanerDedupeBufferSize), 0)),
          .load_factor = c.real(kLogCleanerIoBufferLoadFactor),
          .io_bytes = static_cast<uint64_t>(c.int32(kLogCleanerIoBufferSize)),
          .bytes_per_second = c.real(kLogCleanerIoMaxBytesPerSecond),
          .backoff = c.millis(kLogCleanerBackoffMs),
          .decompressed_max = static_cast<uint64_t>(c.int32(kOdradekMaxDecompressedBatchBytes))};
}

LoopParts::LoopParts(io::Io& io, int index, metadata::BrokerConfigPtr start_config,
                     replica::LogDirs& dirs, ControllerHost& controller,
                     const std::string& cluster_id, Logger parent)
    : loop(io.loop(index)),
      logger(parent),
      config(std::move(start_config)),
      resolve([this](const metadata::Image& image, const std::string& topic) {
        return replica::make_topic_settings(
            metadata::resolve_topic_config(image.topic_config(topic), *config),
            config->millis(metadata::BrokerKey::kProducerIdExpirationMs));
      }),
      shard(io, loop, dirs, shard_settings(io, *config), resolve, parent.named("replica")),
      groups(shard, config, parent.named("groups")),
      to_controller(io.loop(0), loop, controller),
      server_metrics(metrics, server::dispatch_table()),
      fetch_sessions(loop, session_slots(io, *config)),
      services{.loop = loop,
               .dispatch = server::dispatch_table(),
               .controller = to_controller,
               .metrics = server_metrics,
               .logger = parent.named("server"),
               .cluster_id = cluster_id,
               .config = config},
      transactions(shard, services, parent.named("transactions")) {
  services.fetch_sessions = &fetch_sessions;
  shard.moves().set_rate(move_rate(*config, io.loop_count()));
}

void LoopParts::follow(const metadata::Publication& publication) {
  const metadata::Image& image = *publication.image;
  if (concerns_broker(*publication.delta, config->node_id())) {
    std::vector<std::string> warnings;
    config = config->with_dynamic(image.default_broker_config(),
                                  image.broker_config(config->node_id()), &warnings);
    services.config = config;
    shard.resolve_all(image);
    if (cleaner != nullptr && loop.index() == 0) cleaner->change(cleaner_settings(*config));
    shard.moves().set_rate(move_rate(*config, shard.settings().loops));
    if (loop.index() == 0) {
      for (const auto& line : warnings) logger.warn("{}", line);
      shard.dirs().set_cordoned(config->list(metadata::BrokerKey::kCordonedLogDirs));
      if (on_cordoned) on_cordoned();
    }
  }
  transactions.follow(image);
  shard.apply(publication);
  groups.follow(publication, config);
  services.image = publication.image;
}

metadata::Publication first_publication(metadata::ImagePtr image) {
  auto delta = std::make_shared<metadata::Delta>();
  delta->before = std::make_shared<const metadata::Image>();
  delta->after = image;
  delta->from_snapshot = true;
  image->for_each_topic([&](const metadata::TopicPtr& t) { delta->topics[t->id] = {nullptr, t}; });
  image->configs.for_each([&](const std::shared_ptr<const metadata::ResourceConfig>& c) {
    delta->configs.insert(c->resource);
  });
  for (const auto& [id, broker] : image->brokers) delta->brokers.insert(id);
  for (const auto& [id, controller] : image->controllers) delta->controllers.insert(id);
  delta->features = {image->features.begin(), image->features.end()};
  delta->next_producer_id = image->next_producer_id;
  return {std::move(image), std::move(delta)};
}

}  // namespace odradek::node
