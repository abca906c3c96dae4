// LoopParts: what one loop of a node has for itself.
#pragma once

#include <functional>
#include <memory>

#include "base/metrics.h"
#include "metadata/broker_config.h"
#include "metadata/publisher.h"
#include "node/controller_host.h"
#include "node/group_host.h"
#include "node/txn_host.h"
#include "replica/log_dirs.h"
#include "replica/shard.h"
#include "server/fetch_sessions.h"
#include "server/server_metrics.h"
#include "server/services.h"

namespace odradek::node {

struct LoopParts {
  LoopParts(io::Io& io, int index, metadata::BrokerConfigPtr start_config, replica::LogDirs& dirs,
            ControllerHost& controller, const std::string& cluster_id, Logger parent);

  /// A new image: dynamic settings, partitions, then what handlers see.
  void follow(const metadata::Publication& publication);

  io::Loop& loop;
  Logger logger;
  MetricSet metrics;
  metadata::BrokerConfigPtr config;  // replaced between turns
  replica::ResolveSettings resolve;
  replica::Shard shard;
  GroupHost groups;
  LocalController to_controller;
  server::ServerMetrics server_metrics;
  server::FetchSessions fetch_sessions;
  server::Services services;
  TxnHost transactions;
  replica::Cleaner* cleaner = nullptr;  // of the node: loop 0 tells it new settings
  /// Of loop 0: cordoned.log.dirs may have changed.
  std::function<void()> on_cordoned{};
};

replica::CleanerSettings cleaner_settings(const metadata::BrokerConfig& config);

/// The publication that brings a subscriber which has seen nothing to `image`.
metadata::Publication first_publication(metadata::ImagePtr image);

}  // namespace odradek::node
