#include "replica/recovery_status.h"

#include <fmt/format.h>

namespace odradek::replica {

std::string RecoveryStatus::summary() const {
  uint64_t done = 0, total = 0;
  bool clean = true;
  for (const auto& dir : dirs_) {
    done += dir->logs_done.load(std::memory_order_relaxed);
    total += dir->logs_total.load(std::memory_order_relaxed);
    clean &= dir->clean.load(std::memory_order_relaxed);
  }
  return fmt::format("{} {}/{} logs", clean ? "opening" : "recovering", done, total);
}

std::string RecoveryStatus::line(const Dir& dir) {
  return fmt::format("{}: {} of {} logs done, {} of at least {} MiB checked", dir.path,
                     dir.logs_done.load(std::memory_order_relaxed),
                     dir.logs_total.load(std::memory_order_relaxed),
                     dir.bytes_done.load(std::memory_order_relaxed) >> 20,
                     dir.bytes_begun.load(std::memory_order_relaxed) >> 20);
}

}  // namespace odradek::replica
