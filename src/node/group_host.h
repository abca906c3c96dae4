// GroupHost: the group coordinators of one loop: one for each partition of `__consumer_offsets`
// that the loop owns and this node leads.
//
// A resource of its loop. It follows the shard's partitions by itself (replica::PartitionWatcher).
#pragma once

#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/logger.h"
#include "machines/group/group_machine.h"
#include "metadata/broker_config.h"
#include "metadata/delta.h"
#include "node/coordinator.h"
#include "replica/shard.h"
#include "server/group_access.h"

namespace odradek::node {

struct GroupSurvey;

/// How far a survey of a loop's groups has come.
struct SurveyCursor {
  int32_t partition = 0;
  std::string group{};  // the last one seen; empty: none
};

class GroupHost final : public server::GroupCoordinators, private replica::PartitionWatcher {
 public:
  /// Before the shard's first `apply`.
  GroupHost(replica::Shard& shard, metadata::BrokerConfigPtr config, Logger logger);
  ~GroupHost() override;

  void submit(int32_t partition, machines::group::Command command, Done done) override;
  /// Adds about `at_a_time` offsets of the next groups to a survey, or counts what is beyond
  /// `limit`; false when all groups have been seen (group_survey.cc).
  bool survey(SurveyCursor& cursor, GroupSurvey& survey, size_t limit, size_t at_a_time) const;
  /// A new image: coordinators learn of topics, racks and settings of groups. Offsets of topics
  /// that are gone go too.
  void follow(const metadata::Publication& publication, metadata::BrokerConfigPtr config);

 private:
  struct Hosted {
    replica::Partition* partition = nullptr;
    std::unique_ptr<Coordinator<machines::GroupMachine>> coordinator;
    /// Members that wait for the others, by token.
    std::unordered_map<machines::group::Token, Done> waiting;
    /// Topics that went while it was loading.
    machines::group::TopicsDeleted deleted;
    /// What it has yet to learn.
    machines::group::MetadataChanged changed;
  };

  void changed(replica::Partition& partition) override;
  void committed(replica::Partition& partition) override;
  void gone(replica::Partition& partition) override;
  void begin(replica::Partition& partition);
  void remove_deleted(const metadata::Delta& delta);
  void remove_deleted(int32_t partition);
  void tell_metadata(int32_t partition);
  machines::group::Settings settings(const replica::Partition& partition) const;
  /// Why the partition's log would refuse what the command appends for a transaction.
  static wire::ErrorCode check(const Hosted& hosted, const machines::group::Command& command);
  static void fail_waiting(Hosted& hosted);
  static void answer(Hosted& hosted, machines::group::Message message);

  replica::Shard& shard_;
  metadata::BrokerConfigPtr config_;
  metadata::ImagePtr image_;  // null before the first
  Logger logger_;
  std::map<int32_t, std::unique_ptr<Hosted>> hosted_;
  machines::group::Token last_token_ = 0;
};

}  // namespace odradek::node
