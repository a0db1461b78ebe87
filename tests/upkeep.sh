#!/usr/bin/env bash
# A real etcdctl sees the same from two servers: what looks after a server, and what flags and variables tell etcdctl.
#
#   tests/upkeep.sh ETCDCTL ENDPOINT              prints what it sees from one fresh server
#   tests/upkeep.sh ETCDCTL EXPECTED ACTUAL       compares what it sees from two; fails with the difference
#
# Both servers must be fresh members named m1; `etcdutl` stands beside etcdctl.
set -uo pipefail

usage="use: $0 ETCDCTL ENDPOINT [ENDPOINT]"
etcdctl=${1:?$usage} first=${2:?$usage} second=${3:-}
ttl=2 late_ms=1000
# How long anything that must come may take.
patience_s=30

. "$(dirname "$0")/transcript.sh"

# Nobody listens there.
nowhere=http://127.0.0.1:1
at_nowhere() { local endpoint=$nowhere && "$@"; }

# An answer's length depends on ids.
answer_size() { sed -E 's#\([0-9]+ vs\. 10\)#(N vs. 10)#g'; }
took() { sed -E 's#took [0-9.]+[mµ]?s#took T#'; }
status_line() {
  sed -E 's#, [0-9.]+ kB, [0-9.]+ kB, [0-9]+%#, SIZES#; s#, (true|false), [0-9]+, [0-9]+, [0-9]+,#, \1, N, N, N,#'
}
status_fields() { sed -E 's#^("(Raft|DB)[^"]*"|"Leader"|"[A-Z]*ID") : [0-9]+#\1 : N#'; }
# Lists of endpoints come in the order in which they answered.
lines_in_order() { LC_ALL=C sort; }

without_a_server() {
  step "commands that ask no server"
  run version
  run version --write-out json
  run options
  run help
  run help get
  run help nonsense
  run nonsense
  run get x --nonsense
  local shell
  for shell in bash zsh fish powershell; do
    printf '%s: ' $shell
    quiet completion $shell | cksum
  done
  run completion nonsense
  local group
  for group in alarm auth check downgrade endpoint lease member role snapshot user; do run $group; done
}

options() {
  step "flags of every command, and their variables"
  run put x value
  run get x --command-timeout 1ns
  run get x --command-timeout 10s
  run get x --command-timeout nonsense
  run get x --dial-timeout 5s --keepalive-time 20s --keepalive-timeout 10s
  run get x --dial-timeout nonsense
  run put x "much more than is allowed" --max-request-bytes 10
  run get x --max-recv-bytes 10 | answer_size
  run get x --max-recv-bytes nonsense
  run get x --insecure-transport=false
  run get x -w json
  run get x --write-out nonsense
  run get x --hex
  quiet get x --debug 2>/dev/null | normalise
  run get x --endpoints "$nowhere,$endpoint"
  at_nowhere run get x --command-timeout 1s
  run get x --endpoints "${endpoint#http://}"
  with ETCDCTL_WRITE_OUT=json run get x
  with ETCDCTL_WRITE_OUT=nonsense run get x
  with ETCDCTL_HEX=true run get x
  with ETCDCTL_COMMAND_TIMEOUT=1ns run get x
  with ETCDCTL_COMMAND_TIMEOUT=nonsense run get x
  with ETCDCTL_DIAL_TIMEOUT=3s ETCDCTL_KEEPALIVE_TIME=15s ETCDCTL_KEEPALIVE_TIMEOUT=9s run get x
  with ETCDCTL_MAX_REQUEST_BYTES=10 run put x "much more than is allowed"
  with ETCDCTL_MAX_RECV_BYTES=10 run get x | answer_size
  with ETCDCTL_CONSISTENCY=s run get x
  with ETCDCTL_API=3 run get x
  with ETCDCTL_NONSENSE=1 run get x
  printf '(with ETCDCTL_ENDPOINTS) '
  ETCDCTL_ENDPOINTS=$endpoint timeout "$patience_s" "$etcdctl" get x
  with ETCDCTL_WRITE_OUT=json run get x --write-out simple
}

formats() {
  step "each answer in each format"
  local command format
  for command in "alarm list" "auth status" "compaction 1" "downgrade cancel" "downgrade validate 3.6" "lease list" \
    "member list" "role list" "user list" "role get none" "user get none"; do
    for format in simple fields json table; do run $command --write-out $format | sed -E 's#^"ID" : [0-9]+#"ID" : ID#'; done
  done
  for command in "alarm list" "auth status" "downgrade cancel" "downgrade validate 3.6" "role list" "user list"; do
    run_protobuf $command
  done
}

endpoints() {
  step "health, status and hash of endpoints"
  local format
  run endpoint health
  run endpoint health --cluster
  run endpoint health --write-out json
  run endpoint health --write-out fields | sed -E 's#^"Took" : .*#"Took" : T#'
  quiet endpoint health --write-out table | table | normalise
  run endpoint health --write-out protobuf
  run endpoint status | status_line
  run endpoint status --cluster --write-out fields | status_fields
  run endpoint status --write-out protobuf
  run endpoint hashkv
  run endpoint hashkv --cluster
  for format in json fields; do run endpoint hashkv --rev 2 --write-out $format; done
  quiet endpoint hashkv --write-out table | table | normalise
  run endpoint hashkv --rev 99999
  run endpoint hashkv --rev -1
  run endpoint hashkv --rev nonsense

  step "an endpoint that is not there"
  run endpoint health --endpoints "$endpoint,$nowhere" --command-timeout 2s 2>&1 | lines_in_order
  run endpoint status --endpoints "$endpoint,$nowhere" --command-timeout 2s | status_line
  at_nowhere run endpoint health --command-timeout 1s
  at_nowhere run endpoint status --command-timeout 1s
  at_nowhere run endpoint hashkv --command-timeout 1s
  at_nowhere run endpoint health --cluster --command-timeout 1s
  at_nowhere run alarm list --command-timeout 1s
  at_nowhere run defrag --command-timeout 1s | took
  at_nowhere run defrag --cluster --command-timeout 1s | took
  at_nowhere run snapshot save "$dir/none" --command-timeout 1s 2>&1 | sed -E "s#$dir#DIR#g; /^\{/d"
}

# Posts to the gateway what etcdctl has no command for.
raise() {
  printf '$ %s alarm of member %s\n' "$2" "$1"
  curl --silent --max-time "$patience_s" -d "{\"action\":\"ACTIVATE\",\"memberID\":\"$1\",\"alarm\":\"$2\"}" \
    "$endpoint/v3/maintenance/alarm" | tr -d ' ' | sed -E 's#"(cluster_id|member_id|raft_term)":"[0-9]+"#"\1":N#g'
  echo
}

alarms() {
  step "alarms: what they stop, who tells of them, how they end"
  run alarm list
  run alarm disarm
  local alarm
  for alarm in NOSPACE CORRUPT; do
    raise 77 $alarm
    run alarm list
    run alarm list --write-out json
    run alarm list --write-out fields
    run_protobuf alarm list
    run put x y
    run get x
    run get x --consistency s
    run del absent
    run lease grant 10
    run compaction 1
    printf '\nput x y\n\n\n' | run txn
    run endpoint health
    run endpoint health --write-out json
    run endpoint status --write-out json
    quiet endpoint status --write-out table | table | normalise
    run alarm disarm
    run alarm disarm
    run put x value
    run endpoint health
  done
  raise 77 NOSPACE
  raise 78 CORRUPT
  run alarm list | lines_in_order
  run alarm disarm --write-out json | sed -E 's#"alarms":.*#ALARMS#'
  run alarm list
}

defragmentation() {
  step "defrag"
  run defrag | took
  run defrag --cluster | took
  run defrag --write-out json | took
  run defrag --endpoints "$endpoint,$nowhere" --command-timeout 2s | took
  run compaction "$(quiet get x --write-out fields | awk '/^"Revision"/ { print $3 }')" --physical
  run defrag | took
  run get x
}

snapshots() {
  step "snapshot save, and what etcdutl says of the file"
  local tool=${etcdctl%etcdctl}etcdutl format
  # Its progress is a log.
  run snapshot save "$dir/saved" 2>&1 | sed -E "s#$dir#DIR#g; /^\{/d; s#\"took\".*##"
  for format in simple json fields; do
    timeout "$patience_s" "$tool" snapshot status "$dir/saved" --write-out $format | sed -E \
      -e 's#^[0-9a-f]+, ([0-9]+), [0-9]+, [0-9.]+ kB#HASH, \1, N, SIZE#' \
      -e 's#"(hash|totalKey|totalSize)":[0-9]+#"\1":N#g' -e 's#^"(Hash|Keys|Size)" : [0-9]+#"\1" : N#'
  done
  timeout "$patience_s" "$tool" hashkv "$dir/saved" --write-out fields
  ls "$dir" | grep -c '^saved'
  run snapshot save
  run snapshot save a b
  run snapshot save "$dir/no/folder/saved" 2>&1 | sed -E "s#$dir#DIR#g; /^\{/d"
  run snapshot save "$dir/saved" 2>&1 | sed -E "s#$dir#DIR#g; /^\{/d; s#\"took\".*##"
  run snapshot save "$dir/two" --endpoints "$endpoint,$nowhere" | sed "s#$dir#DIR#g"
}

cluster_version() {
  curl --silent --max-time 5 "$endpoint/version" | grep -q "\"etcdcluster\":\"$1\""
}

# Waits until the cluster has another version.
until_version() {
  local deadline=$(($(now_ms) + patience_s * 1000))
  until cluster_version "$1"; do
    [ "$(now_ms)" -le $deadline ] || { printf 'NEVER CAME: cluster version %s\n' "$1"; return 1; }
    sleep 0.1
  done
}

downgrades() {
  step "downgrade validate, enable, cancel"
  local version
  until_version 3.7.0
  run downgrade validate
  run downgrade enable
  for version in 3.7 3.5 4.0 2.6 v3.6 3 x "" 3.6.x; do
    run downgrade validate "$version"
    run downgrade enable "$version"
  done
  run downgrade validate 3.6
  run downgrade validate 3.6.9
  run downgrade cancel
  run downgrade enable 3.6
  until_version 3.6.0
  run downgrade validate 3.6
  run downgrade enable 3.6
  run downgrade enable 3.5
  run endpoint status --write-out json | grep -o '"downgradeInfo":{[^}]*}'
  run downgrade cancel
  until_version 3.7.0
  run downgrade cancel
}

alone() {
  step "what a member that is alone refuses"
  local id
  id=$(quiet member list | cut -d, -f1)
  printf 's#\\b%s\\b#SELF#g\n' "$id" >>"$dir/leases"
  run move-leader
  run move-leader nonsense
  run move-leader 1234567890abcde
  run move-leader "$id"
  run member remove "$id"
  run member promote "$id"
  run member remove
  run member remove nonsense
  run member add
  run member add m2
  run member add m2 --peer-urls nonsense
  run member update "$id"
  run member update nonsense --peer-urls http://127.0.0.1:1
  run member promote nonsense
  run member list --write-out json
}

checks() {
  step "checks that do not begin"
  run check perf --load nonsense
  run check datascale --load nonsense
  quiet put /etcdctl-check-perf/1 x >/dev/null
  quiet put /mine/1 x >/dev/null
  quiet put /etcdctl-check-datascale/1 x >/dev/null
  run check perf
  run check perf --prefix /mine/
  run check datascale
  run check datascale --prefix /mine/
}

walk() {
  endpoint=$1
  without_a_server
  options
  formats
  endpoints
  alarms
  defragmentation
  snapshots
  downgrades
  alone
  checks
}

transcripts at_once
