// WriteTxnMarkers (27), versions 1-2: a transaction coordinator ends a transaction on the
// partitions that we lead.
//
// 2: the transaction.version that it was ended under, which decides whether the marker's epoch must
// be a new one.
// - UNKNOWN_TOPIC_OR_PARTITION for partitions that are not here, NOT_LEADER_OR_FOLLOWER for those
//   that others lead; coordinators try again.
// - Results of several markers of one producer are told together, as at Apache.
#include "wire/gen/write_txn_markers.h"

#include <map>

#include "server/handlers/handlers.h"
#include "server/markers.h"

namespace odradek::server {

io::Task<void> handle_write_txn_markers(Request& request) {
  wire::WriteTxnMarkersRequest body;
  if (!request.decode(body)) co_return;
  std::vector<std::pair<int64_t, std::map<std::string, std::map<int32_t, wire::ErrorCode>>>> all;
  for (const auto& m : body.markers) {
    std::vector<MarkerTarget> targets;
    for (const auto& topic : m.topics) {
      for (const int32_t index : topic.partition_indexes)
        targets.push_back({std::string(topic.name), index});
    }
    co_await write_markers(request.services(),
                           {.producer = ProducerId(m.producer_id),
                            .epoch = ProducerEpoch(m.producer_epoch),
                            .committed = m.transaction_result,
                            .coordinator_epoch = m.coordinator_epoch,
                            .version = m.transaction_version},
                           targets);
    auto of = std::ranges::find(all, m.producer_id, [](const auto& a) { return a.first; });
    if (of == all.end()) of = all.insert(all.end(), {m.producer_id, {}});
    for (const MarkerTarget& t : targets) of->second[t.topic][t.index] = t.error;
  }
  wire::WriteTxnMarkersResponse response;
  for (const auto& [producer, topics] : all) {
    auto& marker = response.markers.add(request.arena());
    marker.producer_id = producer;
    for (const auto& [name, partitions] : topics) {
      auto& topic = marker.topics.add(request.arena());
      topic.name = name;
      for (const auto& [index, error] : partitions) {
        auto& p = topic.partitions.add(request.arena());
        p.partition_index = index;
        p.error_code = wire::wire_value(error);
      }
    }
  }
  request.respond(response);
}

}  // namespace odradek::server
