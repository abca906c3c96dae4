#!/usr/bin/env bash
# run.sh [...]: Kafka Streams with exactly_once_v2 under kill -9; see streams.py.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../tools/packages.sh"
exec "$(python3 "$here/../tools/python_clients.py")" -B "$here/streams.py" "$@"
