// What a run measures: latencies, CPU time of this process and of the broker, errors; printed as
// one line of JSON.
#pragma once

#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "cluster.h"

namespace load {

// Latencies from 1 µs to about 70 s, in 64 linear steps per power of two.
class Histogram {
 public:
  void add(double seconds) {
    double us = seconds < 0 ? 0 : seconds * 1e6;
    cells_[index(static_cast<uint64_t>(us))]++;
    count_++;
    sum_us_ += us;
    if (us > max_us_) max_us_ = us;
  }
  double quantile_ms(double p) const {
    auto target = static_cast<uint64_t>(p * static_cast<double>(count_));
    uint64_t passed = 0;
    for (size_t i = 0; i < cells_.size(); i++) {
      if ((passed += cells_[i]) > target) return value(i) / 1e3;
    }
    return max_us_ / 1e3;
  }
  double max_ms() const { return max_us_ / 1e3; }
  double average_ms() const {
    return count_ == 0 ? 0 : sum_us_ / static_cast<double>(count_) / 1e3;
  }

 private:
  static size_t index(uint64_t us) {
    if (us < 64) return us;
    auto exponent = static_cast<size_t>(63 - __builtin_clzll(us));
    size_t cell = (exponent - 5) * 64 + ((us >> (exponent - 6)) & 63);
    return cell < kCells ? cell : kCells - 1;
  }
  static double value(size_t cell) {
    if (cell < 64) return static_cast<double>(cell);
    return static_cast<double>((64ULL + cell % 64) << (cell / 64 - 1));
  }

  static constexpr size_t kCells = 64 * 32;
  std::vector<uint64_t> cells_ = std::vector<uint64_t>(kCells);
  uint64_t count_ = 0;
  double sum_us_ = 0;
  double max_us_ = 0;
};

inline double own_cpu_s() {
  rusage r{};
  getrusage(RUSAGE_SELF, &r);
  return static_cast<double>(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
         static_cast<double>(r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-6;
}

// User and system time of a process.
inline double cpu_of_s(int pid) {
  FILE* f = fopen(("/proc/" + std::to_string(pid) + "/stat").c_str(), "r");
  if (f == nullptr) die("no process " + std::to_string(pid));
  char text[4096];
  text[fread(text, 1, sizeof text - 1, f)] = 0;
  fclose(f);
  unsigned long user = 0;
  unsigned long system = 0;
  const char* form = "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu";
  if (sscanf(strrchr(text, ')') + 2, form, &user, &system) != 2) die("/proc/PID/stat");
  return static_cast<double>(user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

struct Result {
  Histogram latency;
  std::map<int, uint64_t> errors;  // error code: answers
  uint64_t records = 0;
  uint64_t requests = 0;
  uint64_t bytes = 0;
  double seconds = 0;
  double own_cpu = 0;
  double broker_cpu = 0;
};

// Measures from its construction to stop().
class Meter {
 public:
  explicit Meter(int broker_pid)
      : pid_(broker_pid), began_(now_s()), own_(own_cpu_s()), broker_(broker()) {}

  void stop(Result* result) const {
    result->seconds = now_s() - began_;
    result->own_cpu = own_cpu_s() - own_;
    result->broker_cpu = broker() - broker_;
  }
  double began() const { return began_; }

 private:
  double broker() const { return pid_ > 0 ? cpu_of_s(pid_) : 0; }

  int pid_;
  double began_;
  double own_;
  double broker_;
};

struct Options {
  std::string mode;
  Endpoint bootstrap{"127.0.0.1", 9092};
  std::string topic = "raw";
  int64_t records = 0;
  double seconds = 0;
  double rate = 0;
  int record_bytes = 100;
  int batch_bytes = 16384;
  int in_flight = 5;
  int connections = 1;
  int acks = 1;
  bool idempotent = false;
  bool verify = false;
  int create_partitions = 0;
  int broker_pid = 0;
  std::vector<std::pair<std::string, std::string>> configs;
};

Result produce(const Options& options, Cluster* cluster, const Topic& topic);
Result fetch(const Options& options, Cluster* cluster, const Topic& topic);

}  // namespace load
