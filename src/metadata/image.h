// Image: what the metadata log says up to one offset. Immutable once published; parts that a change
// does not touch are shared with the image before it.
//
// Readers get a `std::shared_ptr<const Image>`, take it once per request and see that one. Pointers
// that the lookups return live as long as the image. Rules: kraft records of Kafka, `apply.h`.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/uuid.h"
#include "metadata/bucket_map.h"

namespace odradek::metadata {

enum class SecurityProtocol : int16_t {
  kPlaintext = 0,
  kSsl = 1,
  kSaslPlaintext = 2,
  kSaslSsl = 3,
};

/// Where a node listens under one listener name.
struct Endpoint {
  std::string name;
  std::string host;
  uint16_t port = 0;
  SecurityProtocol protocol = SecurityProtocol::kPlaintext;
  bool operator==(const Endpoint&) const = default;
};

/// The range of levels of one feature that a node supports.
struct FeatureRange {
  int16_t min = 0;
  int16_t max = 0;
  bool operator==(const FeatureRange&) const = default;
};
using FeatureRanges = std::map<std::string, FeatureRange, std::less<>>;

/// A broker's registration.
struct Broker {
  BrokerId id = kNoBroker;
  BrokerEpoch epoch{-1};
  Uuid incarnation;
  std::vector<Endpoint> endpoints;
  FeatureRanges features;
  std::optional<std::string> rack;
  bool fenced = true;
  bool in_controlled_shutdown = false;
  std::vector<Uuid> log_dirs;  // sorted; empty: registered before directories had ids
  std::optional<std::vector<Uuid>> cordoned_log_dirs;

  bool operator==(const Broker&) const = default;
  /// Null when it does not listen under that name.
  const Endpoint* endpoint(std::string_view listener) const;
  /// Unfenced and not leaving.
  bool active() const { return !fenced && !in_controlled_shutdown; }
  /// Whether a replica in that directory can serve: unassigned and migrating count as yes, lost as
  /// no, any directory of a broker without directory ids as yes.
  bool has_online_dir(const Uuid& dir) const;
};

/// A controller's registration.
struct Controller {
  BrokerId id = kNoBroker;
  Uuid incarnation;
  bool zk_migration_ready = false;
  std::vector<Endpoint> endpoints;
  FeatureRanges features;
  bool operator==(const Controller&) const = default;
};

enum class RecoveryState : int8_t { kRecovered = 0, kRecovering = 1 };

/// One partition's state.
struct Partition {
  std::vector<BrokerId> replicas;
  std::vector<Uuid> directories;  // beside `replicas`
  std::vector<BrokerId> isr;
  std::vector<BrokerId> removing;
  std::vector<BrokerId> adding;
  std::vector<BrokerId> elr;             // eligible leader replicas
  std::vector<BrokerId> last_known_elr;  // at most the last leader
  BrokerId leader = kNoBroker;
  LeaderEpoch leader_epoch{0};
  int32_t partition_epoch = 0;
  RecoveryState recovery = RecoveryState::kRecovered;

  bool operator==(const Partition&) const = default;
  bool has_leader() const { return leader != kNoBroker; }
  bool is_replica(BrokerId id) const;
  bool in_isr(BrokerId id) const;
  /// Directory of that broker's replica: unassigned when it has none.
  Uuid directory(BrokerId id) const;
  bool reassigning() const { return !removing.empty() || !adding.empty(); }
};
using PartitionPtr = std::shared_ptr<const Partition>;

struct Topic {
  std::string name;
  Uuid id;
  /// By index. Without gaps for every topic that Kafka creates; a null entry means that no record
  /// of that partition was seen.
  std::vector<PartitionPtr> partitions;

  /// Null when there is none of that index.
  const Partition* partition(int32_t index) const {
    return index >= 0 && static_cast<size_t>(index) < partitions.size()
               ? partitions[static_cast<size_t>(index)].get()
               : nullptr;
  }
};
using TopicPtr = std::shared_ptr<const Topic>;

enum class ResourceType : int8_t {
  kUnknown = 0,
  kTopic = 2,
  kBroker = 4,  // name "" is the default of the cluster
  kBrokerLogger = 8,
  kClientMetrics = 16,
  kGroup = 32,
};

/// What has settings.
struct ConfigResource {
  ResourceType type = ResourceType::kUnknown;
  std::string name;
  auto operator<=>(const ConfigResource&) const = default;
};
/// Name to value, as set by AlterConfigs; never null.
using ConfigMap = std::map<std::string, std::string, std::less<>>;
struct ResourceConfig {
  ConfigResource resource;
  ConfigMap values;  // never empty in an image
};

/// Entity type ("user", "client-id", "ip") to name; no name is the default entity.
using QuotaEntity = std::map<std::string, std::optional<std::string>>;
struct ClientQuota {
  QuotaEntity entity;
  std::map<std::string, double> values;  // never empty in an image
};

/// One access control entry; numbers are those of the protocol.
struct Acl {
  Uuid id;
  int8_t resource_type = 0;
  std::string resource_name;
  int8_t pattern_type = 0;
  std::string principal;
  std::string host;
  int8_t operation = 0;
  int8_t permission = 0;
  bool operator==(const Acl&) const = default;
};

enum class ScramMechanism : int8_t { kSha256 = 1, kSha512 = 2 };
struct ScramCredential {
  std::string user;
  ScramMechanism mechanism = ScramMechanism::kSha256;
  std::string salt;
  std::string stored_key;
  std::string server_key;
  int32_t iterations = 0;
  bool operator==(const ScramCredential&) const = default;
};

struct DelegationToken {
  std::string id;
  std::string owner;  // "User:name"
  std::string requester;
  std::vector<std::string> renewers;
  WallMs issued{0};
  WallMs max_lifetime{0};
  WallMs expires{0};
  bool operator==(const DelegationToken&) const = default;
};

/// The part of the log that an image contains.
struct Provenance {
  Offset offset = kNoOffset;  // of the last record; −1: nothing
  LeaderEpoch epoch = kNoEpoch;
  WallMs appended = kNoTimestamp;  // when the leader appended it
  bool operator==(const Provenance&) const = default;
};

struct TopicByIdTraits {
  using Key = Uuid;
  static uint64_t hash(const Uuid& id) { return (id.high ^ id.low) * 0x9E3779B97F4A7C15ULL >> 20; }
  static Key key(const Topic& t) { return t.id; }
};
struct TopicByNameTraits {
  using Key = std::string_view;
  static uint64_t hash(Key name) { return hash_text(name); }
  static Key key(const Topic& t) { return t.name; }
};
struct ResourceConfigTraits {
  struct Key {
    ResourceType type;
    std::string_view name;
    auto operator<=>(const Key&) const = default;
  };
  static uint64_t hash(const Key& k) {
    return hash_text(k.name, 31 + static_cast<uint64_t>(k.type));
  }
  static Key key(const ResourceConfig& c) { return {c.resource.type, c.resource.name}; }
};
struct ClientQuotaTraits {
  using Key = QuotaEntity;
  static uint64_t hash(const Key& k);
  static const Key& key(const ClientQuota& q) { return q.entity; }
};
struct AclTraits {
  using Key = Uuid;
  static uint64_t hash(const Uuid& id) { return TopicByIdTraits::hash(id); }
  static Key key(const Acl& a) { return a.id; }
};
struct ScramTraits {
  struct Key {
    std::string_view user;
    ScramMechanism mechanism;
    auto operator<=>(const Key&) const = default;
  };
  static uint64_t hash(const Key& k) {
    return hash_text(k.user, 31 + static_cast<uint64_t>(k.mechanism));
  }
  static Key key(const ScramCredential& c) { return {c.user, c.mechanism}; }
};
struct TokenTraits {
  using Key = std::string_view;
  static uint64_t hash(Key id) { return hash_text(id); }
  static Key key(const DelegationToken& t) { return t.id; }
};

struct Image {
  Provenance provenance;

  // Small maps: copied as a whole, behind a pointer, when one entry changes.
  std::map<std::string, int16_t, std::less<>> features;  // finalized levels, above 0
  std::map<BrokerId, std::shared_ptr<const Broker>> brokers;
  std::map<BrokerId, std::shared_ptr<const Controller>> controllers;
  int64_t next_producer_id = 0;

  BucketMap<Topic, TopicByIdTraits> topics_by_id;
  BucketMap<Topic, TopicByNameTraits> topics_by_name;
  BucketMap<ResourceConfig, ResourceConfigTraits> configs;
  BucketMap<ClientQuota, ClientQuotaTraits> quotas;
  BucketMap<Acl, AclTraits> acls;
  BucketMap<ScramCredential, ScramTraits> scram;
  BucketMap<DelegationToken, TokenTraits> tokens;

  /// Finalized level of a feature; 0 when it has none.
  int16_t feature(std::string_view name) const;
  /// Level of metadata.version; 0 when none is set yet.
  int16_t metadata_version() const { return feature("metadata.version"); }
  bool elr_enabled() const { return feature("eligible.leader.replicas.version") > 0; }

  /// Null when not registered.
  const Broker* broker(BrokerId id) const;
  const Controller* controller(BrokerId id) const;

  /// Null when there is none. `share` keeps the topic alive beyond the image.
  const Topic* topic(std::string_view name) const { return topics_by_name.find(name); }
  const Topic* topic(const Uuid& id) const { return topics_by_id.find(id); }
  TopicPtr share_topic(std::string_view name) const { return topics_by_name.share(name); }
  TopicPtr share_topic(const Uuid& id) const { return topics_by_id.share(id); }
  /// Every topic, in an order that depends on names only. `f(const TopicPtr&)`.
  template <class F>
  void for_each_topic(F&& f) const {
    topics_by_name.for_each(f);
  }
  const Partition* partition(const Uuid& topic_id, int32_t index) const;
  const Partition* partition(std::string_view topic_name, int32_t index) const;

  /// Settings of a resource as altered; empty when none are.
  const ConfigMap& config(ResourceType type, std::string_view name) const;
  /// One setting of it.
  std::optional<std::string_view> config(ResourceType type, std::string_view name,
                                         std::string_view key) const;
  const ConfigMap& topic_config(std::string_view name) const {
    return config(ResourceType::kTopic, name);
  }
  /// Of one broker; of all brokers with `default_broker_config`.
  const ConfigMap& broker_config(BrokerId id) const;
  const ConfigMap& default_broker_config() const { return config(ResourceType::kBroker, ""); }
};
using ImagePtr = std::shared_ptr<const Image>;

}  // namespace odradek::metadata
