// What the group coordinator knows: groups with their members, and committed offsets. Plain values;
// only State::replay changes them.
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
#include "machines/group/consumer_group.h"
#include "machines/group/record.h"

namespace odradek::machines::group {

// ---- offsets

/// A committed offset.
struct Committed {
  int64_t offset = 0;
  int32_t leader_epoch = -1;
  WallMs committed_at{0};
  WallMs expires_at = kNoTimestamp;  // −1: the broker's retention counts
  Uuid topic_id;                     // zero: not known
  Offset record{0};                  // where it lies in the log
  std::string metadata;
  bool operator==(const Committed&) const = default;
};
using PartitionOffsets = std::map<int32_t, Committed>;
using TopicOffsets = std::map<std::string, PartitionOffsets, std::less<>>;

// ---- classic groups

/// A member of a classic group. The last four are soft.
struct Member {
  std::string id;
  std::optional<std::string> instance{};
  std::string client_id{};
  std::string client_host{};
  int32_t rebalance_timeout_ms = 0;
  int32_t session_timeout_ms = 0;
  std::vector<Protocol> protocols{};
  std::string assignment{};
  bool is_new = false;        // has not been through a join yet
  bool sync_pending = false;  // has yet to ask for its assignment
  Token joining = 0;          // waits for the answer to its join
  Token syncing = 0;          // waits for its assignment
  bool operator==(const Member&) const = default;

  bool is_static() const { return instance.has_value(); }
  /// Null when it does not support that protocol.
  const Protocol* protocol(std::string_view name) const;
};
using MemberPtr = std::shared_ptr<const Member>;

enum class ClassicState {
  kEmpty,                // no members; maybe offsets
  kPreparingRebalance,   // members join
  kCompletingRebalance,  // the leader assigns
  kStable,
};
/// As it travels: "PreparingRebalance".
std::string_view name(ClassicState state);

/// A group of the classic protocol. Members are shared between versions of the group, so that a
/// change of one does not copy the others.
struct ClassicGroup {
  ClassicState state = ClassicState::kEmpty;
  ClassicState previous = ClassicState::kEmpty;
  WallMs since = kNoTimestamp;  // when it came into its state
  int32_t generation = 0;
  std::optional<std::string> protocol_type{};
  std::optional<std::string> protocol{};
  std::optional<std::string> leader{};
  std::map<std::string, MemberPtr, std::less<>> members{};
  std::map<std::string, std::string, std::less<>> statics{};  // instance → member
  /// Topics that the members are subscribed to; none: cannot be told.
  std::optional<std::set<std::string, std::less<>>> subscribed{};
  // soft
  std::set<std::string, std::less<>> pending{};  // ids handed out, yet to join
  bool member_added = false;                     // during the initial delay
  int32_t delay_ms = 0;                          // of the initial rebalance, now
  int32_t delay_left_ms = 0;                     // what it may still be extended by

  const Member* member(std::string_view id) const;
  bool uses_consumer_protocol() const { return protocol_type == "consumer"; }
  bool subscribed_to(std::string_view topic) const {
    return subscribed ? subscribed->contains(topic) : uses_consumer_protocol();
  }
  /// From the protocol metadata of the members.
  std::optional<std::set<std::string, std::less<>>> subscribed_topics() const;
  /// For tests: state, generation, members.
  std::string to_line() const;
};

// ---- all

/// A group. It is of one kind: of the consumer protocol if `consumer` is there, else classic.
struct Group {
  std::shared_ptr<const ClassicGroup> classic;  // never null; without members in the other kind
  std::unique_ptr<ConsumerGroup> consumer{};    // only replay changes it
  TopicOffsets offsets{};
  /// Producers with offsets that wait for the end of their transaction.
  std::map<ProducerId, TopicOffsets> transactional{};

  bool is_empty() const {
    return consumer ? consumer->members().empty() : classic->state == ClassicState::kEmpty;
  }
  bool subscribed_to(std::string_view topic) const {
    return consumer ? consumer->subscribed_to(topic) : classic->subscribed_to(topic);
  }
  const Committed* offset(std::string_view topic, int32_t partition) const;
  bool has_pending(std::string_view topic, int32_t partition) const;
};

class State {
 public:
  using Groups = std::map<std::string, Group, std::less<>>;

  explicit State(metadata::ImagePtr image = nullptr);

  const Groups& groups() const { return groups_; }
  /// Null when there is none.
  const Group* find(std::string_view id) const;
  /// Null when it is not of the consumer protocol.
  const ConsumerGroup* find_consumer(std::string_view id) const;

  /// The cluster as the decisions see it; never null.
  const metadata::ImagePtr& image() const { return image_; }
  /// Counts the changes of it.
  uint64_t metadata_version() const { return metadata_version_; }
  /// Offset of the metadata log up to which topics may have been added.
  int64_t topics_added_at() const { return topics_added_at_; }

  void replay(Offset offset, const Record& record);
  /// Records that could not be read, since the start, and what the last one was.
  uint64_t unreadable() const { return unreadable_; }
  const std::string& problem() const { return problem_; }

 private:
  void replay_stored(Offset offset, const Stored& stored);
  void replay_marker(const Marker& marker);
  void replay_metadata(const SoftMetadata& change);
  Group& make(std::string_view id);
  Result<void> apply(Offset offset, const Stored& stored);
  Result<void> apply_offset(Offset at, const Stored& stored, wire::Reader& key);
  Result<void> apply_group(const Stored& stored, wire::Reader& key);
  Result<void> apply_consumer(int16_t type, const Stored& stored, wire::Reader& key);
  void remove_offset(std::string_view group, std::string_view topic, int32_t partition);

  Groups groups_;
  metadata::ImagePtr image_;
  uint64_t metadata_version_ = 1;
  int64_t topics_added_at_ = 0;
  std::map<ProducerId, std::set<std::string>> open_;  // groups with offsets of open transactions
  uint64_t unreadable_ = 0;
  std::string problem_;
};

}  // namespace odradek::machines::group
