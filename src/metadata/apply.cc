#include "metadata/apply.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "metadata/features.h"
#include "metadata/record_types.h"

namespace odradek::metadata {
namespace {

// More partitions than any cluster has in one topic; bounds the vector that an index grows.
constexpr int32_t kPartitionsMax = 1 << 20;

std::vector<BrokerId> to_ids(const Array<int32_t>& in) {
  std::vector<BrokerId> out;
  out.reserve(in.size());
  for (const int32_t id : in) out.emplace_back(id);
  return out;
}
std::vector<BrokerId> to_ids(const std::optional<Array<int32_t>>& in) {
  return in ? to_ids(*in) : std::vector<BrokerId>{};
}
std::vector<Uuid> to_uuids(const Array<Uuid>& in) { return {in.begin(), in.end()}; }

std::unexpected<Error> unknown(std::string_view record, std::string_view what) {
  return fail(Errc::kCorrupt, fmt::format("{} names {}, which does not exist", record, what));
}

template <class T>
std::vector<Endpoint> to_endpoints(const Array<T>& in) {
  std::vector<Endpoint> out;
  out.reserve(in.size());
  for (const T& e : in) {
    out.push_back({std::string(e.name), std::string(e.host), e.port,
                   static_cast<SecurityProtocol>(e.security_protocol)});
  }
  return out;
}
template <class T>
FeatureRanges to_ranges(const Array<T>& in) {
  FeatureRanges out;
  for (const T& f : in) {
    out[std::string(f.name)] = {f.min_supported_version, f.max_supported_version};
  }
  return out;
}

/// Directories of the new replicas: those that stay keep theirs.
std::vector<Uuid> carry_directories(const Partition& old, const std::vector<BrokerId>& replicas) {
  std::vector<Uuid> out;
  out.reserve(replicas.size());
  for (const BrokerId id : replicas) out.push_back(old.directory(id));
  return out;
}

}  // namespace

Partition to_partition(const wire::PartitionRecord& record) {
  Partition p;
  p.replicas = to_ids(record.replicas);
  p.directories = to_uuids(record.directories);
  if (p.directories.empty()) p.directories.assign(p.replicas.size(), kDirMigrating);
  p.isr = to_ids(record.isr);
  p.removing = to_ids(record.removing_replicas);
  p.adding = to_ids(record.adding_replicas);
  p.elr = to_ids(record.eligible_leader_replicas);
  p.last_known_elr = to_ids(record.last_known_elr);
  p.leader = BrokerId(record.leader);
  p.leader_epoch = LeaderEpoch(record.leader_epoch);
  p.partition_epoch = record.partition_epoch;
  p.recovery = static_cast<RecoveryState>(record.leader_recovery_state);
  return p;
}

Partition merge(const Partition& old, const wire::PartitionChangeRecord& change) {
  Partition p = old;
  if (change.replicas) p.replicas = to_ids(*change.replicas);
  if (change.directories && !change.directories->empty()) {
    p.directories = to_uuids(*change.directories);
  } else if (change.replicas) {
    p.directories = carry_directories(old, p.replicas);
  }
  if (change.isr) p.isr = to_ids(*change.isr);
  if (change.removing_replicas) p.removing = to_ids(*change.removing_replicas);
  if (change.adding_replicas) p.adding = to_ids(*change.adding_replicas);
  if (change.eligible_leader_replicas) p.elr = to_ids(*change.eligible_leader_replicas);
  if (change.last_known_elr) p.last_known_elr = to_ids(*change.last_known_elr);
  if (change.leader != -2) {
    p.leader = BrokerId(change.leader);
    p.leader_epoch.value++;
  }
  if (change.leader_recovery_state != -1) {
    p.recovery = static_cast<RecoveryState>(change.leader_recovery_state);
  }
  p.partition_epoch++;
  return p;
}

ImageBuilder::ImageBuilder(ImagePtr base)
    : base_(base ? std::move(base) : std::make_shared<const Image>()),
      delta_(std::make_shared<Delta>()),
      token_(next_edit_token()) {
  image_ = *base_;
}

Publication ImageBuilder::build() {
  auto image = std::make_shared<const Image>(image_);
  delta_->before = base_;
  delta_->after = image;
  // What was deleted again, or changed back to nothing, before anyone saw it.
  std::erase_if(delta_->topics, [](const auto& t) {
    return t.second.before == nullptr && t.second.after == nullptr;
  });
  Publication p{image, delta_};
  base_ = std::move(image);
  delta_ = std::make_shared<Delta>();
  token_ = next_edit_token();
  owned_topics_.clear();
  owned_brokers_.clear();
  return p;
}

namespace {

/// Adds to `out` the keys of `before` that `after` lacks.
template <class Map, class F>
void note_missing(const Map& before, const Map& after, F&& note) {
  for (const auto& [key, value] : before) {
    if (!after.contains(key)) note(key);
  }
}

/// Everything of `old` that the new image lacks was deleted.
void note_deleted(const Image& old, const Image& now, Delta& d) {
  old.for_each_topic([&](const TopicPtr& t) { d.topics[t->id].before = t; });
  note_missing(old.brokers, now.brokers, [&](BrokerId id) { d.brokers.insert(id); });
  note_missing(old.controllers, now.controllers, [&](BrokerId id) { d.controllers.insert(id); });
  note_missing(old.features, now.features, [&](const std::string& name) { d.features[name] = 0; });
  old.configs.for_each([&](const auto& c) {
    if (now.configs.find(ResourceConfigTraits::key(*c)) == nullptr) d.configs.insert(c->resource);
  });
  old.quotas.for_each([&](const auto& q) {
    if (now.quotas.find(q->entity) == nullptr) d.quotas.insert(q->entity);
  });
  old.acls.for_each([&](const auto& a) {
    if (now.acls.find(a->id) == nullptr) d.acls.insert(a->id);
  });
  old.scram.for_each([&](const auto& s) {
    if (now.scram.find(ScramTraits::key(*s)) == nullptr) d.scram.insert({s->user, s->mechanism});
  });
  old.tokens.for_each([&](const auto& t) {
    if (now.tokens.find(t->id) == nullptr) d.tokens.insert(t->id);
  });
}

}  // namespace

Publication ImageBuilder::build_replacing(ImagePtr old) {
  ODRADEK_CHECK(base_->topics_by_id.empty() && base_->brokers.empty());
  note_deleted(*old, image_, *delta_);
  delta_->from_snapshot = true;
  base_ = std::move(old);
  return build();
}

void ImageBuilder::remember_topic(const Uuid& id) {
  const auto [at, inserted] = delta_->topics.try_emplace(id);
  if (inserted) at->second.before = base_->share_topic(id);
}

Topic* ImageBuilder::own_topic(const Uuid& id) {
  if (const auto at = owned_topics_.find(id); at != owned_topics_.end()) return at->second.get();
  const Topic* old = image_.topic(id);
  if (old == nullptr) return nullptr;
  auto mine = std::make_shared<Topic>(*old);
  remember_topic(id);
  delta_->topics[id].after = mine;
  image_.topics_by_id.set(token_, mine);
  image_.topics_by_name.set(token_, mine);
  return owned_topics_.emplace(id, std::move(mine)).first->second.get();
}

Broker* ImageBuilder::own_broker(BrokerId id) {
  if (const auto at = owned_brokers_.find(id); at != owned_brokers_.end()) return at->second.get();
  const Broker* old = image_.broker(id);
  if (old == nullptr) return nullptr;
  auto mine = std::make_shared<Broker>(*old);
  image_.brokers[id] = mine;
  delta_->brokers.insert(id);
  return owned_brokers_.emplace(id, std::move(mine)).first->second.get();
}

template <>
Result<void> ImageBuilder::on(const wire::RegisterBrokerRecord& r) {
  auto b = std::make_shared<Broker>();
  b->id = BrokerId(r.broker_id);
  b->epoch = BrokerEpoch(r.broker_epoch);
  b->incarnation = r.incarnation_id;
  b->endpoints = to_endpoints(r.end_points);
  b->features = to_ranges(r.features);
  if (r.rack) b->rack = std::string(*r.rack);
  b->fenced = r.fenced;
  b->in_controlled_shutdown = r.in_controlled_shutdown;
  b->log_dirs = to_uuids(r.log_dirs);
  std::ranges::sort(b->log_dirs);
  if (r.cordoned_log_dirs) b->cordoned_log_dirs = to_uuids(*r.cordoned_log_dirs);
  delta_->brokers.insert(b->id);
  image_.brokers[b->id] = b;
  owned_brokers_[b->id] = std::move(b);
  return {};
}

template <>
Result<void> ImageBuilder::on(const wire::UnregisterBrokerRecord& r) {
  const BrokerId id(r.broker_id);
  const Broker* b = image_.broker(id);
  if (b == nullptr || b->epoch.value != r.broker_epoch) {
    return unknown("UnregisterBrokerRecord",
                   fmt::format("broker {} of epoch {}", r.broker_id, r.broker_epoch));
  }
  delta_->brokers.insert(id);
  owned_brokers_.erase(id);
  image_.brokers.erase(id);
  return {};
}

template <>
Result<void> ImageBuilder::on(const wire::BrokerRegistrationChangeRecord& r) {
  Broker* b = own_broker(BrokerId(r.broker_id));
  if (b == nullptr || b->epoch.value != r.broker_epoch) {
    return unknown("BrokerRegistrationChangeRecord",
                   fmt::format("broker {} of epoch {}", r.broker_id, r.broker_epoch));
  }
  if (r.fenced < -1 || r.fenced > 1 || r.in_controlled_shutdown < 0 ||
      r.in_controlled_shutdown > 1) {
    return fail(Errc::kCorrupt, "BrokerRegistrationChangeRecord with a change that does not exist");
  }
  if (r.fenced != 0) b->fenced = r.fenced == 1;
  if (r.in_controlled_shutdown == 1) b->in_controlled_shutdown = true;
  if (!r.log_dirs.empty()) {
    b->log_dirs = to_uuids(r.log_dirs);
    std::ranges::sort(b->log_dirs);
  }
  if (r.cordoned_log_dirs) b->cordoned_log_dirs = to_uuids(*r.cordoned_log_dirs);
  return {};
}

template <>
Result<void> ImageBuilder::on(const wire::FenceBrokerRecord& r) {
  Broker* b = own_broker(BrokerId(r.id));
  if (b == nullptr || b->epoch.value != r.epoch)
    return unknown("FenceBrokerRecord", fmt::format("broker {} of epoch {}", r.id, r.epoch));
  b->fenced = true;
  return {};
}

template <>
Result<void> ImageBuilder::on(const wire::UnfenceBrokerRecord& r) {
  Broker* b = own_broker(BrokerId(r.id));
  if (b == nullptr || b->epoch.value != r.epoch)
    return unknown("UnfenceBrokerRecord", fmt::format("broker {} of epoch {}", r.id, r.epoch));
  b->fenced = false;
  return {};
}

template <>
Result<void> ImageBuilder::on(const wire::RegisterControllerRecord& r) {
  auto c = std::make_shared<Controller>();
  c->id = BrokerId(r.controller_id);
  c->incarnation = r.incarnation_id;
  c->zk_migration_ready = r.zk_migration_ready;
  c->endpoints = to_endpoints(r.end_points);
  c->features = to_ranges(r.features);
  delta_->controllers.insert(c->id);
  image_.controllers[c->id] = std::move(c);
  return {};
}

template <>
Result<void> ImageBuilder::on(const wire::TopicRecord& r) {
  if (image_.topic(r.topic_id) != nullptr || image_.topic(r.name) != nullptr) {
    return fail(Errc::kCorrupt, fmt::format("TopicRecord for {} ({}), which exists already", r.name,
                                            r.topic_id.to_string()));
  }
  remember_topic(r.topic_id);
  auto t = std::make_shared<Topic>();
  t->name = std::string(r.name);
  t->id = r.topic_id;
  delta_->topics[r.topic_id].after = t;
  image_.topics_by_id.set(token_, t);
  image_.topics_by_name.set(token_, t);
  owned_topics_.emplace(r.topic_id, std::move(t));
  return {};
}

template <>
Result<void> ImageBuilder::on(const wire::RemoveTopicRecord& r) {
  const TopicPtr t = image_.share_topic(r.topic_id);
  if (t == nullptr) return unknown("RemoveTopicRecord", "topic " + r.topic_id.to_string());
  remember_topic(r.topic_id);
  delta_->topics[r.topic_id].after = nullptr;
  owned_topics_.erase(r.topic_id);
  image_.topics_by_id.erase(token_, t->id);
  image_.topics_by_name.erase(token_, t->name);
  erase_configs(ResourceType::kTopic, t->name);
  return {};
}

template <>
Result<void> ImageBuilder::on(const wire::PartitionRecord& r) {
  Topic* t = own_topic(r.topic_id);
  if (t == nullptr) return unknown("PartitionRecord", "topic " + r.topic_id.to_string());
  if (r.partition_id < 0 || r.partition_id >= kPartitionsMax ||
      (!r.directories.empty() && r.directories.size() != r.replicas.size()) ||
      r.leader_recovery_state < 0 || r.leader_recovery_state > 1) {
    return fail(Errc::kCorrupt,
                fmt::format("PartitionRecord of {} with index {}, {} replicas in {} "
                            "directories, recovery state {}",
                            t->name, r.partition_id, r.replicas.size(), r.directories.size(),
                            r.leader_recovery_state));
  }
  const auto index = static_cast<size_t>(r.partition_id);
  if (index >= t->partitions.size()) t->partitions.resize(index + 1);
  t->partitions[index] = std::make_shared<const Partition>(to_partition(r));
  return {};
}

template <>
Result<void> ImageBuilder::on(const wire::PartitionChangeRecord& r) {
  Topic* t = own_topic(r.topic_id);
  const Partition* old = t == nullptr ? nullptr : t->partition(r.partition_id);
  if (old == nullptr) {
    return unknown("PartitionChangeRecord",
                   fmt::format("partition {} of {}", r.partition_id, r.topic_id.to_string()));
  }
  Partition changed = merge(*old, r);
  if (changed.directories.size() != changed.replicas.size() || r.leader_recovery_state > 1) {
    return fail(Errc::kCorrupt, fmt::format("PartitionChangeRecord of {}-{} does not fit", t->name,
                                            r.partition_id));
  }
  t->partitions[static_cast<size_t>(r.partition_id)] =
      std::make_shared<const Partition>(std::move(changed));
  return {};
}

void ImageBuilder::clear_elr(Topic& topic) {
  for (PartitionPtr& p : topic.partitions) {
    if (p == nullptr || (p->elr.empty() && p->last_known_elr.empty())) continue;
    auto changed = std::make_shared<Partition>(*p);
    changed->elr.clear();
    changed->last_known_elr.clear();
    changed->partition_epoch++;
    p = std::move(changed);
  }
}

template <>
Result<void> ImageBuilder::on(const wire::ClearElrRecord& r) {
  const auto has_elr = [](const Topic& t) {
    return std::ranges::any_of(t.partitions, [](const PartitionPtr& p) {
      return p != nullptr && (!p->elr.empty() || !p->last_known_elr.empty());
    });
  };
  if (!r.topic_name.empty()) {
    const Topic* t = image_.topic(r.topic_name);
    if (t == nullptr) return unknown("ClearElrRecord", r.topic_name);
    if (has_elr(*t)) clear_elr(*own_topic(t->id));
    return {};
  }
  std::vector<Uuid> ids;
  image_.for_each_topic([&](const TopicPtr& t) {
    if (has_elr(*t)) ids.push_back(t->id);
  });
  for (const Uuid& id : ids) clear_elr(*own_topic(id));
  return {};
}

void ImageBuilder::set_config(ResourceType type, std::string_view resource, std::string_view name,
                              std::optional<std::string_view> value) {
  const ConfigMap& old = image_.config(type, resource);
  if (!value && !old.contains(name)) {
    // Brokers re-read files that a setting names even when its value stays, so this counts.
    delta_->configs.insert({type, std::string(resource)});
    return;
  }
  auto c = std::make_shared<ResourceConfig>(ResourceConfig{{type, std::string(resource)}, old});
  if (value) {
    c->values.insert_or_assign(std::string(name), std::string(*value));
  } else {
    c->values.erase(c->values.find(name));
  }
  delta_->configs.insert(c->resource);
  if (c->values.empty()) {
    image_.configs.erase(token_, ResourceConfigTraits::key(*c));
  } else {
    image_.configs.set(token_, std::move(c));
  }
}

void ImageBuilder::erase_configs(ResourceType type, std::string_view resource) {
  if (image_.configs.erase(token_, {type, resource}))
    delta_->configs.insert({type, std::string(resource)});
}

template <>
Result<void> ImageBuilder::on(const wire::ConfigRecord& r) {
  set_config(static_cast<ResourceType>(r.resource_type), r.resource_name, r.name, r.value);
  return {};
}

template <>
Result<void> ImageBuilder::on(const wire::FeatureLevelRecord& r) {
  if (r.feature_level == 0) {
    if (const auto at = image_.features.find(r.name); at != image_.features.end())
      image_.features.erase(at);
    delta_->features[std::string(r.name)] = 0;
    return {};
  }
  const FeatureInfo* known = find_feature(r.name);
  if (known == nullptr || r.feature_level < known->min || r.feature_level > known->max) {
    return fail(
        Errc::kUnsupported,
        fmt::format("the cluster's {} is {}, this version supports {}", r.name, r.feature_level,
                    known == nullptr ? std::string("no such feature")
                                     : fmt::format("{} to {}", known->min, known->max)));
  }
  image_.features.insert_or_assign(std::string(r.name), r.feature_level);
  delta_->features[std::string(r.name)] = r.feature_level;
  return {};
}

template <>
Result<void> ImageBuilder::on(const wire::ClientQuotaRecord& r) {
  QuotaEntity entity;
  for (const auto& e : r.entity) {
    entity[std::string(e.entity_type)] =
        e.entity_name ? std::optional<std::string>(*e.entity_name) : std::nullopt;
  }
  const ClientQuota* old = image_.quotas.find(entity);
  auto q = old != nullptr ? std::make_shared<ClientQuota>(*old)
                          : std::make_shared<ClientQuota>(ClientQuota{entity, {}});
  if (r.remove) {
    q->values.erase(std::string(r.key));
  } else {
    q->values[std::string(r.key)] = r.value;
  }
  if (q->values.empty()) {
    image_.quotas.erase(token_, entity);
  } else {
    image_.quotas.set(token_, std::move(q));
  }
  delta_->quotas.insert(std::move(entity));
  return {};
}

template <>
Result<void> ImageBuilder::on(const wire::ProducerIdsRecord& r) {
  image_.next_producer_id = r.next_producer_id;
  delta_->next_producer_id = r.next_producer_id;
  return {};
}

template <>
Result<void> ImageBuilder::on(const wire::AccessControlEntryRecord& r) {
  image_.acls.set(
      token_, std::make_shared<const Acl>(Acl{
                  r.id, r.resource_type, std::string(r.resource_name), r.pattern_type,
                  std::string(r.principal), std::string(r.host), r.operation, r.permission_type}));
  delta_->acls.insert(r.id);
  return {};
}

template <>
Result<void> ImageBuilder::on(const wire::RemoveAccessControlEntryRecord& r) {
  if (!image_.acls.erase(token_, r.id))
    return unknown("RemoveAccessControlEntryRecord", "ACL " + r.id.to_string());
  delta_->acls.insert(r.id);
  return {};
}

template <>
Result<void> ImageBuilder::on(const wire::UserScramCredentialRecord& r) {
  const auto mechanism = static_cast<ScramMechanism>(r.mechanism);
  image_.scram.set(token_, std::make_shared<const ScramCredential>(ScramCredential{
                               std::string(r.name), mechanism, std::string(as_text(r.salt)),
                               std::string(as_text(r.stored_key)),
                               std::string(as_text(r.server_key)), r.iterations}));
  delta_->scram.insert({std::string(r.name), mechanism});
  return {};
}

template <>
Result<void> ImageBuilder::on(const wire::RemoveUserScramCredentialRecord& r) {
  const auto mechanism = static_cast<ScramMechanism>(r.mechanism);
  image_.scram.erase(token_, {r.name, mechanism});
  delta_->scram.insert({std::string(r.name), mechanism});
  return {};
}

template <>
Result<void> ImageBuilder::on(const wire::DelegationTokenRecord& r) {
  auto t = std::make_shared<DelegationToken>();
  t->id = std::string(r.token_id);
  t->owner = std::string(r.owner);
  t->requester = std::string(r.requester);
  for (const std::string_view renewer : r.renewers) t->renewers.emplace_back(renewer);
  t->issued = WallMs(r.issue_timestamp);
  t->max_lifetime = WallMs(r.max_timestamp);
  t->expires = WallMs(r.expiration_timestamp);
  delta_->tokens.insert(t->id);
  image_.tokens.set(token_, std::move(t));
  return {};
}

template <>
Result<void> ImageBuilder::on(const wire::RemoveDelegationTokenRecord& r) {
  image_.tokens.erase(token_, r.token_id);
  delta_->tokens.insert(std::string(r.token_id));
  return {};
}

// Records that change nothing here: their offset counts, or the loader acts on them.
template <>
Result<void> ImageBuilder::on(const wire::NoOpRecord&) {
  return {};
}
template <>
Result<void> ImageBuilder::on(const wire::ZkMigrationStateRecord&) {
  return {};
}
template <>
Result<void> ImageBuilder::on(const wire::BeginTransactionRecord&) {
  return {};
}
template <>
Result<void> ImageBuilder::on(const wire::EndTransactionRecord&) {
  return {};
}
template <>
Result<void> ImageBuilder::on(const wire::AbortTransactionRecord&) {
  return {};
}

template <class T>
Result<void> ImageBuilder::decode_and_apply(const Record& record) {
  Arena arena;
  const auto message = record.decode<T>(arena);
  if (!message) return std::unexpected(message.error());
  return on(*message);
}

Result<void> ImageBuilder::apply(const Record& record) {
  Result<void> result;
  const bool known =
      with_record_type(record.type, [&]<class T>() { result = decode_and_apply<T>(record); });
  if (!known) {
    return fail(Errc::kUnsupported,
                fmt::format("metadata record type {} (version {}) is not known to this version",
                            record.type, record.version));
  }
  return result;
}

}  // namespace odradek::metadata
