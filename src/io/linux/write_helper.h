// WriteHelper: a thread that takes its share of a loop's writes, on another core than the loop's.
// Private to io/linux.
#pragma once

#include <sched.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "io/io.h"

namespace odradek::io {

class WriteHelper {
 public:
  WriteHelper();
  /// Runs what it was called for first.
  ~WriteHelper();
  /// Runs `work` on another core than the one that this is called on. False: there is none, or the
  /// helper is called for something else already.
  bool call(Callback work);

 private:
  bool keep_off(int cpu);
  void run();

  cpu_set_t allowed_{};  // to the process, when it began
  std::mutex mutex_;
  std::condition_variable ready_;
  Callback work_;
  bool stopping_ = false;
  int away_from_ = -1;
  std::thread thread_;
};

}  // namespace odradek::io
