#include "log/offset_map.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/check.h"

namespace odradek::log {

// ---- the hash

namespace {

uint64_t load_le(const uint8_t* p) {
  uint64_t v;
  std::memcpy(&v, p, sizeof v);
  if constexpr (std::endian::native == std::endian::big) v = __builtin_bswap64(v);
  return v;
}

}  // namespace

KeyHasher::KeyHasher(uint64_t key0, uint64_t key1)
    : v0_(key0 ^ 0x736f6d6570736575),
      v1_(key1 ^ 0x646f72616e646f6d ^ 0xee),
      v2_(key0 ^ 0x6c7967656e657261),
      v3_(key1 ^ 0x7465646279746573) {}

void KeyHasher::rounds(int n) {
  for (int i = 0; i < n; i++) {
    v0_ += v1_;
    v1_ = std::rotl(v1_, 13) ^ v0_;
    v0_ = std::rotl(v0_, 32);
    v2_ += v3_;
    v3_ = std::rotl(v3_, 16) ^ v2_;
    v0_ += v3_;
    v3_ = std::rotl(v3_, 21) ^ v0_;
    v2_ += v1_;
    v1_ = std::rotl(v1_, 17) ^ v2_;
    v2_ = std::rotl(v2_, 32);
  }
}

void KeyHasher::word(uint64_t m) {
  v3_ ^= m;
  rounds(2);
  v0_ ^= m;
}

void KeyHasher::add(ByteView bytes) {
  size_t at = 0;
  const size_t held = length_ % 8;
  length_ += bytes.size();
  if (held > 0) {
    at = std::min(8 - held, bytes.size());
    std::copy_n(bytes.begin(), at, rest_.begin() + static_cast<ptrdiff_t>(held));
    if (held + at < 8) return;
    word(load_le(rest_.data()));
  }
  for (; at + 8 <= bytes.size(); at += 8) word(load_le(bytes.data() + at));
  std::copy(bytes.begin() + static_cast<ptrdiff_t>(at), bytes.end(), rest_.begin());
}

KeyHash KeyHasher::finish() {
  std::fill(rest_.begin() + static_cast<ptrdiff_t>(length_ % 8), rest_.end(), uint8_t{0});
  word(load_le(rest_.data()) | (length_ << 56));
  v2_ ^= 0xee;
  rounds(4);
  KeyHash hash;
  hash.low = v0_ ^ v1_ ^ v2_ ^ v3_;
  v1_ ^= 0xdd;
  rounds(4);
  hash.high = v0_ ^ v1_ ^ v2_ ^ v3_;
  return hash;
}

// ---- the map

OffsetMap::OffsetMap(uint64_t bytes, double load_factor)
    : slots_max_(static_cast<size_t>(std::min<uint64_t>(bytes, INT32_MAX) / kSlotBytes)),
      keys_max_(static_cast<size_t>(static_cast<double>(slots_max_) *
                                    std::clamp(load_factor, 0.0, 1.0))) {
  // One slot stays empty: a search has to end.
  if (keys_max_ == slots_max_ && keys_max_ > 0) keys_max_--;
}

/// The slot of the key, or the empty one where it belongs.
size_t OffsetMap::find(const KeyHash& key) const {
  const auto wide = static_cast<unsigned __int128>(key.low) * slots_.size();
  auto at = static_cast<size_t>(wide >> 64);
  while (slots_[at].offset_plus_one != 0 && slots_[at].key != key) {
    if (++at == slots_.size()) at = 0;
  }
  return at;
}

void OffsetMap::grow() {
  constexpr size_t kLeast = 1024;
  size_t next = std::max(kLeast, slots_.size() * 2);
  if (next > slots_max_ / 8) next = slots_max_;
  std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(next));
  for (const Slot& slot : old) {
    if (slot.offset_plus_one != 0) slots_[find(slot.key)] = slot;
  }
}

void OffsetMap::put(const KeyHash& key, Offset offset) {
  ODRADEK_CHECK(!full());
  if (slots_.size() < slots_max_ && size_ >= slots_.size() / 4 * 3) grow();
  Slot& slot = slots_[find(key)];
  if (slot.offset_plus_one == 0) size_++;
  slot = {key, offset.value + 1};
}

Offset OffsetMap::get(const KeyHash& key) const {
  if (slots_.empty()) return kNoOffset;
  return Offset(slots_[find(key)].offset_plus_one - 1);
}

}  // namespace odradek::log
