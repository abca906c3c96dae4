// DescribeTopicPartitions (75), version 0: topics in order of name, some partitions at a time.
//
// - The answer ends after ResponsePartitionLimit (at most max.request.partition.size.limit)
//   partitions, and NextCursor says where to go on. A request with a cursor is answered from there;
//   topics that sort before it are left out.
// - No topics means all of them; missing ones are then not an error.
// - A cursor that is negative, or names a topic that the request does not, is INVALID_REQUEST of
//   every topic asked for, as Apache answers an invalid request here.
// - Every topic tells its authorized operations, asked or not.
#include <algorithm>
#include <vector>

#include "metadata/broker_config.h"
#include "metadata/image.h"
#include "server/handlers/handlers.h"
#include "server/handlers/topic_view.h"
#include "server/services.h"
#include "wire/errors.h"
#include "wire/gen/describe_topic_partitions.h"

namespace odradek::server {

namespace {

using wire::ErrorCode;
using wire::wire_value;
using Response = wire::DescribeTopicPartitionsResponse;

class Pager {
 public:
  Pager(Request& request, Response& response, int32_t limit)
      : request_(request), arena_(request.arena()), response_(response), left_(limit) {}

  /// Adds what fits of a topic from partition `first` on; false once the page is full.
  bool add(const metadata::Image& image, std::string_view name, int32_t first, bool tell_missing) {
    if (left_ == 0) return stop_at(name, first);
    const metadata::Topic* topic = image.topic(name);
    if (!topic) {
      if (tell_missing)
        add_error(name,
                  is_valid_topic_name(name) ? ErrorCode::kUnknownTopicOrPartition
                                            : ErrorCode::kInvalidTopicException,
                  true);
      return true;
    }
    Response::DescribeTopicPartitionsResponseTopic& t = response_.topics.add(arena_);
    t.name = topic->name;
    t.topic_id = topic->id;
    t.is_internal = is_internal_topic(topic->name);
    t.topic_authorized_operations = kAllTopicOperations;
    const auto count = static_cast<int32_t>(topic->partitions.size());
    for (int32_t i = first; i < count; i++) {
      if (left_ == 0) return stop_at(topic->name, i);
      if (const metadata::Partition* p = topic->partition(i)) {
        fill(t.partitions.add(arena_), i, image, *p);
        left_--;
      }
    }
    return true;
  }
  void add_error(std::string_view name, ErrorCode error, bool operations) {
    Response::DescribeTopicPartitionsResponseTopic& t = response_.topics.add(arena_);
    t.error_code = wire_value(error);
    t.name = name;
    t.is_internal = is_internal_topic(name);
    if (operations) t.topic_authorized_operations = kAllTopicOperations;
  }

 private:
  bool stop_at(std::string_view topic, int32_t partition) {
    response_.next_cursor.emplace();
    response_.next_cursor->topic_name = topic;
    response_.next_cursor->partition_index = partition;
    return false;
  }
  template <class P>
  void fill(P& out, int32_t index, const metadata::Image& image, const metadata::Partition& p) {
    const std::string_view listener = request_.listener().name;
    const bool led = leader_endpoint(image, p, listener) != nullptr;
    out.partition_index = index;
    out.leader_id = led ? p.leader.value : kNoBroker.value;
    out.leader_epoch = p.leader_epoch.value;
    out.replica_nodes = broker_ids(arena_, p.replicas);
    out.isr_nodes = broker_ids(arena_, p.isr);
    out.eligible_leader_replicas = broker_ids(arena_, p.elr);
    out.last_known_elr = broker_ids(arena_, p.last_known_elr);
    out.offline_replicas = offline_replicas(arena_, image, p, listener);
  }

  Request& request_;
  Arena& arena_;
  Response& response_;
  int32_t left_;
};

}  // namespace

io::Task<void> handle_describe_topic_partitions(Request& request) {
  wire::DescribeTopicPartitionsRequest body;
  if (!request.decode(body)) co_return;
  const Services& services = request.services();
  const metadata::ImagePtr image = services.image;
  const bool all = body.topics.empty();
  const std::string_view from = body.cursor ? body.cursor->topic_name : std::string_view();

  std::vector<std::string_view> names;
  if (all) {
    image->for_each_topic([&](const metadata::TopicPtr& t) { names.push_back(t->name); });
  } else {
    for (const auto& t : body.topics) names.push_back(t.name);
  }
  std::erase_if(names, [&](std::string_view name) { return name < from; });
  std::ranges::sort(names);
  names.erase(std::ranges::unique(names).begin(), names.end());

  Response response;
  const int32_t limit = std::max(
      1, std::min(body.response_partition_limit,
                  services.config->int32(metadata::BrokerKey::kMaxRequestPartitionSizeLimit)));
  Pager pager(request, response, limit);
  const bool bad_cursor =
      body.cursor && (body.cursor->partition_index < 0 ||
                      (!all && !std::ranges::binary_search(names, body.cursor->topic_name)));
  if (bad_cursor) {
    for (const auto& t : body.topics) pager.add_error(t.name, ErrorCode::kInvalidRequest, false);
  } else {
    for (std::string_view name : names) {
      const int32_t first = body.cursor && name == from ? body.cursor->partition_index : 0;
      if (!pager.add(*image, name, first, !all)) break;
    }
  }
  request.respond(response);
}

}  // namespace odradek::server
