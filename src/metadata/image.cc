#include "metadata/image.h"

#include <algorithm>
#include <atomic>

#include "metadata/delta.h"

namespace odradek::metadata {
namespace {

bool contains(const std::vector<BrokerId>& ids, BrokerId id) {
  return std::ranges::find(ids, id) != ids.end();
}

const ConfigMap kNoConfig;

}  // namespace

EditToken next_edit_token() {
  static std::atomic<EditToken> last{0};
  return ++last;
}

const Endpoint* Broker::endpoint(std::string_view listener) const {
  for (const Endpoint& e : endpoints) {
    if (e.name == listener) return &e;
  }
  return nullptr;
}

bool Broker::has_online_dir(const Uuid& dir) const {
  if (log_dirs.empty() || dir == kDirUnassigned || dir == kDirMigrating) return true;
  if (dir == kDirLost) return false;
  return std::ranges::binary_search(log_dirs, dir);
}

bool Partition::is_replica(BrokerId id) const { return contains(replicas, id); }
bool Partition::in_isr(BrokerId id) const { return contains(isr, id); }

Uuid Partition::directory(BrokerId id) const {
  for (size_t i = 0; i < replicas.size() && i < directories.size(); i++) {
    if (replicas[i] == id) return directories[i];
  }
  return kDirUnassigned;
}

uint64_t ClientQuotaTraits::hash(const Key& k) {
  uint64_t h = 7;
  for (const auto& [type, name] : k) {
    h = hash_text(type, h * 31);
    h = name ? hash_text(*name, h * 31) : h * 31 + 1;
  }
  return h;
}

int16_t Image::feature(std::string_view name) const {
  const auto at = features.find(name);
  return at == features.end() ? int16_t{0} : at->second;
}

const Broker* Image::broker(BrokerId id) const {
  const auto at = brokers.find(id);
  return at == brokers.end() ? nullptr : at->second.get();
}

const Controller* Image::controller(BrokerId id) const {
  const auto at = controllers.find(id);
  return at == controllers.end() ? nullptr : at->second.get();
}

const Partition* Image::partition(const Uuid& topic_id, int32_t index) const {
  const Topic* t = topic(topic_id);
  return t == nullptr ? nullptr : t->partition(index);
}

const Partition* Image::partition(std::string_view topic_name, int32_t index) const {
  const Topic* t = topic(topic_name);
  return t == nullptr ? nullptr : t->partition(index);
}

const ConfigMap& Image::config(ResourceType type, std::string_view name) const {
  const ResourceConfig* c = configs.find({type, name});
  return c == nullptr ? kNoConfig : c->values;
}

std::optional<std::string_view> Image::config(ResourceType type, std::string_view name,
                                              std::string_view key) const {
  const ConfigMap& all = config(type, name);
  const auto at = all.find(key);
  if (at == all.end()) return std::nullopt;
  return at->second;
}

const ConfigMap& Image::broker_config(BrokerId id) const {
  return config(ResourceType::kBroker, std::to_string(id.value));
}

bool Delta::empty() const {
  return topics.empty() && configs.empty() && brokers.empty() && controllers.empty() &&
         features.empty() && quotas.empty() && acls.empty() && scram.empty() && tokens.empty() &&
         !next_producer_id;
}

}  // namespace odradek::metadata
