# Installs the Debian packages that the suites with real clients need; for `.` from their run scripts.
. "$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/scripts/lib.sh"
needed="kcat"
python3 -c 'import ensurepip, venv' 2>/dev/null || needed+=" python3-venv"
command -v javac >/dev/null || needed+=" default-jdk-headless"
command -v mvn >/dev/null || needed+=" maven"
command -v go >/dev/null || needed+=" golang-go"
install_missing "$needed"
