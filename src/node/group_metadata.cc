// What group coordinators learn of the cluster: settings, topics, racks.
#include <algorithm>
#include <cctype>
#include <utility>

#include "node/group_host.h"
#include "node/partition_log.h"

namespace odradek::node {

namespace {

bool policy_is(const metadata::BrokerConfig& c, std::string_view one, std::string_view other) {
  std::string policy = c.text(metadata::BrokerKey::kGroupConsumerMigrationPolicy);
  for (char& ch : policy) ch = static_cast<char>(std::tolower(static_cast<unsigned char>(ch)));
  return policy == one || policy == other;
}

machines::group::Settings settings_of(const metadata::BrokerConfig& c, size_t batch_bytes_max) {
  using enum metadata::BrokerKey;
  machines::group::Settings s;
  s.initial_rebalance_delay_ms = c.int32(kGroupInitialRebalanceDelayMs);
  s.max_size = c.int32(kGroupMaxSize);
  s.batch_bytes_max = batch_bytes_max;
  s.metadata_max_bytes = c.int32(kOffsetMetadataMaxBytes);
  s.offsets_retention = Millis(c.int64(kOffsetsRetentionMinutes) * 60'000);
  s.retention_check = c.millis(kOffsetsRetentionCheckIntervalMs);
  s.consumer_session_timeout_ms = {c.int32(kGroupConsumerSessionTimeoutMs),
                                   c.int32(kGroupConsumerMinSessionTimeoutMs),
                                   c.int32(kGroupConsumerMaxSessionTimeoutMs)};
  s.consumer_heartbeat_interval_ms = {c.int32(kGroupConsumerHeartbeatIntervalMs),
                                      c.int32(kGroupConsumerMinHeartbeatIntervalMs),
                                      c.int32(kGroupConsumerMaxHeartbeatIntervalMs)};
  s.consumer_max_size = c.int32(kGroupConsumerMaxSize);
  s.consumer_assignment_interval_ms = {c.int32(kGroupConsumerAssignmentIntervalMs),
                                       c.int32(kGroupConsumerMinAssignmentIntervalMs),
                                       c.int32(kGroupConsumerMaxAssignmentIntervalMs)};
  s.regex_refresh_interval = c.millis(kGroupConsumerRegexRefreshIntervalMs);
  s.assignors.clear();
  for (const std::string& entry : c.list(kGroupConsumerAssignors))
    s.assignors.push_back(machines::group::assignor::configured(entry));
  s.may_upgrade = policy_is(c, "upgrade", "bidirectional");
  s.may_downgrade = policy_is(c, "downgrade", "bidirectional");
  return s;
}

/// Whether groups of consumers may see it differently: topics, where their replicas are.
bool concerns_groups(const metadata::TopicChange& change) {
  if (!change.before || !change.after) return true;
  const auto& before = change.before->partitions;
  const auto& after = change.after->partitions;
  return !std::ranges::equal(before, after, [](const auto& a, const auto& b) {
    return a == b || (a && b && a->replicas == b->replicas);
  });
}

bool concerns_groups(const metadata::Delta& delta) {
  const auto rack = [](const metadata::Image& image, BrokerId id) {
    const metadata::Broker* broker = image.broker(id);
    return broker != nullptr ? broker->rack : std::nullopt;
  };
  return std::ranges::any_of(delta.topics,
                             [](const auto& t) { return concerns_groups(t.second); }) ||
         std::ranges::any_of(
             delta.configs,
             [](const auto& c) { return c.type == metadata::ResourceType::kGroup; }) ||
         std::ranges::any_of(delta.brokers, [&](BrokerId id) {
           return rack(*delta.before, id) != rack(*delta.after, id);
         });
}

}  // namespace

machines::group::Settings GroupHost::settings(const replica::Partition& partition) const {
  return settings_of(*config_, batch_bytes_max(partition));
}

void GroupHost::follow(const metadata::Publication& publication, metadata::BrokerConfigPtr config) {
  const bool reconfigured = config != config_;
  config_ = std::move(config);
  image_ = publication.image;
  const bool image_changed = concerns_groups(*publication.delta);
  const bool new_topics = std::ranges::any_of(
      publication.delta->topics, [](const auto& t) { return t.second.before == nullptr; });
  std::vector<int32_t> indexes;
  for (auto& [index, hosted] : hosted_) {
    if (image_changed) {
      hosted->changed.new_topics =
          new_topics || (hosted->changed.image && hosted->changed.new_topics);
      hosted->changed.image = image_;
    }
    if (reconfigured)
      hosted->changed.settings =
          std::make_shared<const machines::group::Settings>(settings(*hosted->partition));
    if (image_changed || reconfigured) indexes.push_back(index);
  }
  for (const int32_t index : indexes) tell_metadata(index);
  remove_deleted(*publication.delta);
}

void GroupHost::tell_metadata(int32_t partition) {
  const auto at = hosted_.find(partition);
  if (at == hosted_.end()) return;
  Hosted& hosted = *at->second;
  // Once it is loaded.
  if ((!hosted.changed.image && !hosted.changed.settings) || !hosted.coordinator->active()) return;
  auto command = std::exchange(hosted.changed, {});
  // It must not be missed: an append that fails makes a machine with the newest of everything.
  hosted.coordinator->submit(machines::group::Command(command), [&hosted, command](auto result) {
    if (!result && !hosted.changed.image) hosted.changed.image = command.image;
    if (!result && !hosted.changed.settings) hosted.changed.settings = command.settings;
  });
}

}  // namespace odradek::node
