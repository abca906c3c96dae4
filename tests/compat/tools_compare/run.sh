#!/usr/bin/env bash
# run.sh [...]: Apache Kafka's command line tools against Apache Kafka and Odradek, compared; see compare.py.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../../tools/packages.sh"
exec python3 "$here/compare.py" "$@"
