#!/usr/bin/env bash
# Makes sure that everything the build needs is here, and installs what is missing: Debian packages by name (as root or
# through sudo), LibTorch from the PyPI wheel into .deps/. Run twice it does nothing the second time.
#   tools/deps.sh [--extra "PACKAGE ..."]
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {  # what where try
  printf 'error: %s\nwhere: %s\ntry: %s\n' "$1" "$2" "$3" >&2
  exit 1
}

packages=$(grep -v '^#' cmake/packages.txt | tr '\n' ' ')
[ "${1:-}" = --extra ] && packages="$packages $2"

# What of the packages apt can install: all but the headers of gloo where there is no package of them.
known() {
  known=()
  for package in "$@"; do
    if [ "$package" = libgloo-dev ] && ! apt-cache show libgloo-dev >/dev/null 2>&1; then
      mkdir -p .deps && touch .deps/without-gloo
    else
      known+=("$package")
    fi
  done
}

missing=()
if command -v dpkg-query >/dev/null; then
  for package in $packages; do
    [ "$package" = libtomlplusplus-dev ] && [ -d .deps/tomlplusplus ] && continue
    [ "$package" = libgloo-dev ] && [ -f .deps/without-gloo ] && continue
    # A package that another one provides (libjpeg-dev by libjpeg62-turbo-dev) counts as well.
    dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
  done
  # Without the headers of gloo the program pretrains in one process; who cannot look for a package of them does without.
  if [ "${missing[*]}" = libgloo-dev ] && [ "$(id -u)" != 0 ] && ! apt-cache show libgloo-dev >/dev/null 2>&1; then
    missing=()
    mkdir -p .deps && touch .deps/without-gloo
  fi
  # Ubuntu 22.04 has no package of toml++; a source package on PyPI carries the same version.
  if [[ " ${missing[*]} " == *" libtomlplusplus-dev "* ]] && [ "$(. /etc/os-release; echo "$ID $VERSION_ID")" = "ubuntu 22.04" ]; then
    missing=("${missing[@]/libtomlplusplus-dev/}")
    missing=($(echo "${missing[@]}"))  # without the empty element
    fetch_toml=yes
  fi
  if [ ${#missing[@]} -gt 0 ]; then
    line="apt-get install -y ${missing[*]}"
    if [ "$(id -u)" = 0 ]; then
      as_root=""
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
      as_root="sudo"
    else
      # A package that apt does not know would end the whole command.
      if apt-cache show cmake >/dev/null 2>&1 && ! apt-cache show libgloo-dev >/dev/null 2>&1; then line=${line/ libgloo-dev/}; fi
      fail "packages are missing: ${missing[*]}" "this machine, without root rights" "sudo apt-get update && sudo $line"
    fi
    echo "installing ${#missing[@]} packages: ${missing[*]}"
    log=$(mktemp)
    if ! { $as_root apt-get -o DPkg::Lock::Timeout=300 update -qq && known "${missing[@]}" && $as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${known[@]}"; } >"$log" 2>&1; then
      tail -5 "$log" >&2
      fail "packages could not be installed: ${missing[*]}" "apt-get, whole output in $log" "apt-get update && $line"
    fi
    rm -f "$log"
  fi
fi

need_pip() { python3 -m pip --version >/dev/null 2>&1 || fail "python3 has no pip" "this machine" "apt-get install -y python3-pip"; }

if [ "${fetch_toml:-}" = yes ]; then
  need_pip
  echo "fetching toml++ into .deps/"
  rm -rf .deps/tomlplusplus.part
  mkdir -p .deps/tomlplusplus.part
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-binary=:all: --require-hashes -r cmake/tomlplusplus.txt \
    --dest .deps/tomlplusplus.part &&
    tar -xzf .deps/tomlplusplus.part/*.tar.gz -C .deps/tomlplusplus.part --strip-components=3 --wildcards '*/third_party/tomlplusplus/*' ||
    fail "toml++ could not be fetched" "pip, cmake/tomlplusplus.txt" "check the network and run the same command again"
  mv .deps/tomlplusplus.part .deps/tomlplusplus
fi

# The build keeps the TORCH_ROOT that it was made with until another is given. With --extra another folder is built in.
given="" advice="or unset it"
if [ -z "${TORCH_ROOT:-}" ] && [ "${1:-}" != --extra ] && [ -f build/CMakeCache.txt ]; then
  kept=$(sed -n 's/^TORCH_ROOT:PATH=//p' build/CMakeCache.txt)
  if [ -n "$kept" ] && [ "$kept" != "$(pwd -P)/.deps/libtorch/torch" ]; then
    TORCH_ROOT=$kept given=", kept in build/CMakeCache.txt" advice="or begin anew with \`make clean\`"
  fi
fi
torch_root=${TORCH_ROOT:-.deps/libtorch/torch}
if [ -n "${TORCH_ROOT:-}" ]; then
  [ -f "$torch_root/lib/libtorch_cpu.so" ] || fail "no LibTorch there" "TORCH_ROOT=$torch_root$given" \
    "point TORCH_ROOT to the torch folder of a PyTorch 2.11, $advice"
  exit 0
fi
stamp=.deps/libtorch.stamp
if ! cmp -s cmake/libtorch.txt "$stamp" || [ ! -f "$torch_root/lib/libtorch_cpu.so" ]; then
  need_pip
  echo "fetching LibTorch (530 MB) into .deps/"
  rm -rf "$stamp" .deps/libtorch .deps/libtorch.part
  mkdir -p .deps
  # Explicit platform and Python version: the same wheel, and so the same hash, on every machine.
  platforms=""
  for tag in 2_28 2_27 2_26 2_25 2_24 2_17; do platforms="$platforms --platform manylinux_${tag}_x86_64"; done
  # shellcheck disable=SC2086
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --only-binary=:all: \
    $platforms --platform manylinux2014_x86_64 --python-version 3.11 --implementation cp --abi cp311 --abi none \
    --require-hashes -r cmake/libtorch.txt --target .deps/libtorch.part ||
    fail "LibTorch could not be fetched" "pip, cmake/libtorch.txt" "check the network and run the same command again, or set TORCH_ROOT"
  mv .deps/libtorch.part .deps/libtorch
  cp cmake/libtorch.txt "$stamp"
fi
