#!/usr/bin/env bash
# `etcdctl check perf` and `etcdctl check datascale`: what they say of one server and of another, one after the other.
#
#   tests/check.sh ETCDCTL ENDPOINT              prints what they say of one fresh server
#   tests/check.sh ETCDCTL EXPECTED ACTUAL       compares what they say of two; fails with the difference
#
# It takes more than a minute for each server, and the machine to itself. The figures are printed, and not compared; that
# they pass is.
set -uo pipefail

usage="use: $0 ETCDCTL ENDPOINT [ENDPOINT]"
etcdctl=${1:?$usage} first=${2:?$usage} second=${3:-}
ttl=2 late_ms=1000
# A check of a small load puts for a minute.
patience_s=150

. "$(dirname "$0")/transcript.sh"

# Of what is said: every line but those that draw how far it is, with the figures in it as N.
verdicts() { tr '\r' '\n' | grep -v '%' | grep . | sed -E 's#[0-9]+(\.[0-9]+)?(e[-+][0-9]+)?#N#g'; }

# Runs a check, which is given, and leaves its figures in a file beside the transcripts.
check() {
  run check "$@" >"$dir/said"
  { printf '%s: ' "$endpoint" && tr '\r' '\n' <"$dir/said" | grep -v '%' | grep . && echo; } >>"$work/figures"
  verdicts <"$dir/said"
}

walk() {
  endpoint=$1
  step "check perf of a small load"
  check perf --load s
  run get --prefix /etcdctl-check-perf/ --count-only --write-out fields
  check perf --load=s --prefix /mine/ --auto-compact --auto-defrag
  run get --prefix /mine/ --count-only --write-out fields

  step "check datascale of a small load"
  check datascale --load s
  check datascale --load=s --prefix /scale/ --auto-compact --auto-defrag
  run get --prefix /scale/ --count-only --write-out fields
}

transcripts in_turn
