#!/usr/bin/env bash
# compare.sh [--quick] [--rounds N] [--rows TEXT...] [--out docs] | --steady [MINUTES]
# Odradek beside Apache Kafka in one run on one disk, and what a bare server needs for the same: see compare.py. Installs and
# builds what is missing; ODRADEK is a binary that is there, KAFKA_DIR an Apache Kafka.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../scripts/lib.sh"
needed=""
command -v strace >/dev/null || needed+=" strace"
command -v java >/dev/null || needed+=" default-jre-headless"
[ -n "${KAFKA_DIR:-}" ] || command -v mvn >/dev/null || needed+=" maven"
[ -z "$needed" ] || install_missing "$needed"
[ -n "${ODRADEK:-}" ] || "$root/scripts/build.sh" >&2
"$here/load/build.sh" >/dev/null
"$here/limit/build.sh" >/dev/null
exec python3 -B "$here/compare.py" "$@"
