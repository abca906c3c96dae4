// odradek_sim --seed N --seeds M [--verbose]: runs the scenarios of src/sim for M seeds from N on.
//
// Prints a line for each failing seed with its reason and the node's last log lines, and at the end
// `passed, failed`. A failure replays with `--seed` and the seed that was printed.
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "sim/scenarios/power_loss.h"

namespace {

struct Arguments {
  uint64_t seed = 1;
  uint64_t seeds = 20;
  bool verbose = false;
};

bool parse(int argc, char** argv, Arguments& arguments) {
  for (int i = 1; i < argc; i++) {
    const std::string_view name = argv[i];
    if (name == "--verbose") {
      arguments.verbose = true;
    } else if (i + 1 < argc && (name == "--seed" || name == "--seeds")) {
      const uint64_t value = std::strtoull(argv[++i], nullptr, 10);
      (name == "--seed" ? arguments.seed : arguments.seeds) = value;
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  if (!parse(argc, argv, arguments)) {
    fmt::print(stderr, "usage: odradek_sim [--seed N] [--seeds M] [--verbose]\n");
    return 2;
  }
  uint64_t failed = 0, acked = 0, interruptions = 0, disk_troubles = 0, refused = 0;
  int64_t virtual_ms = 0;
  const auto started = std::chrono::steady_clock::now();
  for (uint64_t i = 0; i < arguments.seeds; i++) {
    const uint64_t seed = arguments.seed + i;
    // Every fourth seed has bits that flip.
    const auto outcome = odradek::sim::run_power_loss(
        {.seed = seed, .rot = seed % 4 == 0, .verbose = arguments.verbose});
    acked += outcome.acked;
    virtual_ms += outcome.virtual_ms;
    interruptions +=
        static_cast<uint64_t>(outcome.power_losses + outcome.kills + outcome.clean_stops);
    disk_troubles += static_cast<uint64_t>(outcome.io_failures + outcome.full_disks);
    refused += outcome.refused ? 1 : 0;
    if (!outcome.failure) continue;
    failed++;
    for (const std::string& line : outcome.log) fmt::print("  {}\n", line);
    fmt::print("seed {}: {} (trace {:016x}); replay: odradek_sim --seed {} --seeds 1 --verbose\n",
               seed, *outcome.failure, outcome.trace_hash, seed);
    std::fflush(stdout);
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - started;
  fmt::print(
      "{} records acknowledged, {} interruptions, {} failing or full disks, {} ends over "
      "flipped bits, {:.0f} s of virtual time in {:.1f} s\n",
      acked, interruptions, disk_troubles, refused, static_cast<double>(virtual_ms) / 1e3,
      took.count());
  fmt::print("{} passed, {} failed\n", arguments.seeds - failed, failed);
  return failed == 0 ? 0 : 1;
}
