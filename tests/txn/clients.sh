#!/usr/bin/env bash
# clients.sh [...]: transactions of real clients, and Apache's tools, against brokers that come and go; see clients.py.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../tools/packages.sh"
exec "$(python3 "$here/../tools/python_clients.py")" "$here/clients.py" "$@"
