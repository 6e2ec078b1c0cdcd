#!/usr/bin/env bash
# run.sh [full ... | accuracy ... | ../tests/golden/sweep ...]: bench/full.py, bench/accuracy.py or the sweeps instead.
# Every figure beside its peer, in one run: a line `NAME ours peer ratio min max`, and build/bench.json.
#   BENCH_REPEATS=5  BENCH_ONLY=loader-224,views-batch16-20steps  BENCH_IMAGES=DIR (photographs; without it made ones)
# FFCV names a Python with ffcv, whose loader is then measured, too (bench/peers/loader_ffcv.py).
# PEERS names a Python with the packages of bench/requirements.txt; without it one is made in .deps/peers (5 GB).
set -euo pipefail
cd "$(dirname "$0")/.."
peers=${PEERS:-.deps/peers/bin/python}
if [ -z "${PEERS:-}" ] && ! cmp -s bench/requirements.txt .deps/peers.stamp; then
  echo "installing the peers into .deps/peers (5 GB)" >&2
  python3 -m venv .deps/peers
  "$peers" -m pip install --quiet --disable-pip-version-check -r bench/requirements.txt
  cp bench/requirements.txt .deps/peers.stamp
fi
exec "$peers" "bench/${1:-bench}.py" "${@:2}"
