#!/usr/bin/env bash
# brokers.sh [--topics 24] [--seed 1] [--port 21800] [--keep]: one directory, compacted by both brokers; see brokers.py.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../../tools/packages.sh"
exec "$(python3 "$here/../../tools/python_clients.py")" "$here/brokers.py" "$@"
