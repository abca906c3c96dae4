// Counters, gauges and latency histograms. Each loop owns its set and is its only writer; a scrape
// on any thread reads them all and adds up what has the same name and labels. An increment is a
// plain load and store.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

namespace odradek {

/// A number with one writer.
class Counter {
 public:
  void add(uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void set(uint64_t n) { value_.store(n, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

/// Durations in nanoseconds in buckets of powers of two from about 1 µs to about 17 s.
class Histogram {
 public:
  static constexpr int kBuckets = 25;  // bucket i: ≤ 2^(i+10) ns; the last one takes the rest

  void record(uint64_t ns) {
    int width = static_cast<int>(std::bit_width(ns == 0 ? 0 : ns - 1));
    int i = width <= 10 ? 0 : width - 10;
    buckets_[static_cast<size_t>(i < kBuckets ? i : kBuckets - 1)].add();
    sum_.add(ns);
  }
  static uint64_t bound_ns(int i) { return uint64_t{1} << (i + 10); }
  uint64_t bucket(int i) const { return buckets_[static_cast<size_t>(i)].value(); }
  uint64_t sum_ns() const { return sum_.value(); }

 private:
  std::array<Counter, kBuckets> buckets_;
  Counter sum_;
};

enum class MetricKind { kCounter, kGauge };

/// The metrics of one loop (or of the process). Metrics are registered before the loop runs and
/// live as long as it.
class MetricSet {
 public:
  struct NamedCounter {
    std::string name;    // Prometheus name, without labels
    std::string labels;  // `api="Fetch"`, or empty
    std::string help;
    MetricKind kind;
    Counter counter;
  };
  struct NamedHistogram {
    std::string name;
    std::string labels;
    std::string help;
    Histogram histogram;
  };

  Counter& counter(std::string name, std::string labels, std::string help) {
    return counters_
        .emplace_back(std::move(name), std::move(labels), std::move(help), MetricKind::kCounter)
        .counter;
  }
  Counter& gauge(std::string name, std::string labels, std::string help) {
    return counters_
        .emplace_back(std::move(name), std::move(labels), std::move(help), MetricKind::kGauge)
        .counter;
  }
  Histogram& histogram(std::string name, std::string labels, std::string help) {
    return histograms_.emplace_back(std::move(name), std::move(labels), std::move(help)).histogram;
  }
  const std::deque<NamedCounter>& counters() const { return counters_; }
  const std::deque<NamedHistogram>& histograms() const { return histograms_; }

 private:
  std::deque<NamedCounter> counters_;
  std::deque<NamedHistogram> histograms_;
};

}  // namespace odradek
