#include "replica/cleaner.h"

#include <algorithm>

#include "replica/cleaning.h"

namespace odradek::replica {

Cleaner::Cleaner(io::Loop& home, const CleanerSettings& settings)
    : home_(home), settings_(settings), bytes_per_second_(settings.bytes_per_second) {}

void Cleaner::add(int loop, Cleaning& cleaning) {
  const auto i = static_cast<size_t>(loop);
  if (slots_.size() <= i) slots_.resize(i + 1);
  slots_[i].cleaning = &cleaning;
  cleaning.attach(*this, settings_.backoff);
}

void Cleaner::change(const CleanerSettings& settings) {
  settings_ = settings;
  bytes_per_second_.store(settings.bytes_per_second, std::memory_order_relaxed);
  for (Slot& slot : slots_) {
    if (slot.cleaning != nullptr) slot.cleaning->change_backoff(settings.backoff);
  }
  dispatch();
}

void Cleaner::offer(int loop, double ratio) {
  home_.post([this, loop, ratio] {
    slots_[static_cast<size_t>(loop)].offer = ratio;
    dispatch();
  });
}

void Cleaner::give_back() {
  home_.post([this] {
    running_--;
    dispatch();
  });
}

void Cleaner::dispatch() {
  while (settings_.enabled && running_ < settings_.threads) {
    Slot* best = nullptr;
    for (Slot& slot : slots_) {
      if (slot.offer && (best == nullptr || *slot.offer > *best->offer)) best = &slot;
    }
    if (best == nullptr) return;
    best->offer.reset();
    running_++;
    best->cleaning->grant(settings_);
  }
}

Millis Cleaner::throttle(uint64_t bytes, MonoNs now) {
  const double rate = bytes_per_second_.load(std::memory_order_relaxed);
  const double ns = static_cast<double>(bytes) / std::max(rate, 1.0) * 1e9;
  if (ns < 1) return Millis(0);
  const auto takes = static_cast<int64_t>(std::min(ns, 3600e9));
  int64_t before = free_at_ns_.load(std::memory_order_relaxed);
  int64_t after = 0;
  do {
    after = std::max(before, now.value) + takes;
  } while (!free_at_ns_.compare_exchange_weak(before, after, std::memory_order_relaxed));
  return Millis((after - now.value) / 1'000'000);
}

}  // namespace odradek::replica
