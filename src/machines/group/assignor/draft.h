// What the assignors share: topics and members by number, in Apache's order, and the assignment of
// a member while it is changed.
#pragma once

#include <optional>

#include "machines/group/assignor/assignor.h"
#include "machines/group/assignor/java_map.h"

namespace odradek::machines::group::assignor {

/// The topics there are, numbered in the order of their ids.
class Catalog {
 public:
  explicit Catalog(const Topics& topics);

  /// −1 when there is no such topic.
  int32_t find(const Uuid& id) const;
  size_t size() const { return entries_.size(); }
  const Uuid& id(int32_t topic) const { return *entries_[topic].id; }
  int32_t id_hash(int32_t topic) const { return entries_[topic].id_hash; }
  int32_t partitions(int32_t topic) const { return entries_[topic].partitions; }

  /// What a member subscribes to, in the order of Apache's set of names.
  std::vector<int32_t> by_name(std::span<const Uuid> topics) const;

 private:
  struct Entry {
    const Uuid* id;
    int32_t id_hash, name_hash;
    int32_t partitions;
  };
  std::vector<Entry> entries_;
};

/// The members in the order in which Apache's assignors meet them.
std::vector<uint32_t> member_order(const Group& group);

/// Java's String.compareTo < 0: by UTF-16 units.
bool java_less(std::string_view a, std::string_view b);

/// The assignment of one member. It is what the member had until the first change.
class Draft {
 public:
  using Partitions = std::vector<int32_t>;
  /// A topic of `had()`; `topic` is −1 when it is gone.
  struct Held {
    int32_t topic;
    const Uuid* id;
    Partitions partitions;
  };

  Draft(const Catalog& catalog, const Assignment* assigned);

  /// What the member had, in Apache's order; never changes.
  const std::vector<Held>& had() const { return had_; }

  /// `capacity`: of the set that Apache makes for a new topic.
  void add(int32_t topic, int32_t partition, size_t capacity = 16);
  void remove(int32_t topic, int32_t partition);
  /// The topic at that place of had().
  void remove_held(size_t place);

  Assignment take();

 private:
  void open();
  int32_t hash(int32_t key) const;

  const Catalog& catalog_;
  const Assignment* assigned_;
  std::vector<Held> had_;
  // Keys: the number of the topic, or −1 − its place in had_ when it is gone.
  std::optional<JavaMap<JavaSet>> edited_;
};

}  // namespace odradek::machines::group::assignor
