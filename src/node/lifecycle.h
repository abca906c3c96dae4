// Lifecycle: how a broker lives with its controller: registers, sends heartbeats, asks to be
// unfenced, and says that it leaves. States and rules: KIP-631 and BrokerLifecycleManager.
//
// A resource of loop 0.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/logger.h"
#include "base/result.h"
#include "base/uuid.h"
#include "io/io.h"
#include "metadata/broker_config.h"
#include "metadata/image.h"
#include "wire/peers.h"

namespace odradek::node {

struct Registration {
  BrokerId node;
  std::string cluster_id;
  Uuid incarnation;
  std::vector<metadata::Endpoint> endpoints;  // the inter-broker listener first
  std::vector<metadata::Endpoint> controller_endpoints;
  std::optional<std::string> rack;
  std::vector<Uuid> directories;
  BrokerEpoch previous_epoch{-1};
};

class Lifecycle {
 public:
  /// `metadata_offset` tells the last offset of the published image.
  Lifecycle(io::Loop& loop, wire::ToController& controller, Registration registration,
            Millis interval, std::function<Offset()> metadata_offset, Logger logger);
  Lifecycle(const Lifecycle&) = delete;
  Lifecycle& operator=(const Lifecycle&) = delete;

  /// Tells the controller of this node's controller listeners, once in each process: admin clients
  /// that ask a controller listener for the cluster's nodes get them from there.
  io::Task<Result<void>> register_controller();
  /// `co_await register_broker()`: until the controller has accepted, or refused for good.
  io::Task<Result<void>> register_broker();
  /// Heartbeats until the controller has unfenced us, then goes on with one each interval.
  io::Task<Result<void>> become_unfenced();
  /// Directories that have failed in this process; told in the next heartbeat.
  void directory_failed(const Uuid& id);
  /// No heartbeat is under way or sent after this.
  io::Task<void> stop();

  BrokerEpoch epoch() const { return epoch_; }

 private:
  struct Answer {
    int16_t error = 0;
    bool caught_up = false;
    bool fenced = true;
  };
  io::Task<Result<ByteBuffer>> ask(wire::ApiKey api, int16_t version, ByteBuffer body);
  io::Task<Result<Answer>> heartbeat(bool want_fence);
  io::Task<void> beat();
  void arm();

  io::Loop& loop_;
  wire::ToController& controller_;
  Registration registration_;
  Millis interval_;
  std::function<Offset()> metadata_offset_;
  Logger logger_;
  BrokerEpoch epoch_{-1};
  std::vector<Uuid> failed_directories_;
  io::TimerId timer_ = io::TimerId::kNone;
  bool beating_ = false;
  bool stopped_ = false;
};

}  // namespace odradek::node
