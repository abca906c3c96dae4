// Services: what the handlers of one loop may use. `node` builds one per loop and keeps it alive as
// long as the loop runs; everything here is used from that loop only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/logger.h"
#include "base/result.h"
#include "io/io.h"
#include "wire/api_keys.h"
#include "wire/peers.h"

namespace odradek::metadata {
class BrokerConfig;
struct Image;
}  // namespace odradek::metadata
namespace odradek::replica {
class Shard;
}

namespace odradek::server {

class DispatchTable;
class FetchSessions;
class GroupCoordinators;
class ProducerIds;
class ServerMetrics;
class TxnCoordinators;

struct Services {
  io::Loop& loop;
  const DispatchTable& dispatch;
  /// Requests that the active controller decides. `done` comes back on the loop that sent.
  wire::ToController& controller;
  ServerMetrics& metrics;
  Logger logger;
  std::string cluster_id{};
  /// This node's settings and the newest image of this loop. Both are replaced between turns: a
  /// handler copies the pointer once and sees that one for the whole request, or takes it anew
  /// after waiting if it wants what changed meanwhile. Never null while requests are served.
  std::shared_ptr<const metadata::BrokerConfig> config{};
  std::shared_ptr<const metadata::Image> image{};
  /// Finalized kraft.version: it lives in the log's control records, not in the image.
  int16_t kraft_version = 0;
  /// The partitions of every loop, indexed by loop: only this loop's own may be called directly,
  /// the others through io::Loop::post or hop.
  std::vector<replica::Shard*> shards{};
  /// The group coordinators of every loop, likewise (group_access.h).
  std::vector<GroupCoordinators*> groups{};
  /// The transaction coordinators (txn_access.h).
  std::vector<TxnCoordinators*> transactions{};
  /// Incremental fetch sessions of this loop.
  FetchSessions* fetch_sessions = nullptr;
  /// Producer ids of this loop; made by the first InitProducerId.
  std::shared_ptr<ProducerIds> producer_ids{};
  /// Why topics could not be created by themselves, as told last, and when.
  std::string create_failure{};
  MonoNs create_failure_told{0};
};

/// `Result<ByteBuffer> answer = co_await ask_controller(services, api, version, body);` the body of
/// the answer in the same version; an error when no controller could be reached.
inline auto ask_controller(Services& services, wire::ApiKey api, int16_t version, ByteBuffer body) {
  struct Op {
    Services& services;
    wire::ApiKey api;
    int16_t version;
    ByteBuffer body;
    io::Completion<Result<ByteBuffer>> done{};
    bool await_ready() {
      services.controller.send(api, version, std::move(body),
                               [this](Result<ByteBuffer> r) { done.complete(std::move(r)); });
      return done.done();
    }
    void await_suspend(std::coroutine_handle<> h) { done.await_suspend(h); }
    Result<ByteBuffer> await_resume() { return done.await_resume(); }
  };
  return Op{services, api, version, std::move(body)};
}

}  // namespace odradek::server
