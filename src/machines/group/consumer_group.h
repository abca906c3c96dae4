// ConsumerGroup: a group of the consumer protocol (KIP-848). The coordinator assigns; members are
// reconciled with their target one by one. All of it is stored: a record for each part
// (consumer_records.h), so a restart loses nothing but sessions.
//
// A plain value. State::replay changes the one that counts, ConsumerEdit its own copy.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/uuid.h"
#include "machines/group/api.h"
#include "machines/group/assignor/assignor.h"

namespace odradek::machines::group {

using TopicNames = std::set<std::string, std::less<>>;
/// What a member has, each partition with the member's epoch at which it got it: who commits with
/// an older epoch than that may speak for the one who had it before.
using OwnedPartitions = std::map<Uuid, std::map<int32_t, int32_t>>;

/// Where a member is on its way to its target.
enum class MemberState : int8_t {
  kStable = 0,      // it has what its epoch says
  kUnrevoked = 1,   // it has to give up partitions first
  kUnreleased = 2,  // it waits for partitions that others have yet to give up
  kUnknown = 127,   // written by a later version
};

/// What makes a member one of the classic protocol, in a group of the new one.
struct ClassicPart {
  int32_t session_timeout_ms = 0;
  std::vector<Protocol> protocols{};
  bool operator==(const ClassicPart&) const = default;
};

inline constexpr int32_t kLeaveEpoch = -1;
/// A static member has gone and will be back.
inline constexpr int32_t kStaticLeaveEpoch = -2;

struct ConsumerMember {
  std::string id;
  std::optional<std::string> instance{};
  std::optional<std::string> rack{};
  std::string client_id{};
  std::string client_host{};
  TopicNames topics{};  // that it names
  std::optional<std::string> regex = "";
  int32_t rebalance_timeout_ms = -1;
  std::optional<std::string> assignor{};
  std::optional<ClassicPart> classic{};

  int32_t epoch = 0;
  int32_t previous_epoch = -1;
  MemberState state = MemberState::kStable;
  OwnedPartitions assigned{};
  OwnedPartitions revoking{};

  bool operator==(const ConsumerMember&) const = default;
  bool has_regex() const { return regex && !regex->empty(); }
  bool reconciled_to(int32_t target_epoch) const {
    return state == MemberState::kStable && epoch == target_epoch;
  }
  /// What it said about itself is the same; its assignment may not be.
  bool says_the_same(const ConsumerMember& other) const;
};
using ConsumerMemberPtr = std::shared_ptr<const ConsumerMember>;
/// In the order of the record: the assignors go by it.
using Target = assignor::Assignment;
using TargetPtr = std::shared_ptr<const Target>;

/// What a regular expression of the group matches.
struct ResolvedRegex {
  TopicNames topics{};
  int64_t version = 0;  // offset of the metadata log
  WallMs at{0};
  bool operator==(const ResolvedRegex&) const = default;
};

class ConsumerGroup {
 public:
  int32_t epoch = 1;  // of a new one, which no record says
  int64_t metadata_hash = 0;
  int32_t assignment_epoch = 1;
  WallMs assigned_at{0};
  /// The record of versions before 4.1 is still there.
  bool old_metadata = false;
  /// Soft: the change of the metadata (State::metadata_version) up to which the hash was compared.
  uint64_t checked = 0;
  std::map<std::string, TargetPtr, std::less<>> targets{};
  std::map<std::string, ResolvedRegex, std::less<>> regexes{};

  bool operator==(const ConsumerGroup& other) const;

  const std::map<std::string, ConsumerMemberPtr, std::less<>>& members() const { return members_; }
  const std::map<std::string, std::string, std::less<>>& statics() const { return statics_; }
  /// Adds or replaces.
  void set_member(ConsumerMemberPtr member);
  void erase_member(std::string_view id);

  /// Null when there is none.
  const ConsumerMember* member(std::string_view id) const;
  const ConsumerMember* static_member(std::string_view instance) const;
  const Target& target(std::string_view member) const;
  /// Whether a member has it, or has yet to give it up.
  bool owned(const Uuid& topic, int32_t partition) const;

  /// As it travels: "Reconciling".
  std::string_view state() const;
  /// All that members name or match.
  TopicNames subscribed() const;
  bool subscribed_to(std::string_view topic) const;
  TopicNames topics_of(const ConsumerMember& member) const;
  /// Expressions with the number of members that have them.
  std::map<std::string_view, size_t> expressions() const;
  /// The assignor that most members name; none names one: nothing. With equal votes it is one that
  /// had none in the group as it was `before`, else uniform, as Apache's tables have it.
  std::optional<std::string> preferred_assignor(const ConsumerGroup& before) const;
  std::optional<std::string> preferred_assignor() const { return preferred_assignor(*this); }
  /// Whether somebody with these protocols may join as a classic member.
  bool supports(std::string_view protocol_type, const std::vector<Protocol>& protocols) const;
  size_t classic_members() const;
  /// Partitions of its target are held by others.
  bool waits_for_others(const ConsumerMember& member) const;
  std::string to_line() const;

 private:
  void count(const ConsumerMember& member, int by);

  std::map<std::string, ConsumerMemberPtr, std::less<>> members_;
  std::map<std::string, std::string, std::less<>> statics_;  // instance → member
  /// Members that have a partition, or have yet to give it up: 1, if not for an odd log.
  std::map<Uuid, std::map<int32_t, int>> owners_;
};

Partitions without_epochs(const OwnedPartitions& owned);
/// Without order.
Partitions contents(const Target& target);

}  // namespace odradek::machines::group
