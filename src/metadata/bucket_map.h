// BucketMap: an immutable hash map of shared values that is cheap to change.
//
// A version of the map shares with the one before it every bucket that a change did not touch, so
// that a change of one topic among thousands copies one short bucket and a table of pointers.
// Values are never copied. The order of iteration depends on keys only, never on addresses.
//
// Traits: `using Key = ...; static uint64_t hash(Key); static Key key(const Value&);` with Key
// ordered.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace odradek::metadata {

/// FNV-1a: stable over builds and machines.
constexpr uint64_t hash_text(std::string_view text, uint64_t seed = 0xcbf29ce484222325ULL) {
  for (const char c : text) seed = (seed ^ static_cast<uint8_t>(c)) * 0x100000001b3ULL;
  return seed ^ (seed >> 29);
}

/// Who may change tables and buckets in place: whoever made them under the same token. A token is
/// never used twice in a process.
using EditToken = uint64_t;
EditToken next_edit_token();

template <class Value, class Traits>
class BucketMap {
 public:
  using Key = typename Traits::Key;
  using Pointer = std::shared_ptr<const Value>;

  size_t size() const { return table_ ? table_->size : 0; }
  bool empty() const { return size() == 0; }

  /// Null when there is none.
  const Value* find(const Key& key) const { return share_ref(key).get(); }
  /// The same, kept alive by the result.
  Pointer share(const Key& key) const { return share_ref(key); }

  template <class F>
  void for_each(F&& f) const {
    if (!table_) return;
    for (const auto& bucket : table_->buckets) {
      if (!bucket) continue;
      for (const Entry& e : bucket->entries) f(e.value);
    }
  }

  /// Adds or replaces. Other copies of this map do not see it.
  void set(EditToken token, Pointer value) {
    own_table(token);
    if (table_->size >= table_->buckets.size() * kBucketMax) grow(token);
    const Key key = Traits::key(*value);
    const uint64_t hash = Traits::hash(key);
    Bucket& bucket = own_bucket(token, hash);
    auto at = lower(bucket.entries, hash, key);
    if (at != bucket.entries.end() && at->hash == hash && Traits::key(*at->value) == key) {
      at->value = std::move(value);
      return;
    }
    bucket.entries.insert(at, Entry{hash, std::move(value)});
    table_->size++;
  }
  /// Removes; false when there was none.
  bool erase(EditToken token, const Key& key) {
    if (find(key) == nullptr) return false;
    own_table(token);
    const uint64_t hash = Traits::hash(key);
    Bucket& bucket = own_bucket(token, hash);
    bucket.entries.erase(lower(bucket.entries, hash, key));
    table_->size--;
    return true;
  }

 private:
  static constexpr size_t kBucketMax = 16;  // entries in an average bucket before the table doubles
  static constexpr size_t kBucketsFirst = 4;

  struct Entry {
    uint64_t hash;
    Pointer value;
  };
  struct Bucket {
    EditToken owner;
    std::vector<Entry> entries;  // by hash, then key
  };
  struct Table {
    EditToken owner;
    size_t size = 0;
    std::vector<std::shared_ptr<Bucket>> buckets;  // a power of two
  };

  template <class Entries>
  static auto lower(Entries& entries, uint64_t hash, const Key& key) {
    return std::lower_bound(entries.begin(), entries.end(), hash, [&](const Entry& e, uint64_t h) {
      return e.hash != h ? e.hash < h : Traits::key(*e.value) < key;
    });
  }
  const Pointer& share_ref(const Key& key) const {
    static const Pointer none;
    if (!table_) return none;
    const uint64_t hash = Traits::hash(key);
    const auto& bucket = table_->buckets[hash & (table_->buckets.size() - 1)];
    if (!bucket) return none;
    auto at = lower(bucket->entries, hash, key);
    if (at == bucket->entries.end() || at->hash != hash || !(Traits::key(*at->value) == key))
      return none;
    return at->value;
  }
  void own_table(EditToken token) {
    if (!table_) {
      table_ = std::make_shared<Table>();
      table_->buckets.resize(kBucketsFirst);
    } else if (table_->owner != token) {
      table_ = std::make_shared<Table>(*table_);
    }
    table_->owner = token;
  }
  Bucket& own_bucket(EditToken token, uint64_t hash) {
    auto& bucket = table_->buckets[hash & (table_->buckets.size() - 1)];
    if (!bucket) {
      bucket = std::make_shared<Bucket>();
    } else if (bucket->owner != token) {
      bucket = std::make_shared<Bucket>(*bucket);
    }
    bucket->owner = token;
    return *bucket;
  }
  void grow(EditToken token) {
    std::vector<std::shared_ptr<Bucket>> old(table_->buckets.size() * 2);
    old.swap(table_->buckets);
    for (auto& bucket : old) {
      if (!bucket) continue;
      for (const Entry& e : bucket->entries) own_bucket(token, e.hash).entries.push_back(e);
    }
  }

  std::shared_ptr<Table> table_;
};

}  // namespace odradek::metadata
