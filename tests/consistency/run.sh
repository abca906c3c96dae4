#!/usr/bin/env bash
# run.sh [...]: real clients, faults and the consistency checker; see consistency.py. The checker's own test goes first.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../tools/packages.sh"
python3 -B "$here/checker_test.py" | tail -1 >&2
exec "$(python3 "$here/../tools/python_clients.py")" -B "$here/consistency.py" "$@"
