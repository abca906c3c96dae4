// RecoveryStatus: how far the opening and recovering of the logs is, by directory. Counted on the
// file threads, read on any thread (log lines, health, metrics).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace odradek::replica {

class RecoveryStatus {
 public:
  struct Dir {
    explicit Dir(std::string p) : path(std::move(p)) {}
    const std::string path;
    std::atomic<uint64_t> logs_total{0};
    std::atomic<uint64_t> logs_done{0};
    /// Bytes checked so far. How many there are to check is known for logs that have begun only.
    std::atomic<uint64_t> bytes_done{0};
    std::atomic<uint64_t> bytes_begun{0};
    std::atomic<bool> clean{false};  // nothing has to be checked
  };

  /// Before anything is counted.
  Dir& add(std::string path) { return *dirs_.emplace_back(std::make_unique<Dir>(std::move(path))); }
  void begin() { running_.store(true, std::memory_order_release); }
  void end() { running_.store(false, std::memory_order_release); }

  bool running() const { return running_.load(std::memory_order_acquire); }
  /// Constant while running.
  const std::vector<std::unique_ptr<Dir>>& dirs() const { return dirs_; }
  /// "recovering 120/5000 logs" of all directories together; "opening" after a clean stop.
  std::string summary() const;
  /// "/data: 120 of 5000 logs done, 31 of at least 64 MiB checked".
  static std::string line(const Dir& dir);

 private:
  std::atomic<bool> running_{false};
  std::vector<std::unique_ptr<Dir>> dirs_;
};

}  // namespace odradek::replica
