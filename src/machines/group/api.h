// What the group coordinator is asked and what it answers: decoded, owned values without versions,
// apart from the few that change a decision. Handlers translate (src/server/handlers).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "base/uuid.h"
#include "machines/machine.h"
#include "metadata/image.h"
#include "wire/errors.h"

namespace odradek::machines::group {

using wire::ErrorCode;

struct Settings;

/// Partitions by the id of their topic.
using Partitions = std::map<Uuid, std::set<int32_t>>;

/// Names whoever waits for an answer that another command may give; never 0.
using Token = uint64_t;

// ---- offsets

struct CommitOffsets {
  /// The producer, and what its transaction's verification gave (log::Log).
  struct Transaction {
    ProducerId producer;
    ProducerEpoch epoch;
    uint64_t guard = 0;
    bool verified_only = true;
  };
  struct Partition {
    int32_t index = 0;
    int64_t offset = 0;
    int32_t leader_epoch = -1;
    std::string metadata{};
  };
  struct Topic {
    std::string name;
    Uuid id;  // zero: not known
    std::vector<Partition> partitions{};
  };
  std::string group;
  int32_t generation = -1;  // or member epoch
  std::string member{};
  std::optional<std::string> instance{};
  int64_t retention_ms = -1;
  int16_t version = 0;  // of the request: an unknown group has another error before 9
  std::vector<Topic> topics{};
  std::optional<Transaction> transaction{};  // counts once that is committed
};
struct CommitOffsetsAnswer {
  ErrorCode error{};                 // of all
  std::vector<ErrorCode> results{};  // by partition, in the order of the command; without an error
};

struct FetchOffsets {
  struct Topic {
    std::string name;
    Uuid id;  // zero: not known
    std::vector<int32_t> partitions{};
  };
  std::string group;
  std::optional<std::string> member{};  // of the consumer protocol
  int32_t epoch = -1;
  std::optional<std::vector<Topic>> topics{};  // none: all
  bool require_stable = false;
};
struct FetchOffsetsAnswer {
  struct Partition {
    int32_t index = 0;
    int64_t offset = -1;
    int32_t leader_epoch = -1;
    std::string metadata{};
    ErrorCode error{};
    bool operator==(const Partition&) const = default;
  };
  struct Topic {
    std::string name;
    Uuid id;
    std::vector<Partition> partitions{};
    bool operator==(const Topic&) const = default;
  };
  ErrorCode error{};
  std::vector<Topic> topics{};
};

struct DeleteOffsets {
  struct Topic {
    std::string name;
    std::vector<int32_t> partitions{};
  };
  std::string group;
  std::vector<Topic> topics{};
};
struct DeleteOffsetsAnswer {
  ErrorCode error{};
  std::vector<ErrorCode> results{};  // by partition
};

/// Topics are gone, and their offsets go with them.
struct TopicsDeleted {
  struct Topic {
    std::string name;
    Uuid id;
  };
  std::vector<Topic> topics;
};
struct TopicsDeletedAnswer {
  bool more = false;  // it did not fit in one batch: say it again
};

/// The end of a producer's transaction.
struct EndTransaction {
  ProducerId producer;
  ProducerEpoch epoch;
  bool commit = false;
  int32_t coordinator_epoch = 0;
  int16_t version = 0;  // transaction.version
};
struct EndTransactionAnswer {};

// ---- membership

struct Protocol {
  std::string name;
  std::string metadata{};
  bool operator==(const Protocol&) const = default;
};

struct Join {
  Token token = 0;
  std::string group;
  std::string member{};  // empty: new
  std::optional<std::string> instance{};
  std::string client_id{};
  std::string client_host{};
  int32_t session_timeout_ms = 0;
  int32_t rebalance_timeout_ms = 0;
  std::string protocol_type{};
  std::vector<Protocol> protocols{};
  bool id_required = false;       // a new member has to ask for its id first (version 4)
  bool skips_assignment = false;  // SkipAssignment can be answered (version 9)
};
struct JoinAnswer {
  struct Member {
    std::string id;
    std::optional<std::string> instance{};
    std::string metadata{};
    bool operator==(const Member&) const = default;
  };
  ErrorCode error{};
  int32_t generation = -1;
  std::optional<std::string> protocol_type{};
  std::optional<std::string> protocol{};
  std::string leader{};
  bool skip_assignment = false;
  std::string member{};
  std::vector<Member> members{};  // for the leader
  bool operator==(const JoinAnswer&) const = default;
};

struct Sync {
  struct Assignment {
    std::string member;
    std::string bytes{};
  };
  Token token = 0;
  std::string group;
  int32_t generation = 0;
  std::string member{};
  std::optional<std::string> instance{};
  std::optional<std::string> protocol_type{};
  std::optional<std::string> protocol{};
  std::vector<Assignment> assignments{};
};
struct SyncAnswer {
  ErrorCode error{};
  std::optional<std::string> protocol_type{};
  std::optional<std::string> protocol{};
  std::string assignment{};
  bool operator==(const SyncAnswer&) const = default;
};

struct Heartbeat {
  std::string group;
  int32_t generation = 0;
  std::string member{};
  std::optional<std::string> instance{};
};
struct HeartbeatAnswer {
  ErrorCode error{};
};

struct Leave {
  struct Member {
    std::string id;
    std::optional<std::string> instance{};
  };
  std::string group;
  std::vector<Member> members{};
};
struct LeaveAnswer {
  ErrorCode error{};
  std::vector<ErrorCode> results{};  // by member
};

// ---- the consumer protocol

/// Everything but the first three is said when it is new, or again when an answer was lost.
struct ConsumerHeartbeat {
  std::string group;
  std::string member{};  // empty: the coordinator makes an id
  int32_t epoch = 0;     // 0 joins, −1 leaves, −2 leaves and will be back
  std::optional<std::string> instance{};
  std::optional<std::string> rack{};
  int32_t rebalance_timeout_ms = -1;
  std::optional<std::vector<std::string>> topics{};
  std::optional<std::string> regex{};
  std::optional<std::string> assignor{};
  std::optional<Partitions> owned{};
  std::string client_id{};
  std::string client_host{};
};
struct ConsumerHeartbeatAnswer {
  ErrorCode error{};
  std::string message{};  // with an error
  std::string member{};
  int32_t epoch = 0;
  int32_t interval_ms = 0;
  std::optional<Partitions> assignment{};  // when it is new
};

struct DescribeConsumers {
  std::vector<std::string> groups;
};
struct DescribeConsumersAnswer {
  struct Member {
    std::string id;
    std::optional<std::string> instance{};
    std::optional<std::string> rack{};
    int32_t epoch = 0;
    std::string client_id{};
    std::string client_host{};
    std::vector<std::string> topics{};
    std::optional<std::string> regex{};
    Partitions assigned{};
    Partitions target{};
    bool classic = false;
  };
  struct Group {
    bool found = false;
    std::string problem{};  // when it was not
    std::string state{};
    int32_t epoch = 0;
    int32_t assignment_epoch = 0;
    std::string assignor{};
    std::vector<Member> members{};
  };
  std::vector<Group> groups{};  // in the order of the command
};

/// What the cluster is like now: topics, racks, settings of groups. Null: as before.
struct MetadataChanged {
  metadata::ImagePtr image{};
  std::shared_ptr<const Settings> settings{};
  bool new_topics = true;
};

// ---- administration

struct Describe {
  std::vector<std::string> groups;
};
struct DescribeAnswer {
  struct Member {
    std::string id;
    std::optional<std::string> instance{};
    std::string client_id{};
    std::string client_host{};
    std::string metadata{};
    std::string assignment{};
  };
  struct Group {
    bool found = false;
    bool exists = false;  // not found, but there is one of another kind
    std::string state{};
    std::string protocol_type{};
    std::string protocol{};
    std::vector<Member> members{};
  };
  std::vector<Group> groups{};  // in the order of the command
};

struct List {
  std::vector<std::string> states{};  // empty: all
  std::vector<std::string> types{};
};
struct ListAnswer {
  struct Group {
    std::string id;
    std::string protocol_type{};
    std::string state{};
    std::string type{};
  };
  std::vector<Group> groups{};
};

struct DeleteGroups {
  std::vector<std::string> groups;
};
struct DeleteGroupsAnswer {
  std::vector<ErrorCode> results{};  // by group
};

using Command =
    std::variant<CommitOffsets, FetchOffsets, DeleteOffsets, TopicsDeleted, EndTransaction, Join,
                 Sync, Heartbeat, Leave, ConsumerHeartbeat, DescribeConsumers, MetadataChanged,
                 Describe, List, DeleteGroups, TimerFired>;

/// Nothing to say (timers), or: the answer comes as a message to the command's token.
struct NoAnswer {};
using Response =
    std::variant<NoAnswer, CommitOffsetsAnswer, FetchOffsetsAnswer, DeleteOffsetsAnswer,
                 TopicsDeletedAnswer, EndTransactionAnswer, JoinAnswer, SyncAnswer, HeartbeatAnswer,
                 LeaveAnswer, ConsumerHeartbeatAnswer, DescribeConsumersAnswer, DescribeAnswer,
                 ListAnswer, DeleteGroupsAnswer>;

/// An answer to somebody who waits.
struct Message {
  Token token = 0;
  std::variant<JoinAnswer, SyncAnswer> answer;
  bool operator==(const Message&) const = default;
};

}  // namespace odradek::machines::group
