// Cleaner: the compaction of one node: how many logs are cleaned at a time, which loop's next, how
// fast. The work is done by the Cleaning of each loop's shard (cleaning.h).
//
//   a shard finds a log to clean  → offer(loop, how dirty)
//   a thread is free              → Cleaning::granted on the loop with the dirtiest log
//   the shard has done it         → give_back()
//
// Lives on the home loop (loop 0); loops talk to it by posts. Sleeps unless something is offered.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/ids.h"
#include "io/io.h"

namespace odradek::replica {

class Cleaning;

struct CleanerSettings {
  bool enabled = true;                          // log.cleaner.enable
  int threads = 1;                              // log.cleaner.threads: logs at a time
  uint64_t dedupe_bytes = uint64_t{128} << 20;  // log.cleaner.dedupe.buffer.size, of all threads
  double load_factor = 0.9;                     // log.cleaner.io.buffer.load.factor
  uint64_t io_bytes = 512 << 10;                // log.cleaner.io.buffer.size, of all threads
  double bytes_per_second = 1e308;              // log.cleaner.io.max.bytes.per.second
  Millis backoff{15'000};                       // log.cleaner.backoff.ms
  uint64_t decompressed_max = uint64_t{128} << 20;  // odradek.max.decompressed.batch.bytes
};

class Cleaner {
 public:
  Cleaner(io::Loop& home, const CleanerSettings& settings);
  Cleaner(const Cleaner&) = delete;
  Cleaner& operator=(const Cleaner&) = delete;

  /// Before the loops run: the Cleaning of loop `loop`.
  void add(int loop, Cleaning& cleaning);
  /// On the home loop. Cleanings under way go on as they began, but for the rate.
  void change(const CleanerSettings& settings);

  // From any loop.
  /// The dirtiest log of a loop, 0 to 1; replaces what it offered before.
  void offer(int loop, double ratio);
  /// A thread that was granted is free again.
  void give_back();
  /// Counts bytes that were read or written; how long to wait now to keep to the rate of all.
  Millis throttle(uint64_t bytes, MonoNs now);

 private:
  struct Slot {
    Cleaning* cleaning = nullptr;
    std::optional<double> offer;
  };

  void dispatch();

  io::Loop& home_;
  CleanerSettings settings_;
  std::vector<Slot> slots_;  // by loop
  int running_ = 0;
  std::atomic<double> bytes_per_second_;
  std::atomic<int64_t> free_at_ns_{0};  // when what was counted is through at that rate
};

}  // namespace odradek::replica
