#!/usr/bin/env bash
# transactions.sh [--rounds 3] [--seconds 15] [--markdown docs/performance.md] [--only apache|odradek]
# Transactions of 100 records, Odradek beside Apache Kafka in one run; see transactions.py.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../tests/tools/packages.sh"
exec python3 "$here/transactions.py" "$@"
