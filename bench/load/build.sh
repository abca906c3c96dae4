#!/usr/bin/env bash
# build.sh: builds build/tests/bin/rawperf, the load generator. Needs a C++ compiler and nothing else.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$(cd "$here/../.." && pwd)/build/tests/bin
mkdir -p "$out"
compiler=${CXX:-$(command -v clang++-19 || command -v c++)}
"$compiler" -O2 -std=c++20 -msse4.2 -Wall -Wextra -Werror "$here"/*.cc -o "$out/rawperf"
echo "$out/rawperf"
