#!/usr/bin/env bash
# run.sh [--broker odradek|apache] [SUITE[:CASE]...]: real Kafka clients against a running broker; see run.py.
# Installs what is missing. The broker under test is build/release/odradek, or Apache Kafka as the yardstick.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../tools/packages.sh"
exec python3 "$here/run.py" "$@"
