#include "machines/controller/controller.h"

#include <fmt/format.h>

#include <string>
#include <utility>

#include "base/check.h"
#include "machines/controller/apis.h"
#include "wire/gen/abort_transaction_record.h"
#include "wire/gen/begin_transaction_record.h"
#include "wire/gen/end_transaction_record.h"
#include "wire/gen/register_broker_record.h"
#include "wire/gen/unregister_broker_record.h"

namespace odradek::machines {

namespace {

using control::Context;
using wire::ApiKey;

Controller::Decision finish(Context&& context, Controller::Response response) {
  return {std::move(context.records), std::move(response), std::move(context.timers)};
}

template <class Request, class Response>
Controller::Decision run(Context context, const ControllerRequest& command,
                         Response (*decide)(Context&, const Request&, int16_t)) {
  Request request;
  wire::Reader reader(command.body, context.arena);
  const Result<void> decoded = request.decode(reader, command.version);
  if (!decoded) return {{}, std::unexpected(decoded.error()), {}};
  const Response response = decide(context, request, command.version);
  wire::Writer writer;
  response.encode(writer, command.version);
  // What we say ourselves can be said in every version that we serve.
  ODRADEK_CHECK(!writer.error());
  return finish(std::move(context), writer.take());
}

Controller::Decision decide_request(Context context, const ControllerRequest& command) {
  Context& c = context;
  switch (command.api) {
    case ApiKey::kCreateTopics:
      return run(std::move(c), command, control::create_topics);
    case ApiKey::kDeleteTopics:
      return run(std::move(c), command, control::delete_topics);
    case ApiKey::kCreatePartitions:
      return run(std::move(c), command, control::create_partitions);
    case ApiKey::kAlterConfigs:
      return run(std::move(c), command, control::alter_configs);
    case ApiKey::kIncrementalAlterConfigs:
      return run(std::move(c), command, control::incremental_alter_configs);
    case ApiKey::kElectLeaders:
      return run(std::move(c), command, control::elect_leaders);
    case ApiKey::kAlterPartitionReassignments:
      return run(std::move(c), command, control::alter_reassignments);
    case ApiKey::kListPartitionReassignments:
      return run(std::move(c), command, control::list_reassignments);
    case ApiKey::kAlterPartition:
      return run(std::move(c), command, control::alter_partition);
    case ApiKey::kAssignReplicasToDirs:
      return run(std::move(c), command, control::assign_replicas_to_dirs);
    case ApiKey::kUpdateFeatures:
      return run(std::move(c), command, control::update_features);
    case ApiKey::kBrokerRegistration:
      return run(std::move(c), command, control::register_broker);
    case ApiKey::kBrokerHeartbeat:
      return run(std::move(c), command, control::heartbeat);
    case ApiKey::kUnregisterBroker:
      return run(std::move(c), command, control::unregister_broker);
    case ApiKey::kControllerRegistration:
      return run(std::move(c), command, control::register_controller);
    case ApiKey::kAllocateProducerIds:
      return run(std::move(c), command, control::allocate_producer_ids);
    default:
      break;
  }
  return {{},
          fail(Errc::kUnsupported,
               fmt::format("the controller does not serve {}", wire::name(command.api))),
          {}};
}

}  // namespace

Controller::Controller(ControllerSettings settings)
    : settings_(std::move(settings)), builder_(std::make_unique<metadata::ImageBuilder>()) {
  ODRADEK_CHECK(settings_.config != nullptr);
}

bool Controller::serves(ApiKey api) {
  switch (api) {
    case ApiKey::kCreateTopics:
    case ApiKey::kDeleteTopics:
    case ApiKey::kCreatePartitions:
    case ApiKey::kAlterConfigs:
    case ApiKey::kIncrementalAlterConfigs:
    case ApiKey::kElectLeaders:
    case ApiKey::kAlterPartitionReassignments:
    case ApiKey::kListPartitionReassignments:
    case ApiKey::kAlterPartition:
    case ApiKey::kAssignReplicasToDirs:
    case ApiKey::kUpdateFeatures:
    case ApiKey::kBrokerRegistration:
    case ApiKey::kBrokerHeartbeat:
    case ApiKey::kUnregisterBroker:
    case ApiKey::kControllerRegistration:
    case ApiKey::kAllocateProducerIds:
      return true;
    default:
      return false;
  }
}

Controller::Decision Controller::decide(const Command& command, Now now) const {
  Arena arena;
  Context context{image(), settings_, registered_at_, now, control::Choices(now.random), arena};
  if (const auto* request = std::get_if<ControllerRequest>(&command))
    return decide_request(std::move(context), *request);
  const std::string& key = std::get<TimerFired>(command).key;
  if (key.starts_with(control::kSession)) {
    control::on_session_timer(context, key);
  } else {
    control::on_election_timer(context, key);
  }
  return finish(std::move(context), ByteBuffer());
}

Controller::Decision Controller::loaded(Now now) const {
  Arena arena;
  Context context{image(), settings_, registered_at_, now, control::Choices(now.random), arena};
  if (empty_) control::bootstrap(context);
  if (before_transaction_) {
    wire::AbortTransactionRecord abort;
    abort.reason = "Controller failover";
    context.add(abort, 0);
  }
  control::arm_sessions(context);
  control::arm_elections(context);
  return finish(std::move(context), ByteBuffer());
}

void Controller::replay(Offset offset, const Record& record) {
  empty_ = false;
  const auto applied = builder_->apply(record);
  // Records that we cannot read are refused before they get here (metadata/loader.h stops the
  // node).
  ODRADEK_CHECK(applied.has_value());
  Arena arena;
  switch (record.type) {
    // The controller goes on from what a transaction says at once; readers see it at its end.
    case wire::BeginTransactionRecord::kRecordType:
      before_transaction_ = builder_->build().image;
      break;
    case wire::EndTransactionRecord::kRecordType:
      before_transaction_.reset();
      break;
    case wire::AbortTransactionRecord::kRecordType:
      builder_ = std::make_unique<metadata::ImageBuilder>(std::exchange(before_transaction_, {}));
      break;
    case wire::RegisterBrokerRecord::kRecordType:
      if (auto r = record.decode<wire::RegisterBrokerRecord>(arena))
        registered_at_[BrokerId(r->broker_id)] = offset;
      break;
    case wire::UnregisterBrokerRecord::kRecordType:
      if (auto r = record.decode<wire::UnregisterBrokerRecord>(arena))
        registered_at_.erase(BrokerId(r->broker_id));
      break;
    default:
      break;
  }
}

}  // namespace odradek::machines
