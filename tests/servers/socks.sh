#!/usr/bin/env bash
# microsocks, a SOCKS5 proxy, on loopback. Fields and commands: README.md beside this file.
#
#   socks.sh start DIR [--owner-pid PID] [--password USER:PASSWORD]
# shellcheck source=server.sh
. "$(dirname "$0")/server.sh"

socks=/usr/bin/microsocks
stop_signal=KILL # it has no state

configure() {
  [ -x "$socks" ] || die "no $socks: run tests/servers/prepare.sh"
  : >"$dir/login"
  while [ $# -gt 0 ]; do
    case $1 in
      --password) printf '%s\n%s\n' "${2%%:*}" "${2#*:}" >"$dir/login" ;;
      *) die "no such option: $1" ;;
    esac
    shift 2
  done
}

launch() {
  local login=()
  mapfile -t login <"$dir/login"
  if [ ${#login[@]} -gt 0 ]; then login=(-u "${login[0]}" -P "${login[1]}"); fi
  exec setsid "$socks" -i 127.0.0.1 -p "$1" "${login[@]}"
}

# It says nothing when it has the port, and ends at once when it has not: so whose socket it is, is looked up.
answers() {
  local inode answer=''
  inode=$(awk -v port="$(printf '0100007F:%04X' "$1")" '$2 == port && $4 == "0A" { print $10 }' /proc/net/tcp)
  [ -n "$inode" ] && [ -n "$(find "/proc/$pid/fd" -lname "socket:\[$inode\]" 2>/dev/null)" ] || return 1
  { exec 3<>"/dev/tcp/127.0.0.1/$1" && printf '\5\2\0\2' >&3 && read -rt 5 -N 1 answer <&3; } 2>/dev/null || return 1
  exec 3>&-
  [ "$answer" = $'\5' ]
}

describe() {
  json server microsocks version "$(dpkg-query --showformat='${Version}' --show microsocks 2>/dev/null || true)" \
    host 127.0.0.1 port "$1" pid "$2" url "socks5://127.0.0.1:$1" log "$dir/log"
  echo
}

serve_command "$@"
