// The records of a consumer group, as Apache 4.3 writes them: docs/formats/group-records.md.
#pragma once

#include <string_view>

#include "base/result.h"
#include "machines/group/consumer_group.h"
#include "machines/group/record.h"
#include "wire/reader.h"

namespace odradek::machines::group {

// ---- 3: the group, 4: only deleted
Record epoch_record(std::string_view group, int32_t epoch, int64_t metadata_hash);
Record epoch_tombstone(std::string_view group);
Record old_metadata_tombstone(std::string_view group);
// ---- 5: what a member says of itself
Record member_record(std::string_view group, const ConsumerMember& member);
Record member_tombstone(std::string_view group, std::string_view member);
// ---- 6, 7: what the members shall have
Record target_epoch_record(std::string_view group, int32_t epoch, WallMs at);
Record target_epoch_tombstone(std::string_view group);
Record target_record(std::string_view group, std::string_view member, const Target& target);
Record target_tombstone(std::string_view group, std::string_view member);
// ---- 8: what a member has
Record assignment_record(std::string_view group, const ConsumerMember& member);
Record assignment_tombstone(std::string_view group, std::string_view member);
// ---- 16
Record regex_record(std::string_view group, std::string_view regex, const ResolvedRegex& resolved);
Record regex_tombstone(std::string_view group, std::string_view regex);

/// Whether records of this type make up consumer groups.
bool is_consumer_record(int16_t type);

/// A record of such a group, decoded; what it changes is applied by `apply`.
class ConsumerRecord {
 public:
  /// `type` was read from the key already.
  static Result<ConsumerRecord> read(int16_t type, wire::Reader& key,
                                     const std::optional<std::string>& value);
  const std::string& group() const { return group_; }
  bool tombstone() const { return tombstone_; }
  /// The last record of a group that goes.
  bool ends_group() const;
  /// What a tombstone names may be gone already.
  void apply(ConsumerGroup& group) const;

 private:
  Result<void> read_value(const std::string& value);
  void erase(ConsumerGroup& group) const;

  int16_t type_ = 0;
  bool tombstone_ = false;
  std::string group_;
  std::string name_;       // of the member, or the expression
  ConsumerMember member_;  // 5 and 8: their part of it
  Target target_;
  ResolvedRegex regex_;
  int32_t epoch_ = 0;
  int64_t hash_ = 0;
  WallMs at_{0};
};

}  // namespace odradek::machines::group
