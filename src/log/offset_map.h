// OffsetMap: the newest offset of every key in the dirty part of a log, in bounded memory: what a
// cleaning (compaction.h) decides by.
//
// Keys are kept as 16 bytes of a keyed hash (SipHash-2-4), so that nobody who writes keys can make
// two of them meet. A slot takes 24 bytes. Memory grows with the number of keys; for a moment, when
// it grows to its full size, an eighth more than the limit is in use.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"

namespace odradek::log {

struct KeyHash {
  uint64_t low = 0;
  uint64_t high = 0;
  bool operator==(const KeyHash&) const = default;
};

/// SipHash-2-4 with 128 bits of output, fed in pieces.
class KeyHasher {
 public:
  /// The secret: two random numbers, the same for all keys of one map.
  KeyHasher(uint64_t key0, uint64_t key1);
  void add(ByteView bytes);
  /// The hash of everything added; the hasher is then used up.
  KeyHash finish();

 private:
  void word(uint64_t m);
  void rounds(int n);

  uint64_t v0_, v1_, v2_, v3_;
  uint64_t length_ = 0;
  std::array<uint8_t, 8> rest_{};  // the last length_ % 8 bytes
};

class OffsetMap {
 public:
  static constexpr size_t kSlotBytes = 24;

  /// `bytes` of memory at most, `load_factor` (0 to 1) of the slots in use at most.
  OffsetMap(uint64_t bytes, double load_factor);

  /// Keys that fit; 0 if there is no room for one.
  size_t capacity() const { return keys_max_; }
  size_t size() const { return size_; }
  bool full() const { return size_ >= keys_max_; }
  /// Offset of the key becomes `offset` (≥ 0). The map must not be full.
  void put(const KeyHash& key, Offset offset);
  /// −1 if the key is not there.
  Offset get(const KeyHash& key) const;

 private:
  struct Slot {
    KeyHash key;
    int64_t offset_plus_one = 0;  // 0: empty
  };

  size_t find(const KeyHash& key) const;
  void grow();

  size_t slots_max_;
  size_t keys_max_;
  size_t size_ = 0;
  std::vector<Slot> slots_;
};

}  // namespace odradek::log
