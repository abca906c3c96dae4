#!/usr/bin/env bash
# run.sh [--port 21700] [--keep]: Apache Kafka's directory to Odradek and back; see both_ways.py.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../tools/packages.sh"
exec "$(python3 "$here/../tools/python_clients.py")" "$here/both_ways.py" "$@"
