// Metadata (3), versions 0-13: brokers, topics, partitions and their leaders, as the listener that
// was asked sees them.
//
// 0: an empty list of topics means all; a replica that is not alive makes an error of its
// partition. 1: null means all, empty none; racks, the controller. 2: cluster id. 4: whether
// missing topics may be created. 5: offline replicas. 6: LISTENER_NOT_FOUND instead of
// LEADER_NOT_AVAILABLE when the leader does not listen where the client does. 7: leader epochs. 8:
// authorized operations. 9: flexible. 10: topic ids in answers. 11: no authorized operations of the
// cluster. 12: topics can be asked for by id (then names are ignored). 13: a top-level error.
// - A missing topic is created here when the request and auto.create.topics.enable allow it. Apache
//   answers UNKNOWN_TOPIC_OR_PARTITION at once and lets the client ask again; we answer when the
//   topic is there, which saves the first producer its retry pause. If it cannot be created, the
//   answer is Apache's.
// - Missing topics tell authorized operations as well, unknown ids do not.
// - The controller that clients see is any alive broker, as at Apache: they may send what the
//   controller decides to every broker.
#include <unordered_set>

#include "metadata/broker_config.h"
#include "metadata/image.h"
#include "server/handlers/auto_create.h"
#include "server/handlers/handlers.h"
#include "server/handlers/topic_view.h"
#include "server/services.h"
#include "wire/errors.h"
#include "wire/gen/metadata.h"

namespace odradek::server {

namespace {

using wire::ErrorCode;
using wire::wire_value;
using Response = wire::MetadataResponse;
using Topics = Array<wire::MetadataRequest::MetadataRequestTopic>;

bool is_for_all(const wire::MetadataRequest& body, int16_t version) {
  return !body.topics || (version == 0 && body.topics->empty());
}

class Answer {
 public:
  explicit Answer(Request& request)
      : request_(request), arena_(request.arena()), image_(request.services().image) {}

  /// Image of the answer: what it tells points into it.
  void use_newest_image() { image_ = request_.services().image; }
  const metadata::Image& image() const { return *image_; }
  Response& response() { return response_; }

  void add_brokers() {
    const Services& services = request_.services();
    for_each_alive_broker(*image_, request_.listener().name,
                          [&](const metadata::Broker& broker, const metadata::Endpoint& endpoint) {
                            auto& b = response_.brokers.add(arena_);
                            b.node_id = broker.id.value;
                            b.host = endpoint.host;
                            b.port = endpoint.port;
                            if (broker.rack) b.rack = *broker.rack;
                          });
    response_.cluster_id = services.cluster_id;
    response_.controller_id = any_alive_broker(*image_, services.loop.random());
  }

  void add_topic(const metadata::Topic& topic, bool operations) {
    Response::MetadataResponseTopic& t = response_.topics.add(arena_);
    t.name = topic.name;
    t.topic_id = topic.id;
    t.is_internal = is_internal_topic(topic.name);
    if (operations) t.topic_authorized_operations = kAllTopicOperations;
    t.partitions.reserve(arena_, topic.partitions.size());
    for (size_t i = 0; i < topic.partitions.size(); i++) {
      if (!topic.partitions[i]) continue;
      auto& p = t.partitions.add(arena_);
      p.partition_index = static_cast<int32_t>(i);
      fill(p, *topic.partitions[i]);
    }
  }

  void add_error(std::optional<std::string_view> name, const Uuid& id, ErrorCode error,
                 bool operations = false) {
    Response::MetadataResponseTopic& t = response_.topics.add(arena_);
    t.error_code = wire_value(error);
    t.name = name;
    t.topic_id = id;
    t.is_internal = name && is_internal_topic(*name);
    if (operations) t.topic_authorized_operations = kAllTopicOperations;
  }

 private:
  void fill(Response::MetadataResponsePartition& p, const metadata::Partition& partition) {
    const std::string_view listener = request_.listener().name;
    const bool alive_only = request_.version() == 0;
    auto ids = [&](std::span<const BrokerId> all) {
      return alive_only ? alive_ids(arena_, *image_, all, listener) : broker_ids(arena_, all);
    };
    p.leader_epoch = partition.leader_epoch.value;
    p.replica_nodes = ids(partition.replicas);
    p.isr_nodes = ids(partition.isr);
    p.offline_replicas = offline_replicas(arena_, *image_, partition, listener);
    if (leader_endpoint(*image_, partition, listener)) {
      p.leader_id = partition.leader.value;
      if (p.replica_nodes.size() < partition.replicas.size() ||
          p.isr_nodes.size() < partition.isr.size())
        p.error_code = wire_value(ErrorCode::kReplicaNotAvailable);
      return;
    }
    p.leader_id = kNoBroker.value;
    const bool known = image_->broker(partition.leader) != nullptr;
    p.error_code = wire_value(known && request_.version() >= 6 ? ErrorCode::kListenerNotFound
                                                               : ErrorCode::kLeaderNotAvailable);
  }

  Request& request_;
  Arena& arena_;
  metadata::ImagePtr image_;
  Response response_;
};

/// Names that are asked for and do not exist, in order, each once.
std::vector<std::string_view> missing_names(const Topics& topics, const metadata::Image& image) {
  std::vector<std::string_view> missing;
  std::unordered_set<std::string_view> seen;
  for (const auto& t : topics) {
    const std::string_view name = t.name.value_or("");
    if (!image.topic(name) && is_valid_topic_name(name) && seen.insert(name).second)
      missing.push_back(name);
  }
  return missing;
}

void add_by_name(Answer& answer, const Topics& topics, bool operations) {
  std::unordered_set<std::string_view> seen;
  for (const auto& t : topics) {
    const std::string_view name = t.name.value_or("");
    if (!seen.insert(name).second) continue;
    if (const metadata::Topic* topic = answer.image().topic(name)) {
      answer.add_topic(*topic, operations);
    } else {
      answer.add_error(name, Uuid(),
                       is_valid_topic_name(name) ? ErrorCode::kUnknownTopicOrPartition
                                                 : ErrorCode::kInvalidTopicException,
                       operations);
    }
  }
}

void add_by_id(Answer& answer, const Topics& topics, bool operations) {
  std::unordered_set<Uuid> seen;
  for (const auto& t : topics) {
    if (t.topic_id.is_zero() || !seen.insert(t.topic_id).second) continue;
    if (const metadata::Topic* topic = answer.image().topic(t.topic_id)) {
      answer.add_topic(*topic, operations);
    } else {
      answer.add_error(std::nullopt, t.topic_id, ErrorCode::kUnknownTopicId);
    }
  }
}

/// Versions 10 and 11 carry ids, and null names, that they may not use.
bool is_ahead_of_its_version(const Topics& topics, int16_t version) {
  if (version >= 12) return false;
  for (const auto& t : topics)
    if (!t.name || !t.topic_id.is_zero()) return true;
  return false;
}

}  // namespace

io::Task<void> handle_metadata(Request& request) {
  wire::MetadataRequest body;
  if (!request.decode(body)) co_return;
  const int16_t version = request.version();
  const bool all = is_for_all(body, version);
  const Topics topics = body.topics.value_or(Topics());
  const bool operations = version >= 8 && body.include_topic_authorized_operations;
  Answer answer(request);

  if (is_ahead_of_its_version(topics, version)) {
    for (const auto& t : topics)
      answer.add_error(t.name.value_or(""), t.topic_id, ErrorCode::kInvalidRequest);
    request.respond(answer.response());
    co_return;
  }
  bool by_id = false;
  for (const auto& t : topics) by_id = by_id || !t.topic_id.is_zero();

  if (all) {
    answer.image().for_each_topic(
        [&](const metadata::TopicPtr& topic) { answer.add_topic(*topic, operations); });
  } else if (by_id) {
    add_by_id(answer, topics, operations);
  } else {
    if (body.allow_auto_topic_creation && may_auto_create(request.services())) {
      const auto missing = missing_names(topics, answer.image());
      if (!missing.empty()) {
        co_await auto_create_topics(request, missing);
        answer.use_newest_image();
      }
    }
    add_by_name(answer, topics, operations);
  }
  answer.add_brokers();
  if (version >= 8 && version <= 10 && body.include_cluster_authorized_operations)
    answer.response().cluster_authorized_operations = kAllClusterOperations;
  request.respond(answer.response());
}

}  // namespace odradek::server
