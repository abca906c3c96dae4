#include "io/linux/sync_choice.h"

#include <algorithm>

namespace odradek::io {
namespace {

constexpr double kWeight = 0.25;  // of the newest measurement
constexpr double kLeastNs = 20'000;
// A syncfs that took long is tried again: but only so often that it takes about a tenth of the time
// that the other way takes.
constexpr double kForget = 0.1;

double mix(double known, double measured) {
  return std::max(kLeastNs, known + kWeight * (measured - known));
}

}  // namespace

bool SyncChoice::whole(size_t files) {
  return files >= kFewest && static_cast<double>(files) * each_ns_ >= whole_ns_;
}

void SyncChoice::took_each(size_t files, int64_t ns) {
  if (files == 0) return;
  each_ns_ = mix(each_ns_, static_cast<double>(ns) / static_cast<double>(files));
  if (files >= kFewest) {
    whole_ns_ = std::max(kLeastNs, whole_ns_ - kForget * static_cast<double>(ns));
  }
}

void SyncChoice::took_whole(int64_t ns) {
  const auto measured = static_cast<double>(ns);
  whole_ns_ = measured > whole_ns_ ? measured : mix(whole_ns_, measured);
}

}  // namespace odradek::io
