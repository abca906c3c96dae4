// The decisions of the controller, by API. Each reads the context, adds records and timers to it,
// and returns the answer; strings of the answer live in the request, the image or the arena.
#pragma once

#include <cstdint>
#include <string_view>

#include "machines/controller/context.h"
#include "wire/gen/allocate_producer_ids.h"
#include "wire/gen/alter_configs.h"
#include "wire/gen/alter_partition.h"
#include "wire/gen/alter_partition_reassignments.h"
#include "wire/gen/assign_replicas_to_dirs.h"
#include "wire/gen/broker_heartbeat.h"
#include "wire/gen/broker_registration.h"
#include "wire/gen/controller_registration.h"
#include "wire/gen/create_partitions.h"
#include "wire/gen/create_topics.h"
#include "wire/gen/delete_topics.h"
#include "wire/gen/elect_leaders.h"
#include "wire/gen/incremental_alter_configs.h"
#include "wire/gen/list_partition_reassignments.h"
#include "wire/gen/unregister_broker.h"
#include "wire/gen/update_features.h"

namespace odradek::machines::control {

// topics.cc
wire::CreateTopicsResponse create_topics(Context& context, const wire::CreateTopicsRequest& request,
                                         int16_t version);
wire::DeleteTopicsResponse delete_topics(Context& context, const wire::DeleteTopicsRequest& request,
                                         int16_t version);

// partitions.cc
wire::CreatePartitionsResponse create_partitions(Context& context,
                                                 const wire::CreatePartitionsRequest& request,
                                                 int16_t version);
wire::AlterPartitionResponse alter_partition(Context& context,
                                             const wire::AlterPartitionRequest& request,
                                             int16_t version);

// reassignments.cc
wire::AlterPartitionReassignmentsResponse alter_reassignments(
    Context& context, const wire::AlterPartitionReassignmentsRequest& request, int16_t version);
wire::ListPartitionReassignmentsResponse list_reassignments(
    Context& context, const wire::ListPartitionReassignmentsRequest& request, int16_t version);

// elections.cc
wire::ElectLeadersResponse elect_leaders(Context& context, const wire::ElectLeadersRequest& request,
                                         int16_t version);
/// Arms the periodic elections.
void arm_elections(Context& context);
/// Preferred leaders back to their partitions, or leaders for those that may have unclean ones.
void on_election_timer(Context& context, std::string_view key);
inline constexpr std::string_view kPreferredElection = "preferred-election";
inline constexpr std::string_view kUncleanElection = "unclean-election";

// brokers.cc
wire::BrokerRegistrationResponse register_broker(Context& context,
                                                 const wire::BrokerRegistrationRequest& request,
                                                 int16_t version);
wire::BrokerHeartbeatResponse heartbeat(Context& context,
                                        const wire::BrokerHeartbeatRequest& request,
                                        int16_t version);
wire::UnregisterBrokerResponse unregister_broker(Context& context,
                                                 const wire::UnregisterBrokerRequest& request,
                                                 int16_t version);
wire::ControllerRegistrationResponse register_controller(
    Context& context, const wire::ControllerRegistrationRequest& request, int16_t version);
/// Gives every unfenced broker but our own a whole new session.
void arm_sessions(Context& context);
/// The session of a broker has run out.
void on_session_timer(Context& context, std::string_view key);
inline constexpr std::string_view kSession = "session/";  // and the broker's id

// directories.cc
wire::AssignReplicasToDirsResponse assign_replicas_to_dirs(
    Context& context, const wire::AssignReplicasToDirsRequest& request, int16_t version);
/// Partitions in directories that a broker tells to have failed lose that replica.
void directories_failed(Context& context, const metadata::Broker& broker,
                        const Array<Uuid>& offline);

// configs.cc
wire::AlterConfigsResponse alter_configs(Context& context, const wire::AlterConfigsRequest& request,
                                         int16_t version);
wire::IncrementalAlterConfigsResponse incremental_alter_configs(
    Context& context, const wire::IncrementalAlterConfigsRequest& request, int16_t version);

// features.cc
wire::UpdateFeaturesResponse update_features(Context& context,
                                             const wire::UpdateFeaturesRequest& request,
                                             int16_t version);
/// The first records of a log.
void bootstrap(Context& context);

// producer_ids.cc
wire::AllocateProducerIdsResponse allocate_producer_ids(
    Context& context, const wire::AllocateProducerIdsRequest& request, int16_t version);

}  // namespace odradek::machines::control
