#!/usr/bin/env bash
# run.sh [--long] [CASE...]: several log directories against a running broker; see dirs.py. Installs what is missing.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../tools/packages.sh"
exec "$(python3 "$here/../tools/python_clients.py")" "$here/dirs.py" "$@"
