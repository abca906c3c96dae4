#!/usr/bin/env bash
# counts.sh [ROW...] | --write | --canary | --where ROW
# What the broker does for a request, in counts that do not depend on the machine: system calls, allocations, copies,
# context switches, bytes on disk, syncs. Fails when one is worse than counts.json says; see counts.py. Needs the release
# build and strace.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../scripts/lib.sh"
install_missing strace
out=$root/build/tests/bin
mkdir -p "$out"
compiler=${CXX:-$(command -v clang++-19 || command -v c++)}
"$compiler" -O2 -std=c++20 -fno-builtin -fPIC -shared -Wall -Wextra -Werror "$here/counts_preload.cc" \
  -o "$out/counts_preload.so"
exec python3 -B "$here/counts.py" "$@"
