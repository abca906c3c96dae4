#!/usr/bin/env bash
# The command line against a real server: README's commands, errors with their next step, JSON, completion.
set -euo pipefail
exec python3 "$(dirname "$0")/cli_test.py" "${ODRADEK:-$(dirname "$0")/../../build/release/odradek}"
