# What the scripts share: where they are, how they speak, and how a machine is made ready.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}

# What a Debian machine needs to build: a C and C++ compiler and libclang for RocksDB.
build_packages=(gcc g++ make pkg-config clang libclang-dev)

say() { printf '==> %s\n' "$*"; }

die() {
    printf 'error: %s\n' "$1" >&2
    [ -z "${2:-}" ] || printf 'hint: %s\n' "$2" >&2
    exit 1
}

# need_cargo: stops unless there is a cargo that is new enough.
need_cargo() {
    local wanted have
    wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$root/Cargo.toml")
    command -v cargo >/dev/null || [ ! -x "$HOME/.cargo/bin/cargo" ] || PATH=$HOME/.cargo/bin:$PATH
    command -v cargo >/dev/null ||
        die "cargo is missing" "install Rust $wanted or newer with rustup (https://rustup.rs)"
    have=$(cargo --version | awk '{ print $2 }')
    printf '%s\n%s\n' "$wanted" "$have" | sort --check=quiet --version-sort ||
        die "cargo is $have, and cachefs needs $wanted" "run: rustup update stable"
}

# install_packages PACKAGE...: installs what is missing, and says what; needs root only for that.
install_packages() {
    local package missing=() as_root=()
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null ||
        die "no apt-get on this machine" "install by hand: ${missing[*]}"
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "installing needs root: ${missing[*]}" \
            "run as root: apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    say "installing: ${missing[*]}"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# use_target_dir: builds outside of the tree, where a fresh clone finds the last build again.
use_target_dir() {
    if [ -z "${CARGO_TARGET_DIR:-}" ] && mkdir -p "$cache/cachefs-build" 2>/dev/null; then
        CARGO_TARGET_DIR=$cache/cachefs-build
    fi
    export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
    say "building in $CARGO_TARGET_DIR"
}
