// Brokers and controllers: registration, heartbeats, sessions, leaving.
//
//   BrokerRegistration 0-4 (2 log directories, 3 previous broker epoch), BrokerHeartbeat 0-2
//   (1 offline, 2 cordoned directories), UnregisterBroker 0, ControllerRegistration 0.
//
// A broker's session is a timer that each heartbeat of an unfenced broker arms anew. A broker's
// epoch is the offset of the first record of its registration.
#include <algorithm>
#include <charconv>
#include <set>

#include "machines/controller/apis.h"
#include "machines/controller/partition_change.h"
#include "wire/gen/broker_registration_change_record.h"
#include "wire/gen/fence_broker_record.h"
#include "wire/gen/register_broker_record.h"
#include "wire/gen/register_controller_record.h"
#include "wire/gen/unfence_broker_record.h"
#include "wire/gen/unregister_broker_record.h"

namespace odradek::machines::control {

namespace {

using metadata::Broker;
using metadata::BrokerKey;
using wire::ErrorCode;

constexpr uint64_t kReservedDirectories = 100;

// What happens to one broker, as far as partitions are concerned.
struct BrokerChange {
  BrokerId leaves = kNoBroker;   // out of every ISR
  BrokerId joins = kNoBroker;    // may lead, although the image has it fenced
  BrokerId unclean = kNoBroker;  // leaves ISR and ELR
};

enum class Touched { kInIsr, kInElr, kLeaderless };

bool touches(const metadata::Partition& partition, Touched which, BrokerId id) {
  switch (which) {
    case Touched::kInIsr:
      return partition.in_isr(id);
    case Touched::kInElr:
      return contains(partition.elr, id);
    case Touched::kLeaderless:
      return !partition.has_leader();
  }
  return false;
}

// Takes a broker out of ISRs, or elects leaders because of one that came.
void change_partitions(Context& context, Touched which, BrokerId id, const BrokerChange& change) {
  const auto may_lead = [&](BrokerId candidate) {
    if (candidate == change.leaves || candidate == change.unclean) return false;
    if (candidate == change.joins) return true;
    const Broker* broker = context.image.broker(candidate);
    return broker != nullptr && broker->active();
  };
  context.image.for_each_topic([&](const metadata::TopicPtr& topic) {
    for (size_t i = 0; i < topic->partitions.size(); i++) {
      const auto& partition = topic->partitions[i];
      if (!partition || !touches(*partition, which, id)) continue;
      PartitionChange builder(context, *topic, static_cast<int32_t>(i), may_lead);
      builder.isr(without(partition->isr, {change.leaves, change.unclean}));
      if (change.unclean != kNoBroker) builder.unclean_shutdown(change.unclean);
      if (unclean_election_allowed(context, topic->name)) builder.election(Election::kUnclean);
      if (auto record = builder.build()) context.records.push_back(std::move(*record));
    }
  });
}

bool leads_anything(const metadata::Image& image, BrokerId id) {
  bool leads = false;
  image.for_each_topic([&](const metadata::TopicPtr& topic) {
    for (const auto& partition : topic->partitions)
      if (partition && partition->leader == id) leads = true;
  });
  return leads;
}

void add_change(Context& context, const Broker& broker, wire::BrokerRegistrationChangeRecord record,
                int16_t version) {
  record.broker_id = broker.id.value;
  record.broker_epoch = broker.epoch.value;
  context.add(record, version);
}

void fence(Context& context, const Broker& broker) {
  change_partitions(context, Touched::kInIsr, broker.id, {.leaves = broker.id});
  wire::BrokerRegistrationChangeRecord record;
  record.fenced = 1;
  add_change(context, broker, record, 0);
}

void unfence(Context& context, const Broker& broker) {
  wire::BrokerRegistrationChangeRecord record;
  record.fenced = -1;
  add_change(context, broker, record, 0);
  change_partitions(context, Touched::kLeaderless, broker.id, {.joins = broker.id});
}

void enter_shutdown(Context& context, const Broker& broker) {
  if (!broker.in_controlled_shutdown) {
    wire::BrokerRegistrationChangeRecord record;
    record.in_controlled_shutdown = 1;
    add_change(context, broker, record, 1);
  }
  change_partitions(context, Touched::kInIsr, broker.id, {.leaves = broker.id});
}

std::string session_key(BrokerId id) { return fmt::format("{}{}", kSession, id.value); }

// The broker of this very process lives as long as we do and has no session: when both were held up
// (a slow disk, a suspended machine), the timer would fire before the next heartbeat is read.
void arm_session(Context& context, BrokerId id) {
  if (id == context.settings.node) return;
  context.timers.push_back(
      {session_key(id), context.settings.config->millis(BrokerKey::kBrokerSessionTimeoutMs)});
}

// ---- registration

ErrorCode check_directories(const Context& context,
                            const wire::BrokerRegistrationRequest& request) {
  if (!context.version().directories()) return ErrorCode::kNone;
  if (request.log_dirs.empty()) return ErrorCode::kInvalidRegistration;
  std::set<Uuid> seen;
  for (const Uuid& directory : request.log_dirs) {
    const bool reserved = directory.high == 0 && directory.low < kReservedDirectories;
    if (reserved || !seen.insert(directory).second) return ErrorCode::kInvalidRegistration;
  }
  for (const auto& [id, broker] : context.image.brokers) {
    if (id.value == request.broker_id) continue;
    for (const Uuid& directory : broker->log_dirs)
      if (seen.contains(directory)) return ErrorCode::kInvalidRegistration;
  }
  return ErrorCode::kNone;
}

// A feature that the broker does not name counts as 0 to 0.
ErrorCode check_features(const Context& context, const wire::BrokerRegistrationRequest& request) {
  const auto& features = request.features;
  const auto find = [&](std::string_view name) {
    return std::find_if(features.begin(), features.end(),
                        [&](const auto& f) { return f.name == name; });
  };
  if (find(metadata::kMetadataVersion) == features.end()) return ErrorCode::kUnsupportedVersion;
  for (const auto& [name, level] : context.image.features) {
    const auto* at = find(name);
    const int16_t min = at == features.end() ? int16_t{0} : at->min_supported_version;
    const int16_t max = at == features.end() ? int16_t{0} : at->max_supported_version;
    if (level < min || level > max) return ErrorCode::kUnsupportedVersion;
  }
  return ErrorCode::kNone;
}

ErrorCode check_registration(const Context& context, const wire::BrokerRegistrationRequest& request,
                             const Broker* existing) {
  if (request.cluster_id != context.settings.cluster_id) return ErrorCode::kInconsistentClusterId;
  const BrokerId id(request.broker_id);
  // An unfenced broker has a session: a timer fences it when that ends. The broker of this very
  // process is the exception: it cannot be alive elsewhere while we hold its directories.
  if (existing != nullptr && !existing->fenced && existing->incarnation != request.incarnation_id &&
      id != context.settings.node)
    return ErrorCode::kDuplicateBrokerRegistration;
  if (request.is_migrating_zk_broker) return ErrorCode::kBrokerIdNotRegistered;
  if (ErrorCode e = check_directories(context, request); e != ErrorCode::kNone) return e;
  return check_features(context, request);
}

// What the former incarnation leaves behind.
void clean_up_former(Context& context, const Broker& existing, int64_t previous_epoch) {
  const bool clean = previous_epoch == existing.epoch.value;
  if (clean || !context.version().elr_fields() || !context.image.elr_enabled()) {
    change_partitions(context, Touched::kInIsr, existing.id, {.leaves = existing.id});
    return;
  }
  // What was not synced is gone: not eligible either.
  change_partitions(context, Touched::kInIsr, existing.id, {.unclean = existing.id});
  change_partitions(context, Touched::kInElr, existing.id, {.unclean = existing.id});
}

// ---- heartbeats

enum class BrokerState { kFenced, kUnfenced, kControlledShutdown, kShutdownNow };

BrokerState next_state(const Context& context, const Broker& broker,
                       const wire::BrokerHeartbeatRequest& request, bool caught_up) {
  if (broker.in_controlled_shutdown && !broker.fenced) {
    return leads_anything(context.image, broker.id) ? BrokerState::kControlledShutdown
                                                    : BrokerState::kShutdownNow;
  }
  if (broker.fenced) {
    if (request.want_shut_down) return BrokerState::kShutdownNow;
    return !request.want_fence && caught_up ? BrokerState::kUnfenced : BrokerState::kFenced;
  }
  if (request.want_fence)
    return request.want_shut_down ? BrokerState::kShutdownNow : BrokerState::kFenced;
  if (!request.want_shut_down) return BrokerState::kUnfenced;
  return leads_anything(context.image, broker.id) ? BrokerState::kControlledShutdown
                                                  : BrokerState::kShutdownNow;
}

void cordon(Context& context, const Broker& broker, const wire::BrokerHeartbeatRequest& request) {
  if (!request.cordoned_log_dirs || !context.version().cordoned_dirs()) return;
  const Array<Uuid>& list = *request.cordoned_log_dirs;
  const std::vector<Uuid> wanted(list.begin(), list.end());
  if (broker.cordoned_log_dirs == wanted) return;
  wire::BrokerRegistrationChangeRecord record;
  record.cordoned_log_dirs = list;
  add_change(context, broker, record, 3);
}

}  // namespace

wire::BrokerRegistrationResponse register_broker(Context& context,
                                                 const wire::BrokerRegistrationRequest& request,
                                                 int16_t) {
  wire::BrokerRegistrationResponse response;
  const BrokerId id(request.broker_id);
  const Broker* existing = context.image.broker(id);
  const ErrorCode error = check_registration(context, request, existing);
  response.error_code = wire_value(error);
  if (error != ErrorCode::kNone) return response;

  wire::RegisterBrokerRecord record;
  record.broker_id = request.broker_id;
  record.incarnation_id = request.incarnation_id;
  record.rack = request.rack;
  for (const auto& l : request.listeners)
    record.end_points.add(context.arena) = {l.name, l.host, l.port, l.security_protocol};
  for (const auto& f : request.features)
    record.features.add(context.arena) = {f.name, f.min_supported_version, f.max_supported_version};
  if (context.version().directories()) record.log_dirs = request.log_dirs;

  if (existing != nullptr && existing->incarnation == request.incarnation_id) {
    record.broker_epoch = existing->epoch.value;
    record.fenced = existing->fenced;
    record.in_controlled_shutdown = existing->in_controlled_shutdown;
  } else {
    record.broker_epoch = context.now.next.value;
    if (existing != nullptr) clean_up_former(context, *existing, request.previous_broker_epoch);
    context.timers.push_back({session_key(id), std::nullopt});
  }
  context.add(record, context.version().register_broker_record());
  response.broker_epoch = record.broker_epoch;
  return response;
}

wire::BrokerHeartbeatResponse heartbeat(Context& context,
                                        const wire::BrokerHeartbeatRequest& request, int16_t) {
  wire::BrokerHeartbeatResponse response;
  const BrokerId id(request.broker_id);
  response.error_code =
      wire_value(check_broker_epoch(context.image, id, BrokerEpoch(request.broker_epoch)));
  if (response.error_code != 0) return response;
  const Broker& broker = *context.image.broker(id);
  const auto at = context.registered_at.find(id);
  // Without its record at hand (it lies in a snapshot) the epoch is as good.
  const int64_t registered =
      at == context.registered_at.end() ? broker.epoch.value : at->second.value;
  response.is_caught_up = request.current_metadata_offset >= registered;

  const BrokerState next = next_state(context, broker, request, response.is_caught_up);
  switch (next) {
    case BrokerState::kFenced:
    case BrokerState::kShutdownNow:
      if (!broker.fenced) fence(context, broker);
      break;
    case BrokerState::kUnfenced:
      if (broker.fenced) unfence(context, broker);
      break;
    case BrokerState::kControlledShutdown:
      // Once: later heartbeats only ask whether leaderships are left.
      if (!broker.in_controlled_shutdown) enter_shutdown(context, broker);
      break;
  }
  response.is_fenced = next == BrokerState::kFenced || next == BrokerState::kShutdownNow;
  response.should_shut_down = next == BrokerState::kShutdownNow;
  if (context.version().directories())
    directories_failed(context, broker, request.offline_log_dirs);
  cordon(context, broker, request);
  if (response.is_fenced) {
    context.timers.push_back({session_key(id), std::nullopt});
  } else {
    arm_session(context, id);
  }
  return response;
}

wire::UnregisterBrokerResponse unregister_broker(Context& context,
                                                 const wire::UnregisterBrokerRequest& request,
                                                 int16_t) {
  wire::UnregisterBrokerResponse response;
  response.error_message = std::nullopt;
  const BrokerId id(request.broker_id);
  const Broker* broker = context.image.broker(id);
  if (broker == nullptr) {
    response.error_code = wire_value(ErrorCode::kBrokerIdNotRegistered);
    response.error_message =
        context.keep(fmt::format("Broker ID {} is not currently registered", request.broker_id));
    return response;
  }
  change_partitions(context, Touched::kInIsr, id, {.leaves = id});
  change_partitions(context, Touched::kInElr, id, {.unclean = id});
  wire::UnregisterBrokerRecord record;
  record.broker_id = request.broker_id;
  record.broker_epoch = broker->epoch.value;
  context.add(record, 0);
  context.timers.push_back({session_key(id), std::nullopt});
  return response;
}

wire::ControllerRegistrationResponse register_controller(
    Context& context, const wire::ControllerRegistrationRequest& request, int16_t) {
  wire::ControllerRegistrationResponse response;
  response.error_message = std::nullopt;
  if (!context.version().controller_registration()) {
    response.error_code = wire_value(ErrorCode::kUnsupportedVersion);
    response.error_message =
        "The current MetadataVersion is too old to support controller registrations.";
    return response;
  }
  wire::RegisterControllerRecord record;
  record.controller_id = request.controller_id;
  record.incarnation_id = request.incarnation_id;
  record.zk_migration_ready = request.zk_migration_ready;
  for (const auto& l : request.listeners)
    record.end_points.add(context.arena) = {l.name, l.host, l.port, l.security_protocol};
  for (const auto& f : request.features)
    record.features.add(context.arena) = {f.name, f.min_supported_version, f.max_supported_version};
  context.add(record, 0);
  return response;
}

void arm_sessions(Context& context) {
  for (const auto& [id, broker] : context.image.brokers)
    if (!broker->fenced) arm_session(context, id);
}

void on_session_timer(Context& context, std::string_view key) {
  key.remove_prefix(kSession.size());
  int32_t id = 0;
  std::from_chars(key.data(), key.data() + key.size(), id);
  const Broker* broker = context.image.broker(BrokerId(id));
  if (broker != nullptr && !broker->fenced) fence(context, *broker);
}

}  // namespace odradek::machines::control
