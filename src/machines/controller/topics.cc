// CreateTopics 2-7 (5 answers with settings, 7 with topic ids) and DeleteTopics 1-6 (6 by id).
//
// One request is one batch: all topics that pass are created together, the others are answered one
// by one. The order of checks and the messages are Apache's.
#include <algorithm>
#include <map>
#include <set>

#include "machines/controller/apis.h"
#include "machines/controller/new_partitions.h"
#include "machines/controller/partition_change.h"
#include "machines/controller/placement.h"
#include "metadata/apply.h"
#include "metadata/config_alter.h"
#include "metadata/config_describe.h"
#include "wire/gen/remove_topic_record.h"
#include "wire/gen/topic_record.h"

namespace odradek::machines::control {

namespace {

using metadata::BrokerKey;
using metadata::ResourceType;
using wire::ErrorCode;
using CreatableTopic = wire::CreateTopicsRequest::CreatableTopic;
using CreatableTopicResult = wire::CreateTopicsResponse::CreatableTopicResult;

constexpr std::string_view kMetadataTopicName = "__cluster_metadata";
constexpr size_t kNameMax = 249;
constexpr size_t kPartitionsMax = 10'000;  // of one request

// ---- names

ApiError check_name(std::string_view name) {
  constexpr auto kCode = ErrorCode::kInvalidTopicException;
  if (name.empty())
    return api_error(kCode, "Topic name is invalid: the empty string is not allowed");
  if (name == "." || name == "..")
    return api_error(kCode, "Topic name is invalid: '{}' is not allowed", name);
  if (name.size() > kNameMax)
    return api_error(kCode,
                     "Topic name is invalid: the length of '{}' is longer than the max allowed "
                     "length {}",
                     name, kNameMax);
  const auto legal = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  if (!std::all_of(name.begin(), name.end(), legal))
    return api_error(kCode,
                     "Topic name is invalid: '{}' contains one or more characters other than ASCII "
                     "alphanumerics, '.', '_' and '-'",
                     name);
  return {};
}

// Metric names cannot tell '.' from '_', so two topics that differ only there are not let in.
std::string unified(std::string_view name) {
  std::string out(name);
  std::replace(out.begin(), out.end(), '.', '_');
  return out;
}

bool has_collision_characters(std::string_view name) {
  return name.find_first_of("._") != std::string_view::npos;
}

std::string_view find_colliding(const metadata::Image& image, std::string_view name) {
  std::string_view found;
  const std::string wanted = unified(name);
  image.for_each_topic([&](const metadata::TopicPtr& topic) {
    if (found.empty() && topic->name != name && topic->name.size() == name.size() &&
        has_collision_characters(topic->name) && unified(topic->name) == wanted)
      found = topic->name;
  });
  return found;
}

// ---- one topic

// The partitions of a topic that is to be: replicas and ISR of each, by index.
struct Assignment {
  std::vector<BrokerId> replicas;
  std::vector<BrokerId> isr;
};
struct Layout {
  ApiError error;
  std::vector<Assignment> partitions;
};

Layout refuse(ApiError error) { return {std::move(error), {}}; }

Layout manual_layout(const Context& context, const CreatableTopic& topic) {
  constexpr auto kCode = ErrorCode::kInvalidReplicaAssignment;
  if (topic.replication_factor != -1)
    return refuse(api_error(ErrorCode::kInvalidRequest,
                            "A manual partition assignment was specified, but replication factor "
                            "was not set to -1."));
  if (topic.num_partitions != -1)
    return refuse(api_error(ErrorCode::kInvalidRequest,
                            "A manual partition assignment was specified, but numPartitions was "
                            "not set to -1."));
  std::map<int32_t, Assignment> by_index;
  std::optional<size_t> replication_factor;
  for (const auto& assignment : topic.assignments) {
    const int32_t index = assignment.partition_index;
    if (by_index.contains(index))
      return refuse(
          api_error(kCode, "Found multiple manual partition assignments for partition {}", index));
    Assignment& one = by_index[index];
    one.replicas = to_ids(assignment.broker_ids);
    if (auto e = check_assignment(context, one.replicas, replication_factor); e.failed())
      return refuse(std::move(e));
    replication_factor = one.replicas.size();
    one.isr = active_replicas(context, one.replicas);
    if (one.isr.empty())
      return refuse(api_error(kCode,
                              "All brokers specified in the manual partition assignment for "
                              "partition {} are fenced or in controlled shutdown.",
                              index));
  }
  Layout layout;
  for (auto& [index, one] : by_index) {
    if (index != static_cast<int32_t>(layout.partitions.size()))
      return refuse(
          api_error(kCode, "partitions should be a consecutive 0-based integer sequence"));
    layout.partitions.push_back(std::move(one));
  }
  return layout;
}

Layout placed_layout(Context& context, const CreatableTopic& topic) {
  if (topic.replication_factor < -1 || topic.replication_factor == 0)
    return refuse(api_error(ErrorCode::kInvalidReplicationFactor,
                            "Replication factor must be larger than 0, or -1 to use the default "
                            "value."));
  if (topic.num_partitions < -1 || topic.num_partitions == 0)
    return refuse(api_error(ErrorCode::kInvalidPartitions,
                            "Number of partitions was set to an invalid non-positive value."));
  const auto& config = *context.settings.config;
  const int32_t count =
      topic.num_partitions == -1 ? config.int32(BrokerKey::kNumPartitions) : topic.num_partitions;
  const auto replication_factor =
      topic.replication_factor == -1
          ? static_cast<int16_t>(config.int32(BrokerKey::kDefaultReplicationFactor))
          : topic.replication_factor;
  const auto unable = [&](std::string_view why) {
    return refuse(api_error(ErrorCode::kInvalidReplicationFactor,
                            "Unable to replicate the partition {} time(s): {}", replication_factor,
                            why));
  };
  auto placed = Placement(context).place(count, replication_factor);
  if (!placed) return unable(placed.error().message);
  Layout layout;
  for (std::vector<BrokerId>& replicas : *placed) {
    Assignment one{std::move(replicas), {}};
    one.isr = active_replicas(context, one.replicas);
    if (one.isr.empty())
      return unable("All brokers are currently fenced or in controlled shutdown.");
    layout.partitions.push_back(std::move(one));
  }
  return layout;
}

metadata::AlterOutcome topic_settings(const Context& context, const CreatableTopic& topic) {
  std::vector<metadata::AlterEntry> entries;
  std::string nulls;
  for (const auto& c : topic.configs) {
    if (!c.value) nulls += (nulls.empty() ? "" : ",") + std::string(c.name);
    entries.push_back({c.name, metadata::AlterOp::kSet, c.value});
  }
  if (!nulls.empty())
    return {ErrorCode::kInvalidConfig, "Null value not supported for topic configs: " + nulls, {}};
  if (entries.empty()) return {};
  return metadata::alter_incrementally(context.image, *context.settings.config,
                                       {ResourceType::kTopic, std::string(topic.name)}, entries,
                                       /*new_topic=*/true);
}

// ---- the whole request

class Creation {
 public:
  Creation(Context& context, const wire::CreateTopicsRequest& request, int16_t version)
      : context_(context), request_(request), version_(version) {}

  wire::CreateTopicsResponse run() {
    for (const CreatableTopic& topic : request_.topics) {
      if (!names_.insert(topic.name).second) twice_.insert(topic.name);
    }
    if (too_many_partitions()) {
      return all_failed(api_error(ErrorCode::kPolicyViolation,
                                  "Excessively large number of partitions per request."));
    }
    for (const CreatableTopic& topic : request_.topics) {
      if (twice_.contains(topic.name) || topic.name == kMetadataTopicName) continue;
      auto& result = response_.topics.add(context_.arena);
      result.name = topic.name;
      result.error_message = std::nullopt;
      if (ApiError e = create(topic, result); e.failed()) set_error(result, e);
    }
    for (std::string_view name : twice_)
      add_failed(name, api_error(ErrorCode::kInvalidRequest, "Duplicate topic name."));
    if (names_.contains(kMetadataTopicName) && !twice_.contains(kMetadataTopicName))
      add_failed(kMetadataTopicName,
                 api_error(ErrorCode::kInvalidRequest,
                           "Creation of internal topic {} is prohibited.", kMetadataTopicName));
    if (context_.records.size() > kRecordsMax) return all_failed(too_many_records());
    if (version_ >= 5) describe_created();
    if (request_.validate_only) context_.records.clear();
    return response_;
  }

 private:
  bool too_many_partitions() const {
    const int32_t fallback = context_.settings.config->int32(BrokerKey::kNumPartitions);
    size_t total = 0;
    for (const CreatableTopic& topic : request_.topics) {
      if (!topic.assignments.empty()) {
        total += topic.assignments.size();
      } else if (topic.num_partitions == -1 || topic.num_partitions > 0) {
        total += static_cast<size_t>(topic.num_partitions == -1 ? fallback : topic.num_partitions);
      }
    }
    return total > kPartitionsMax;
  }

  ApiError create(const CreatableTopic& topic, CreatableTopicResult& result) {
    if (ApiError e = check_name(topic.name); e.failed()) return e;
    if (context_.image.topic(topic.name) != nullptr)
      return api_error(ErrorCode::kTopicAlreadyExists, "Topic '{}' already exists.", topic.name);
    if (has_collision_characters(topic.name)) {
      const std::string_view other = find_colliding(context_.image, topic.name);
      if (!other.empty())
        return api_error(ErrorCode::kInvalidTopicException,
                         "Topic '{}' collides with existing topic: {}", topic.name, other);
    }
    metadata::AlterOutcome settings = topic_settings(context_, topic);
    if (settings.error != ErrorCode::kNone) return {settings.error, settings.message};
    Layout layout =
        topic.assignments.empty() ? placed_layout(context_, topic) : manual_layout(context_, topic);
    if (layout.error.failed()) return layout.error;

    wire::TopicRecord record;
    record.name = topic.name;
    record.topic_id = context_.choices.uuid();
    context_.add(record, 0);
    // Settings go behind the topic and before its partitions.
    for (auto& r : settings.records) context_.records.push_back(std::move(r));
    for (size_t i = 0; i < layout.partitions.size(); i++)
      add_partition(context_, record.topic_id, static_cast<int32_t>(i),
                    layout.partitions[i].replicas, layout.partitions[i].isr);
    result.topic_id = record.topic_id;
    result.num_partitions = static_cast<int32_t>(layout.partitions.size());
    result.replication_factor = static_cast<int16_t>(layout.partitions[0].replicas.size());
    return {};
  }

  // The settings of the new topics, as DescribeConfigs will tell them.
  void describe_created() {
    if (context_.records.empty()) return;
    metadata::ImageBuilder after(std::make_shared<metadata::Image>(context_.image));
    for (const metadata::Record& r : context_.records) {
      const auto applied = after.apply(r);
      ODRADEK_CHECK(applied.has_value());
    }
    const metadata::Image& image = after.image();
    const auto config = context_.settings.config->with_dynamic(
        image.default_broker_config(), image.broker_config(context_.settings.node), nullptr);
    for (CreatableTopicResult& result : response_.topics)
      if (result.error_code == 0) describe(image, *config, result);
  }
  void describe(const metadata::Image& image, const metadata::BrokerConfig& config,
                CreatableTopicResult& result) {
    metadata::DescribeQuery query;
    query.resource = {ResourceType::kTopic, std::string(result.name)};
    const metadata::DescribeAnswer answer = metadata::describe_config(image, config, query);
    Array<wire::CreateTopicsResponse::CreatableTopicConfigs> list;
    for (const metadata::DescribedConfig& c : answer.configs) {
      auto& out = list.add(context_.arena);
      out.name = context_.arena.copy(c.name);
      out.value = c.sensitive ? std::nullopt : context_.keep(c.value);
      out.read_only = c.read_only;
      out.config_source = static_cast<int8_t>(c.source);
      out.is_sensitive = c.sensitive;
    }
    result.configs = list;
  }

  void set_error(CreatableTopicResult& result, const ApiError& error) {
    result.error_code = wire_value(error.code);
    result.error_message = context_.keep(error.message);
  }
  void add_failed(std::string_view name, const ApiError& error) {
    auto& result = response_.topics.add(context_.arena);
    result.name = name;
    set_error(result, error);
  }
  wire::CreateTopicsResponse all_failed(const ApiError& error) {
    context_.records.clear();
    response_ = {};
    for (const CreatableTopic& topic : request_.topics) add_failed(topic.name, error);
    return response_;
  }

  Context& context_;
  const wire::CreateTopicsRequest& request_;
  int16_t version_;
  std::set<std::string_view> names_;
  std::set<std::string_view> twice_;
  wire::CreateTopicsResponse response_;
};

// ---- deletion

class Deletion {
 public:
  Deletion(Context& context, int16_t version) : context_(context), version_(version) {}

  wire::DeleteTopicsResponse run(const wire::DeleteTopicsRequest& request) {
    collect(request);
    for (std::string_view name : names_twice_)
      add(name, Uuid{}, api_error(ErrorCode::kInvalidRequest, "Duplicate topic name."));
    for (const Uuid& id : ids_twice_)
      add(std::nullopt, id, api_error(ErrorCode::kInvalidRequest, "Duplicate topic id."));
    if (!context_.settings.config->boolean(BrokerKey::kDeleteTopicEnable)) return disabled();
    for (const Uuid& id : ids_) {
      if (ids_twice_.contains(id)) continue;
      const metadata::Topic* topic = context_.image.topic(id);
      if (topic == nullptr) {
        add(std::nullopt, id, api_error(ErrorCode::kUnknownTopicId));
      } else {
        chosen_[id] = topic->name;
      }
    }
    for (std::string_view name : names_)
      if (!names_twice_.contains(name)) choose(name);
    for (const auto& [id, name] : chosen_) {
      wire::RemoveTopicRecord record;
      record.topic_id = id;
      context_.add(record, 0);
      add(name, id, {});
    }
    if (context_.records.size() > kRecordsMax) return all_failed(too_many_records());
    return response_;
  }

 private:
  void collect(const wire::DeleteTopicsRequest& request) {
    for (std::string_view name : request.topic_names) add_name(name);
    for (const auto& topic : request.topics) {
      if (topic.name && !topic.topic_id.is_zero()) {
        add(topic.name, topic.topic_id,
            api_error(ErrorCode::kInvalidRequest,
                      "You may not specify both topic name and topic id."));
      } else if (topic.name) {
        add_name(*topic.name);
      } else if (topic.topic_id.is_zero()) {
        add(std::nullopt, Uuid{},
            api_error(ErrorCode::kInvalidRequest, "Neither topic name nor id were specified."));
      } else if (!ids_.insert(topic.topic_id).second) {
        ids_twice_.insert(topic.topic_id);
      }
    }
  }
  void add_name(std::string_view name) {
    if (!names_.insert(name).second) names_twice_.insert(name);
  }
  void choose(std::string_view name) {
    const metadata::Topic* topic = context_.image.topic(name);
    if (topic == nullptr) {
      add(name, Uuid{}, api_error(ErrorCode::kUnknownTopicOrPartition));
    } else if (ids_twice_.contains(topic->id) || chosen_.contains(topic->id)) {
      chosen_.erase(topic->id);
      add(name, topic->id,
          api_error(ErrorCode::kInvalidRequest,
                    "The provided topic name maps to an ID that was already supplied."));
    } else {
      chosen_[topic->id] = topic->name;
    }
  }
  void add(std::optional<std::string_view> name, const Uuid& id, const ApiError& error) {
    auto& result = response_.responses.add(context_.arena);
    result.name = name;
    result.topic_id = id;
    result.error_code = wire_value(error.code);
    result.error_message = context_.keep(error.message);
  }
  wire::DeleteTopicsResponse disabled() {
    // Versions before 3 do not know the code for it.
    const ApiError error =
        version_ < 3 ? api_error(ErrorCode::kInvalidRequest, "Topic deletion is disabled.")
                     : api_error(ErrorCode::kTopicDeletionDisabled);
    return all_failed(error);
  }
  wire::DeleteTopicsResponse all_failed(const ApiError& error) {
    context_.records.clear();
    response_ = {};
    for (std::string_view name : names_) add(name, Uuid{}, error);
    for (const Uuid& id : ids_) add(std::nullopt, id, error);
    return response_;
  }

  Context& context_;
  int16_t version_;
  std::set<std::string_view> names_, names_twice_;
  std::set<Uuid> ids_, ids_twice_;
  std::map<Uuid, std::string_view> chosen_;
  wire::DeleteTopicsResponse response_;
};

}  // namespace

wire::CreateTopicsResponse create_topics(Context& context, const wire::CreateTopicsRequest& request,
                                         int16_t version) {
  return Creation(context, request, version).run();
}

wire::DeleteTopicsResponse delete_topics(Context& context, const wire::DeleteTopicsRequest& request,
                                         int16_t version) {
  return Deletion(context, version).run(request);
}

}  // namespace odradek::machines::control
