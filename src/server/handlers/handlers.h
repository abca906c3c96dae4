// Every handler, by API. The table in dispatch.cc names them; each lives in the file of its name.
#pragma once

#include "io/task.h"
#include "server/request.h"

namespace odradek::server {

io::Task<void> handle_add_offsets_to_txn(Request& request);
io::Task<void> handle_add_partitions_to_txn(Request& request);
io::Task<void> handle_alter_configs(Request& request);
io::Task<void> handle_alter_partition_reassignments(Request& request);
io::Task<void> handle_alter_replica_log_dirs(Request& request);
io::Task<void> handle_api_versions(Request& request);
io::Task<void> handle_assign_replicas_to_dirs(Request& request);
io::Task<void> handle_consumer_group_describe(Request& request);
io::Task<void> handle_consumer_group_heartbeat(Request& request);
io::Task<void> handle_create_partitions(Request& request);
io::Task<void> handle_create_topics(Request& request);
io::Task<void> handle_delete_groups(Request& request);
io::Task<void> handle_delete_records(Request& request);
io::Task<void> handle_delete_topics(Request& request);
io::Task<void> handle_describe_cluster(Request& request);
io::Task<void> handle_describe_configs(Request& request);
io::Task<void> handle_describe_groups(Request& request);
io::Task<void> handle_describe_log_dirs(Request& request);
io::Task<void> handle_describe_producers(Request& request);
io::Task<void> handle_describe_quorum(Request& request);
io::Task<void> handle_describe_topic_partitions(Request& request);
io::Task<void> handle_describe_transactions(Request& request);
io::Task<void> handle_elect_leaders(Request& request);
io::Task<void> handle_end_txn(Request& request);
io::Task<void> handle_fetch(Request& request);
io::Task<void> handle_find_coordinator(Request& request);
io::Task<void> handle_heartbeat(Request& request);
io::Task<void> handle_incremental_alter_configs(Request& request);
io::Task<void> handle_init_producer_id(Request& request);
io::Task<void> handle_join_group(Request& request);
io::Task<void> handle_leave_group(Request& request);
io::Task<void> handle_list_config_resources(Request& request);
io::Task<void> handle_list_groups(Request& request);
io::Task<void> handle_list_offsets(Request& request);
io::Task<void> handle_list_partition_reassignments(Request& request);
io::Task<void> handle_list_transactions(Request& request);
io::Task<void> handle_metadata(Request& request);
io::Task<void> handle_offset_commit(Request& request);
io::Task<void> handle_offset_delete(Request& request);
io::Task<void> handle_offset_fetch(Request& request);
io::Task<void> handle_offset_for_leader_epoch(Request& request);
io::Task<void> handle_produce(Request& request);
io::Task<void> handle_sync_group(Request& request);
io::Task<void> handle_txn_offset_commit(Request& request);
io::Task<void> handle_update_features(Request& request);
io::Task<void> handle_write_txn_markers(Request& request);

/// Produce versions that are advertised and not served.
io::Task<void> handle_unsupported_produce(Request& request);

}  // namespace odradek::server
