// odradek_sim [--scenario power-loss|groups|transactions] [--seed N] [--seeds M] [--jobs J]
// [--stop] [--verbose] [--histories DIR]: runs a scenario of src/sim for M seeds from N on, J at a
// time; with --stop no more once one has failed. The histories of transactions go to
// DIR/SEED.jsonl, for tests/consistency/checker.py: see transactions.py.
//
// Prints a line for each failing seed with its reason and the node's last log lines, and at the end
// `passed, failed`. A failure replays with `--seed` and the seed that was printed.
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <thread>

#include "sim/scenarios/groups.h"
#include "sim/scenarios/power_loss.h"
#include "sim/scenarios/transactions.h"

namespace {

using odradek::sim::Interruptions;

// A node that lost its power is abandoned, not destroyed, so a seed leaks some MiB: few run in one
// process.
constexpr uint64_t kSeedsPerProcess = 25;

enum class Scenario { kPowerLoss, kGroups, kTransactions };
constexpr std::string_view kNames[] = {"power-loss", "groups", "transactions"};

struct Arguments {
  Scenario scenario = Scenario::kPowerLoss;
  uint64_t seed = 1;
  uint64_t seeds = 20;
  uint64_t jobs = std::max(1u, std::thread::hardware_concurrency());
  bool stop = false;
  bool verbose = false;
  std::string histories;  // a directory; empty: none are kept
};

bool parse(int argc, char** argv, Arguments& arguments) {
  for (int i = 1; i < argc; i++) {
    const std::string_view name = argv[i];
    if (name == "--verbose") {
      arguments.verbose = true;
    } else if (name == "--stop") {
      arguments.stop = true;
    } else if (i + 1 < argc && name == "--scenario") {
      const auto at = std::ranges::find(kNames, std::string_view(argv[++i]));
      if (at == std::end(kNames)) return false;
      arguments.scenario = static_cast<Scenario>(at - std::begin(kNames));
    } else if (i + 1 < argc && name == "--histories") {
      arguments.histories = argv[++i];
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

/// What the scenarios count, in the order of their lines.
enum Count {
  kInterruptions,  // of the broker
  kDiskTroubles,
  kVirtualMs,
  kAcked,
  kRefused,  // ends over flipped bits
  kMembers,
  kCrashes,
  kFenced,
  kGenerations,
  kCommits,
  kRefusedCommits,
  kReads,
  kConsumed,
  kProcesses,
  kOperations,
  kCommitted,  // transactions
  kAborted,
  kUnknown,
  kWritten,  // values of operations
  kReadValues,
  kCounts
};

/// What the seeds of one process came to; its bytes go through a pipe.
struct Totals {
  uint64_t passed = 0, failed = 0;
  std::array<uint64_t, kCounts> counts{};

  void add(const Totals& more) {
    passed += more.passed;
    failed += more.failed;
    for (size_t i = 0; i < counts.size(); i++) counts[i] += more.counts[i];
  }
  void add(const Interruptions& i) {
    counts[kInterruptions] += static_cast<uint64_t>(i.power_losses + i.kills + i.clean_stops);
    counts[kDiskTroubles] += static_cast<uint64_t>(i.io_failures + i.full_disks);
  }
};

/// Prints why a seed has failed, if it has; and counts it.
template <class Outcome>
void judge(const Arguments& arguments, uint64_t seed, const Outcome& outcome, Totals& totals) {
  totals.add(outcome.interruptions);
  totals.counts[kVirtualMs] += static_cast<uint64_t>(outcome.virtual_ms);
  (outcome.failure ? totals.failed : totals.passed)++;
  if (!outcome.failure) return;
  std::string text;
  for (const std::string& line : outcome.log) text += fmt::format("  {}\n", line);
  text += fmt::format(
      "seed {}: {} (trace {:016x}); replay: odradek_sim --scenario {} --seed {} --seeds 1 "
      "--verbose\n",
      seed, *outcome.failure, outcome.trace_hash, kNames[static_cast<size_t>(arguments.scenario)],
      seed);
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

void run_power_loss(const Arguments& arguments, uint64_t seed, Totals& totals) {
  // Every fourth seed has bits that flip.
  const auto outcome = odradek::sim::run_power_loss(
      {.seed = seed, .rot = seed % 4 == 0, .verbose = arguments.verbose});
  totals.counts[kAcked] += outcome.acked;
  totals.counts[kRefused] += outcome.refused ? 1 : 0;
  judge(arguments, seed, outcome, totals);
}

void run_groups(const Arguments& arguments, uint64_t seed, Totals& totals) {
  const auto outcome = odradek::sim::run_groups({.seed = seed, .verbose = arguments.verbose});
  totals.counts[kMembers] += outcome.members;
  totals.counts[kCrashes] += outcome.crashes;
  totals.counts[kFenced] += outcome.fenced;
  totals.counts[kGenerations] += outcome.counts.generations;
  totals.counts[kCommits] += outcome.counts.accepted;
  totals.counts[kRefusedCommits] += outcome.counts.refused;
  totals.counts[kReads] += outcome.counts.reads;
  totals.counts[kConsumed] += outcome.counts.consumed;
  judge(arguments, seed, outcome, totals);
}

void keep(const std::string& path, const std::string& text) {
  std::FILE* file = std::fopen(path.c_str(), "w");
  if (file == nullptr || std::fwrite(text.data(), 1, text.size(), file) != text.size() ||
      std::fclose(file) != 0) {
    fmt::print(stderr, "{} cannot be written\n", path);
    std::abort();
  }
}

void run_transactions(const Arguments& arguments, uint64_t seed, Totals& totals) {
  const auto outcome = odradek::sim::run_transactions({.seed = seed, .verbose = arguments.verbose});
  if (!arguments.histories.empty())
    keep(fmt::format("{}/{}.jsonl", arguments.histories, seed), outcome.history);
  totals.counts[kProcesses] += outcome.processes;
  totals.counts[kCrashes] += outcome.crashes;
  totals.counts[kFenced] += outcome.fenced;
  totals.counts[kOperations] += outcome.counts.operations;
  totals.counts[kCommitted] += outcome.counts.committed;
  totals.counts[kAborted] += outcome.counts.aborted;
  totals.counts[kUnknown] += outcome.counts.unknown;
  totals.counts[kWritten] += outcome.counts.written;
  totals.counts[kReadValues] += outcome.counts.read;
  judge(arguments, seed, outcome, totals);
}

Totals run(const Arguments& arguments, uint64_t first, uint64_t count) {
  Totals totals;
  for (uint64_t seed = first; seed < first + count; seed++) {
    switch (arguments.scenario) {
      case Scenario::kPowerLoss:
        run_power_loss(arguments, seed, totals);
        break;
      case Scenario::kGroups:
        run_groups(arguments, seed, totals);
        break;
      case Scenario::kTransactions:
        run_transactions(arguments, seed, totals);
        break;
    }
    if (arguments.stop && totals.failed != 0) break;
  }
  return totals;
}

/// A process that runs some seeds.
struct Child {
  uint64_t first;
  uint64_t count;
  int result;  // the reading end of its pipe
};

std::pair<pid_t, Child> start(const Arguments& arguments, uint64_t first, uint64_t count) {
  int ends[2];
  if (::pipe(ends) != 0) std::abort();
  const pid_t pid = ::fork();
  if (pid < 0) std::abort();
  if (pid == 0) {
    ::close(ends[0]);
    const Totals totals = run(arguments, first, count);
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

Totals run_all(const Arguments& arguments) {
  Totals all;
  std::map<pid_t, Child> children;
  uint64_t begun = 0;
  const auto more = [&] { return begun < arguments.seeds && !(arguments.stop && all.failed != 0); };
  while (more() || !children.empty()) {
    while (more() && children.size() < arguments.jobs) {
      const uint64_t count = std::min(kSeedsPerProcess, arguments.seeds - begun);
      children.insert(start(arguments, arguments.seed + begun, count));
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
  return all;
}

void print(const Arguments& arguments, const Totals& all, double seconds) {
  const auto& n = all.counts;
  if (arguments.scenario == Scenario::kPowerLoss) {
    fmt::print("{} records acknowledged, {} ends over flipped bits, ", n[kAcked], n[kRefused]);
  } else if (arguments.scenario == Scenario::kTransactions) {
    fmt::print(
        "{} operations of {} processes, {} of them crashed and {} fenced; {} transactions "
        "committed, {} aborted, {} unknown; {} values written, {} read; ",
        n[kOperations], n[kProcesses], n[kCrashes], n[kFenced], n[kCommitted], n[kAborted],
        n[kUnknown], n[kWritten], n[kReadValues]);
  } else {
    fmt::print(
        "{} members, {} of them crashed and {} fenced; {} generations; {} commits, {} more "
        "refused; {} committed offsets read; {} records consumed; ",
        n[kMembers], n[kCrashes], n[kFenced], n[kGenerations], n[kCommits], n[kRefusedCommits],
        n[kReads], n[kConsumed]);
  }
  fmt::print(
      "{} interruptions, {} failing or full disks, {:.0f} s of virtual time in {:.1f} s\n"
      "{} passed, {} failed\n",
      n[kInterruptions], n[kDiskTroubles], static_cast<double>(n[kVirtualMs]) / 1e3, seconds,
      all.passed, all.failed);
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  if (!parse(argc, argv, arguments)) {
    fmt::print(stderr,
               "usage: odradek_sim [--scenario power-loss|groups|transactions] [--seed N] "
               "[--seeds M] [--jobs J] [--stop] [--verbose] [--histories DIR]\n");
    return 2;
  }
  const auto started = std::chrono::steady_clock::now();
  const Totals all = run_all(arguments);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - started;
  print(arguments, all, took.count());
  return all.failed == 0 ? 0 : 1;
}
