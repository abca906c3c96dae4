// ConsumerEdit: a copy of a consumer group that a decision changes, record by record; what was
// written so far is what the next step sees. `finish` hands records and timers to the draft;
// without it nothing has happened.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "machines/group/draft.h"

namespace odradek::machines::group {

class ConsumerEdit {
 public:
  /// The group as it is; one without anything if there is none of this kind.
  ConsumerEdit(Draft& draft, std::string id);

  const std::string& id() const { return id_; }
  const ConsumerGroup& group() const { return copy_ ? *copy_ : *original_; }
  /// As it was before.
  const ConsumerGroup& original() const { return *original_; }
  const Draft& draft() const { return draft_; }
  const metadata::Image& image() const { return *draft_.state.image(); }

  // ---- what is stored
  void put_epoch(int32_t epoch, int64_t metadata_hash);
  /// What it says of itself; its assignment stays.
  void put_member(const ConsumerMember& member);
  /// What it has.
  void put_assignment(const ConsumerMember& member);
  void put_target(const std::string& member, Target target);
  void put_target_epoch(int32_t epoch, WallMs at);
  void put_regex(const std::string& expression, ResolvedRegex resolved);
  void remove_regex(const std::string& expression);
  void remove_old_metadata();
  /// All that is stored of it. Its timers stay.
  void remove_member(const std::string& member);
  /// Everything, and the group with it.
  void remove_group();
  /// A record of another kind, in its place among these.
  void put(Record record) { records_.push_back(std::move(record)); }
  /// Somebody who waits is answered.
  void tell(Message message) { messages_.push_back(std::move(message)); }

  // ---- steps
  /// The group's hash; the epoch grows if that differs from the stored one, or if asked to.
  void bump(bool wanted);
  /// Those that nobody has anymore.
  void drop_unused_regexes();
  /// Looks at expressions that are new, and at all of them when there are new topics or they were
  /// not looked at for long; true if one has another meaning now.
  bool refresh_regexes();
  /// New targets, if the epoch asks for them and the last ones are old enough.
  void update_target();
  /// Members go: tombstones, expressions that nobody has anymore, and another epoch.
  void drop_members(const std::vector<std::string>& members);
  /// A static member comes back under another id and is given all of the old one's.
  ConsumerMember replace_static(const ConsumerMember& old, const std::string& new_id);

  // ---- timers
  void arm(std::string key, int64_t after_ms) {
    timers_.push_back({std::move(key), Millis(after_ms)});
  }
  /// An armed one stays as it is.
  void arm_if_absent(std::string key, int64_t after_ms) {
    timers_.push_back({std::move(key), Millis(after_ms), true});
  }
  void disarm(std::string key) { timers_.push_back({std::move(key), std::nullopt}); }
  void arm_session(const ConsumerMember& member);
  /// Of a member that has to give up partitions; disarmed when it has done so.
  void arm_rebalance(const ConsumerMember& member);
  void disarm_all(std::string_view member);

  void finish();

 private:
  ConsumerGroup& copy();
  bool homogeneous() const;
  void compute_target();

  Draft& draft_;
  std::string id_;
  const ConsumerGroup* original_;
  std::optional<ConsumerGroup> copy_;
  std::vector<Record> records_;
  std::vector<TimerOrder> timers_;
  std::vector<Message> messages_;
  bool checked_ = false;
};

/// A setting of the group, within the broker's bounds, or else the broker's.
int32_t group_setting(const Draft& draft, std::string_view group, metadata::GroupKey key,
                      const Settings::Bounded& setting);

}  // namespace odradek::machines::group
