# Shared by the scripts of this folder: where we are, what must be installed, how to build.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# What a build needs, and what the tests need on top (Debian 12 package names).
build_packages="clang-19 lld-19 cmake ninja-build ccache pkg-config python3
  libboost1.81-dev libboost-json1.81-dev libisal-dev zlib1g-dev libzstd-dev liblz4-dev libsnappy-dev libssl-dev
  libcli11-dev librdkafka-dev libspdlog-dev libfmt-dev libxxhash-dev libre2-dev liburing-dev"
test_packages="libclang-rt-19-dev clang-format-19 libgtest-dev libgmock-dev strace"

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# install_missing PACKAGES: installs those that are not there; asks for root only if something is missing.
install_missing() {
  local missing=() p
  for p in $1; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing+=("$p")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  command -v apt-get >/dev/null || die "need these Debian packages, and there is no apt-get here: ${missing[*]}"
  local sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "need root to install: ${missing[*]}"
    sudo=(sudo)
  fi
  say "Installing ${#missing[@]} packages: ${missing[*]}"
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq update >/dev/null || die "apt-get update failed"
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" \
    >/dev/null || die "apt-get install failed"
}

# build PRESET [TARGET...]: configures and builds into build/PRESET, with the tests (build.sh may have left them out).
build() {
  local preset=$1
  shift
  (cd "$root" && cmake --preset "$preset" -DODRADEK_TESTS=ON >/dev/null && cmake --build "build/$preset" ${1:+--target "$@"})
}
