#!/usr/bin/env bash
# partitions.sh [--rounds 3] [--partitions 1000 5000] [--gigabytes 3] [--markdown docs/performance.md] [--csv FILE]
#               [--only apache|odradek]
# Thousands of partitions and kill -9, Odradek beside Apache Kafka in one run; see partitions.py. Installs and builds what
# is missing.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../tests/tools/packages.sh"
"$here/load/build.sh" >/dev/null
exec python3 "$here/partitions.py" "$@"
