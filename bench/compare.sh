#!/usr/bin/env bash
# compare.sh [--quick] [--rounds N] [--rows TEXT...] [--out docs] | --steady [MINUTES]
# Odradek beside Apache Kafka in one run on one disk, and what a bare server needs for the same: see compare.py. Installs and
# builds what is missing.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../tests/tools/packages.sh"
install_missing strace
[ -n "${ODRADEK:-}" ] || "$root/scripts/build.sh" >&2
"$here/load/build.sh" >/dev/null
"$here/limit/build.sh" >/dev/null
exec python3 -B "$here/compare.py" "$@"
