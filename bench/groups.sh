#!/usr/bin/env bash
# groups.sh [--rounds 2] [--seconds 4] [--markdown docs/performance.md] [--csv FILE] [--only apache|odradek] [pauses|commits]
# How long consumer groups stand still, and what offset commits cost, Odradek beside Apache Kafka in one run; see groups.py.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../tests/tools/packages.sh"
exec python3 "$here/groups.py" "$@"
