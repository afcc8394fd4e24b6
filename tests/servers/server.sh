# shellcheck shell=bash
# What every server script shares: the commands, the free port, the wait until the server answers, its end.
# A server script sources this file, defines the four functions below, and calls `serve_command "$@"`.
#
#   configure OPTION...   once per DIR: keys, data, configuration that does not name the port
#   launch PORT           replace this process (exec) by the server, listening on 127.0.0.1:PORT
#   answers PORT          0: the server truly answers · 1: not yet
#   describe PORT PID     the server's JSON line
#
# State in DIR/run: `port`, `json`, and as "PID STARTTIME" `pid`, `owner`, `watchdog`. The server's own output is DIR/log.
set -euo pipefail

servers=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# Read by the server scripts: what is made once and used by every start.
# shellcheck disable=SC2034
cache=$(cd "$servers/../.." && pwd)/target/servers

die() {
  echo "${0##*/}: $*" >&2
  exit 1
}

# --- processes ---------------------------------------------------------------------------------------------------

# Field 22 of /proc/PID/stat: with it, a process id names one process for ever, also after the number is given again.
# Nothing for a process that is gone or a zombie.
start_time() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
  stat=${stat##*) }
  read -ra stat <<<"$stat"
  if [ "${stat[0]}" != Z ]; then echo "${stat[19]}"; fi
}

# alive PID STARTTIME
alive() {
  [ -n "$2" ] && [ "$(start_time "$1")" = "$2" ]
}

# All processes under PID, not PID itself.
descendants() {
  local child children
  read -rd '' -a children < <(cat "/proc/$1/task/"*/children 2>/dev/null) || true # no NUL ends it
  for child in "${children[@]}"; do
    echo "$child"
    descendants "$child"
  done
}

# signal_tree SIGNAL PID: the server and every process it has made; it is stopped first, so that it makes no more.
signal_tree() {
  local pids
  kill -STOP "$2" 2>/dev/null || return 0
  mapfile -t pids < <(descendants "$2")
  kill -s "$1" "$2" "${pids[@]}" 2>/dev/null || true
}

# Reads DIR/run/pid into $pid and $born; false when the server does not run.
running() {
  pid='' born=''
  { read -r pid born <"$dir/run/pid"; } 2>/dev/null || return 1
  alive "$pid" "$born"
}

# gone SECONDS: waits for $pid to end.
gone() {
  local until=$((SECONDS + $1))
  while alive "$pid" "$born"; do
    [ "$SECONDS" -lt "$until" ] || return 1
    sleep 0.02
  done
}

# end SIGNAL: asks the server to end, and after ten seconds makes it. Its own children end with it.
end() {
  running || return 0
  local children
  mapfile -t children < <(descendants "$pid")
  if [ "$1" = KILL ]; then
    signal_tree KILL "$pid"
  else
    kill -s "$1" "$pid"
    kill -CONT "$pid" "${children[@]}" 2>/dev/null || true # a paused server cannot hear
  fi
  if ! gone 10; then
    echo "${0##*/}: did not end by SIG$1 in 10 s: killed ($dir)" >&2
    signal_tree KILL "$pid"
    gone 5 || die "process $pid does not die ($dir)"
  fi
  for child in "${children[@]}"; do # an instant later than their parent
    until [ -z "$(start_time "$child")" ]; do sleep 0.02; done
  done
  rm -f "$dir/run/pid"
}

# --- files -------------------------------------------------------------------------------------------------------

json_string() {
  local text=$1
  text=${text//\\/\\\\}
  text=${text//\"/\\\"}
  text=${text//$'\n'/\\n}
  printf '"%s"' "$text"
}

# json NAME VALUE NAME VALUE...: an object; a value that is a number, null, true, false, or begins with { stays as it is.
json() {
  local between=''
  printf '{'
  while [ $# -gt 0 ]; do
    printf '%s"%s":' "$between" "$1"
    case $2 in
      null | true | false | '{'*) printf '%s' "$2" ;;
      '' | *[!0-9]*) json_string "$2" ;;
      *) printf '%s' "$2" ;;
    esac
    between=,
    shift 2
  done
  printf '}'
}

# as_user NAME COMMAND...: replaces this process.
as_user() {
  exec setpriv --reuid="$1" --regid="$(id -g "$1")" --init-groups "${@:2}"
}

# reachable USER DIRECTORY: lets USER pass through DIRECTORY and, where it is a fresh temporary directory (mode 0700),
# through those above it. Passing through is not listing. Nothing outside the temporary directory is changed.
reachable() {
  local at=$2 temporary
  temporary=$(cd "${TMPDIR:-/tmp}" && pwd -P)
  chmod o+x "$at"
  while at=${at%/*} && [ -n "$at" ] && [ "$at" != "$temporary" ]; do
    case $at in "$temporary"/*) chmod o+x "$at" ;; esac
  done
  (as_user "$1" test -x "$2") ||
    die "the user '$1' cannot reach $2: choose a directory under $temporary, or one that others may pass through"
}

# --- the commands ------------------------------------------------------------------------------------------------

# A port that nobody listens on, below the range from which the kernel takes ports for outgoing connections.
# Another may take it before we do: then the launch fails and the next is tried.
free_port() {
  local candidate
  while candidate=$((20000 + SRANDOM % 12000)); do
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$candidate") 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
}

# bring_up PORT: 0 it answers · 1 somebody else has the port. Ends the script when the server cannot run at all.
bring_up() {
  local port=$1 until
  : >"$dir/log"
  # In a session of its own, with nothing of ours open: a test that reads our output to its end must not wait for it.
  (
    exec 9>&-
    launch "$port"
  ) </dev/null >>"$dir/log" 2>&1 &
  pid=$!
  disown
  born=$(start_time "$pid")
  echo "$pid $born" >"$dir/run/pid" # before it answers: from here on the watchdog can end it
  until=$((SECONDS + 30))
  while alive "$pid" "$born"; do
    if answers "$port"; then
      echo "$port" >"$dir/run/port"
      describe "$port" "$pid" >"$dir/run/json.new"
      mv "$dir/run/json.new" "$dir/run/json"
      return 0
    fi
    if [ "$SECONDS" -ge "$until" ]; then
      signal_tree KILL "$pid"
      tail -n 20 "$dir/log" >&2
      die "did not answer within 30 s; the end of its log ($dir/log) is above"
    fi
    sleep 0.02
  done
  if grep -qi 'address already in use' "$dir/log"; then return 1; fi
  tail -n 20 "$dir/log" >&2
  die "ended while starting; the end of its log ($dir/log) is above"
}

# The server must not outlive the test that started it, not even one that was killed. DIR/run/owner names that test.
watch_owner() {
  local owner owner_born watchdog watchdog_born
  { read -r owner owner_born <"$dir/run/owner"; } 2>/dev/null || return 0
  if { read -r watchdog watchdog_born <"$dir/run/watchdog"; } 2>/dev/null && alive "$watchdog" "$watchdog_born"; then return; fi
  setsid "$0" watch "$dir" "$owner" "$owner_born" </dev/null >/dev/null 2>&1 9>&- &
  disown
  echo "$! $(start_time $!)" >"$dir/run/watchdog"
}

watch() {
  local owner=$1 owner_born=$2
  # Ends with the server's DIR, or with `stop`; a server that is restarted is still watched.
  while [ -d "$dir/run" ] && alive "$owner" "$owner_born"; do
    running || true # remembers the newest $pid, for the case that DIR is removed under a running server
    last=$pid last_born=$born
    # A quick test may be over, and DIR gone, a moment after the server was noted.
    if [ -n "$last" ]; then sleep 1; else sleep 0.05; fi
  done
  if [ -d "$dir/run" ]; then
    sleep 1 # a start that was killed with its owner may have been between making the server and noting it
    rm -f "$dir/run/watchdog"
    end KILL
    # Tests that run in processes of their own share one server; none of them could remove its directory.
    if [ -e "$dir/run/temporary" ]; then rm -rf "$dir"; fi
  elif [ -n "${last:-}" ] && alive "$last" "$last_born"; then
    signal_tree KILL "$last"
  fi
}

stop_watching() {
  local watchdog watchdog_born
  { read -r watchdog watchdog_born <"$dir/run/watchdog"; } 2>/dev/null || return 0
  if alive "$watchdog" "$watchdog_born"; then kill -KILL -- "-$watchdog" 2>/dev/null || true; fi
  rm -f "$dir/run/watchdog"
}

serve_command() {
  local command=${1:-} owner='' temporary='' options=() attempt
  [ $# -ge 2 ] || die "usage: ${0##*/} start DIR [--owner-pid PID [--temporary]] [option...] | stop|kill|pause|resume|restart|status DIR"
  [ "$command" != start ] || mkdir -p "$2/run"
  [ -d "$2" ] || { [ "$command" = stop ] && exit 0; } || die "no such directory: $2"
  dir=$(cd "$2" && pwd -P)
  shift 2
  case $command in
    start)
      [ ! -e "$dir/run/port" ] || die "$dir has had its start: restart it, or choose another directory"
      while [ $# -gt 0 ]; do
        case $1 in
          --owner-pid)
            owner=${2:?--owner-pid wants a process id}
            shift 2
            ;;
          --temporary)
            temporary=1
            shift
            ;;
          *)
            options+=("$1")
            shift
            ;;
        esac
      done
      if [ -n "$owner" ]; then
        [ -n "$(start_time "$owner")" ] || die "--owner-pid: no process $owner"
        echo "$owner $(start_time "$owner")" >"$dir/run/owner"
        if [ -n "$temporary" ]; then : >"$dir/run/temporary"; fi
      fi
      trap 'end KILL; exit 1' INT TERM
      configure "${options[@]}"
      watch_owner
      for ((attempt = 1; ; attempt++)); do
        if bring_up "$(free_port)"; then break; fi
        [ "$attempt" -lt 20 ] || die "found no free port in 20 attempts"
      done
      cat "$dir/run/json"
      ;;
    stop)
      stop_watching
      end "${stop_signal:-TERM}"
      ;;
    kill) end "${kill_signal:-KILL}" ;;
    restart) # on the same port: the server was away and is back
      end "${stop_signal:-TERM}"
      watch_owner
      for ((attempt = 1; ; attempt++)); do
        if bring_up "$(cat "$dir/run/port")"; then break; fi
        [ "$attempt" -lt 20 ] || die "the port is taken by another process"
        sleep 0.2
      done
      cat "$dir/run/json"
      ;;
    pause)
      running || die "not running in $dir"
      signal_tree STOP "$pid"
      ;;
    resume)
      running || die "not running in $dir"
      signal_tree CONT "$pid"
      ;;
    status)
      if running; then cat "$dir/run/json"; else die "not running in $dir"; fi
      ;;
    watch) watch "$@" ;;
    *) die "no such command: $command" ;;
  esac
}
