// Reads cases from standard input (assignor_testing.h) and tells where our assignors answer
// differently from what the case expects. Ends with one line of how many there were and how long
// the slowest took.
#include <chrono>
#include <iostream>
#include <memory>

#include "machines/group/assignor/assignor_testing.h"

int main() {
  using odradek::machines::group::assignor::testing::Case;
  constexpr int kShown = 3;
  int cases = 0, different = 0;
  std::chrono::steady_clock::duration slowest{};
  auto one = std::make_unique<Case>();
  for (std::string line; std::getline(std::cin, line);) {
    if (!one->read(line)) continue;
    cases++;
    const auto start = std::chrono::steady_clock::now();
    one->target();
    slowest = std::max(slowest, std::chrono::steady_clock::now() - start);
    if (const std::string ours = one->records(); ours != one->expected() && different++ < kShown)
      std::cout << one->head() << "\nApache:\n" << one->expected() << "ours:\n" << ours << "\n";
    one = std::make_unique<Case>();
  }
  std::cout << cases << " cases, " << different << " different, the slowest in "
            << std::chrono::duration_cast<std::chrono::microseconds>(slowest).count() << " us\n";
  return cases == 0 || different != 0;
}
