#include "machines/group/assignor/draft.h"

#include <algorithm>

#include "wire/java_hash.h"

namespace odradek::machines::group::assignor {

namespace {
int32_t java_hash(const Uuid& id) {
  const uint64_t both = id.high ^ id.low;
  return static_cast<int32_t>(static_cast<uint32_t>(both >> 32) ^ static_cast<uint32_t>(both));
}

/// The members of a group as Kafka's TimelineHashMap iterates: slots are the highest bits of a
/// Fibonacci hash, and the youngest of a slot comes first.
std::vector<uint32_t> held_order(const std::vector<uint32_t>& members,
                                 const std::vector<int32_t>& hashes) {
  int bits = 1;
  for (size_t size = 1; size <= members.size(); size++)
    if (size * 3 > (4ULL << bits)) bits++;
  const auto slot = [&](uint32_t member) {
    return (static_cast<uint64_t>(int64_t{hashes[member]}) * 0x9E3779B97F4A7C15ULL) >> (64 - bits);
  };
  std::vector<std::pair<uint64_t, size_t>> slots;
  for (size_t i = 0; i < members.size(); i++)
    slots.emplace_back(slot(members[i]), members.size() - i);
  std::ranges::sort(slots);
  std::vector<uint32_t> order;
  for (const auto& [_, age] : slots) order.push_back(members[members.size() - age]);
  return order;
}
}  // namespace

// ---- topics and members

Catalog::Catalog(const Topics& topics) {
  entries_.reserve(topics.size());
  for (const auto& [id, topic] : topics)
    entries_.push_back({&id, java_hash(id), wire::java_hash(topic.name), topic.partitions});
}

int32_t Catalog::find(const Uuid& id) const {
  const auto at = std::ranges::lower_bound(entries_, id, {},
                                           [](const Entry& e) -> const Uuid& { return *e.id; });
  if (at == entries_.end() || *at->id != id) return -1;
  return static_cast<int32_t>(at - entries_.begin());
}

std::vector<int32_t> Catalog::by_name(std::span<const Uuid> topics) const {
  JavaSet names(JavaSet::copy_capacity(topics.size()));
  for (const Uuid& id : topics)
    if (const int32_t topic = find(id); topic >= 0) names.put(topic, entries_[topic].name_hash);
  std::vector<int32_t> out;
  out.reserve(names.size());
  names.for_each([&](int32_t topic, Nothing) { out.push_back(topic); });
  return out;
}

std::vector<uint32_t> member_order(const Group& group) {
  std::vector<int32_t> hashes;
  std::vector<uint32_t> old, fresh;
  for (uint32_t i = 0; i < group.members.size(); i++) {
    hashes.push_back(wire::java_hash(group.members[i].id));
    (group.members[i].is_new ? fresh : old).push_back(i);
  }
  JavaSet all;
  for (uint32_t i : held_order(old, hashes)) all.put(static_cast<int32_t>(i), hashes[i]);
  for (uint32_t i : fresh) all.put(static_cast<int32_t>(i), hashes[i]);
  std::vector<uint32_t> out;
  out.reserve(hashes.size());
  all.for_each([&](int32_t i, Nothing) { out.push_back(static_cast<uint32_t>(i)); });
  return out;
}

bool java_less(std::string_view a, std::string_view b) {
  const auto [x, y] = std::ranges::mismatch(a, b);
  if (x == a.end() || y == b.end()) return a.size() < b.size();
  const auto left = static_cast<uint8_t>(*x), right = static_cast<uint8_t>(*y);
  // Beyond U+FFFF are surrogates, and those sort before U+E000 and up.
  if (left >= 0xF0 && (right == 0xEE || right == 0xEF)) return true;
  if (right >= 0xF0 && (left == 0xEE || left == 0xEF)) return false;
  return left < right;
}

// ---- a member's assignment

Draft::Draft(const Catalog& catalog, const Assignment* assigned)
    : catalog_(catalog), assigned_(assigned) {
  if (assigned == nullptr) return;
  // Apache reads a record into a map of sets.
  bool lost = false;  // what the record should not have had
  JavaMap<int32_t> topics;
  for (size_t i = 0; i < assigned->size(); i++)
    topics.put(static_cast<int32_t>(i), java_hash((*assigned)[i].topic)) = static_cast<int32_t>(i);
  had_.reserve(topics.size());
  topics.for_each([&](int32_t i, int32_t) {
    const TopicPartitions& from = (*assigned)[i];
    Held& held = had_.emplace_back(catalog_.find(from.topic), &from.topic);
    JavaSet partitions(JavaSet::copy_capacity(from.partitions.size()));
    for (int32_t p : from.partitions)
      if (held.topic < 0 || (p >= 0 && p < catalog.partitions(held.topic))) partitions.put(p, p);
    lost = lost || partitions.size() < from.partitions.size();
    partitions.for_each([&](int32_t p, Nothing) { held.partitions.push_back(p); });
  });
  if (lost) open();
}

int32_t Draft::hash(int32_t key) const {
  return key >= 0 ? catalog_.id_hash(key) : java_hash(*had_[-1 - key].id);
}

void Draft::open() {
  if (edited_) return;
  edited_.emplace(had_.size());
  for (size_t i = 0; i < had_.size(); i++) {
    const int32_t key = had_[i].topic >= 0 ? had_[i].topic : -1 - static_cast<int32_t>(i);
    JavaSet& partitions = edited_->put(key, hash(key));
    partitions = JavaSet(JavaSet::copy_capacity(had_[i].partitions.size()));
    for (int32_t p : had_[i].partitions) partitions.put(p, p);
  }
}

void Draft::add(int32_t topic, int32_t partition, size_t capacity) {
  open();
  edited_->compute(topic, hash(topic), [&] { return JavaSet(capacity); }).put(partition, partition);
}

void Draft::remove(int32_t topic, int32_t partition) {
  open();
  JavaSet* partitions = edited_->find(topic, hash(topic));
  if (partitions == nullptr) return;
  partitions->erase(partition, partition);
  if (partitions->size() == 0) edited_->erase(topic, hash(topic));
}

void Draft::remove_held(size_t place) {
  open();
  const int32_t key = had_[place].topic >= 0 ? had_[place].topic : -1 - static_cast<int32_t>(place);
  edited_->erase(key, hash(key));
}

Assignment Draft::take() {
  if (!edited_) return assigned_ == nullptr ? Assignment{} : *assigned_;
  Assignment out;
  out.reserve(edited_->size());
  edited_->for_each([&](int32_t key, JavaSet& set) {
    TopicPartitions& to = out.emplace_back(key >= 0 ? catalog_.id(key) : *had_[-1 - key].id);
    to.partitions.reserve(set.size());
    set.for_each([&](int32_t p, Nothing) { to.partitions.push_back(p); });
  });
  return out;
}

}  // namespace odradek::machines::group::assignor
