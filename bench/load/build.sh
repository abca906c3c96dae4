#!/usr/bin/env bash
# build.sh: builds build/tests/bin/rawperf, the load generator, and rdkafka_load, a load by librdkafka.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../../scripts/lib.sh"
compiler=${CXX:-$(command -v clang++-19 || command -v c++)}
printf '#include <lz4frame.h>\n#include <zstd.h>\n' | "$compiler" -E -x c++ - >/dev/null 2>&1 ||
  install_missing "liblz4-dev libzstd-dev"
printf '#include <librdkafka/rdkafka.h>\n' | "$compiler" -E -x c++ - >/dev/null 2>&1 || install_missing librdkafka-dev
out=$root/build/tests/bin
mkdir -p "$out"
"$compiler" -O2 -std=c++20 -msse4.2 -Wall -Wextra -Werror "$here"/*.cc -o "$out/rawperf" -llz4 -lzstd
"$compiler" -O2 -std=c++20 -Wall -Wextra -Werror "$here/client/rdkafka_load.cc" "$here/cluster.cc" -o "$out/rdkafka_load" -lrdkafka
echo "$out/rawperf"
