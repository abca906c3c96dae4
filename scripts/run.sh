#!/usr/bin/env bash
# run.sh [ARGS...]: installs what is missing, builds, and serves Kafka on localhost:9092 from ./odradek-data.
# Arguments go to `odradek server`.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
binary=$("$root/scripts/build.sh" release | tail -n 1)
say "For other terminals: export PATH=\"$(dirname "$binary"):\$PATH\""
exec "$binary" server "$@"
