// Every metadata record type, for code that must treat each: `with_record_type(type, f)` calls
// `f.template operator()<T>()`.
#pragma once

#include <cstdint>
#include <utility>

#include "wire/gen/abort_transaction_record.h"
#include "wire/gen/access_control_entry_record.h"
#include "wire/gen/begin_transaction_record.h"
#include "wire/gen/broker_registration_change_record.h"
#include "wire/gen/clear_elr_record.h"
#include "wire/gen/client_quota_record.h"
#include "wire/gen/config_record.h"
#include "wire/gen/delegation_token_record.h"
#include "wire/gen/end_transaction_record.h"
#include "wire/gen/feature_level_record.h"
#include "wire/gen/fence_broker_record.h"
#include "wire/gen/no_op_record.h"
#include "wire/gen/partition_change_record.h"
#include "wire/gen/partition_record.h"
#include "wire/gen/producer_ids_record.h"
#include "wire/gen/register_broker_record.h"
#include "wire/gen/register_controller_record.h"
#include "wire/gen/remove_access_control_entry_record.h"
#include "wire/gen/remove_delegation_token_record.h"
#include "wire/gen/remove_topic_record.h"
#include "wire/gen/remove_user_scram_credential_record.h"
#include "wire/gen/topic_record.h"
#include "wire/gen/unfence_broker_record.h"
#include "wire/gen/unregister_broker_record.h"
#include "wire/gen/user_scram_credential_record.h"
#include "wire/gen/zk_migration_state_record.h"

namespace odradek::metadata {

namespace detail {
template <class F, class... T>
bool call_for_type(int16_t type, F& f) {
  return ((type == T::kRecordType ? (f.template operator()<T>(), true) : false) || ...);
}
}  // namespace detail

/// False, and nothing called, for a type that does not exist.
template <class F>
bool with_record_type(int16_t type, F&& f) {
  using namespace wire;
  return detail::call_for_type<
      F, RegisterBrokerRecord, UnregisterBrokerRecord, TopicRecord, PartitionRecord, ConfigRecord,
      PartitionChangeRecord, FenceBrokerRecord, UnfenceBrokerRecord, RemoveTopicRecord,
      DelegationTokenRecord, UserScramCredentialRecord, FeatureLevelRecord, ClientQuotaRecord,
      ProducerIdsRecord, BrokerRegistrationChangeRecord, AccessControlEntryRecord,
      RemoveAccessControlEntryRecord, NoOpRecord, ZkMigrationStateRecord,
      RemoveUserScramCredentialRecord, BeginTransactionRecord, EndTransactionRecord,
      AbortTransactionRecord, RemoveDelegationTokenRecord, RegisterControllerRecord,
      ClearElrRecord>(type, f);
}

}  // namespace odradek::metadata
