// SyncChoice: how a round of a sync queue makes its files durable: one by one, or the whole file
// system at once. The only place that decides it.
//
// An fdatasync costs about the same whatever the file holds, mostly one commit of the journal, so
// a few files are enough for one syncfs to be cheaper: on an ext4 that others use too 4 files took
// 12 ms and syncfs 1 ms, 500 files 1.8 s and 25 ms; on a quiet one 10 files 2.4 ms and 0.4 ms. But
// syncfs also writes what belongs to others, which may be much. So both are measured while in use,
// and the one that promises to be cheaper is taken.
#pragma once

#include <cstddef>
#include <cstdint>

namespace odradek::io {

class SyncChoice {
 public:
  static constexpr size_t kFewest = 4;  // below this fdatasync: the latency of a quiet broker
  /// Should a round with so many files sync the whole file system?
  bool whole(size_t files);
  /// What the last round took, in nanoseconds.
  void took_each(size_t files, int64_t ns);
  void took_whole(int64_t ns);

 private:
  double each_ns_ = 300'000;  // one file
  /// At first only for many: after a kill the page cache may be full of what nobody has synced.
  double whole_ns_ = 5'000'000;
};

}  // namespace odradek::io
