#!/usr/bin/env bash
# PostgreSQL 15 on loopback TCP, no password, fsync on. Fields and commands: README.md beside this file.
#
#   postgres.sh start DIR [--owner-pid PID] [--set NAME=VALUE]...
#   postgres.sh database DIR NAME      creates an empty database on a running server and prints its URL
# shellcheck source=server.sh
. "$(dirname "$0")/server.sh"

bin=/usr/lib/postgresql/15/bin
stop_signal=INT # 'fast': rolls back, disconnects, ends in order
# shellcheck disable=SC2034 # read by server.sh
kill_signal=QUIT # 'immediate': as after a crash, yet it takes its shared memory along

# PostgreSQL refuses to run as root.
as_owner() {
  if [ "$(id -u)" = 0 ]; then as_user postgres "$@"; else exec "$@"; fi
}

# initdb takes seconds: done once for each version of the server and of this script, copied for each start.
template() {
  local key work
  key=$(cat "$0" <("$bin/postgres" --version) <(id -un) | sha256sum | cut -c1-16)
  template=$cache/pgtemplate/$key
  if [ -d "$template" ]; then return; fi
  mkdir -p "$cache/pgtemplate"
  (
    flock 8
    if [ -d "$template" ]; then exit; fi
    # Elsewhere first: the checkout may be where the account `postgres` cannot come.
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    if [ "$(id -u)" = 0 ]; then chown postgres: "$work"; fi
    cd "$work"
    if ! {
      (as_owner "$bin/initdb" --pgdata="$work/data" --username=waybill --auth=trust \
        --encoding=UTF8 --locale=C.UTF-8 --no-sync) &&
        (as_owner "$bin/postgres" --single -D "$work/data" postgres) <<<'create database waybill'
    } >"$work/log" 2>&1; then
      cat "$work/log" >&2
      die "initdb failed; its output is above"
    fi
    rm -rf "$template.new"
    cp -a "$work/data" "$template.new"
    mv "$template.new" "$template"
  ) 8>"$cache/pgtemplate/lock"
}

configure() {
  local settings=()
  [ -x "$bin/postgres" ] || die "no $bin/postgres: run tests/servers/prepare.sh"
  while [ $# -gt 0 ]; do
    case $1 in
      --set) settings+=("${2:?--set wants NAME=VALUE}") && shift 2 ;;
      *) die "no such option: $1" ;;
    esac
  done
  if [ "$(id -u)" = 0 ]; then reachable postgres "$dir"; fi
  template
  cp -a --reflink=auto "$template" "$dir/data"
  {
    cat <<'CONFIG'
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
fsync = on
synchronous_commit = on
timezone = 'UTC'
log_line_prefix = '%m [%p] %d '
lc_messages = 'C'
CONFIG
    for setting in "${settings[@]}"; do printf "%s = '%s'\n" "${setting%%=*}" "${setting#*=}"; done
  } >>"$dir/data/postgresql.conf"
}

launch() {
  cd "$dir/data"
  as_owner setsid "$bin/postgres" -D "$dir/data" -c "port=$1"
}

# Its own pid file says that this process has the port and is past recovery; then it answers a client.
answers() {
  local state
  { mapfile -t state <"$dir/data/postmaster.pid"; } 2>/dev/null || return 1
  [ "${state[0]:-}" = "$pid" ] && [[ ${state[7]:-} == ready* ]] && "$bin/pg_isready" -q -h 127.0.0.1 -p "$1" -U waybill -d waybill
}

url() { echo "postgres://waybill@127.0.0.1:$1/$2"; }

describe() {
  json server postgres version "$("$bin/postgres" --version | cut -d' ' -f3)" host 127.0.0.1 port "$1" pid "$2" \
    user waybill database waybill url "$(url "$1" waybill)" data "$dir/data" log "$dir/log"
  echo
}

database() { # DIR NAME
  local port
  [ $# = 2 ] || die "usage: postgres.sh database DIR NAME"
  [[ $2 =~ ^[a-z_][a-z0-9_]{0,62}$ ]] || die "a database's name is made of a-z, 0-9 and _: $2"
  port=$(cat "$1/run/port") || die "no server in $1"
  "$bin/psql" -qXw -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$port" -U waybill -d postgres -c "create database \"$2\" template template0"
  url "$port" "$2"
}

if [ "${1:-}" = database ]; then
  database "${@:2}"
else
  serve_command "$@"
fi
