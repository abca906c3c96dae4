// GroupClient: groups as a client sees them, over the wire: the same of Odradek and Apache Kafka.
//
// Holds a connection to each broker that it had to ask: the coordinator, the partitions' leaders.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "app/admin_client.h"
#include "base/result.h"

namespace odradek::app {

using Place = std::pair<std::string, int32_t>;  // topic, partition
using Offsets = std::map<Place, int64_t>;

inline constexpr int64_t kLatest = -1;
inline constexpr int64_t kEarliest = -2;
inline constexpr int8_t kReadUncommitted = 0;
inline constexpr int8_t kReadCommitted = 1;

struct GroupMember {
  std::string id;
  std::optional<std::string> instance{};
  std::string client{};
  std::string host{};
  std::vector<Place> assigned{};
  std::vector<std::string> topics{};  // subscribed to, where it is known

  const std::string& name() const { return instance ? *instance : id; }
};

struct GroupView {
  int16_t error = 0;  // what the coordinator said instead
  std::string id{};
  std::string type{};           // "classic", "consumer"
  std::string state{};          // "Dead": there is none
  std::string protocol_type{};  // "consumer", "connect", …
  std::string protocol{};
  std::vector<GroupMember> members{};

  bool exists() const { return state != "Dead" && error == 0; }
};

/// A partition of a group.
struct GroupPartition {
  int64_t committed = -1;
  int64_t end = -1;
  int64_t waiting_since = -1;  // time of the oldest record that is not committed past; −1: none
  std::string member{};
  /// −1: not known.
  int64_t lag() const;
};
using GroupPartitions = std::map<Place, GroupPartition>;

/// Over all partitions.
struct GroupLag {
  int64_t records = 0;
  int64_t behind_ms = -1;  // age of the oldest record; −1: not known
  size_t unknown = 0;      // partitions without an offset
};
GroupLag lag_of(const GroupPartitions& partitions);

class GroupClient {
 public:
  static Result<GroupClient> connect(const std::string& bootstrap);

  /// The broker that coordinates the group.
  Result<AdminClient*> coordinator(const std::string& group);
  /// Its id and address, as of the last `coordinator`.
  const std::string& coordinator_name() const { return coordinator_name_; }
  int32_t coordinator_id() const { return coordinator_id_; }
  Result<AdminClient*> broker(int32_t id);
  /// The broker that leads a partition.
  Result<AdminClient*> leader(const Place& place);
  /// host:port; empty if there is no such broker.
  std::string address(int32_t id) const;
  std::vector<int32_t> broker_ids() const;
  /// The broker that was asked first, and any.
  AdminClient& any() { return clients_.at(first_); }

  /// Brokers, and what is known of topics: each with its partitions; none: there is no such topic.
  Result<std::map<std::string, std::vector<int32_t>>> topics(const std::set<std::string>& names);

  Result<GroupView> describe(const std::string& group);
  Result<Offsets> committed(const std::string& group);
  /// Partitions of which a commit is part of a transaction that is still open.
  Result<std::set<Place>> unstable(const std::string& group);
  /// Offsets of a timestamp or of a kEarliest, kLatest; −1 where there is none. Partitions that do
  /// not answer are left out.
  Result<Offsets> list_offsets(const Offsets& places, int64_t timestamp,
                               int8_t isolation = kReadUncommitted);
  /// The time of the record at each offset, to within its batch; left out where there is none. Asks
  /// for a batch each: at most `kTimesMost` of them.
  Result<Offsets> times(const Offsets& places);
  static constexpr size_t kTimesMost = 1'000;

  /// Every partition that has a committed offset or a member.
  Result<GroupPartitions> partitions(const GroupView& group);

 private:
  Result<AdminClient*> at(const std::string& address);
  /// The places by the broker that leads them.
  Result<std::map<int32_t, Offsets>> by_leader(const Offsets& places);

  std::string first_;
  std::string coordinator_name_;
  int32_t coordinator_id_ = -1;
  std::map<std::string, AdminClient> clients_;  // by address
  std::map<int32_t, std::string> brokers_;
  std::map<Place, int32_t> leaders_;
};

}  // namespace odradek::app
