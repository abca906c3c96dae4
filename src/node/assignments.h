// Assignments: tells the controller in which directory each replica of this node lives (KIP-858):
// after a replica was created where the controller left the choice, and before a move between
// directories takes effect.
//
// A resource of loop 0; `assign` may be called from any loop. One request is under way at a time
// and takes all that has gathered; it is repeated, later and later, until the controller answers.
#pragma once

#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/logger.h"
#include "base/uuid.h"
#include "io/io.h"
#include "wire/gen/assign_replicas_to_dirs.h"
#include "wire/peers.h"

namespace odradek::node {

class Assignments {
 public:
  /// `epoch` tells the broker's epoch; nothing is sent while that is −1.
  Assignments(io::Loop& loop, wire::ToController& controller, BrokerId node,
              std::function<BrokerEpoch()> epoch, Logger logger);
  ~Assignments();
  Assignments(const Assignments&) = delete;
  Assignments& operator=(const Assignments&) = delete;

  /// Called on loop 0: true when the controller has it, false when it refuses (the topic is gone,
  /// or another assignment of the same replica came later).
  using Done = std::move_only_function<void(bool)>;
  void assign(const Uuid& topic, PartitionIndex index, const Uuid& directory, Done done);
  /// Nothing is sent after this.
  void stop();

 private:
  using Replica = std::pair<Uuid, PartitionIndex>;
  struct Assignment {
    Uuid directory;
    Done done;
  };

  void send();
  ByteBuffer request() const;
  void answered(const Result<ByteBuffer>& answer);
  void take(const wire::AssignReplicasToDirsResponse& response);
  void settle(const Replica& replica, bool accepted);
  void send_later();

  io::Loop& loop_;
  wire::ToController& controller_;
  BrokerId node_;
  std::function<BrokerEpoch()> epoch_;
  Logger logger_;
  std::map<Replica, Assignment> waiting_;
  std::map<Replica, Assignment> sent_;
  io::TimerId timer_ = io::TimerId::kNone;
  int failures_ = 0;
  bool stopped_ = false;
};

}  // namespace odradek::node
