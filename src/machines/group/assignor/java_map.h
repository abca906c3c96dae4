// A map that iterates in the order of Java's HashMap: by bucket, within a bucket by age. Apache's
// assignors break ties by that order, so ours have to know it. Keys are small numbers that stand
// for something with a Java hash; the caller brings the hash.
//
// One thing differs: a bucket of nine and more in a table of 64 and more is a tree there, with an
// order of its own. It takes member ids made to collide, or nine partitions of one topic with the
// same remainder of the table's size, to see it.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace odradek::machines::group::assignor {

template <class Value>
class JavaMap {
 public:
  /// `new HashMap<>(capacity)`.
  explicit JavaMap(size_t capacity = 16) : buckets_(std::bit_ceil(capacity), kNone) {}

  /// The capacity that `new HashSet<>(collection)` takes.
  static size_t copy_capacity(size_t size) {
    const size_t wanted = sized_capacity(size);
    return wanted < 16 ? 16 : wanted;
  }
  /// The capacity that Java code computes for `size` entries without growing.
  static size_t sized_capacity(size_t size) {
    return static_cast<size_t>(static_cast<float>(size) / 0.75F) + 1;
  }

  size_t size() const { return size_; }

  Value* find(int32_t key, int32_t hash) {
    for (int32_t at = buckets_[bucket(spread(hash))]; at != kNone; at = nodes_[at].next)
      if (nodes_[at].key == key) return &nodes_[at].value;
    return nullptr;
  }

  /// The value of `key`, a fresh one if there is none yet: `put`, which adds at the end of a
  /// bucket.
  Value& put(int32_t key, int32_t hash) {
    const uint32_t spread_hash = spread(hash);
    int32_t* link = &buckets_[bucket(spread_hash)];
    size_t before = 0;
    for (; *link != kNone; link = &nodes_[*link].next, before++)
      if (nodes_[*link].key == key) return nodes_[*link].value;
    const auto added = static_cast<int32_t>(nodes_.size());
    *link = added;
    nodes_.push_back({key, spread_hash, kNone, Value()});
    size_++;
    if (before >= 8 && buckets_.size() < 64) grow();
    if (full()) grow();
    return nodes_[added].value;
  }

  /// The same by `computeIfAbsent`, which grows before it adds, and adds at the head of a bucket.
  /// `make` makes the fresh value.
  template <class Make>
  Value& compute(int32_t key, int32_t hash, Make make) {
    if (full()) grow();
    const uint32_t spread_hash = spread(hash);
    int32_t& head = buckets_[bucket(spread_hash)];
    size_t before = 0;
    for (int32_t at = head; at != kNone; at = nodes_[at].next, before++)
      if (nodes_[at].key == key) return nodes_[at].value;
    const auto added = static_cast<int32_t>(nodes_.size());
    nodes_.push_back({key, spread_hash, std::exchange(head, added), make()});
    size_++;
    if (before >= 7 && buckets_.size() < 64) grow();
    return nodes_[added].value;
  }

  void erase(int32_t key, int32_t hash) {
    int32_t* link = &buckets_[bucket(spread(hash))];
    while (*link != kNone && nodes_[*link].key != key) link = &nodes_[*link].next;
    if (*link == kNone) return;
    *link = nodes_[*link].next;
    size_--;
  }

  template <class Visit>  // (int32_t key, Value&)
  void for_each(Visit visit) {
    for (int32_t head : buckets_)
      for (int32_t at = head; at != kNone; at = nodes_[at].next)
        visit(nodes_[at].key, nodes_[at].value);
  }

 private:
  static constexpr int32_t kNone = -1;
  struct Node {
    int32_t key;
    uint32_t hash;
    int32_t next;
    Value value;
  };

  static uint32_t spread(int32_t hash) {
    const auto h = static_cast<uint32_t>(hash);
    return h ^ (h >> 16);
  }
  bool full() const { return size_ > buckets_.size() * 3 / 4; }
  size_t bucket(uint32_t hash) const { return hash & (buckets_.size() - 1); }

  void grow() {
    const std::vector<int32_t> old = std::exchange(buckets_, {});
    buckets_.assign(old.size() * 2, kNone);
    std::vector<int32_t> last(buckets_.size(), kNone);
    for (int32_t head : old) {
      for (int32_t at = head; at != kNone;) {
        const int32_t next = std::exchange(nodes_[at].next, kNone);
        const size_t to = bucket(nodes_[at].hash);
        (last[to] == kNone ? buckets_[to] : nodes_[last[to]].next) = at;
        last[to] = at;
        at = next;
      }
    }
  }

  std::vector<int32_t> buckets_;
  std::vector<Node> nodes_;  // an erased one stays, unlinked
  size_t size_ = 0;
};

struct Nothing {};
using JavaSet = JavaMap<Nothing>;

}  // namespace odradek::machines::group::assignor
