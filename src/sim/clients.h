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

/// A topic whose creation was acknowledged.
struct KnownTopic {
  std::string name;
  Uuid id;
  int32_t partitions = 0;
};

/// What the clients of one scenario share. Lives longer than they run.
struct ClientWorld {
  Simulation& sim;
  io::Loop& loop;
  io::Endpoint broker;
  History history{};
  std::vector<KnownTopic> topics{};
  /// Segments roll all the time: a power loss may take the end of one and leave the next, and with
  /// it a hole of records that nobody was promised. (A gap may be what compaction leaves, so
  /// recovery takes it for good, as at Apache.)
  bool holes_allowed = false;
  bool stopping = false;  // producers and the administrator finish what they do and end
  int running = 0;        // of those
  uint64_t next_value = 0;
};

enum class ProducerKind { kIdempotent, kAcksAll, kAcksOne };

/// Sends batches to random partitions of the known topics. Idempotent producers repeat a batch
/// until it is acknowledged; others give a batch up when its fate is unknown.
io::Task<void> run_producer(ClientWorld& world, std::string name, ProducerKind kind);
/// Follows all partitions from their beginning, until `stopping`.
io::Task<void> run_consumer(ClientWorld& world);
/// Creates `count` topics, and checks that those that it has created stay.
io::Task<void> run_administrator(ClientWorld& world, int count);
/// Reads every partition from offset 0 to its end into History; `finished` when it is done.
io::Task<void> read_everything(ClientWorld& world, bool& finished);

}  // namespace odradek::sim
