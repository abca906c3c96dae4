// odradek_sim [--seed N] [--seeds M] [--jobs J] [--verbose]: runs the scenarios of src/sim for M
// seeds from N on, J at a time.
//
// Prints a line for each failing seed with its reason and the node's last log lines, and at the end
// `passed, failed`. A failure replays with `--seed` and the seed that was printed.
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string_view>
#include <thread>

#include "sim/scenarios/power_loss.h"

namespace {

// A node that lost its power is abandoned, not destroyed, so a seed leaks some MiB: few run in one
// process.
constexpr uint64_t kSeedsPerProcess = 25;

struct Arguments {
  uint64_t seed = 1;
  uint64_t seeds = 20;
  uint64_t jobs = std::max(1u, std::thread::hardware_concurrency());
  bool verbose = false;
};

bool parse(int argc, char** argv, Arguments& arguments) {
  for (int i = 1; i < argc; i++) {
    const std::string_view name = argv[i];
    if (name == "--verbose") {
      arguments.verbose = true;
    } else if (i + 1 < argc && (name == "--seed" || name == "--seeds" || name == "--jobs")) {
      const uint64_t value = std::strtoull(argv[++i], nullptr, 10);
      (name == "--seed"    ? arguments.seed
       : name == "--seeds" ? arguments.seeds
                           : arguments.jobs) = value;
    } else {
      return false;
    }
  }
  return arguments.jobs > 0;
}

/// What the seeds of one process came to; its bytes go through a pipe.
struct Totals {
  uint64_t passed = 0, failed = 0;
  uint64_t acked = 0, interruptions = 0, disk_troubles = 0, refused = 0;
  int64_t virtual_ms = 0;

  void add(const Totals& more) {
    passed += more.passed;
    failed += more.failed;
    acked += more.acked;
    interruptions += more.interruptions;
    disk_troubles += more.disk_troubles;
    refused += more.refused;
    virtual_ms += more.virtual_ms;
  }
};

Totals run(uint64_t first, uint64_t count, bool verbose) {
  Totals totals;
  for (uint64_t seed = first; seed < first + count; seed++) {
    // Every fourth seed has bits that flip.
    const auto outcome =
        odradek::sim::run_power_loss({.seed = seed, .rot = seed % 4 == 0, .verbose = verbose});
    totals.acked += outcome.acked;
    totals.virtual_ms += outcome.virtual_ms;
    totals.interruptions +=
        static_cast<uint64_t>(outcome.power_losses + outcome.kills + outcome.clean_stops);
    totals.disk_troubles += static_cast<uint64_t>(outcome.io_failures + outcome.full_disks);
    totals.refused += outcome.refused ? 1 : 0;
    (outcome.failure ? totals.failed : totals.passed)++;
    if (!outcome.failure) continue;
    std::string text;
    for (const std::string& line : outcome.log) text += fmt::format("  {}\n", line);
    text += fmt::format(
        "seed {}: {} (trace {:016x}); replay: odradek_sim --seed {} --seeds 1 --verbose\n", seed,
        *outcome.failure, outcome.trace_hash, seed);
    std::fputs(text.c_str(), stdout);
    std::fflush(stdout);
  }
  return totals;
}

/// A process that runs some seeds.
struct Child {
  uint64_t first;
  uint64_t count;
  int result;  // the reading end of its pipe
};

std::pair<pid_t, Child> start(uint64_t first, uint64_t count, bool verbose) {
  int ends[2];
  if (::pipe(ends) != 0) std::abort();
  const pid_t pid = ::fork();
  if (pid < 0) std::abort();
  if (pid == 0) {
    ::close(ends[0]);
    const Totals totals = run(first, count, verbose);
    const bool told = ::write(ends[1], &totals, sizeof totals) == sizeof totals;
    ::_exit(told ? 0 : 1);
  }
  ::close(ends[1]);
  return {pid, {first, count, ends[0]}};
}

/// A process that ended without an answer has crashed in one of its seeds: all count as failed.
Totals collect(const Child& child) {
  Totals totals;
  const bool told = ::read(child.result, &totals, sizeof totals) == sizeof totals;
  ::close(child.result);
  if (told) return totals;
  fmt::print("seeds {} to {}: the process crashed\n", child.first, child.first + child.count - 1);
  return {.failed = child.count};
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  if (!parse(argc, argv, arguments)) {
    fmt::print(stderr, "usage: odradek_sim [--seed N] [--seeds M] [--jobs J] [--verbose]\n");
    return 2;
  }
  const auto started = std::chrono::steady_clock::now();
  Totals all;
  std::map<pid_t, Child> children;
  uint64_t begun = 0;
  while (begun < arguments.seeds || !children.empty()) {
    while (begun < arguments.seeds && children.size() < arguments.jobs) {
      const uint64_t count = std::min(kSeedsPerProcess, arguments.seeds - begun);
      children.insert(start(arguments.seed + begun, count, arguments.verbose));
      begun += count;
    }
    const pid_t ended = ::wait(nullptr);
    const auto child = children.find(ended);
    if (child == children.end()) continue;
    all.add(collect(child->second));
    children.erase(child);
    if (const uint64_t done = all.passed + all.failed; done % 500 < kSeedsPerProcess) {
      fmt::print("{} of {} seeds, {} failed\n", done, arguments.seeds, all.failed);
      std::fflush(stdout);
    }
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - started;
  fmt::print(
      "{} records acknowledged, {} interruptions, {} failing or full disks, {} ends over "
      "flipped bits, {:.0f} s of virtual time in {:.1f} s\n",
      all.acked, all.interruptions, all.disk_troubles, all.refused,
      static_cast<double>(all.virtual_ms) / 1e3, took.count());
  fmt::print("{} passed, {} failed\n", all.passed, all.failed);
  return all.failed == 0 ? 0 : 1;
}
