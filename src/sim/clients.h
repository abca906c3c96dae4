// The clients of a scenario: coroutines that work until they are told to stop, and tell History
// what they learn.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/uuid.h"
#include "io/io.h"
#include "sim/history.h"
#include "sim/rng.h"
#include "sim/sim_io.h"
#include "sim/wire_client.h"

namespace odradek::sim {

/// What happens to a topic beside appends.
enum class TopicKind {
  kPlain,
  kSmallSegments,  // rolls all the time
  kLimited,        // retention.bytes, and small segments
  kTrimmed,        // DeleteRecords, and small segments
  kDoomed,         // is deleted after a while
  kCompacted,      // small segments, cleaned all the time
};

/// A topic whose creation was acknowledged, and whose deletion was not asked for.
struct KnownTopic {
  std::string name;
  Uuid id;
  int32_t partitions = 0;
  TopicKind kind = TopicKind::kPlain;
};

/// What the clients of one scenario share. Lives longer than they run.
struct ClientWorld {
  Simulation& sim;
  io::Loop& loop;
  io::Endpoint broker;
  History history{};
  std::vector<KnownTopic> topics{};
  std::vector<std::string> gone{};  // topics whose deletion was acknowledged
  int64_t pause_ms = 10;            // of producers, at most, most of the time
  bool trouble = false;             // the disk misbehaves: any error code is an answer
  bool stopping = false;            // producers and the administrator finish what they do and end
  int running = 0;                  // of those
  uint64_t next_value = 0;

  /// Of the known topics. Null: there is none.
  const KnownTopic* topic(const Uuid& id) const;
  /// Of a known topic.
  const Uuid& topic_id(const std::string& name) const;
};

// ---- parts that other clients are made of

/// Whether a client may try again; anything else that a node answers here is a failure of the node.
bool may_retry(ClientWorld& world, const char* what, int16_t code);
inline constexpr Millis kRetryPause{20};

enum class CoordinatorOf : int8_t { kGroup = 0, kTransaction = 1 };
/// True once the broker has said that it coordinates the group or the transactional id.
io::Task<bool> find_coordinator(ClientWorld& world, WireClient& client, CoordinatorOf of,
                                std::string key);

/// Creates the topic, or finds out that it cannot be known whether it is there; in the first case
/// it becomes a known topic.
io::Task<void> create_topic(ClientWorld& world, WireClient& client, std::string name,
                            int32_t partitions, TopicKind kind);

/// Where a consumer stands.
using Positions = std::map<History::Partition, int64_t>;
struct Fetched {
  bool ok = false;
  std::map<History::Partition, int64_t> high_watermarks{};
  std::map<History::Partition, int64_t> last_stable{};
};
/// As in the field isolation_level.
enum class Isolation : int8_t { kReadUncommitted = 0, kReadCommitted = 1 };
/// One fetch of the partitions of `positions`, which move, also over what is not for clients.
io::Task<Fetched> fetch(
    ClientWorld& world, WireClient& client, Positions& positions,
    const std::function<void(const History::Partition&, int64_t, std::string)>& each,
    Isolation isolation = Isolation::kReadUncommitted);

// ---- clients

enum class ProducerKind { kIdempotent, kAcksAll, kAcksOne };

/// Sends batches to random partitions of the known topics. Idempotent producers repeat a batch
/// until it is acknowledged; others give a batch up when its fate is unknown.
io::Task<void> run_producer(ClientWorld& world, std::string name, ProducerKind kind);
/// Follows all partitions from their beginning, until `stopping`.
io::Task<void> run_consumer(ClientWorld& world);
/// Creates `count` topics of all kinds, does to them what their kind says, and checks that those
/// that are to stay do, and that what was deleted stays away.
io::Task<void> run_administrator(ClientWorld& world, int count);
/// Reads every partition from offset 0 to its end into History; `finished` when it is done.
io::Task<void> read_everything(ClientWorld& world, bool& finished);

}  // namespace odradek::sim
