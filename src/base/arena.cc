#include "base/arena.h"

#include <algorithm>

namespace odradek {

namespace {
constexpr size_t kFirstBlock = 4096;
constexpr size_t kLargestStep = 256 * 1024;
}  // namespace

void* Arena::allocate_block(size_t size, size_t align) {
  size_t step = std::min(std::max(reserved_, kFirstBlock), kLargestStep);
  size_t block = std::max(size + align, step);
  blocks_.push_back(std::make_unique_for_overwrite<uint8_t[]>(block));
  if (blocks_.size() == 1) first_size_ = block;
  reserved_ += block;
  next_ = blocks_.back().get();
  end_ = next_ + block;
  auto at = (reinterpret_cast<uintptr_t>(next_) + align - 1) & ~(align - 1);
  next_ = reinterpret_cast<uint8_t*>(at + size);
  return reinterpret_cast<void*>(at);
}

void Arena::reset() {
  if (blocks_.empty()) return;
  blocks_.resize(1);
  reserved_ = first_size_;
  next_ = blocks_[0].get();
  end_ = next_ + first_size_;
}

}  // namespace odradek
