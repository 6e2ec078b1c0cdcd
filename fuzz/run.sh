#!/usr/bin/env bash
# fuzz/run.sh SECONDS [NAME ...]: runs each fuzzer that long, as many at a time as there are cores, from its corpus, and prints how
# many inputs it ran. What it finds stays in build-fuzz/findings; exit code 1 on a finding.
set -euo pipefail
cd "$(dirname "$0")/.."
export SECONDS_EACH=$1
shift
cmake --preset fuzz >/dev/null
cmake --build build-fuzz
mkdir -p build-fuzz/findings build-fuzz/corpus

fuzz() {
  local name=$1 log=build-fuzz/$1.log status=0
  mkdir -p "build-fuzz/corpus/$name"
  "build-fuzz/bin/${name}_fuzz" -max_total_time="$SECONDS_EACH" -rss_limit_mb=1024 -timeout=10 -max_len=65536 -print_final_stats=1 \
    -artifact_prefix="build-fuzz/findings/$name-" "build-fuzz/corpus/$name" "fuzz/corpus/$name" 2>"$log" || status=1
  local inputs peak
  inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  peak=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")
  echo "$name: ${inputs:-?} inputs in $SECONDS_EACH s, peak ${peak:-?} MB$([ $status = 0 ] || printf ', FINDING')"
  [ $status = 0 ] || tail -30 "$log"
  return $status
}
export -f fuzz

names=("$@")
[ ${#names[@]} -gt 0 ] || names=($(cd fuzz && ls ./*_fuzz.cc | sed 's|./||; s|_fuzz.cc||'))
printf '%s\n' "${names[@]}" | xargs -P "$(nproc)" -I{} bash -c 'fuzz {}' || exit 1
