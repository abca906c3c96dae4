// ControllerHost: the metadata side of a node. The raft driver over `__cluster_metadata`, the
// controller machine in its runtime, the loader that turns what is committed into images, and the
// publisher that hands these to the loops.
//
// A resource of loop 0. `open`, then `start` (both block on the disk); after that `submit`.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/logger.h"
#include "base/result.h"
#include "io/io.h"
#include "machines/controller/controller.h"
#include "machines/runtime.h"
#include "metadata/broker_config.h"
#include "metadata/loader.h"
#include "metadata/publisher.h"
#include "node/loop_host.h"
#include "raft/driver.h"
#include "wire/peers.h"

namespace odradek::node {

class ControllerHost : private raft::Listener {
 public:
  using Runtime = machines::Runtime<machines::Controller, raft::Driver>;
  /// The metadata log cannot go on: the process must stop.
  using OnFatal = std::function<void(const Error&)>;

  ControllerHost(io::Io& io, raft::DriverOptions driver, machines::ControllerSettings settings,
                 OnFatal on_fatal, Logger logger);
  ~ControllerHost() override;

  Result<void> open();
  /// Elects, replays, lets the controller write its first records. Images are kept in the
  /// publisher, whose subscribers may come later.
  Result<void> start();
  Result<void> close();

  metadata::Publisher& publisher() { return publisher_; }
  /// Finalized kraft.version.
  int16_t kraft_version() const { return driver_->step().voters().kraft_version; }

  /// Decides a request on loop 0. `done` is called on loop 0 once the decision is committed and
  /// every loop has run what was posted to it before.
  void submit(machines::ControllerRequest request, wire::ToController::Done done);

 private:
  void begin_snapshot() override;
  Result<void> end_snapshot(raft::SnapshotId id, WallMs last_timestamp) override;
  Result<void> on_batch(const raft::Batch& batch) override;
  void on_leader(LeaderEpoch epoch) override;
  void on_committed(Offset end) override;
  void on_snapshot_due() override;
  void on_failed(const Error& error) override;

  void on_append_failed(const Error& error);
  void reload();
  Result<void> load_again();
  void describe_quorum(const machines::ControllerRequest& request, wire::ToController::Done& done);
  void after_all_loops(io::Callback then);

  io::Io& io_;
  io::Loop& loop_;
  raft::DriverOptions driver_options_;
  OnFatal on_fatal_;
  Logger logger_;
  LoopHost host_;
  metadata::Publisher publisher_;
  metadata::Loader loader_;
  std::unique_ptr<raft::Driver> driver_;
  std::unique_ptr<Runtime> runtime_;
  machines::ControllerSettings settings_;
  bool in_snapshot_ = false;
  std::vector<metadata::Record> snapshot_;
};

/// The door to the controller for one loop: brings requests to loop 0 and answers back.
class LocalController : public wire::ToController {
 public:
  LocalController(io::Loop& home, io::Loop& loop, ControllerHost& host)
      : home_(home), loop_(loop), host_(host) {}
  void send(wire::ApiKey api, int16_t version, ByteBuffer body, Done done) override;

 private:
  io::Loop& home_;
  io::Loop& loop_;
  ControllerHost& host_;
};

}  // namespace odradek::node
