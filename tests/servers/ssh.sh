#!/usr/bin/env bash
# SFTP servers with other habits than OpenSSH's, on asyncssh and paramiko, on loopback. Fields and commands: README.md.
#
#   ssh.sh start DIR [--owner-pid PID] --server asyncssh|paramiko
# shellcheck source=server.sh
. "$(dirname "$0")/server.sh"

python=$cache/venv/bin/python
# shellcheck disable=SC2034
stop_signal=KILL # nothing of its state is worth an orderly end

configure() {
  local server=''
  while [ $# -gt 0 ]; do
    [ "$1" = --server ] || die "no such option: $1"
    server=$2
    shift 2
  done
  case $server in
    asyncssh | paramiko) ;;
    *) die "--server asyncssh or --server paramiko" ;;
  esac
  "$python" -c "import $server" 2>/dev/null || die "no $server for $python: run tests/servers/prepare.sh"
  mkdir -p "$dir/files" "$dir/keys"
  chmod 700 "$dir/keys"
  openssl rand -hex 12 >"$dir/password"
  ssh-keygen -q -t ed25519 -N '' -C host -f "$dir/keys/host_ed25519"
  echo "$server" >"$dir/server"
}

launch() {
  exec setsid "$python" "$servers/ssh_peer.py" "$(cat "$dir/server")" "$1" "$dir"
}

answers() {
  local banner=''
  { read -rt 5 banner <"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || return 1
  [[ $banner == SSH-2.0-* ]]
}

describe() {
  local server
  server=$(cat "$dir/server")
  json server "$server" version "$("$python" -c "import $server; print($server.__version__)")" host 127.0.0.1 port "$1" \
    pid "$2" user acme password "$(cat "$dir/password")" folder "$dir/files" \
    fingerprint "$(ssh-keygen -lf "$dir/keys/host_ed25519.pub" | cut -d' ' -f2)" log "$dir/log"
  echo
}

serve_command "$@"
