#include "metadata/image_records.h"

#include <algorithm>
#include <memory>

#include "metadata/features.h"
#include "metadata/record_types.h"

namespace odradek::metadata {
namespace {

using Sink = std::function<void(Record)>;

template <class T, class In, class F>
Array<T> to_array(Arena& arena, const In& in, F&& convert) {
  Array<T> out;
  out.reserve(arena, in.size());
  for (const auto& e : in) out.add(arena, convert(e));
  return out;
}
Array<int32_t> ids(Arena& arena, const std::vector<BrokerId>& in) {
  return to_array<int32_t>(arena, in, [](BrokerId id) { return id.value; });
}
Array<Uuid> uuids(Arena& arena, const std::vector<Uuid>& in) {
  return to_array<Uuid>(arena, in, [](const Uuid& id) { return id; });
}
template <class T>
Array<T> endpoints(Arena& arena, const std::vector<Endpoint>& in) {
  return to_array<T>(arena, in, [](const Endpoint& e) {
    return T{e.name, e.host, e.port, static_cast<int16_t>(e.protocol)};
  });
}
template <class T>
Array<T> ranges(Arena& arena, const FeatureRanges& in) {
  return to_array<T>(arena, in,
                     [](const auto& f) { return T{f.first, f.second.min, f.second.max}; });
}

void write_features(const Image& image, const Sink& sink) {
  const auto write = [&](std::string_view name, int16_t level) {
    wire::FeatureLevelRecord r;
    r.name = name;
    r.feature_level = level;
    sink(Record::of(r, 0));
  };
  if (const int16_t version = image.metadata_version(); version != 0)
    write(kMetadataVersion, version);
  for (const auto& [name, level] : image.features) {
    if (name != kMetadataVersion) write(name, level);
  }
}

void write_cluster(const Image& image, MetadataVersion version, const Sink& sink) {
  for (const auto& [id, b] : image.brokers) {
    Arena arena;
    wire::RegisterBrokerRecord r;
    r.broker_id = id.value;
    r.incarnation_id = b->incarnation;
    r.broker_epoch = b->epoch.value;
    r.end_points = endpoints<wire::RegisterBrokerRecord::BrokerEndpoint>(arena, b->endpoints);
    r.features = ranges<wire::RegisterBrokerRecord::BrokerFeature>(arena, b->features);
    r.rack = b->rack ? std::optional<std::string_view>(*b->rack) : std::nullopt;
    r.fenced = b->fenced;
    r.in_controlled_shutdown = b->in_controlled_shutdown;
    if (version.directories()) r.log_dirs = uuids(arena, b->log_dirs);
    if (version.cordoned_dirs() && b->cordoned_log_dirs)
      r.cordoned_log_dirs = uuids(arena, *b->cordoned_log_dirs);
    sink(Record::of(r, version.register_broker_record()));
  }
  if (!version.controller_registration()) return;
  for (const auto& [id, c] : image.controllers) {
    Arena arena;
    wire::RegisterControllerRecord r;
    r.controller_id = id.value;
    r.incarnation_id = c->incarnation;
    r.zk_migration_ready = c->zk_migration_ready;
    r.end_points =
        endpoints<wire::RegisterControllerRecord::ControllerEndpoint>(arena, c->endpoints);
    r.features = ranges<wire::RegisterControllerRecord::ControllerFeature>(arena, c->features);
    sink(Record::of(r, 0));
  }
}

void write_partition(const Topic& topic, int32_t index, const Partition& p, MetadataVersion version,
                     const Sink& sink) {
  Arena arena;
  wire::PartitionRecord r;
  r.partition_id = index;
  r.topic_id = topic.id;
  r.replicas = ids(arena, p.replicas);
  r.isr = ids(arena, p.isr);
  r.removing_replicas = ids(arena, p.removing);
  r.adding_replicas = ids(arena, p.adding);
  r.leader = p.leader.value;
  r.leader_recovery_state = static_cast<int8_t>(p.recovery);
  r.leader_epoch = p.leader_epoch.value;
  r.partition_epoch = p.partition_epoch;
  if (version.directories()) r.directories = uuids(arena, p.directories);
  if (version.elr_fields()) {
    if (!p.elr.empty()) r.eligible_leader_replicas = ids(arena, p.elr);
    if (!p.last_known_elr.empty()) r.last_known_elr = ids(arena, p.last_known_elr);
  }
  sink(Record::of(r, version.partition_record()));
}

void write_topics(const Image& image, MetadataVersion version, const Sink& sink) {
  image.for_each_topic([&](const TopicPtr& t) {
    wire::TopicRecord r;
    r.name = t->name;
    r.topic_id = t->id;
    sink(Record::of(r, 0));
    for (size_t i = 0; i < t->partitions.size(); i++) {
      if (t->partitions[i])
        write_partition(*t, static_cast<int32_t>(i), *t->partitions[i], version, sink);
    }
  });
}

void write_configs(const Image& image, const Sink& sink) {
  image.configs.for_each([&](const auto& c) {
    for (const auto& [name, value] : c->values) {
      wire::ConfigRecord r;
      r.resource_type = static_cast<int8_t>(c->resource.type);
      r.resource_name = c->resource.name;
      r.name = name;
      r.value = value;
      sink(Record::of(r, 0));
    }
  });
}

void write_quotas(const Image& image, const Sink& sink) {
  using Entity = wire::ClientQuotaRecord::EntityData;
  image.quotas.for_each([&](const auto& q) {
    for (const auto& [key, value] : q->values) {
      Arena arena;
      wire::ClientQuotaRecord r;
      r.entity = to_array<Entity>(arena, q->entity, [](const auto& e) {
        Entity out;
        out.entity_type = e.first;
        out.entity_name = e.second ? std::optional<std::string_view>(*e.second) : std::nullopt;
        return out;
      });
      r.key = key;
      r.value = value;
      sink(Record::of(r, 0));
    }
  });
}

void write_security(const Image& image, MetadataVersion version, const Sink& sink) {
  image.acls.for_each([&](const auto& a) {
    wire::AccessControlEntryRecord r;
    r.id = a->id;
    r.resource_type = a->resource_type;
    r.resource_name = a->resource_name;
    r.pattern_type = a->pattern_type;
    r.principal = a->principal;
    r.host = a->host;
    r.operation = a->operation;
    r.permission_type = a->permission;
    sink(Record::of(r, 0));
  });
  if (version.scram()) {
    image.scram.for_each([&](const auto& s) {
      wire::UserScramCredentialRecord r;
      r.name = s->user;
      r.mechanism = static_cast<int8_t>(s->mechanism);
      r.salt = as_bytes(s->salt);
      r.stored_key = as_bytes(s->stored_key);
      r.server_key = as_bytes(s->server_key);
      r.iterations = s->iterations;
      sink(Record::of(r, 0));
    });
  }
  if (!version.delegation_tokens()) return;
  image.tokens.for_each([&](const auto& t) {
    Arena arena;
    wire::DelegationTokenRecord r;
    r.owner = t->owner;
    r.requester = t->requester;
    r.renewers = to_array<std::string_view>(
        arena, t->renewers, [](const std::string& s) { return std::string_view(s); });
    r.issue_timestamp = t->issued.value;
    r.max_timestamp = t->max_lifetime.value;
    r.expiration_timestamp = t->expires.value;
    r.token_id = t->id;
    sink(Record::of(r, 0));
  });
}

}  // namespace

void for_each_record(const Image& image, const Sink& sink) {
  // Before any level is known the lowest one is safe to read for everybody.
  const int16_t level = image.metadata_version();
  const MetadataVersion version(level == 0 ? MetadataVersion::kMin : level);
  write_features(image, sink);
  write_cluster(image, version, sink);
  write_topics(image, version, sink);
  write_configs(image, sink);
  write_quotas(image, sink);
  if (image.next_producer_id > 0) {
    wire::ProducerIdsRecord r;
    r.broker_id = -1;
    r.broker_epoch = -1;
    r.next_producer_id = image.next_producer_id;
    sink(Record::of(r, 0));
  }
  write_security(image, version, sink);
}

std::vector<Record> to_records(const Image& image) {
  std::vector<Record> records;
  for_each_record(image, [&](Record r) { records.push_back(std::move(r)); });
  return records;
}

}  // namespace odradek::metadata
