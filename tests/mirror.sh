#!/usr/bin/env bash
# `etcdctl make-mirror` copies the same from one server to another, whichever kind both are of.
#
#   tests/mirror.sh ETCDCTL SOURCE,DESTINATION                            prints what a pair of fresh servers has after it
#   tests/mirror.sh ETCDCTL EXPECTED,DESTINATION ACTUAL,DESTINATION       compares two pairs; fails with the difference
set -uo pipefail

usage="use: $0 ETCDCTL SOURCE,DESTINATION [SOURCE,DESTINATION]"
etcdctl=${1:?$usage} first=${2:?$usage} second=${3:-}
ttl=2 late_ms=1000
# How long anything that must come may take.
patience_s=20

. "$(dirname "$0")/transcript.sh"

at_source() { endpoint=$source; }
at_destination() { endpoint=$destination; }

# Begins a mirror of the source; its flags follow.
mirror() {
  printf '$ etcdctl make-mirror DESTINATION %s\n' "$*"
  at_source
  # The address without a scheme: that is what the destination is called in examples.
  background mirror make-mirror "${destination#http://}" "$@"
}

# Waits until the destination has COUNT keys below a prefix.
arrived() { at_destination && wait_for_keys "$@"; }

# Ends the mirror; shows what it has made below a prefix, with revisions, and clears it away.
ended() {
  end -TERM "$child"
  grep -v '^[0-9]*$' "$dir/mirror" | normalise
  normalise <"$dir/mirror.err"
  at_destination
  run get --prefix "$1" --write-out json
  quiet del --prefix "" >/dev/null
}

fill() {
  step "what is to be copied"
  at_source
  local key
  for key in m/1 m/2 m/3 m/nested/1 other; do run put $key "first of $key"; done
  run put m/1 "second of m/1"
  grant LEASE 600
  run put m/leased x --lease "$lease"
  run put empty/value ""
}

copies() {
  step "everything: what is there, then what happens"
  mirror
  arrived "" 7
  at_source
  quiet put live/1 a >/dev/null
  quiet put live/1 b >/dev/null
  quiet del m/2 >/dev/null
  quiet del --prefix m/nested >/dev/null
  printf '\nput live/2 c\nput live/3 d\ndel other\n\n\n' | quiet txn >/dev/null
  quiet put live/last x >/dev/null
  arrived live/last 1
  ended ""

  step "of a prefix alone"
  mirror --prefix m/
  arrived m/ 3
  at_source
  quiet put other again >/dev/null
  quiet put m/4 x >/dev/null
  arrived m/4 1
  ended ""

  step "to another prefix"
  mirror --prefix m/ --dest-prefix copies/of/
  arrived copies/of/ 4
  at_source
  quiet put m/5 x >/dev/null
  quiet del m/4 >/dev/null
  arrived copies/of/5 1
  arrived copies/of/ 4
  ended ""

  step "to the root"
  mirror --prefix m/ --no-dest-prefix
  arrived "" 4
  at_source
  quiet put m/6 x >/dev/null
  arrived 6 1
  ended ""

  step "from a revision on, of which the state is not copied"
  at_source
  local from
  from=$(($(quiet get m/6 --write-out fields | awk '/^"Revision"/ { print $3 }') + 1))
  quiet put r/1 x >/dev/null
  quiet del m/6 >/dev/null
  quiet put r/2 y >/dev/null
  printf '$ etcdctl make-mirror DESTINATION --rev FROM\n'
  background mirror make-mirror "$destination" --rev "$from"
  arrived r/ 2
  ended ""

  step "a txn in more than one"
  at_source
  quiet put t/0 x >/dev/null
  mirror --prefix t/ --max-txn-ops 2
  # What comes after the state that it copies first, it watches.
  arrived t/ 1
  at_source
  printf '\nput t/1 a\nput t/2 b\nput t/3 c\nput t/4 d\nput t/5 e\n\n\n' | quiet txn >/dev/null
  arrived t/ 6
  ended t/
}

refusals() {
  step "what is refused"
  at_source
  run make-mirror
  run make-mirror "$destination" --prefix m/ --dest-prefix x --no-dest-prefix
  run make-mirror "$destination" --max-txn-ops nonsense
  run make-mirror "$destination" --rev nonsense
  quiet compaction "$(quiet get m/1 --write-out fields | awk '/^"Revision"/ { print $3 }')" >/dev/null
  run make-mirror "$destination" --rev 2
}

with_users() {
  step "to a destination that asks who writes"
  at_destination
  quiet user add root:pw >/dev/null
  quiet user grant-role root root >/dev/null
  quiet auth enable >/dev/null
  mirror --prefix m/ --dest-user root:pw
  until [ "$(quiet_at_root get m/ --prefix --keys-only | grep -c .)" -eq 4 ]; do sleep 0.05; done
  end -TERM "$child"
  mirror --prefix other --dest-prefix copy --dest-user root --dest-password pw --dest-insecure-transport=true
  until [ "$(quiet_at_root get copy --keys-only | grep -c .)" -eq 1 ]; do sleep 0.05; done
  end -TERM "$child"
  at_destination
  quiet_at_root get --prefix "" | normalise
  at_source
  run make-mirror "$destination" --prefix m/ --dest-user root:wrong
  run make-mirror "$destination" --prefix m/
  at_destination
  quiet_at_root auth disable >/dev/null

  step "from a source that asks who reads"
  at_source
  quiet user add root:pw >/dev/null
  quiet user grant-role root root >/dev/null
  quiet auth enable >/dev/null
  run make-mirror "$destination" --prefix m/
  mirror --prefix m/ --dest-prefix again/ --user root:pw
  arrived again/ 4
  at_source
  ETCDCTL_USER=root:pw quiet put m/7 live >/dev/null
  arrived again/7 1
  ended again/
  at_source
  ETCDCTL_USER=root:pw quiet auth disable >/dev/null
}

quiet_at_root() { at_destination && ETCDCTL_USER=root:pw quiet "$@"; }

walk() {
  source=${1%,*} destination=${1#*,}
  printf 's#%s#DESTINATION#g\ns#%s#DESTINATION#g\n' "$destination" "${destination#http://}" >>"$dir/leases"
  fill
  copies
  refusals
  with_users
}

transcripts at_once
