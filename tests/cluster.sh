#!/usr/bin/env bash
# A real etcdctl sees the same from two clusters of three members, also while the leader is killed and comes back.
#
#   tests/cluster.sh ETCDCTL PROGRAM             prints what it sees from a cluster of that program
#   tests/cluster.sh ETCDCTL EXPECTED ACTUAL     compares what it sees from two programs; fails with the difference
#
# The clusters run one after the other on the same ports, so their members have the same ids. The first member is made the
# leader, and the steps know their revisions. Terms, sizes and times are replaced by words.
set -uo pipefail

usage="use: $0 ETCDCTL PROGRAM [PROGRAM]"
etcdctl=${1:?$usage} first=${2:?$usage} second=${3:-}
ttl=2 late_ms=1000 patience_s=30

. "$(dirname "$0")/transcript.sh"

# Below the ports that the system gives to outgoing connections. Two runs at a time seldom meet.
port=$((10000 + $$ % 900 * 20))

client() { echo "http://127.0.0.1:$((port + 2 * $1))"; }
peer() { echo "http://127.0.0.1:$((port + 2 * $1 + 1))"; }
# The endpoint that is talked to from now on.
at() { endpoint=$(client "$1"); }
at_all() { endpoint=$(client 1),$(client 2),$(client 3); }
everybody() { echo "m1=$(peer 1),m2=$(peer 2),m3=$(peer 3)"; }

# Starts member N of the cluster LIST, which is `new` or `existing`.
launch() {
  local n=$1 list=$2 state=$3
  "$program" --name "m$n" --data-dir "$dir/m$n" --listen-client-urls "$(client "$n")" \
    --advertise-client-urls "$(client "$n")" --listen-peer-urls "$(peer "$n")" \
    --initial-advertise-peer-urls "$(peer "$n")" --initial-cluster "$list" --initial-cluster-state "$state" \
    >>"$dir/m$n.log" 2>&1 &
  pid[n]=$!
  note_child "${pid[n]}"
}

# Waits until a command succeeds.
until_done() {
  local deadline=$(($(now_ms) + patience_s * 1000))
  until "$@" >/dev/null 2>&1; do
    [ "$(now_ms)" -le $deadline ] || { printf 'NEVER CAME: %s\n' "$*" | normalise; return 1; }
    sleep 0.05
  done
}

serves() { timeout 2 "$etcdctl" --endpoints "$(client "$1")" get any; }
until_served() { for n in "$@"; do until_done serves "$n"; done; }
member_id() { quiet member list | grep ", m$1, " | cut -d, -f1; }
leader() {
  local n
  for n in 1 2 3; do
    timeout 2 "$etcdctl" --endpoints "$(client "$n")" endpoint status --write-out fields 2>/dev/null |
      awk -v n="$n" '/^"MemberID"/ { id = $3 } /^"Leader"/ { if (id == $3) print n }'
  done | head -1
}
led_by_first() { [ "$(leader)" = 1 ]; }

revision() { quiet get any --write-out fields | awk '/^"Revision"/ { print $3 }'; }

# From now on the member is called M<N> in the transcript.
name_member() {
  local id=$2
  printf 's#\\b%s\\b#M%s#g\ns#\\b%s\\b#M%s#g\n' "$id" "$1" "$((16#$id))" "$1" >>"$dir/leases"
}

begin() {
  step "three members, the first of which leads"
  local n
  for n in 1 2 3 4; do
    printf 's#127\\.0\\.0\\.1:%s\\b#CLIENT%s#g\ns#127\\.0\\.0\\.1:%s\\b#PEER%s#g\n' \
      $((port + 2 * n)) "$n" $((port + 2 * n + 1)) "$n" >>"$dir/leases"
  done
  for n in 1 2 3; do launch $n "$(everybody)" new; done
  until_served 1 2 3
  for n in 1 2 3; do name_member $n "$(member_id $n)"; done
  local now
  now=$(leader)
  [ "$now" = 1 ] || { at "$now" && quiet move-leader "$(member_id 1)" >/dev/null; }
  until_done led_by_first
  for n in 1 2 3; do
    at $n
    run member list
    run endpoint health
  done
  run member list --write-out json
  quiet member list --write-out table | table | normalise
}

whole_cluster() {
  step "the whole cluster, asked through each member"
  local n
  for n in 1 2 3; do
    at $n
    run put from "$n"
    run endpoint health --cluster | sort
    quiet endpoint status --cluster --write-out table | table | normalise
    # All have applied everything, or the hashes differ: each has just been read.
    until_served 1 2 3
    run endpoint hashkv --cluster
    run endpoint hashkv --cluster --rev "$n"
  done
}

move_lead() {
  step "move-leader"
  at 2
  run move-leader "$(member_id 3)"
  at 1
  run move-leader "$(member_id 2)"
  until_served 1 2 3
  run move-leader "$(member_id 3)"
  at 2
  run move-leader "$(member_id 2)"
  run move-leader 1234567890abcde
  run move-leader "$(member_id 1)"
  until_served 1 2 3
  until_done led_by_first
}

# Everything that a client does, through one member; seen through another.
through() {
  local n=$1 other=$(($1 % 3 + 1))
  step "through member $n, seen through member $other ($2)"
  at $other
  # From a revision, so that it need not be known when the watch begins.
  background "watch$2$n" watch --prefix "w/$2$n" --prev-kv --rev $(($(revision) + 1))
  local watch=$child
  at "$n"
  run put "w/$2$n/1" a
  run put "w/$2$n/1" b --prev-kv
  printf 'mod("w/%s/1") > "0"\n\nput w/%s/2 c\n\nget x\n\n' "$2$n" "$2$n" >"$dir/txn"
  run txn <"$dir/txn" | normalise
  run get --prefix "w/$2$n"
  run del "w/$2$n/1"
  at $other
  run get --prefix "w/$2$n"
  wait_for "watch$2$n" '^DELETE$'
  end -TERM "$watch"
  show "watch$2$n"

  at "$n"
  grant "LEASE-$2$n" 600
  local granted=$lease
  run put "l/$2$n" x --lease "$granted"
  at $other
  run lease keep-alive --once "$granted"
  run lease timetolive "$granted" --keys | sed -E 's#remaining\((600|59[0-9])s\)#remaining(NEARLY ALL)#'
  at "$n"
  run lease timetolive "$granted" | sed -E 's#remaining\((600|59[0-9])s\)#remaining(NEARLY ALL)#'
  at $other
  run lease revoke "$granted"
  at "$n"
  run get "l/$2$n"
  run lease timetolive "$granted"

  run lock "job-$2$n" -- sh -c 'echo "holds $(echo "$ETCD_LOCK_KEY" | cut -d/ -f1) since $ETCD_LOCK_REV"'
  background "holder$2$n" lock "both-$2$n"
  local holder=$child
  wait_for "holder$2$n" "^both-$2$n/"
  at $other
  background "contender$2$n" lock "both-$2$n"
  local contender=$child
  wait_for_keys "both-$2$n/" 2
  [ -s "$dir/contender$2$n" ] && echo "TWO HOLDERS"
  end -INT "$holder"
  wait_for "contender$2$n" "^both-$2$n/" && echo "the lock passes on"
  end -INT "$contender"
  wait_for_keys "both-$2$n/" 0

  at "$n"
  background "elect$2$n" elect "web-$2$n" "node-$n"
  local elect=$child
  wait_for "elect$2$n" "^node-$n\$"
  at $other
  background "observe$2$n" elect --listen "web-$2$n"
  local observe=$child
  wait_for "observe$2$n" "^node-$n\$"
  end -TERM "$observe"
  end -INT "$elect"
  wait_for_keys "web-$2$n/" 0
  show "elect$2$n"
  show "observe$2$n"
  run get --prefix "" --count-only --write-out fields
}

through_each() {
  local n
  for n in "$@"; do through "$n" "$when"; done
}

leader_dies() {
  step "what goes on while the leader is killed"
  local from
  at 2
  from=$(($(revision) + 1))
  quiet put s/1 before >/dev/null
  grant KEPT 4
  local kept=$lease
  run put s/kept x --lease "$kept"
  background keeper lease keep-alive "$kept"
  local keeper=$child
  wait_for keeper 'keepalived'
  background holder lock held
  local holder=$child
  wait_for holder '^held/'
  background leads elect group node-2
  local leads=$child
  wait_for leads '^node-2$'
  # One watches through the leader and knows the others, one through a follower alone.
  background follower_watch watch --prefix s/ --rev "$from"
  local follower_watch=$child
  endpoint=$(client 1),$(client 2),$(client 3)
  background any_watch watch --prefix s/ --rev "$from"
  local any_watch=$child
  wait_for follower_watch '^x$'
  wait_for any_watch '^x$'

  kill -9 "${pid[1]}"
  wait "${pid[1]}" 2>/dev/null
  until_served 2 3
  at 3
  run put s/2 meanwhile
  run get --prefix s/
  run get --prefix held/ --count-only --write-out fields
  when=meanwhile
  at 2
  run endpoint health
  when_down
  at 2
  wait_for follower_watch '^meanwhile$'
  wait_for any_watch '^meanwhile$'
  local kept_before
  kept_before=$(grep -c keepalived "$dir/keeper")
  wait_for keeper keepalived $((kept_before + 2))

  step "and when it comes back"
  launch 1 "$(everybody)" new
  until_served 1 2 3
  at 1
  run get --prefix s/
  run put s/3 after
  wait_for follower_watch '^after$'
  wait_for any_watch '^after$'
  end -TERM "$follower_watch"
  end -TERM "$any_watch"
  show follower_watch
  show any_watch
  end -TERM "$keeper"
  run lease revoke "$kept"
  run get s/kept
  end -INT "$holder"
  end -INT "$leads"
  wait_for_keys held/ 0
  wait_for_keys group/ 0
  show leads
  whole_cluster_hashes
}

# Through the members that are left.
when_down() {
  local n
  for n in 2 3; do
    at "$n"
    run put "down/$n" x
    run get --prefix down/
  done
}

whole_cluster_hashes() {
  local n hashes
  for n in 1 2 3; do
    at "$n"
    quiet get any >/dev/null
  done
  # Lease ids are in what is hashed, so only that all have the same can be compared.
  hashes=$(quiet endpoint hashkv --cluster | cut -d, -f2 | sort -u | wc -l)
  echo "different hashes: $hashes"
}

# Members that are added are listed by ids that nobody knows before.
learner() {
  step "a learner: added, refused, started, promoted, moved, removed"
  at 2
  local id
  # A cluster that has just changed is unhealthy for a few seconds.
  until_done add_learner || return
  id=$(sed -nE 's/^Member +([0-9a-f]+) added.*/\1/p' "$dir/added")
  name_member 4 "$id"
  head -1 "$dir/added" | tr -s ' ' | normalise
  run member list | sort
  run member promote "$id"
  run member add m5 --peer-urls http://127.0.0.1:1 --learner
  launch 4 "$(everybody),m4=$(peer 4)" existing
  until_done listed_as m4
  at 4
  until_done quiet get any --consistency s
  run put x y
  run get x
  run get s/1 --consistency s
  run member list | sort
  run lease grant 10
  quiet endpoint status --write-out table | table | normalise
  at 3
  run member list | sort
  until_done promoted "$id"
  run member promote "$id"
  until_served 4
  run member list | sort
  at 4
  run put x y
  at 1
  run member update "$id" --peer-urls "$(peer 4),http://127.0.0.1:1"
  run member list | sort
  run member update "$id" --peer-urls "$(peer 1)"
  run member remove "$id"
  wait "${pid[4]}"
  echo "the removed member has ended"
  grep -o -e 'the member has been permanently removed from the cluster' \
    -e 'data-dir used by this member must be removed' "$dir/m4.log" | sort -u
  run member list | sort
  run member remove "$id"
}

add_learner() { quiet member add m4 --peer-urls "$(peer 4)" --learner >"$dir/added"; }
listed_as() { quiet member list | grep ", started, $1, "; }
promoted() { quiet member list | grep "^$1, .*, false\$" || { quiet member promote "$1"; false; }; }

# Posts JSON to the gateway, which tries nothing again, and keeps what it says in $dir/answer-NAME.
post() {
  local name=$1 path=$2 body=$3
  {
    printf '$ POST %s %s\n' "$path" "$body"
    curl --silent --max-time "$patience_s" -d "$body" "$endpoint$path" | tr -d ' '
    echo
  } | sed -E 's#"(cluster_id|member_id|raft_term|ID|TTL)":"?[0-9]+"?#"\1":N#g' >"$dir/answer-$name" &
}

# All of these wait for the server's own time, so they wait together.
without_quorum() {
  step "what a member says that has lost its quorum"
  at 3
  local waiting=()
  post 1 /v3/kv/range '{"key":"cy8x"}' && waiting+=($!)
  post 2 /v3/kv/put '{"key":"eA==","value":"eQ=="}' && waiting+=($!)
  post 3 /v3/kv/txn '{"success":[{"request_put":{"key":"eA=="}}]}' && waiting+=($!)
  post 4 /v3/lease/grant '{"TTL":"60"}' && waiting+=($!)
  post 5 /v3/lease/timetolive '{"ID":"77"}' && waiting+=($!)
  post 6 /v3/lease/keepalive '{"ID":"77"}' && waiting+=($!)
  post 7 /v3/kv/compaction '{"revision":"1"}' && waiting+=($!)
  post 8 /v3/kv/range '{"key":"cy8x","serializable":true}' && waiting+=($!)
  post 9 /v3/cluster/member/list '{"linearizable":true}' && waiting+=($!)
  # It asks for a leader, and is ended for want of one.
  run watch s/ --prefix
  run endpoint status --write-out json | grep -o '"errors":[^]]*]'
  run get s/1 --consistency s
  wait "${waiting[@]}"
  local n
  for n in 1 2 3 4 5 6 7 8 9; do normalise <"$dir/answer-$n"; done
}

ends() {
  step "members end one after the other"
  local n
  for n in 1 2; do
    kill -TERM "${pid[n]}"
    wait "${pid[n]}" 2>/dev/null
  done
  at 3
  # Whichever it is: without a quorum nothing is written.
  timeout 3 "$etcdctl" --endpoints "$endpoint" put x y >/dev/null 2>&1 || echo "no quorum, no write"
  run get s/1 --consistency s
  without_quorum
  kill -TERM "${pid[3]}"
  wait "${pid[3]}" 2>/dev/null
}

walk() {
  program=$1
  declare -a pid
  at 1
  begin
  whole_cluster
  move_lead
  when=calm
  through_each 1 2 3
  leader_dies
  when=again
  through_each 1
  learner
  ends
}

transcripts in_turn
