#!/usr/bin/env bash
# first_table.sh [--rounds 3] [--scale 1.0] [--markdown docs/performance.md] [--csv FILE] [--only apache|odradek]
# Measures Odradek beside Apache Kafka in one run; see first_table.py. Installs and builds what is missing.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../tests/tools/packages.sh"
"$here/load/build.sh" >/dev/null
exec python3 "$here/first_table.py" "$@"
