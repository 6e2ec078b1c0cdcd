#!/usr/bin/env bash
# fuzz/run.sh SECONDS [NAME ...]: runs each fuzzer that long, on all cores, from its corpus. Exit code 1 on a finding.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=$1
shift
cmake --preset fuzz >/dev/null
cmake --build build-fuzz
mkdir -p build-fuzz/findings build-fuzz/corpus
names=("$@")
[ ${#names[@]} -gt 0 ] || names=($(cd fuzz && ls ./*_fuzz.cc | sed 's|./||; s|_fuzz.cc||'))
status=0
for name in "${names[@]}"; do
  mkdir -p "build-fuzz/corpus/$name"
  echo "== $name, $seconds s"
  "build-fuzz/bin/${name}_fuzz" -max_total_time="$seconds" -rss_limit_mb=1024 -timeout=10 -max_len=65536 -print_final_stats=1 \
    -artifact_prefix="build-fuzz/findings/$name-" "build-fuzz/corpus/$name" "fuzz/corpus/$name" 2>"build-fuzz/$name.log" ||
    { status=1; tail -30 "build-fuzz/$name.log"; }
  grep -E 'stat::(number_of_executed_units|peak_rss_mb)' "build-fuzz/$name.log" || true
done
exit $status
