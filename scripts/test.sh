#!/usr/bin/env bash
# test.sh: installs what is missing, builds release and, while suites wait, asan+ubsan, and runs the normal suite:
# house rules, unit and golden tests, the simulator, a real process under real clients, kill -9, the command line.
# The last line is `N passed, N failed`; logs of every step lie in build/test-logs/.
#   test.sh quick     only the release build and what needs no client
#   test.sh tsan      the core under ThreadSanitizer
# The long suites have commands of their own: tests/README.md.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
mode=${1:-all}
install_missing "$build_packages $test_packages"
case $mode in
  all | quick) preset=release ;;
  tsan) preset=tsan ;;
  *) die "test.sh takes quick, tsan or nothing, not '$mode'" ;;
esac
say "Building $preset"
build $preset
cd "$root"
exec python3 tests/suite.py "$mode"
