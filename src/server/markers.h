// The markers that end a transaction, written to partitions of this node on whatever loop they
// live: for WriteTxnMarkers, and for the coordinators of this node.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/task.h"
#include "replica/partition.h"
#include "server/services.h"
#include "wire/errors.h"

namespace odradek::server {

struct MarkerTarget {
  std::string topic;
  int32_t index = 0;
  wire::ErrorCode error{};  // what became of it
};

/// Writes the marker to every target and waits until all are committed or refused; on this loop. A
/// partition of `__consumer_offsets` gets it from its group coordinator, which then counts or drops
/// the offsets of that transaction.
io::Task<void> write_markers(Services& services, replica::EndMarker marker,
                             std::vector<MarkerTarget>& targets);

}  // namespace odradek::server
