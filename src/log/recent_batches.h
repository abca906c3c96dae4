// RecentBatches: where the last batches of the active segment lie, so that readers at the end of a
// log and high watermarks are found without touching a file.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/ids.h"
#include "log/segment.h"

namespace odradek::log {

class RecentBatches {
 public:
  static constexpr size_t kMax = 64;

  void clear() { count_ = 0; }
  void add(const BatchAt& batch) {
    if (ring_.empty()) ring_.resize(kMax);  // a log that is never written to has no ring
    ring_[(first_ + count_) % kMax] = batch;
    if (count_ < kMax) {
      count_++;
    } else {
      first_ = (first_ + 1) % kMax;
    }
  }
  /// The first batch whose last offset is at least `target`, if it is certain to be among these.
  std::optional<BatchAt> locate(Offset target) const {
    if (count_ == 0 || target < at(0).base || target > at(count_ - 1).last) return std::nullopt;
    size_t low = 0, high = count_ - 1;
    while (low < high) {
      size_t mid = (low + high) / 2;
      if (at(mid).last >= target) {
        high = mid;
      } else {
        low = mid + 1;
      }
    }
    return at(low);
  }

 private:
  const BatchAt& at(size_t i) const { return ring_[(first_ + i) % kMax]; }

  std::vector<BatchAt> ring_;
  size_t first_ = 0;
  size_t count_ = 0;
};

}  // namespace odradek::log
