// Controller: the machine that decides about brokers, topics, partitions, settings and features.
// Its state is an image of the metadata log; its records are metadata records.
//
// A command is a request body of one of its APIs (decoded here, by version), the response the body
// of the answer in the same version. Which file decides what: topics.cc, partitions.cc, brokers.cc,
// directories.cc, configs.cc, features.cc, producer_ids.cc, elections.cc.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "machines/machine.h"
#include "metadata/apply.h"
#include "metadata/broker_config.h"
#include "metadata/image.h"
#include "metadata/record.h"
#include "wire/api_keys.h"

namespace odradek::machines {

/// A request to the controller: a body without header.
struct ControllerRequest {
  wire::ApiKey api;
  int16_t version = 0;
  ByteBuffer body;
};

struct ControllerSettings {
  std::string cluster_id;
  BrokerId node;  // this node
  /// This node's own settings: defaults of topics, limits, timeouts. Not null.
  std::shared_ptr<const metadata::BrokerConfig> config;
  /// Records of bootstrap.checkpoint; the log begins with them. Empty: metadata.version of this
  /// build only.
  std::vector<metadata::Record> bootstrap;
};

class Controller {
 public:
  using Record = metadata::Record;
  using Command = std::variant<ControllerRequest, TimerFired>;
  /// Body of the answer. An Error: the request is malformed (kCorrupt), or not one of ours
  /// (kUnsupported).
  using Response = Result<ByteBuffer>;
  using Decision = machines::Decision<Record, Response>;

  explicit Controller(ControllerSettings settings);

  Decision decide(const Command& command, Now now) const;
  void replay(Offset offset, const Record& record);
  /// Bootstrap records on an empty log; AbortTransaction if the log ends inside one; sessions.
  Decision loaded(Now now) const;

  const metadata::Image& image() const { return builder_->image(); }
  /// Whether `decide` takes that API.
  static bool serves(wire::ApiKey api);

 private:
  ControllerSettings settings_;
  std::unique_ptr<metadata::ImageBuilder> builder_;
  bool empty_ = true;  // nothing was replayed yet
  /// The state before the metadata transaction that is open; null: none is.
  metadata::ImagePtr before_transaction_;
  /// Where each broker's registration lies in the log.
  std::map<BrokerId, Offset> registered_at_;
};

}  // namespace odradek::machines
