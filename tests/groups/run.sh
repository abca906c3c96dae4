#!/usr/bin/env bash
# run.sh [...]: consumer groups of real clients, and Apache's tools, against brokers that come and go; see groups.py.
# run.sh consumer_protocol [...]: the same in the new protocol, and from one to the other; see consumer_protocol.py.
# run.sh explain [...]: lag, and what `odradek explain group` says; see explain.py.
# run.sh connect [...]: Kafka Connect on a broker; see connect.py.
# run.sh load [...]: a start with a million offsets; see load.py.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../tools/packages.sh"
suite=groups
case "${1:-}" in consumer_protocol | explain | connect | load) suite=$1 && shift ;; esac
exec "$(python3 "$here/../tools/python_clients.py")" "$here/$suite.py" "$@"
