#!/usr/bin/env bash
# Formats all sources, or says with --check which are not formatted. The formatter comes from PyPI into .deps/clang-format.
set -euo pipefail
cd "$(dirname "$0")/.."
place=.deps/clang-format
if ! cmp -s cmake/clang-format.txt "$place/stamp"; then
  rm -rf "$place"
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --only-binary=:all: --require-hashes \
    -r cmake/clang-format.txt --target "$place"
  cp cmake/clang-format.txt "$place/stamp"
fi
how=-i
[ "${1:-}" = --check ] && how="--dry-run --Werror"
# shellcheck disable=SC2086
find cli genview torch_ops tests fuzz \( -name '*.cc' -o -name '*.h' \) -print0 | xargs -0 "$place/clang_format/data/bin/clang-format" $how
