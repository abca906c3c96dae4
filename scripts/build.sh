#!/usr/bin/env bash
# build.sh [PRESET]: installs what a build needs and makes build/PRESET/odradek (default: release).
set -euo pipefail
. "$(dirname "$0")/lib.sh"
install_missing "$build_packages"
preset=${1:-release}
(cd "$root" && cmake --preset "$preset" -DODRADEK_TESTS=OFF >/dev/null && cmake --build "build/$preset" --target odradek)
echo "$root/build/$preset/odradek"
