// odradek_damage [--every N] [--only PATH] [--clean | --killed] [--list | --logs]: flips and cuts
// every byte position of a small log directory in turn, after a clean stop and after kill -9, and
// starts a node on each.
//
// Prints for each file how many starts ended how (damage.h), a line for each that is wrong, and at
// the end `N passed, N failed`. --every N takes every N-th position; --list tells of each start
// that was refused, showed a consumer a wrong checksum, or served wrong data that nothing covers;
// --logs adds the node's last lines of each start that did not serve everything.
#include <fmt/format.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "damage/damage.h"

namespace {

using namespace odradek;

char now_at[256] = "";

/// A crash must say where it was.
void on_abort(int) {
  std::fprintf(stderr, "crashed at: %s\n", now_at);
  std::_Exit(1);
}

struct Arguments {
  size_t every = 1;
  std::string_view only;
  bool clean = true, killed = true, list = false, logs = false;
};

struct Totals {
  size_t passed = 0, failed = 0;
};

/// Every byte once with one bit flipped (a different one from byte to byte) and once cut there.
void try_file(const damage::Directory& directory, const char* kind, const std::string& path,
              const Arguments& arguments, size_t& position, Totals& totals) {
  std::array<size_t, damage::kOutcomes> count{};
  const size_t size = directory.files.at(path).size();
  for (size_t at = 0; at < size; at++) {
    for (const bool cut : {false, true}) {
      if (position++ % arguments.every != 0) continue;
      const auto flip = static_cast<uint8_t>(cut ? 0 : 1U << ((at * 5 + 3) % 8));
      // A cut never makes a batch say something else.
      const bool unprotected = !cut && damage::is_unprotected(directory, path, at);
      const std::string where =
          fmt::format("{} {} {} {}", kind, path, cut ? "cut at" : "flip at", at);
      std::snprintf(now_at, sizeof(now_at), "%s", where.c_str());
      const auto trial = damage::try_start(
          directory, {.path = path, .at = at, .flip = flip, .unprotected = unprotected});
      count[static_cast<size_t>(trial.outcome)]++;
      const bool wrong = trial.outcome == damage::Outcome::kWrong;
      (wrong ? totals.failed : totals.passed)++;
      const bool plain =
          trial.outcome == damage::Outcome::kWhole || trial.outcome == damage::Outcome::kLess;
      if (wrong || arguments.logs || (arguments.list && !plain))
        fmt::print("{} {}: {}\n", damage::name(trial.outcome), where, trial.what);
      if (wrong || (arguments.logs && trial.outcome != damage::Outcome::kWhole))
        for (const std::string& line : trial.log) fmt::print("    {}\n", line);
    }
  }
  fmt::print("{} {} ({} bytes):", kind, path, size);
  for (size_t i = 0; i < count.size(); i++)
    if (count[i] != 0)
      fmt::print(" {} {}", count[i], damage::name(static_cast<damage::Outcome>(i)));
  fmt::print("\n");
  std::fflush(stdout);
}

bool parse(int argc, char** argv, Arguments& arguments) {
  for (int i = 1; i < argc; i++) {
    const std::string_view name = argv[i];
    if (name == "--clean") {
      arguments.killed = false;
    } else if (name == "--killed") {
      arguments.clean = false;
    } else if (name == "--list") {
      arguments.list = true;
    } else if (name == "--logs") {
      arguments.list = arguments.logs = true;
    } else if (name == "--every" && i + 1 < argc) {
      arguments.every = std::strtoull(argv[++i], nullptr, 10);
    } else if (name == "--only" && i + 1 < argc) {
      arguments.only = argv[++i];
    } else {
      return false;
    }
  }
  return arguments.every > 0;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  if (!parse(argc, argv, arguments)) {
    fmt::print(
        stderr,
        "usage: odradek_damage [--every N] [--only PATH] [--clean|--killed] [--list|--logs]\n");
    return 2;
  }
  std::signal(SIGABRT, on_abort);
  Totals totals;
  size_t position = 0;
  for (const bool clean : {true, false}) {
    if (clean ? !arguments.clean : !arguments.killed) continue;
    const auto directory = damage::make_directory(clean);
    size_t bytes = 0;
    for (const auto& [path, content] : directory.files) bytes += content.size();
    const char* kind = clean ? "clean" : "killed";
    fmt::print("{}: {} files, {} bytes\n", kind, directory.files.size(), bytes);
    for (const auto& [path, content] : directory.files)
      if (path.find(arguments.only) != std::string::npos)
        try_file(directory, kind, path, arguments, position, totals);
  }
  fmt::print("{} passed, {} failed\n", totals.passed, totals.failed);
  return totals.failed == 0 ? 0 : 1;
}
