// LoopHost: a loop as the host of a machine's runtime.
#pragma once

#include <utility>

#include "io/io.h"
#include "machines/runtime.h"

namespace odradek::node {

/// The runtime's view of a loop.
class LoopHost : public machines::RuntimeHost {
 public:
  explicit LoopHost(io::Loop& loop) : loop_(loop) {}
  WallMs wall() override { return loop_.clock().wall(); }
  uint64_t random() override { return loop_.random().next(); }
  uint64_t start_timer(Millis after, Callback callback) override {
    return static_cast<uint64_t>(loop_.timers().start(after, std::move(callback)));
  }
  void cancel_timer(uint64_t id) override { loop_.timers().cancel(static_cast<io::TimerId>(id)); }
  void at_turn_end(Callback callback) override { loop_.at_turn_end(std::move(callback)); }

 private:
  io::Loop& loop_;
};

}  // namespace odradek::node
