// ProducerIds: ids for idempotent producers, from blocks of 1000 that the controller hands out.
//
// One per loop. The next block is asked for when nine tenths of this one are used, so that nobody
// waits for it in the steady state.
#pragma once

#include <cstdint>
#include <list>
#include <optional>

#include "io/task.h"
#include "server/services.h"

namespace odradek::server {

class ProducerIds {
 public:
  /// A new id; nothing if the controller gave none. `services` is that of this loop.
  io::Task<std::optional<int64_t>> next(Services& services);

 private:
  struct Block {
    int64_t next = 0;
    int64_t end = 0;
    bool empty() const { return next >= end; }
  };

  io::Task<void> fetch(Services& services);

  Block block_;
  Block following_;
  bool fetching_ = false;
  std::list<io::Completion<bool>*> waiting_;
};

/// A new id of this loop's ProducerIds.
io::Task<std::optional<int64_t>> next_producer_id(Services& services);

}  // namespace odradek::server
