#!/usr/bin/env bash
# build.sh: builds build/tests/bin/rawperf, the load generator.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../../scripts/lib.sh"
install_missing "liblz4-dev libzstd-dev"
out=$root/build/tests/bin
mkdir -p "$out"
compiler=${CXX:-$(command -v clang++-19 || command -v c++)}
"$compiler" -O2 -std=c++20 -msse4.2 -Wall -Wextra -Werror "$here"/*.cc -o "$out/rawperf" -llz4 -lzstd
echo "$out/rawperf"
