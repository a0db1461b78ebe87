#!/usr/bin/env bash
# A real etcdctl, and curl, see the same of users, roles and what they may do from two servers.
#
#   tests/auth.sh ETCDCTL ENDPOINT              prints what they see from one fresh server
#   tests/auth.sh ETCDCTL EXPECTED ACTUAL       compares what they see from two; fails with the difference
#
# Both servers must be fresh members named m1. `as NAME` is a user whose password is `pw-NAME`; without it a call is nobody's.
set -uo pipefail

usage="use: $0 ETCDCTL ENDPOINT [ENDPOINT]"
etcdctl=${1:?$usage} first=${2:?$usage} second=${3:-}
ttl=2 late_ms=1000
# How long anything that must come may take.
patience_s=20

. "$(dirname "$0")/transcript.sh"

# Runs a step as a user.
as() {
  local name=$1
  shift
  printf '(as %s) ' "$name"
  ETCDCTL_USER=$name:pw-$name "$@"
}

# The same without writing it down.
quiet_as() { ETCDCTL_USER=$1:pw-$1 quiet "${@:2}"; }

# Runs a step with a token instead of a password; the token itself is not written down.
with_token() {
  printf '(with token %s) ' "$1"
  ETCDCTL_AUTH_JWT_TOKEN=${!1-$1} "${@:2}"
}

# Posts JSON to a path of the gateway, with a token if there is one.
post() {
  local path=$1 body=$2 token=${3:-}
  curl --silent --max-time "$patience_s" ${token:+-H "Authorization: $token"} -d "$body" "$endpoint$path"
}

# The token that a user gets.
token_of() { post /v3/auth/authenticate "{\"name\":\"$1\",\"password\":\"pw-$1\"}" | sed -E 's#.*"token":"([^"]*)".*#\1#'; }

# What the gateway says, without blanks and what differs.
posted() {
  printf '$ POST %s %s\n' "$1" "$2"
  post "$@" | tr -d ' ' | sed -E -e 's#"(cluster_id|member_id|raft_term|ID|TTL|hash)":"?[0-9]+"?#"\1":N#g' \
    -e 's#"token":"[A-Za-z]{16}\.[0-9]+"#"token":TOKEN#' | normalise
  echo
}

txn() { printf '%s\n' "$@" >"$dir/txn"; }

switched_off() {
  step "users and roles before auth is enabled"
  run auth status
  run auth status --write-out json
  run auth enable --user root:pw
  posted /v3/auth/enable '{}'
  posted /v3/auth/authenticate '{"name":"root","password":"pw-root"}'
  run user list
  run role list
  run user get root
  run role get root
  run role get none
  run user add root:pw-root
  run user add root:other
  run user add : 
  run user add "" --new-user-password x
  run user add long --new-user-password "$(printf 'x%.0s' {1..73})"
  run user add nopass --no-password
  run user add typed --interactive=false </dev/null
  printf 'pw-typed\n' | run user add typed --interactive=false
  run user get typed --write-out json
  run user delete typed
  posted /v3/auth/user/add '{"name":"empty"}'
  posted /v3/auth/enable '{}'
  run user grant-role root missing
  run user grant-role missing root
  run user grant-role root root
  run user grant-role root root
  run role get root
  run role add root
  run role add root
  run role add ""
  run role get root
  run role grant-permission root read x
  run role get root
  run role revoke-permission root x
  run role revoke-permission root x
  run role delete missing
  run user delete missing
  printf 'x\nx\n' | run user passwd missing --interactive=false
  printf 'other\n' | run user passwd nopass --interactive=false
  run user revoke-role root missing
  run user revoke-role missing root
  posted /v3/auth/user/add '{"name":"hashed","hashedPassword":"Zm9v","options":{"no_password":true}}'
  posted /v3/auth/user/changepw '{"name":"root","hashedPassword":"***"}'
  posted /v3/auth/user/changepw '{"name":"nopass","hashedPassword":"***"}'
  posted /v3/auth/user/changepw '{"name":"missing","hashedPassword":"***"}'
  run user delete hashed
}

permissions() {
  step "permissions of roles"
  run role add part
  run role grant-permission part readwrite app/ --prefix
  run role grant-permission part read shared
  run role grant-permission part read b c
  run role grant-permission part write c d
  run role grant-permission part write z --from-key
  run role get part
  run role get part --write-out json
  run role grant-permission part write b c
  run role get part
  run role grant-permission part readwrite b c
  run role grant-permission part nonsense x
  run role grant-permission missing read x
  run role grant-permission part read ""
  run role grant-permission part read d c
  run role grant-permission part read d d
  posted /v3/auth/role/grant '{"name":"part"}'
  posted /v3/auth/role/grant '{"name":"missing"}'
  posted /v3/auth/role/grant '{"name":"part","perm":{"permType":"READ","key":"AA==","range_end":"AA=="}}'
  posted /v3/auth/role/revoke '{"role":"part","key":"AA==","range_end":"AA=="}'
  run role revoke-permission part b
  run role revoke-permission part missing
  run role revoke-permission missing x
  run role revoke-permission part z --from-key
  run role grant-permission part read tree/ --prefix
  run role revoke-permission part tree/ --prefix
  run role get part
  run role add gone
  run user add part:pw-part
  run user add plain:pw-plain
  run user add victim:pw-victim
  run user grant-role part part
  run user grant-role part gone
  run user get part
  run user get part --detail
  run user get part --write-out json
  run role delete gone
  run user get part
  run user list
  run user list --write-out json
  run role list
  run role list --write-out json
  run auth status
}

enabled() {
  step "auth is enabled, again, and cannot lose its root"
  run auth enable
  run auth enable
  as root run auth enable
  run auth status
  run auth status --write-out json
  run put x 1
  as root run put x 1
  as root run get x
  as wrong run get x
  ETCDCTL_USER=root:wrong run get x
  ETCDCTL_USER=root: run get x
  ETCDCTL_USER=nopass:x run get x
  step "how etcdctl is told who asks"
  run get x --user root:pw-root
  run get x --user root --password pw-root
  run get x --user root --password wrong
  run get x --user root:pw-root --password wrong
  run get x --password pw-root
  run get x --user ""
  # Without a terminal the password is empty.
  run get x --user root </dev/null | sed '/^Password: stty/d; /^stty/d'
  with ETCDCTL_USER=root ETCDCTL_PASSWORD=pw-root run get x
  with ETCDCTL_PASSWORD=pw-root run get x
  with ETCDCTL_USER=root:pw-root run get x --user root
  run get x --auth-jwt-token garbage
  run get x --user root:pw-root --auth-jwt-token garbage
  run get x --user root:pw-root --auth-jwt-token ""
  step "what auth refuses root"
  as root run user delete root
  as root run role delete root
  as root run user revoke-role root root
  as root run user list
  as root run user get part
  as root run role get part
  as root run role get root
}

management() {
  local who
  step "users and roles, by those who may not change them"
  for who in "" part plain; do
    local call=(run)
    [ -n "$who" ] && call=(as "$who" run)
    "${call[@]}" auth status
    "${call[@]}" auth enable
    "${call[@]}" auth disable
    "${call[@]}" user list
    "${call[@]}" user get part
    "${call[@]}" user get plain
    "${call[@]}" user get missing
    "${call[@]}" user add new:pw
    "${call[@]}" user delete missing
    printf 'x\n' | "${call[@]}" user passwd part --interactive=false
    "${call[@]}" user grant-role plain root
    "${call[@]}" user revoke-role part part
    "${call[@]}" role list
    "${call[@]}" role get part
    "${call[@]}" role get root
    "${call[@]}" role get missing
    "${call[@]}" role add new
    "${call[@]}" role add ""
    "${call[@]}" role delete part
    "${call[@]}" role grant-permission part read x
    "${call[@]}" role revoke-permission part shared
  done
}

keys() {
  local who
  step "keys"
  for key in app/1 app/2 shared other b1 c1 c2; do quiet_as root put $key "$key" >/dev/null; done
  for who in "" part plain; do
    local call=(run)
    [ -n "$who" ] && call=(as "$who" run)
    "${call[@]}" get app/1
    "${call[@]}" get app/ --prefix
    "${call[@]}" get app/ --prefix --stream
    "${call[@]}" get app/ --prefix --consistency s
    "${call[@]}" get "" --prefix
    "${call[@]}" get "" --prefix --stream
    "${call[@]}" get app/ --from-key
    "${call[@]}" get shared
    "${call[@]}" get other
    "${call[@]}" get other --rev 99999
    "${call[@]}" get b1 c9
    "${call[@]}" get c1
    "${call[@]}" get bz b
    "${call[@]}" put app/1 new
    "${call[@]}" put app/1 new --prev-kv
    "${call[@]}" put shared new
    "${call[@]}" put c1 new
    "${call[@]}" put c1 new --prev-kv
    "${call[@]}" put c1 --ignore-value
    "${call[@]}" put other new
    "${call[@]}" put other new --lease 1234
    "${call[@]}" put "" new
    "${call[@]}" del app/2
    "${call[@]}" del app/ --prefix --prev-kv
    "${call[@]}" del c2
    "${call[@]}" del c2 --prev-kv
    "${call[@]}" del c --prefix
    "${call[@]}" del other
    "${call[@]}" del "" --from-key
    "${call[@]}" compaction 2
    "${call[@]}" compaction 99999
  done
}

txns() {
  local who
  step "txns"
  for who in "" part plain root; do
    local call=(run)
    [ -n "$who" ] && call=(as "$who" run)
    txn 'ver("app/1") > "0"' '' 'put app/1 1' 'get app/1' '' 'get shared' ''
    "${call[@]}" txn <"$dir/txn"
    txn 'ver("other") > "0"' '' 'put app/1 1' '' '' ''
    "${call[@]}" txn <"$dir/txn"
    txn 'ver("app/1") > "0"' '' 'put app/1 1' '' 'put other 1' ''
    "${call[@]}" txn <"$dir/txn"
    txn 'ver("app/1") > "0"' '' 'get app/1' '' 'get other' ''
    "${call[@]}" txn <"$dir/txn"
    txn 'ver("c1") > "0"' '' 'put c1 1' '' '' ''
    "${call[@]}" txn <"$dir/txn"
    txn '' 'del other' '' '' ''
    "${call[@]}" txn <"$dir/txn"
    txn '' '' '' ''
    "${call[@]}" txn <"$dir/txn"
  done
  step "txns that etcdctl does not make: nested, comparing ranges, with what was before"
  local part plain root
  part=$(token_of part) plain=$(token_of plain) root=$(token_of root)
  local app_1=YXBwLzE= other=b3RoZXI= app=YXBwLw== app_end=YXBwMA== c1=YzE=
  local token
  for token in "$part" "$plain" "$root" "" garbage; do
    posted /v3/kv/txn "{\"success\":[{\"request_txn\":{\"success\":[{\"request_put\":{\"key\":\"$app_1\"}}]}}]}" "$token"
    posted /v3/kv/txn "{\"success\":[{\"request_txn\":{\"failure\":[{\"request_put\":{\"key\":\"$other\"}}]}}]}" "$token"
    posted /v3/kv/txn "{\"success\":[{\"request_txn\":{\"compare\":[{\"key\":\"$other\",\"target\":\"VERSION\",\"version\":\"1\"}]}}]}" "$token"
    posted /v3/kv/txn "{\"success\":[{\"request_txn\":{\"success\":[{\"request_range\":{\"key\":\"$other\"}}]}}]}" "$token"
    posted /v3/kv/txn "{\"compare\":[{\"key\":\"$app\",\"range_end\":\"$app_end\",\"target\":\"VERSION\",\"version\":\"1\"}]}" "$token"
    posted /v3/kv/txn "{\"compare\":[{\"key\":\"$app\",\"range_end\":\"AA==\",\"target\":\"VERSION\",\"version\":\"1\"}]}" "$token"
    posted /v3/kv/txn "{\"success\":[{\"request_put\":{\"key\":\"$c1\",\"prev_kv\":true}}]}" "$token"
    posted /v3/kv/txn "{\"success\":[{\"request_delete_range\":{\"key\":\"$c1\",\"prev_kv\":true}}]}" "$token"
    posted /v3/kv/txn "{\"success\":[{\"request_delete_range\":{\"key\":\"$c1\"}}]}" "$token"
    posted /v3/kv/txn '{"success":[{}]}' "$token"
    posted /v3/kv/txn '{}' "$token"
    posted /v3/kv/range '{}' "$token"
    posted /v3/kv/put '{}' "$token"
    posted /v3/kv/put "{\"key\":\"$other\",\"value\":\"eA==\",\"ignore_value\":true}" "$token"
    posted /v3/kv/range "{\"key\":\"$other\",\"sort_order\":9}" "$token"
    posted /v3/kv/range "{\"key\":\"$app_1\",\"revision\":\"99999\"}" "$token"
    posted /v3/kv/range "{\"key\":\"$app_1\",\"revision\":\"-1\"}" "$token"
    posted /v3/kv/compaction '{"revision":"-1"}' "$token"
    posted /v3/kv/compaction '{"revision":"99999"}' "$token"
  done
}

leases() {
  step "leases with keys that one may not touch"
  ETCDCTL_USER=root:pw-root grant FOREIGN 600
  local foreign=$lease
  quiet_as root put other x --lease "$foreign" >/dev/null
  ETCDCTL_USER=part:pw-part grant OWN 600
  local own=$lease
  quiet_as part put app/1 x --lease "$own" >/dev/null
  ETCDCTL_USER=root:pw-root grant BARE 600
  local bare=$lease who
  for who in "" plain part root; do
    local call=(run)
    [ -n "$who" ] && call=(as "$who" run)
    "${call[@]}" put app/2 x --lease "$foreign"
    "${call[@]}" put app/2 x --lease "$own"
    "${call[@]}" put app/2 x
    local id
    for id in "$foreign" "$own" "$bare"; do
      "${call[@]}" lease timetolive "$id" | sed -E 's#remaining\([0-9]+s\)#remaining(N)#'
      "${call[@]}" lease timetolive "$id" --keys | sed -E 's#remaining\([0-9]+s\)#remaining(N)#'
      "${call[@]}" lease keep-alive --once "$id"
    done
    "${call[@]}" lease timetolive 1234
    "${call[@]}" lease timetolive 1234 --keys
    "${call[@]}" lease keep-alive --once 1234
    "${call[@]}" lease list | sort
    "${call[@]}" lease revoke "$foreign"
    "${call[@]}" lease revoke 1234
  done
  run lease grant 600
  run lease grant 9000000001
  as plain run lease grant 9000000001
  run lease revoke "$own"
  as plain run lease revoke "$own"
  as part run lease revoke "$own"
  as plain run lease list
  as plain run lease revoke "$bare"
  as part run get app/ --prefix
}

watches() {
  step "watches that are refused"
  run watch app/ --prefix
  as plain run watch app/ --prefix
  as part run watch other
  as part run watch app/ b
  as part run watch c1
  as wrong run watch app/
  with_token garbage run watch app/

  step "watches that go on when the permission is gone"
  ETCDCTL_USER=victim:pw-victim
  export ETCDCTL_USER
  quiet_as root user grant-role victim part >/dev/null
  background watch watch app/ --prefix --rev 1
  unset ETCDCTL_USER
  wait_for watch '^app/1$'
  quiet_as root user revoke-role victim part >/dev/null
  quiet_as root put app/9 "after the permission" >/dev/null
  wait_for watch '^after the permission$'
  quiet_as root user delete victim >/dev/null
  quiet_as root put app/9 "after the user" >/dev/null
  wait_for watch '^after the user$'
  end -TERM "$child"
  tail -6 "$dir/watch"
  quiet_as root user add victim:pw-victim >/dev/null
}

contenders() {
  local who
  step "locks and elections"
  for who in "" plain root part; do
    local call=(run)
    [ -n "$who" ] && call=(as "$who" run)
    "${call[@]}" lock other echo held
    "${call[@]}" lock app/lock echo held
  done
  step "a contender waits while users and roles change"
  local part
  part=$(token_of part)
  ETCDCTL_USER=root:pw-root grant HOLDER 600
  local holder=$lease
  ETCDCTL_USER=part:pw-part grant WAITER 600
  posted /v3/lock/lock "{\"name\":\"YXBwL3F1ZXVl\",\"lease\":\"$((16#$holder))\"}" "$(token_of root)" | sed -E -e 's#"key":"[^"]*"#"key":K#' -e 's#"lease":"[0-9]*"#"lease":ID#'
  post /v3/lock/lock "{\"name\":\"YXBwL3F1ZXVl\",\"lease\":\"$((16#$lease))\"}" "$part" >"$dir/lock" &
  local waiting=$!
  until [ "$(quiet_as root get app/queue/ --prefix --keys-only | grep -c .)" -eq 2 ]; do sleep 0.05; done
  ETCDCTL_USER=part:pw-part background observer elect --listen app/election
  local observer=$child
  quiet_as root user add later:pw-later >/dev/null
  quiet_as root lease revoke "$holder" >/dev/null
  wait $waiting
  tr -d ' ' <"$dir/lock" | sed -E -e 's#"(cluster_id|member_id|raft_term)":"?[0-9]+"?#"\1":N#g' -e 's#"key":"[^"]*"#"key":K#'
  echo
  ETCDCTL_USER=part:pw-part background leader elect app/election first
  local leader=$child
  wait_for observer '^first$'
  quiet_as root user delete later >/dev/null
  end -INT "$leader"
  ETCDCTL_USER=part:pw-part background leader elect app/election second
  leader=$child
  wait_for observer '^second$'
  end -INT "$leader"
  end -TERM "$observer"
  as plain run elect --listen app/election
  run elect --listen app/election
  as plain run elect app/election x
  quiet_as root lease revoke "$lease" >/dev/null

  step "locks and elections through the gateway"
  local token=
  for who in "" garbage plain part root; do
    case "$who" in "" | garbage) token=$who ;; *) token=$(token_of $who) ;; esac
    printf '(as %s)\n' "${who:-nobody}"
    posted /v3/lock/lock '{"name":"bG9jaw=="}' "$token" | sed -E 's#"key":"[^"]*"#"key":K#'
    posted /v3/lock/unlock '{"key":"b3RoZXI="}' "$token"
    posted /v3/lock/unlock '{}' "$token"
    posted /v3/election/campaign '{"name":"ZWxlY3Q=","value":"eA=="}' "$token" | sed -E 's#"(key|lease)":"[^"]*"#"\1":K#g'
    posted /v3/election/leader '{"name":"ZWxlY3Q="}' "$token" | sed -E 's#"(key|lease)":"[^"]*"#"\1":K#g'
    posted /v3/election/leader '{"name":"YXBwL2U="}' "$token"
    posted /v3/election/proclaim '{"leader":{"name":"ZWxlY3Q=","key":"b3RoZXI=","rev":"5","lease":"7"}}' "$token"
    posted /v3/election/proclaim '{}' "$token"
    posted /v3/election/resign '{"leader":{"name":"ZWxlY3Q=","key":"b3RoZXI=","rev":"5","lease":"7"}}' "$token"
    posted /v3/election/resign '{}' "$token"
  done
}

member() {
  local who path
  step "members and maintenance"
  for who in "" plain root; do
    local call=(run)
    [ -n "$who" ] && call=(as "$who" run)
    "${call[@]}" member list
    "${call[@]}" member add n2 --peer-urls nonsense
    "${call[@]}" member remove 1234567890abcde
    "${call[@]}" member promote 1234567890abcde
    "${call[@]}" member update 1234567890abcde --peer-urls http://127.0.0.1:1
    "${call[@]}" endpoint status --write-out json
    "${call[@]}" endpoint health
    "${call[@]}" alarm list
    "${call[@]}" alarm disarm
    "${call[@]}" move-leader 1234567890abcde
    "${call[@]}" defrag | sed -E 's#took [0-9.]+[mµ]?s#took T#g'
    "${call[@]}" endpoint hashkv | sed -E 's#, [0-9]+, [0-9]+$#, HASH#; s#, [0-9]+$#, HASH#'
    [ "$who" = root ] || "${call[@]}" snapshot save "$dir/snapshot" 2>&1 | sed "s#$dir#DIR#g; s#\"ts\":\"[^\"]*\"#\"ts\":T#; s# in [0-9.]*[mµ]*s\$##"
  done
  for path in health readyz livez version; do
    printf '$ GET /%s\n' "$path"
    curl --silent --max-time "$patience_s" "$endpoint/$path"
    echo
  done
  local token
  for who in "" garbage plain root; do
    case "$who" in "" | garbage) token=$who ;; *) token=$(token_of $who) ;; esac
    printf '(as %s)\n' "${who:-nobody}"
    posted /v3/maintenance/hash '{}' "$token"
    posted /v3/maintenance/alarm '{"action":"GET"}' "$token"
    posted /v3/maintenance/alarm '{"action":"DEACTIVATE","alarm":"NOSPACE"}' "$token"
    posted /v3/cluster/member/list '{"linearizable":true}' "$token" | sed -E 's#"members":.*#MEMBERS#'
    posted /v3/cluster/member/add '{"peerURLs":["nonsense"]}' "$token"
    posted /v3/auth/status '{}' "$token"
    posted /v3/auth/user/get '{"name":"plain"}' "$token"
    posted /v3/lease/leases '{}' "$token" | sed -E 's#"leases":.*#LEASES#'
    posted /v3/lease/keepalive '{"ID":"1234"}' "$token"
    posted /v3/lease/grant '{"TTL":"60"}' "$token"
  done
}

tokens() {
  step "tokens, and what ends them"
  local garbage=garbage victim root
  with_token garbage run get app/1
  with_token garbage run auth status
  with_token garbage run auth enable
  with_token garbage run member list
  with_token garbage run endpoint status
  with_token garbage run alarm list
  with_token garbage run lease list
  with_token garbage run lease grant 60
  with_token garbage run defrag | sed -E 's#took [0-9.]+[mµ]?s#took T#g'
  quiet_as root user grant-role victim part >/dev/null
  victim=$(token_of victim)
  with_token victim run get app/9
  posted /v3/kv/range '{"key":"YXBwLzk="}' "Bearer $victim"
  posted /v3/kv/range '{"key":"YXBwLzk="}' "bearer $victim"
  posted /v3/kv/range '{"key":"YXBwLzk="}' "${victim}x"
  quiet_as root user revoke-role victim part >/dev/null
  with_token victim run get app/9
  quiet_as root user grant-role victim part >/dev/null
  with_token victim run get app/9
  printf 'pw-victim\n' | as root run user passwd victim --interactive=false
  with_token victim run get app/9
  victim=$(token_of victim)
  with_token victim run get app/9
  quiet_as root user delete victim >/dev/null
  with_token victim run get app/9
  as victim run get app/9
  root=$(token_of root)
  with_token root run user get root
  as plain run auth disable
  with_token root run auth disable
  run auth disable
  run auth status
  with_token root run get app/9
  with_token garbage run get app/9
  posted /v3/auth/authenticate '{"name":"root","password":"pw-root"}'
  run auth enable
  with_token root run get app/9
  with_token root run auth status
  as root run get app/9
  as root run auth disable
  as root run get app/9
  run user delete root
  run auth enable
  run auth status
  run role list
}

walk() {
  endpoint=$1
  switched_off
  permissions
  enabled
  management
  keys
  txns
  leases
  watches
  contenders
  member
  tokens
}

transcripts at_once
