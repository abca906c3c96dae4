#!/usr/bin/env bash
# run.sh [--broker odradek|apache] [--rounds 30] [--seconds 2] [--seed N] [--hand-over]
# kill -9 under load, restart, compare; see crash.py. Installs what is missing.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../tools/packages.sh"
exec "$(python3 "$here/../tools/python_clients.py")" "$here/crash.py" "$@"
