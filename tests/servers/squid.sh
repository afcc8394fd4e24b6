#!/usr/bin/env bash
# Squid, an HTTP proxy that opens tunnels (CONNECT), on loopback. Fields and commands: README.md beside this file.
#
#   squid.sh start DIR [--owner-pid PID] [--password USER:PASSWORD] [--refuse-port PORT]... [--host NAME=ADDRESS]...
# shellcheck source=server.sh
. "$(dirname "$0")/server.sh"

squid=/usr/sbin/squid
helper=/usr/lib/squid/basic_ncsa_auth
stop_signal=KILL # nothing of its state is worth an orderly end

configure() {
  local user='' refused=()
  [ -x "$squid" ] && [ -x "$helper" ] || die "no $squid: run tests/servers/prepare.sh"
  printf '127.0.0.1 localhost\n' >"$dir/hosts" # in place of /etc/hosts: names that only the proxy knows
  while [ $# -gt 0 ]; do
    case $1 in
      --password)
        user=${2%%:*}
        printf '%s:%s\n' "$user" "$(openssl passwd -apr1 "${2#*:}")" >"$dir/passwords"
        ;;
      --refuse-port) refused+=("$2") ;;
      --host) printf '%s %s\n' "${2#*=}" "${2%%=*}" >>"$dir/hosts" ;;
      *) die "no such option: $1" ;;
    esac
    shift 2
  done
  mkdir -p "$dir/own"
  {
    cat <<CONFIG
pid_filename none
cache deny all
cache_mem 0 MB
hosts_file $dir/hosts
dns_nameservers 127.0.0.1
dns_timeout 2 seconds
coredump_dir $dir/own
netdb_filename none
pinger_enable off
cache_log $dir/own/cache.log
access_log stdio:$dir/own/access.log
logfile_rotate 0
shutdown_lifetime 0 seconds
connect_timeout 5 seconds
workers 1
CONFIG
    for port in "${refused[@]}"; do echo "acl refused port $port"; done
    if [ ${#refused[@]} -gt 0 ]; then echo 'http_access deny refused'; fi
    if [ -n "$user" ]; then
      echo "auth_param basic program $helper $dir/passwords"
      echo 'auth_param basic realm Squid of the tests'
      echo 'acl known proxy_auth REQUIRED'
      echo 'http_access allow known'
    else
      echo 'http_access allow localhost'
    fi
    echo 'http_access deny all'
  } >"$dir/squid.conf"
  if [ "$(id -u)" = 0 ]; then
    reachable proxy "$dir"
    chown -R proxy: "$dir/own" "$dir/hosts"
    if [ -n "$user" ]; then chown proxy: "$dir/passwords"; fi
  fi
}

launch() {
  { cat "$dir/squid.conf" && echo "http_port 127.0.0.1:$1"; } >"$dir/squid.conf.port"
  if [ "$(id -u)" = 0 ]; then
    # Already as the account that it would change to: so what it opens as /dev/stderr is its own.
    as_user proxy setsid "$squid" -N -d 1 -f "$dir/squid.conf.port"
  else
    exec setsid "$squid" -N -d 1 -f "$dir/squid.conf.port"
  fi
}

# Its own log says that this process has the port; then it answers.
answers() {
  local line=''
  grep -q "Accepting HTTP Socket connections at .*127\.0\.0\.1:$1" "$dir/log" || return 1
  { exec 3<>"/dev/tcp/127.0.0.1/$1" && printf 'GET / HTTP/1.0\r\n\r\n' >&3 && read -rt 5 line <&3; } 2>/dev/null || return 1
  exec 3>&-
  [[ $line == HTTP/1.* ]]
}

describe() {
  json server squid version "$("$squid" -v | sed -n '1s/.*Version //p')" host 127.0.0.1 port "$1" pid "$2" \
    url "http://127.0.0.1:$1" log "$dir/log"
  echo
}

serve_command "$@"
