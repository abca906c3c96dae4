// Node: one node, wired: directories, metadata quorum and controller, partitions, server. Used by
// `app` over the real system and by `sim` in memory, so there is one wiring.
//
//   Node node(io, {.config = config, .logger = logger, .on_fatal = …});
//   io.loop(0).post([&] { node.start([&](Result<void> r) { … }); });
//   …
//   node.stop([&] { io.stop(); });
//
// Start order (KIP-631, as Apache's): lock and check the directories; replay the metadata log and
// lead it; register; load and recover the partitions' logs; follow the image on every loop; become
// unfenced; only then listen. Stop order: stop accepting, answer what can be answered, sync
// and close logs, checkpoints, metadata log, last the clean markers.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/logger.h"
#include "base/metrics.h"
#include "base/result.h"
#include "http/http_server.h"
#include "io/io.h"
#include "metadata/broker_config.h"
#include "metadata/publisher.h"
#include "node/assignments.h"
#include "node/controller_host.h"
#include "node/directories.h"
#include "node/lifecycle.h"
#include "node/loop_parts.h"
#include "replica/recovery_status.h"
#include "server/server.h"

namespace odradek::node {

struct NodeOptions {
  metadata::BrokerConfigPtr config;
  Logger logger;
  /// Format empty directories (`odradek server` without --config).
  bool format_if_new = false;
  /// Something that cannot be survived (the metadata log's disk, the last directory). The process
  /// must end without `stop`; called on any loop, maybe more than once.
  std::function<void(const Error&)> on_fatal;
};

enum class NodeState { kStarting, kServing, kStopping, kStopped };

class Node {
 public:
  Node(io::Io& io, NodeOptions options);
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  /// On loop 0. `done` is called on loop 0 when clients are served, or with why not (then destroy
  /// the node; nothing else may be called).
  void start(std::move_only_function<void(Result<void>)> done);
  /// On loop 0, once, after `start` has succeeded. `done` is called on loop 0 when everything is on
  /// disk, or when the time limit (odradek.shutdown.timeout.ms) has passed.
  void stop(std::move_only_function<void()> done);

  NodeState state() const { return state_.load(std::memory_order_acquire); }
  const std::string& cluster_id() const { return directories_.cluster_id; }
  /// With the real ports.
  const std::vector<server::ListenerSpec>& listeners() const { return specs_; }
  /// Where metrics are served.
  std::vector<io::Endpoint> http_endpoints() const { return http_->endpoints(); }

 private:
  io::Task<void> run_start(std::move_only_function<void(Result<void>)> done);
  io::Task<Result<void>> start_all();
  io::Task<void> run_stop(std::move_only_function<void()> done);
  Result<void> start_metadata();
  Result<void> probe_ports();
  Result<void> start_http();
  std::string metrics_text() const;
  io::Task<http::Page> metrics_page();
  void make_loops();
  void make_broker();
  io::Task<Result<void>> load_partitions();
  void tell_recovery(std::vector<uint64_t> bytes_before);
  void follow_metadata();
  io::Task<void> found_is_durable();
  io::Task<bool> close_logs();
  Registration registration() const;
  void fatal(const Error& error);

  io::Io& io_;
  io::Loop& loop_;
  NodeOptions options_;
  Logger logger_;
  std::atomic<NodeState> state_{NodeState::kStarting};

  std::vector<server::ListenerSpec> specs_;
  OpenedDirectories directories_;
  std::vector<std::unique_ptr<LoopParts>> parts_;  // by loop
  replica::RecoveryStatus recovery_;
  io::TimerId recovery_timer_ = io::TimerId::kNone;
  std::unique_ptr<replica::LogDirs> log_dirs_;
  std::unique_ptr<replica::Cleaner> cleaner_;
  std::unique_ptr<ControllerHost> controller_;
  std::unique_ptr<Lifecycle> lifecycle_;
  std::unique_ptr<Assignments> assignments_;
  std::unique_ptr<server::Server> server_;
  std::unique_ptr<http::HttpServer> http_;
  int surveys_ = 0;  // scrapes that are on their way through the loops
};

}  // namespace odradek::node
