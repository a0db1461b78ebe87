# Transcripts of etcdctl: what it says, without what differs between two servers that are alike. To be sourced, with
# $etcdctl, $ttl (seconds of the shortest lease), $late_ms and $patience_s set.
#
# A script defines `walk SUBJECT`, one run over all of its steps, which sets $endpoint; its transcript is its standard
# output. At its end the script calls `transcripts`. A walk has a subshell and a folder $dir of its own.

work=$(mktemp -d)
children=()
finish() {
  for child in "${children[@]:-}"; do [ -n "$child" ] && kill -9 "$child" 2>/dev/null; done
  rm -rf "$work"
}
trap finish EXIT

now_ms() { local now=${EPOCHREALTIME/[^0-9]/}; echo $((now / 1000)); }

step() { printf '\n== %s\n' "$*"; }

# What differs between two servers that are alike. Lease ids that a step has noted come first.
normalise() {
  sed -E -f "$dir/leases" | sed -E \
    -e "s#$endpoint#ENDPOINT#g; s#${endpoint#http://}#ADDRESS#g" \
    -e 's#^\{"level":"warn".*"msg":"([^"]*)".*"method":"([^"]*)","attempt":([0-9]+),"error":(".*")\}$#warn: \1 \2 \4#' \
    -e 's#^\{"level":"(warn|error)","ts":"[^"]*","logger":"[^"]*","caller":"[^"]*",#\1: #' \
    -e 's#"(cluster_id|member_id|leader|ID)":[0-9]+#"\1":ID#g' \
    -e 's#"(raft_term|raftTerm|raftIndex|raftAppliedIndex|dbSize|dbSizeInUse)":[0-9]+#"\1":N#g' \
    -e 's#^"(ClusterID|MemberID|RaftTerm)" : [0-9]+#"\1" : N#' \
    -e 's#http://127.0.0.1:[0-9]+#PEER#g; s#127.0.0.1:[0-9]+#PEER#g' \
    -e 's#"took":"[^"]*"#"took":T#; s#took = .*#took = T#; s#"ts":"[^"]*"#"ts":T#; s#,"stacktrace".*##' \
    -e 's#(memberID:[0-9]+)  alarm#\1 alarm#g' \
    -e 's#/[0-9a-f]{9,16}($|[^0-9a-f])#/LEASE\1#g' \
    -e 's#\b[0-9a-f]{12,16}\b#ID#g'
}

# The keys of a lease come in any order from etcd; those of the step below, in theirs.
keys_in_order() { sed -e 's#l/2 l/1#l/1 l/2#' -e 's#"bC8y","bC8x"#"bC8x","bC8y"#'; }

# Of a table: its head and its row, cell by cell, as `name=value`. What depends on ids and sizes becomes a word.
table() {
  grep '│' | tr -d ' ' | awk -F'│' '
    NR == 1 { for (i = 2; i < NF; i++) name[i] = $i; next }
    { for (i = 2; i < NF; i++) {
        value = $i
        if (name[i] ~ /^(RAFT|DBSIZE|INUSE|PERCENT|TOOK)/ && value != "") value = "N"
        print name[i] "=" value } }'
}

# Runs etcdctl and writes down what it says and how it ends.
run() {
  printf '$ etcdctl' && printf ' %q' "$@" | normalise
  printf '\n'
  timeout "$patience_s" "$etcdctl" --endpoints "$endpoint" "$@" >"$dir/out" 2>"$dir/err"
  local code=$?
  normalise <"$dir/out"
  normalise <"$dir/err"
  [ $code -eq 0 ] || printf '[exit %d]\n' "$code"
}

# Runs a step whose answer is a message of protobuf, and writes down its bytes behind the header, where the ids are.
run_protobuf() {
  printf '$ etcdctl' && printf ' %q' "$@" | normalise
  local bytes
  bytes=$(quiet "$@" --write-out protobuf 2>&1 | od -An -v -tx1 | tr -d ' \n')
  [[ $bytes == 0a* ]] && bytes=header${bytes:4 + 2 * 16#${bytes:2:2}}
  printf ' --write-out protobuf\n%s\n' "$bytes"
}

# Runs a step with variables, each of which is given as NAME=VALUE.
with() {
  printf '(with'
  while [[ $1 == [A-Z]*=* ]]; do
    local -x "$1"
    printf ' %s' "$1" | normalise
    shift
  done
  printf ') '
  "$@"
}

# The same without writing it down.
quiet() { timeout "$patience_s" "$etcdctl" --endpoints "$endpoint" "$@"; }

# When a process was started, in the system's ticks.
started() { cut -d' ' -f22 "/proc/$1/stat" 2>/dev/null; }

# Writes down a process that must not outlive the walk, and when it was started: its number may become another's.
note_child() { echo "$1 $(started "$1")" >>"$dir/children"; }

# Starts etcdctl in the background, its output in $dir/NAME. Sets $child.
background() {
  local name=$1
  shift
  : >"$dir/$name"
  "$etcdctl" --endpoints "$endpoint" "$@" <&0 >>"$dir/$name" 2>"$dir/$name.err" &
  child=$!
  note_child "$child"
}

# Waits until $dir/NAME has COUNT lines of PATTERN.
wait_for() {
  local name=$1 pattern=$2 count=${3:-1} deadline=$(($(now_ms) + patience_s * 1000))
  until [ "$(grep -c -e "$pattern" "$dir/$name")" -ge "$count" ]; do
    if [ "$(now_ms)" -gt $deadline ]; then
      printf 'NEVER CAME: %s times %s in:\n' "$count" "$pattern"
      normalise <"$dir/$name"
      normalise <"$dir/$name.err"
      return 1
    fi
    sleep 0.01
  done
}

# Waits until COUNT keys have the prefix.
wait_for_keys() {
  local prefix=$1 count=$2 deadline=$(($(now_ms) + patience_s * 1000))
  until [ "$(quiet get "$prefix" --prefix --keys-only | grep -c .)" -eq "$count" ]; do
    [ "$(now_ms)" -le $deadline ] || { printf 'NEVER CAME: %s keys below %s\n' "$count" "$prefix"; return 1; }
  done
}

# Ends a background etcdctl; `-9` leaves it no time to let go of anything.
end() {
  kill "$1" "$2" 2>/dev/null
  wait "$2" 2>/dev/null
}

show() { sed 's/^/| /' "$dir/$1" | normalise; }

# Says whether something came within the TTL and $late_ms after START, and not before EARLIEST milliseconds.
in_time() {
  local what=$1 took=$(($2 - $3)) earliest=$4
  if [ $took -lt "$earliest" ]; then
    printf '%s TOO EARLY: after %s ms\n' "$what" $took
  elif [ $took -gt $((ttl * 1000 + late_ms)) ]; then
    printf '%s TOO LATE: after %s ms\n' "$what" $took
  else
    printf '%s in time\n' "$what"
  fi
}

# Grants a lease of some seconds; its id goes by NAME from now on. Sets $lease.
grant() {
  local name=$1 said
  printf '$ etcdctl lease grant %s # %s\n' "$2" "$name"
  said=$(quiet lease grant "$2")
  lease=$(awk '{ print $2 }' <<<"$said")
  printf 's#\\b%s\\b#%s#g\ns#\\b%s\\b#%s#g\n' "$lease" "$name" "$((16#$lease))" "$name" >>"$dir/leases"
  normalise <<<"$said"
}

# Walks over a subject, with $work/NAME as the folder.
walk_over() {
  local name=$1 subject=$2
  dir=$work/$name
  mkdir -p "$dir"
  : >"$dir/leases"
  : >"$dir/children"
  walk "$subject"
}

# Ends what a walk that was cut short has left.
sweep() {
  local child moment
  while read -r child moment; do
    [ -n "$moment" ] && [ "$(started "$child")" = "$moment" ] && kill -9 "$child" 2>/dev/null
  done <"$dir/children"
}

# Prints the transcript of $first; or, if there is a $second, compares those of both. ORDER is `at_once` or `in_turn`.
transcripts() {
  local order=$1 name subject
  if [ -z "$second" ]; then
    walk_over expected "$first"
    exit 0
  fi
  for name in expected actual; do
    subject=$second
    [ $name = expected ] && subject=$first
    (walk_over $name "$subject") >"$work/$name.txt" 2>&1 &
    children+=($!)
    [ "$order" = at_once ] || wait $!
  done
  wait "${children[@]}"
  children=()
  for dir in "$work/expected" "$work/actual"; do sweep; done
  compare
}

# Tells the steps, and how the two transcripts differ; ends the script.
compare() {
  grep --text '^== ' "$work/actual.txt"
  local failed=0
  if ! diff --text --unified=4 --show-function-line='^== ' --label expected --label actual \
    "$work/expected.txt" "$work/actual.txt"; then
    echo "etcdctl does not see the same"
    failed=1
  fi
  if grep --text -n -e 'NEVER CAME' -e 'TOO LATE' -e 'TOO EARLY' -e 'TWO HOLDERS' -e 'TWO LEADERS' \
    "$work/actual.txt"; then
    failed=1
  fi
  exit $failed
}
