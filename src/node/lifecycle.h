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
  struct Intervals {
    Millis heartbeat;
    Millis failure_told_by;  // log.dir.failure.timeout.ms
  };
  /// `metadata_offset` tells the last offset of the published image; `on_untold` is called when the
  /// controller could not be told in time of a directory that has failed.
  Lifecycle(io::Loop& loop, wire::ToController& controller, Registration registration,
            Intervals intervals, std::function<Offset()> metadata_offset,
            std::function<void(const Error&)> on_untold, Logger logger);
  ~Lifecycle();
  Lifecycle(const Lifecycle&) = delete;
  Lifecycle& operator=(const Lifecycle&) = delete;

  /// Tells the controller of this node's controller listeners, once in each process: admin clients
  /// that ask a controller listener for the cluster's nodes get them from there.
  io::Task<Result<void>> register_controller();
  /// `co_await register_broker()`: until the controller has accepted, or refused for good.
  io::Task<Result<void>> register_broker();
  /// Heartbeats until the controller has unfenced us, then goes on with one each interval.
  io::Task<Result<void>> become_unfenced();
  /// A directory has failed: the controller is told at once, and again with every heartbeat.
  void directory_failed(const Uuid& id);
  /// cordoned.log.dirs is now this; told at once if it is new.
  void set_cordoned(std::vector<Uuid> ids);
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
  void beat_soon();

  io::Loop& loop_;
  wire::ToController& controller_;
  Registration registration_;
  Intervals intervals_;
  std::function<Offset()> metadata_offset_;
  std::function<void(const Error&)> on_untold_;
  Logger logger_;
  BrokerEpoch epoch_{-1};
  std::vector<Uuid> failed_directories_;
  size_t failures_told_ = 0;  // of failed_directories_
  std::vector<Uuid> cordoned_;
  io::TimerId timer_ = io::TimerId::kNone;
  io::TimerId failure_timer_ = io::TimerId::kNone;
  bool caught_up_ = false;
  bool cordon_told_ = false;
  bool unfenced_ = false;  // become_unfenced is over
  bool beating_ = false;
  bool again_ = false;  // there is news since the heartbeat under way was made
  bool stopped_ = false;
};

}  // namespace odradek::node
