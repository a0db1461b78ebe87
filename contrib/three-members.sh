#!/bin/sh
# Three members of Lodemark on this machine, for trials and for learning; no data of value should live like this.
#
#   three-members.sh start FOLDER [N]    all that do not run, or number N
#   three-members.sh stop  FOLDER [N]    in order, as a service manager stops them
#   three-members.sh kill  FOLDER [N]    without a word, as a power cut would
#
# Member N serves clients on port N2379 and the others on port N2380 of 127.0.0.1. FOLDER gets its data (mN.etcd), its log
# (mN.log) and its process id (mN.pid). "lodemark" is taken from the PATH.
set -eu

members=m1=http://127.0.0.1:12380,m2=http://127.0.0.1:22380,m3=http://127.0.0.1:32380

usage() {
  sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

runs() {
  [ -e "$folder/m$1.pid" ] && kill -0 "$(cat "$folder/m$1.pid")" 2>/dev/null
}

start() {
  if runs "$1"; then return; fi
  lodemark --name "m$1" --data-dir "$folder/m$1.etcd" --initial-cluster "$members" \
    --listen-peer-urls "http://127.0.0.1:${1}2380" --initial-advertise-peer-urls "http://127.0.0.1:${1}2380" \
    --listen-client-urls "http://127.0.0.1:${1}2379" --advertise-client-urls "http://127.0.0.1:${1}2379" \
    >>"$folder/m$1.log" 2>&1 &
  echo $! >"$folder/m$1.pid"
}

# A member is ready when a quorum is there: for half a minute it is waited for.
wait_for() {
  tries=0
  until lodemark health --endpoint "http://127.0.0.1:${1}2379" --timeout 2 >/dev/null 2>&1; do
    tries=$((tries + 1))
    if ! runs "$1" || [ $tries -ge 300 ]; then
      echo "m$1 is not ready; the end of $folder/m$1.log:" >&2
      tail -n 3 "$folder/m$1.log" >&2
      exit 1
    fi
    sleep 0.1
  done
}

end() {
  runs "$2" || return 0
  pid=$(cat "$folder/m$2.pid")
  kill "-$1" "$pid"
  while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
  rm "$folder/m$2.pid"
}

if [ $# -lt 2 ] || [ $# -gt 3 ]; then usage; fi
folder=$2
numbers=${3:-1 2 3}
case $numbers in
  1 | 2 | 3 | '1 2 3') ;;
  *) usage ;;
esac

case $1 in
  start)
    mkdir -p "$folder"
    for n in $numbers; do start "$n"; done
    for n in $numbers; do wait_for "$n"; done
    ;;
  stop) for n in $numbers; do end TERM "$n"; done ;;
  kill) for n in $numbers; do end KILL "$n"; done ;;
  *) usage ;;
esac
