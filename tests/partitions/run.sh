#!/usr/bin/env bash
# run.sh [--partitions 1000] [--port 21500]: a node with many partitions; see partitions_test.py.
set -euo pipefail
exec python3 "$(dirname "$0")/partitions_test.py" "$@"
