#!/usr/bin/env bash
# A real etcdctl sees the same from two servers.
#
#   tests/etcdctl.sh ETCDCTL ENDPOINT              prints what it sees from one fresh server
#   tests/etcdctl.sh ETCDCTL EXPECTED ACTUAL       compares what it sees from two; fails with the difference
#
# Both servers must be fresh members named m1: the steps know their revisions. Ids, terms, sizes and times are replaced by
# words; texts, tables, exit codes and revisions are compared to the letter. What must come in time says so itself.
set -uo pipefail

usage="use: $0 ETCDCTL ENDPOINT [ENDPOINT]"
etcdctl=${1:?$usage} first=${2:?$usage} second=${3:-}
# The shortest lease that both servers grant, and how late it may be seen to end.
ttl=2 late_ms=1000
# How long anything that must come may take.
patience_s=20

. "$(dirname "$0")/transcript.sh"

put_and_get() {
  step "put and get"
  run put /services/web/1 10.0.0.1
  run put /services/web/2 10.0.0.2
  run put /services/db/1 10.0.1.1
  run put /services/web/1 10.0.0.9 --prev-kv
  printf 'from standard input' | run put /services/db/2
  run get /services/web/1
  run get /services/web/1 --print-value-only
  run get absent
  run get --prefix /services/web/
  run get /services/db/1 /services/web/2
  run get --from-key /services/web/
  run get --prefix "" --keys-only
  run get --prefix /services/ --count-only
  run get --prefix /services/ --count-only --write-out fields
  run get --prefix /services/ --limit 2
  run get --prefix /services/ --limit 2 --write-out json
  run get /services/web/1 --rev 2
  run get /services/web/1 --consistency s
  run get --prefix /services/ --consistency l --keys-only
  run get --prefix /services/ --min-mod-rev 4 --max-mod-rev 5 --keys-only
  run get --prefix /services/ --min-create-rev 3 --max-create-rev 4 --keys-only
  run put /services/web/1 --ignore-value
  run put /services/web/1 10.0.0.1 --ignore-lease
}

# What comes in chunks, put together, is what comes at once.
same_in_chunks() {
  printf '$ etcdctl' && printf ' %q' "$@"
  if diff <(quiet "$@" --stream 2>&1) <(quiet "$@" 2>&1); then echo ": the same with --stream"; fi
}

chunks() {
  step "get in chunks"
  local i
  # The first chunk has ten keys, each further one twice as many.
  for i in {100..144}; do quiet put chunk/$i "value $i" >/dev/null; done
  quiet del chunk/120 chunk/125 >/dev/null
  local format
  for format in simple json fields; do same_in_chunks get --prefix chunk/ --write-out $format; done
  same_in_chunks get --prefix chunk/ --keys-only
  same_in_chunks get --prefix chunk/ --count-only --write-out fields
  same_in_chunks get --prefix chunk/ --consistency s
  same_in_chunks get --prefix chunk/ --limit 25 --write-out json
  same_in_chunks get --prefix chunk/ --order ASCEND
  same_in_chunks get --prefix chunk/ --rev 30 --write-out json
  same_in_chunks get --from-key chunk/130
  same_in_chunks get chunk/101 chunk/115
  same_in_chunks get --prefix absent/ --write-out json
  run get --prefix chunk/ --stream
  run get --prefix chunk/ --stream --limit 12 --write-out json
  run get --prefix chunk/ --stream --order DESCEND
  run get --prefix chunk/ --stream --sort-by MODIFY --order ASCEND
  run get --prefix chunk/ --stream --min-mod-rev 4
  run get --prefix chunk/ --stream --max-create-rev 4
  run get --prefix chunk/ --stream --rev 99999
  run get "" --stream
}

order() {
  step "every order of a range"
  local by order
  for by in CREATE KEY MODIFY VALUE VERSION; do
    for order in ASCEND DESCEND; do run get --prefix /services/ --sort-by $by --order $order --keys-only; done
  done
}

formats() {
  step "print formats"
  local format
  for format in simple json fields; do
    run get --prefix /services/web/ --write-out $format
    run put format "$format" --prev-kv --write-out $format
    run del format --prev-kv --write-out $format
    run get absent --write-out $format
  done
  run_protobuf get --prefix /services/web/
  run_protobuf put format protobuf --prev-kv
  run_protobuf del format --prev-kv
  run_protobuf get absent
  run get /services/web/1 --write-out table
  run put format table --write-out table
  run get /services/web/1 --hex
  run del --prefix format --prev-kv --hex
}

delete() {
  step "del"
  for key in a/1 a/2 a/3 b/1 c/1; do quiet put $key "$key" >/dev/null; done
  run del a/1
  run del a/1
  run del --prefix a/ --prev-kv
  run del b/1 c/2
  run put c/2 x
  run del --from-key c/ --prev-kv --range
  run del c/2
  run get --prefix "" --keys-only
}

txns() {
  # Without leases: this etcdctl panics when it is given one.
  step "txn with every target of a comparison"
  quiet put t 1 >/dev/null
  quiet put t 2 >/dev/null
  local revision
  revision=$(quiet get t --write-out fields | awk '/ModRevision/ { print $3 }')
  local compare
  for compare in 'ver("t") = "2"' 'ver("t") > "2"' 'version("absent") = "0"' "mod(\"t\") = \"$revision\"" \
    "mod(\"t\") < \"$revision\"" "create(\"t\") < \"$revision\"" "c(\"t\") > \"$revision\"" 'val("t") = "2"' \
    'value("t") < "1"' 'value("absent") = ""' 'val("t") != "2"'; do
    printf '%s\n\nget t\n\nput t-failed 1\n\n' "$compare" >"$dir/txn"
    printf '# %s\n' "$compare"
    run txn <"$dir/txn"
  done
  printf 'ver("t") = "2"\nval("t") = "2"\n\nput t 3\nget t\ndel absent\n\nget t\n\n' >"$dir/txn"
  run txn <"$dir/txn"
  run txn --write-out json <"$dir/txn"
  run txn --write-out fields <"$dir/txn"
  run_protobuf txn <"$dir/txn"
  run txn --interactive <"$dir/txn"
  run txn -i <"$dir/txn"
  step "txns that are refused"
  printf '\nput d 1\nput d 2\n\n\n' >"$dir/txn"
  run txn <"$dir/txn"
  printf 'nonsense\n\nget t\n\n\n' >"$dir/txn"
  run txn <"$dir/txn"
}

watches() {
  step "watch from a revision, with what was before"
  quiet put w/1 a >/dev/null
  local from
  from=$(quiet get w/1 --write-out fields | awk '/ModRevision/ { print $3 }')
  quiet put w/1 b >/dev/null
  quiet put w/2 c >/dev/null
  quiet del w/1 >/dev/null
  background watch watch --prefix w/ --rev "$from" --prev-kv
  wait_for watch '^DELETE$' && quiet put w/3 live >/dev/null
  wait_for watch '^live$'
  end -TERM "$child"
  show watch

  step "watch in json and as fields"
  background watch watch w/1 --rev "$from" --write-out json
  wait_for watch '"type":1'
  end -TERM "$child"
  # How many events come in one message is the server's business.
  grep -o '"kv":{[^}]*}' "$dir/watch" | normalise
  background watch watch w/1 w/3 --rev "$from" --write-out fields
  wait_for watch 'DELETE'
  end -TERM "$child"
  grep -v -e '^"ClusterID' -e '^"MemberID' -e '^"Revision' -e '^"RaftTerm' "$dir/watch" | grep . | normalise

  step "watch that runs a command for each event"
  background watch watch w/2 --rev "$from" -- sh -c 'echo "$ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE"'
  wait_for watch '"c"$'
  end -TERM "$child"
  # The first variable is the revision of the message's header.
  show watch

  step "watch of a range that variables name"
  export ETCDCTL_WATCH_KEY=w/1 ETCDCTL_WATCH_RANGE_END=w/3
  background watch watch --rev "$from"
  wait_for watch '^c$'
  wait_for watch '^DELETE$'
  unset ETCDCTL_WATCH_KEY ETCDCTL_WATCH_RANGE_END
  end -TERM "$child"
  show watch

  step "several watches on one interactive stream, each with a command or without"
  mkfifo "$dir/commands"
  exec 5<>"$dir/commands"
  background watch watch -i <&5
  printf 'watch --prefix w/ --rev %s -- sh -c "echo ran for $ETCD_WATCH_KEY"\n' "$from" >&5
  wait_for watch '^ran for "w/3"' && printf 'watch i/1 --prev-kv --rev %s\n' "$((from + 4))" >&5
  quiet put i/1 x >/dev/null
  quiet put i/1 y >/dev/null
  wait_for watch '^y$' && printf 'watch i/2 i/4 --rev %s\n' "$from" >&5
  quiet put i/3 z >/dev/null
  wait_for watch '^z$'
  exec 5>&-
  end -TERM "$child"
  rm "$dir/commands"
  # A command's output comes when it has run.
  grep -v '^ran for' "$dir/watch" | normalise
  grep -c '^ran for' "$dir/watch"
  printf 'nonsense\n' | run watch -i
  printf 'watch\n' | run watch -i
  run watch

  step "progress notifications while nothing happens"
  # Both servers are told to send them every second.
  background watch watch w/1 --progress-notify
  wait_for watch '^progress notify: ' 2
  end -TERM "$child"
  head -2 "$dir/watch" | normalise

  step "progress of an interactive watch"
  mkfifo "$dir/commands"
  exec 5<>"$dir/commands"
  background watch watch --interactive <&5
  printf 'watch --rev %s w/2\n' "$from" >&5
  wait_for watch '^PUT$' && printf 'progress\n' >&5
  wait_for watch '^progress notify: '
  exec 5>&-
  end -TERM "$child"
  rm "$dir/commands"
  show watch
}

compactions() {
  step "compaction"
  local revision
  revision=$(quiet put k 1 --write-out fields | awk '/^"Revision"/ { print $3 }')
  quiet put k 2 >/dev/null
  quiet put k 3 >/dev/null
  run compaction "$revision"
  run get k --rev "$revision"
  run get k --rev $((revision - 1))
  run get k --rev $((revision - 1)) --stream
  run compaction "$revision"
  run compaction $((revision + 1)) --physical
  run get k --rev "$revision"
  run get k --rev $((revision + 1))
  run compaction $((revision + 100))
  run watch k --rev 1
  run compaction 0
  run compaction nonsense
}

refusals() {
  step "what is refused, and how"
  run put "" value
  run get ""
  run del ""
  run put x y --lease 1234
  run put x --ignore-value
  run put x y --ignore-value
  run put x y --lease nonsense
  run get k --rev 999999
  run get k --rev -1
  run get k --sort-by nonsense
  run get
  run del
  run lease revoke 1234
  run lease timetolive 1234
  run lease timetolive 1234 --write-out json
  run lease keep-alive --once 1234
  run lease grant nonsense
  run lease grant 9000000001
  run lock
  run elect
  head -c 1600000 /dev/zero | tr '\0' x | run put too-large 2>&1
}

leases() {
  step "lease grant, timetolive, list, keep-alive, revoke"
  run lease list
  run lease list --write-out json
  grant FIRST 600
  local first=$lease
  run put l/1 x --lease "$first"
  run put l/2 x --lease "$first"
  run get l/1 --write-out json
  run get l/1 --write-out fields
  run lease timetolive "$first" | sed -E 's#remaining\((600|59[0-9])s\)#remaining(NEARLY ALL)#'
  run lease timetolive "$first" --keys | sed -E 's#remaining\((600|59[0-9])s\)#remaining(NEARLY ALL)#' | keys_in_order
  run lease timetolive "$first" --keys --write-out json | sed -E 's#"ttl":(600|59[0-9])#"ttl":NEARLY ALL#' | keys_in_order
  run lease keep-alive --once "$first"
  run lease keep-alive --once "$first" --write-out json | sed -E 's#"ttl":[0-9]+#"ttl":N#'
  run lease keep-alive --once "$first" --write-out fields | sed -E 's#^("TTL" : )[0-9]+#\1N#'
  grant SECOND 500
  run lease list | sort
  run put l/2 y
  run lease timetolive "$first" --keys | sed -E 's#remaining\((600|59[0-9])s\)#remaining(NEARLY ALL)#' | keys_in_order
  run lease revoke "$first" --write-out json
  run lease revoke "$first"
  run get --prefix l/
  run lease timetolive "$first"
  run lease revoke "$lease"
}

dead_service() {
  step "a service that stops renewing is seen deleted in time"
  grant SERVICE $ttl
  quiet put services/1 up --lease "$lease" >/dev/null
  local from alive
  from=$(quiet get services/1 --write-out fields | awk '/ModRevision/ { print $3 }')
  background consumer watch --prefix services/ --rev "$from" --prev-kv
  local consumer=$child
  background keeper lease keep-alive "$lease"
  # Five keepalives, one each third of the TTL, outlive the lease.
  wait_for keeper 'keepalived' 5
  alive=$(now_ms)
  end -9 "$child"
  wait_for consumer '^DELETE$'
  in_time "deleted" "$(now_ms)" "$alive" $((ttl * 1000 - 100))
  end -TERM "$consumer"
  show consumer
  run get services/1
}

# A write that takes effect only while the holder of a lock, of whom this is the key and the token, holds it.
guarded() { printf 'create("%s") = "%s"\n\nput job-result "%s"\n\n\n' "$@" | quiet txn; }

locks() {
  step "lock runs a command and passes on its end"
  run lock job -- sh -c 'echo "holds $(echo "$ETCD_LOCK_KEY" | cut -d/ -f1) since $ETCD_LOCK_REV"'
  run lock job -- sh -c 'exit 3'
  wait_for_keys job/ 0

  step "lock passes on when its holder is killed"
  background holder lock --ttl $ttl job
  local holder=$child
  wait_for holder '^job/'
  background contender lock --ttl $ttl job
  local contender=$child
  wait_for_keys job/ 2
  [ -s "$dir/contender" ] && echo "TWO HOLDERS"
  local first_token second_token
  first_token=$(quiet get "$(cat "$dir/holder")" --write-out fields | awk '/CreateRevision/ { print $3 }')
  local killed
  killed=$(now_ms)
  end -9 "$holder"
  wait_for contender '^job/'
  in_time "passed on" "$(now_ms)" "$killed" 0
  second_token=$(quiet get "$(cat "$dir/contender")" --write-out fields | awk '/CreateRevision/ { print $3 }')
  [ "$second_token" -gt "$first_token" ] && echo "the fencing token grows"
  guarded "$(cat "$dir/holder")" "$first_token" "written too late"
  guarded "$(cat "$dir/contender")" "$second_token" "written in time"
  run get job-result
  wait_for_keys job/ 1
  end -TERM "$contender"
  wait_for_keys job/ 0
}

elections() {
  step "elect and observe when the leader goes"
  background observer elect --listen web
  local observer=$child
  background first elect web node-1
  local first=$child
  wait_for first '^node-1$'
  wait_for observer '^node-1$'
  background second elect web node-2
  local second=$child
  wait_for_keys web/ 2
  [ -s "$dir/second" ] && echo "TWO LEADERS"
  end -INT "$first"
  wait_for second '^node-2$'
  wait_for observer '^node-2$'
  end -INT "$second"
  wait_for_keys web/ 0
  end -TERM "$observer"
  show first
  show second
  show observer
}

cluster() {
  step "endpoint health and status, member list, alarms"
  run endpoint health
  run endpoint health --write-out json
  quiet endpoint health --write-out table | table | normalise
  run endpoint health --cluster
  run endpoint status --write-out json
  quiet endpoint status --write-out table | table | normalise
  run endpoint status --write-out fields | sed -E 's#^("(Raft|DB)[^"]*"|"Leader"|"[A-Z]*ID") : [0-9]+#\1 : N#'
  quiet member list --write-out table | table | normalise
  run member list
  run member list --write-out json
  run member list --write-out fields | sed -E 's#^"ID" : [0-9]+#"ID" : ID#'
  run member list --consistency s
  run member list --consistency nonsense
}

# Before any lease: its id, which is in the records, is another on each server.
hashes() {
  step "hash of the key space"
  run endpoint hashkv
  run endpoint hashkv --rev 3
  run endpoint hashkv --rev 99999
  run endpoint hashkv --write-out json
  run defrag | sed -E 's#took [0-9.]+[mµ]?s#took T#'
  run endpoint hashkv
}

# Members are listed by ids, which differ, so of lists with more than one only the lines are compared.
members() {
  local id
  step "members: add a learner, move it, remove it; what is refused"
  quiet member add n2 --peer-urls http://127.0.0.1:1 --learner | head -1 | tr -s ' ' | normalise
  id=$(quiet member list | grep unstarted | cut -d, -f1)
  quiet member list | normalise | sort
  # Another list of URLs: in the same second the same would have the same id, which is refused first.
  run member add n3 --peer-urls http://127.0.0.1:1,http://127.0.0.1:2 --learner
  run member add n3 --peer-urls http://127.0.0.1:2 --learner
  run member add n3 --peer-urls http://127.0.0.1
  run member promote "$id"
  run move-leader "$id"
  quiet member update "$id" --peer-urls unix://elsewhere | tr -s ' ' | normalise
  quiet member list | normalise | sort
  quiet member remove "$id" | tr -s ' ' | normalise
  run member remove "$id"
  run member promote 1234567890abcde
  run move-leader 1234567890abcde
  run member list
}

walk() {
  endpoint=$1
  put_and_get
  chunks
  order
  formats
  delete
  txns
  hashes
  watches
  compactions
  refusals
  leases
  dead_service
  locks
  elections
  cluster
  members
}

transcripts at_once
