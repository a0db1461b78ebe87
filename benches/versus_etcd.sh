#!/usr/bin/env bash
# Lodemark and a real etcd, side by side on this machine.
#
#   benches/versus_etcd.sh requests LODEMARK [REFERENCE]   puts and gets: rate and server CPU of each
#   benches/versus_etcd.sh restart  LODEMARK [REFERENCE]   a million keys: time to the first read after a start, memory then
#   benches/versus_etcd.sh space    LODEMARK [REFERENCE]   a million old revisions compacted, then the file defragmented,
#                                                          each beside 1000 puts a second, which are measured alone first
#
# LODEMARK is a binary of `cargo build --profile dist`, REFERENCE a folder with etcd, etcdctl and etcd's own load generator
# `benchmark` (or LODEMARK_REFERENCE_BIN). Each server has its default durability, both use the same disk (TMPDIR) and the
# same load. Rounds are interleaved, each with a new data folder; the ratios are of medians. Client and server share the
# cores, so CPU per request says more than the rate: it hardly depends on what else the machine does.
#
# ROUNDS (5), REQUESTS (100000), KEYS (1000000), BUSY (0): so many endless loops run beside what `space` measures, as other
# work does on a machine that is shared. Another etcd as LODEMARK shows how much a ratio means: it should be 1.
set -euo pipefail

usage="use: $0 requests|restart|space LODEMARK [REFERENCE]"
mode=${1:?$usage} lodemark=${2:?$usage} reference=${3:-${LODEMARK_REFERENCE_BIN:?$usage}}
rounds=${ROUNDS:-5} requests=${REQUESTS:-100000} keys=${KEYS:-1000000}
busy=${BUSY:-0}
# How long a server may take to serve or to stop, and a load to end.
patience_s=120 load_s=900

for program in "$lodemark" "$reference"/{etcd,etcdctl,benchmark}; do
  [ -x "$program" ] || { echo "$0: no program $program" >&2; exit 2; }
done

work=$(mktemp -d)
server=
loops=()
finish() {
  be_idle
  [ -z "$server" ] || kill -9 "$server" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT

be_busy() {
  local _
  for _ in $(seq "$busy"); do
    while :; do :; done &
    loops+=($!)
  done
}

be_idle() {
  [ ${#loops[@]} -eq 0 ] || kill "${loops[@]}" 2>/dev/null || true
  loops=()
}

port=$((20000 + $$ % 5000 * 2))
endpoint=http://127.0.0.1:$port
ticks=$(getconf CLK_TCK)

now_us() { echo "${EPOCHREALTIME/[^0-9]/}"; }

# Starts $1 on the folder $2. Sets $server.
start() {
  local program=$1 folder=$2 peer=http://127.0.0.1:$((port + 1))
  "$program" --name m1 --data-dir "$folder" --listen-client-urls "$endpoint" --advertise-client-urls "$endpoint" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "m1=$peer" \
    >>"$work/log" 2>&1 &
  server=$!
}

# Waits until a linearizable read of $1 is answered. Asks only once the port is open, since etcdctl is slow to try again.
serves() {
  local deadline=$((SECONDS + patience_s))
  until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
    kill -0 "$server" 2>/dev/null || { echo "the server ended:" >&2; tail "$work/log" >&2; exit 1; }
    [ $SECONDS -lt $deadline ] || { echo "the server does not listen" >&2; exit 1; }
    sleep 0.002
  done
  until ctl get "$1" >/dev/null 2>&1; do
    [ $SECONDS -lt $deadline ] || { echo "the server does not serve" >&2; exit 1; }
  done
}

ctl() { timeout "$patience_s" "$reference/etcdctl" --endpoints "$endpoint" --command-timeout "${patience_s}s" "$@"; }

stop() {
  kill -TERM "$server"
  wait "$server" 2>/dev/null || true
  server=
}

# CPU of the server so far, in microseconds.
cpu_us() {
  local fields
  # After the name, which may hold spaces; utime and stime are fields 14 and 15 of the whole line.
  fields=$(sed 's/.*) //' "/proc/$server/stat")
  awk -v ticks="$ticks" '{ printf "%d\n", ($12 + $13) * 1000000 / ticks }' <<<"$fields"
}

# Runs `benchmark` with the given arguments; notes the rate, CPU per request, and two latencies of $1 for the server $2.
load() {
  local what=$1 who=$2 total=$3 before after
  shift 3
  before=$(cpu_us)
  timeout "$load_s" "$reference/benchmark" --endpoints "$endpoint" "$@" --total="$total" >"$work/out" 2>&1 ||
    { tail "$work/out" >&2; exit 1; }
  after=$(cpu_us)
  if grep -q 'Error distribution' "$work/out"; then
    sed -n '/Error distribution/,$p' "$work/out" >&2
    exit 1
  fi
  note "$what: CPU per request, us" "$who" "$(awk -v t=$((after - before)) -v n="$total" 'BEGIN { print t / n }')"
  note "$what: requests/s" "$who" "$(awk '/Requests\/sec/ { print $2 }' "$work/out")"
  note "$what: p50, ms" "$who" "$(awk '/ 50% in/ { print $3 * 1000 }' "$work/out")"
  note "$what: p99, ms" "$who" "$(awk '/ 99% in/ { print $3 * 1000 }' "$work/out")"
}

note() { printf '%s\t%s\t%s\n' "$1" "$2" "$3" | tee -a "$work/notes" >&2; }

# A row of medians for each thing that was noted.
table() {
  printf '%-44s %12s %12s %10s\n' "median of $rounds" etcd lodemark ratio
  cut -f1 "$work/notes" | awk '!seen[$0]++' | while read -r what; do
    local etcd ours
    etcd=$(median "$what" etcd)
    ours=$(median "$what" lodemark)
    # Above 1 is better than etcd, whichever way the thing counts.
    awk -v what="$what" -v e="$etcd" -v o="$ours" 'BEGIN {
      ratio = (what ~ /requests\/s/) ? o / e : e / o
      printf "%-44s %12.2f %12.2f %9.2fx\n", what, e, o, ratio }'
  done
}

median() {
  awk -F'\t' -v what="$1" -v who="$2" '$1 == what && $2 == who { print $3 }' "$work/notes" | sort -g |
    awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

measure_requests() {
  local who=$1 program=$2
  start "$program" "$work/data"
  serves any
  load "put, 256 clients" "$who" "$requests" --conns=16 --clients=256 put --key-size=32 --val-size=256 --key-space-size=100000
  load "put, one client" "$who" $((requests / 20)) --conns=1 --clients=1 put --key-size=32 --val-size=256 --key-space-size=100000
  ctl put key "$(head -c 256 /dev/zero | tr '\0' v)" >/dev/null
  load "linearizable get" "$who" "$requests" --conns=16 --clients=256 range key --consistency=l
  load "serializable get" "$who" "$requests" --conns=16 --clients=256 range key --consistency=s
  stop
  rm -rf "$work/data"
}

measure_restart() {
  local who=$1 program=$2 asked found
  start "$program" "$work/data"
  serves any
  timeout "$load_s" "$reference/benchmark" --endpoints "$endpoint" --conns=16 --clients=256 put --sequential-keys \
    --total="$keys" --key-size=32 --val-size=256 --key-space-size="$keys" >"$work/out" 2>&1
  ctl put probe here >/dev/null
  stop
  asked=$(now_us)
  start "$program" "$work/data"
  serves probe
  note "start to first linearizable read, ms" "$who" $((($(now_us) - asked) / 1000))
  note "memory then (VmRSS), MiB" "$who" "$(awk '/VmRSS/ { print $2 / 1024 }' "/proc/$server/status")"
  found=$(ctl get "" --from-key --count-only --write-out fields | awk '/"Count"/ { print $3 }')
  [ "$found" -eq $((keys + 1)) ] || { echo "$who has $found keys, not $((keys + 1))" >&2; exit 1; }
  stop
  rm -rf "$work/data"
}

# Runs the command that follows on the server $2, which `what` is, beside 1000 puts a second; notes how long it took, and
# what the puts did meanwhile, in windows of two seconds: the p99 of a window (the median of all) and the slowest put. What
# Lodemark does by itself after a compaction, writing its file anew, goes on beside what comes next.
beside() {
  local what=$1 who=$2 begun work_pid
  shift 2
  begun=$(now_us)
  { "$@" && now_us >"$work/ended"; } >>"$work/log" 2>&1 &
  work_pid=$!
  : >"$work/windows"
  while :; do
    timeout "$load_s" "$reference/benchmark" --endpoints "$endpoint" --conns=16 --clients=64 put --rate=1000 \
      --total=2000 --key-size=32 --val-size=256 --key-space-size="$keys" >"$work/out" 2>&1 ||
      { tail "$work/out" >&2; exit 1; }
    awk '/ 99% in/ { p99 = $3 * 1000 } /Slowest:/ { slowest = $2 * 1000 } END { print p99, slowest }' "$work/out" \
      >>"$work/windows"
    kill -0 "$work_pid" 2>/dev/null || break
  done
  wait "$work_pid" || { echo "$what failed:" >&2; tail "$work/log" >&2; exit 1; }
  note "$what: s" "$who" "$(awk -v begun="$begun" '{ print ($1 - begun) / 1e6 }' "$work/ended")"
  note "$what: p99 of puts beside it, ms" "$who" \
    "$(sort -g "$work/windows" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }')"
  note "$what: slowest put beside it, ms" "$who" "$(awk '$2 > m { m = $2 } END { print m }' "$work/windows")"
}

db_mib() { ctl endpoint status --write-out fields | awk '/^"DBSize"/ { print $3 / 1048576 }'; }

measure_space() {
  local who=$1 program=$2 _ revision
  start "$program" "$work/data"
  serves any
  for _ in 1 2; do
    timeout "$load_s" "$reference/benchmark" --endpoints "$endpoint" --conns=16 --clients=256 put --sequential-keys \
      --total="$keys" --key-size=32 --val-size=256 --key-space-size="$keys" >"$work/out" 2>&1
  done
  revision=$(ctl get any --write-out fields | awk '/"Revision"/ { print $3 }')
  be_busy
  beside "nothing" "$who" sleep 10
  beside "compaction" "$who" timeout "$load_s" "$reference/etcdctl" --endpoints "$endpoint" \
    --command-timeout "${load_s}s" compact --physical "$revision"
  beside "defragmentation" "$who" timeout "$load_s" "$reference/etcdctl" --endpoints "$endpoint" \
    --command-timeout "${load_s}s" defrag
  be_idle
  note "file after it, MiB" "$who" "$(db_mib)"
  stop
  rm -rf "$work/data"
}

case $mode in
requests | restart | space) ;;
*) echo "$usage" >&2; exit 2 ;;
esac
for round in $(seq "$rounds"); do
  echo "-- round $round of $rounds" >&2
  "measure_$mode" etcd "$reference/etcd"
  "measure_$mode" lodemark "$lodemark"
done
table
