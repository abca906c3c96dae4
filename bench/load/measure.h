// What a run measures: latencies, CPU time of this process and of the broker, its context switches,
// errors; printed as one line of JSON.
#pragma once

#include <dirent.h>
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
  bool empty() const { return count_ == 0; }
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

// Context switches of all threads of a process, wanted or not.
inline uint64_t switches_of(int pid) {
  std::string tasks = "/proc/" + std::to_string(pid) + "/task/";
  DIR* dir = opendir(tasks.c_str());
  if (dir == nullptr) die("no process " + std::to_string(pid));
  uint64_t sum = 0;
  while (dirent* entry = readdir(dir)) {
    FILE* f = fopen((tasks + entry->d_name + "/status").c_str(), "r");
    if (f == nullptr) continue;
    char line[256];
    unsigned long long count = 0;
    while (fgets(line, sizeof line, f) != nullptr) {
      const char* at = strstr(line, "voluntary_ctxt_switches:");
      if (at != nullptr && sscanf(strchr(at, ':') + 1, "%llu", &count) == 1) sum += count;
    }
    fclose(f);
  }
  closedir(dir);
  return sum;
}

struct Result {
  Histogram latency;
  Histogram end_to_end;            // of stamped batches: from the intended send to a consumer
  std::map<int, uint64_t> errors;  // error code: answers
  uint64_t records = 0;
  uint64_t requests = 0;
  uint64_t bytes = 0;
  double seconds = 0;
  double own_cpu = 0;
  double broker_cpu = 0;
  uint64_t broker_switches = 0;
};

// Measures from its construction to stop().
class Meter {
 public:
  explicit Meter(int broker_pid)
      : pid_(broker_pid),
        switches_(pid_ > 0 ? switches_of(pid_) : 0),
        began_(now_s()),
        own_(own_cpu_s()),
        broker_(broker()) {}

  void stop(Result* result) const {
    result->seconds = now_s() - began_;
    result->own_cpu = own_cpu_s() - own_;
    result->broker_cpu = broker() - broker_;
    if (pid_ > 0) result->broker_switches = switches_of(pid_) - switches_;
  }
  double began() const { return began_; }

 private:
  double broker() const { return pid_ > 0 ? cpu_of_s(pid_) : 0; }

  int pid_;
  uint64_t switches_;
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
  int partitions_per_request = 1;
  int bare_partitions = 0;
  int max_wait_ms = 500;
  std::string codec = "none";
  bool idempotent = false;
  bool keyed = false;
  bool stamped = false;
  bool follow = false;
  bool verify = false;
  int create_partitions = 0;
  int broker_pid = 0;
  std::vector<std::pair<std::string, std::string>> configs;
};

// `cluster` is null where a bare server stands in for the broker.
Result produce(const Options& options, Cluster* cluster, const Topic& topic);
Result fetch(const Options& options, Cluster* cluster, const Topic& topic);

}  // namespace load
