// A small image for tests of handlers: broker 1 (and a fenced broker 2), listeners PLAINTEXT and
// CONTROLLER, and topics made on the spot.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "metadata/broker_config.h"
#include "metadata/image.h"

namespace odradek::server::testing {

/// Topic `name` with `partitions` partitions led by broker 1; its id is {7, number}.
inline void add_topic(metadata::Image& image, const std::string& name, int partitions,
                      uint64_t number) {
  auto topic = std::make_shared<metadata::Topic>();
  topic->name = name;
  topic->id = Uuid{7, number};
  for (int i = 0; i < partitions; i++) {
    auto p = std::make_shared<metadata::Partition>();
    p->replicas = {BrokerId(1)};
    p->directories = {kDirUnassigned};
    p->isr = {BrokerId(1)};
    p->leader = BrokerId(1);
    p->leader_epoch = LeaderEpoch(3);
    topic->partitions.push_back(std::move(p));
  }
  const metadata::EditToken token = metadata::next_edit_token();
  image.topics_by_name.set(token, topic);
  image.topics_by_id.set(token, topic);
}

inline std::shared_ptr<metadata::Image> small_image() {
  auto image = std::make_shared<metadata::Image>();
  image->provenance.offset = Offset(41);
  image->features = {{"metadata.version", 30}, {"group.version", 1}};
  for (int id : {1, 2}) {
    auto broker = std::make_shared<metadata::Broker>();
    broker->id = BrokerId(id);
    broker->fenced = id == 2;
    broker->endpoints = {{"PLAINTEXT", "broker" + std::to_string(id), 9092}};
    broker->rack = "r" + std::to_string(id);
    image->brokers.emplace(BrokerId(id), std::move(broker));
  }
  auto controller = std::make_shared<metadata::Controller>();
  controller->id = BrokerId(1);
  controller->endpoints = {{"CONTROLLER", "broker1", 9093}};
  image->controllers.emplace(BrokerId(1), std::move(controller));
  return image;
}

/// Settings of node 1 as `odradek server` without a file has them.
inline metadata::BrokerConfigPtr small_config(
    const std::vector<std::pair<std::string, std::string>>& overrides = {}) {
  metadata::Properties properties = metadata::BrokerConfig::standalone_properties();
  for (const auto& [name, value] : overrides) properties[name] = value;
  auto loaded = metadata::BrokerConfig::load(std::move(properties));
  ODRADEK_CHECK(loaded);
  return loaded->config;
}

}  // namespace odradek::server::testing
