// The clients of a scenario: coroutines that work until they are told to stop, and tell History
// what they learn.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/uuid.h"
#include "io/io.h"
#include "sim/history.h"
#include "sim/rng.h"
#include "sim/sim_io.h"

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
  bool trouble = false;             // the disk misbehaves: any error code is an answer
  bool stopping = false;            // producers and the administrator finish what they do and end
  int running = 0;                  // of those
  uint64_t next_value = 0;
};

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
