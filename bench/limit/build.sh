#!/usr/bin/env bash
# build.sh: builds build/tests/bin/limit. Needs a C++ compiler and nothing else.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$(cd "$here/../.." && pwd)/build/tests/bin
mkdir -p "$out"
compiler=${CXX:-$(command -v clang++-19 || command -v c++)}
"$compiler" -O2 -std=c++20 -Wall -Wextra -Werror "$here/limit.cc" -o "$out/limit"
echo "$out/limit"
