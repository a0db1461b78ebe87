#!/usr/bin/env bash
# `etcdctl check perf` and `etcdctl check datascale`: what they say of one server and of another, one after the other.
#
#   tests/check.sh CHECK ETCDCTL ENDPOINT              prints what it says of one fresh server
#   tests/check.sh CHECK ETCDCTL EXPECTED ACTUAL       compares what it says of two; fails with the difference
#
# CHECK is `perf` or `datascale`. The first takes two minutes for each server, and the machine to itself. The figures are
# printed, and not compared; that they pass is.
set -uo pipefail

usage="use: $0 CHECK ETCDCTL ENDPOINT [ENDPOINT]"
check=${1:?$usage} etcdctl=${2:?$usage} first=${3:?$usage} second=${4:-}
ttl=2 late_ms=1000
# A check of a small load puts for a minute.
patience_s=150

. "$(dirname "$0")/transcript.sh"

# Runs a check. The figures in what it says are N; those who run the script are shown them.
check() {
  run check "$@" >"$dir/said"
  # What draws how far it is ends in a percentage.
  tr '\r' '\n' <"$dir/said" | sed -E 's#.*\] +[0-9.]+% [^A-Z]*##; s#.*\] [0-9.]+%.*##' | grep . >"$dir/lines"
  { printf '%s\n' "$endpoint" && cat "$dir/lines"; } >"$dir/figures.$((++checks))"
  # Memory may have become less meanwhile.
  sed -E 's#(used : )-#\1#; s#[0-9]+(\.[0-9]+)?(e[-+][0-9]+)?#N#g' "$dir/lines"
}

perf() {
  step "check perf of a small load"
  check perf --load s
  run get --prefix /etcdctl-check-perf/ --count-only --write-out fields | grep Count
  check perf --load=s --prefix /mine/ --auto-compact --auto-defrag
  run get --prefix /mine/ --count-only --write-out fields | grep Count
}

datascale() {
  step "check datascale of a small load"
  check datascale --load s
  check datascale --load=s --prefix /scale/ --auto-compact --auto-defrag
  run get --prefix /scale/ --count-only --write-out fields | grep Count
}

walk() {
  endpoint=$1 checks=0
  "$check"
}

trap 'cat "$work"/*/figures.*; finish' EXIT
transcripts in_turn
