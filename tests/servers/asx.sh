#!/usr/bin/env bash
# An AS2 partner on asx-rs, a crate that shares no code with Waybill: what is in asx/, built by prepare.sh. Fields, commands and
# the behaviours it can be told: README.md beside this file.
#
#   asx.sh start DIR [--owner-pid PID] [option of `serve`]...
#   asx.sh send OPTION...
# shellcheck source=server.sh
. "$(dirname "$0")/server.sh"

program=$cache/asx/debug/asx-peer
[ -x "$program" ] || die "no $program: run tests/servers/prepare.sh"

configure() {
  local key=$dir/peer.key certificate=$dir/peer.pem arguments=()
  while [ $# -gt 0 ]; do
    case $1 in
      --key) key=${2:?} && shift 2 ;;
      --cert) certificate=${2:?} && shift 2 ;;
      *) arguments+=("$1") && shift ;;
    esac
  done
  if [ "$key" = "$dir/peer.key" ]; then
    openssl req -x509 -newkey rsa:2048 -nodes -sha256 -days 3650 -subj "/CN=AS2 peer on asx-rs" \
      -keyout "$key" -out "$certificate" 2>"$dir/openssl.log" || die "openssl made no key: $(cat "$dir/openssl.log")"
  fi
  printf '%s\0' --key "$key" --cert "$certificate" "${arguments[@]}" >"$dir/run/arguments"
}

launch() {
  local arguments
  mapfile -d '' arguments <"$dir/run/arguments"
  exec setsid "$program" serve --dir "$dir" --port "$1" "${arguments[@]}"
}

answers() {
  grep -q "^listening on $1$" "$dir/log" && (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

describe() {
  local arguments at name=PEER partner=WAYBILL key='' certificate=''
  mapfile -d '' arguments <"$dir/run/arguments"
  for ((at = 0; at < ${#arguments[@]}; at += 2)); do
    case ${arguments[at]} in
      --name) name=${arguments[at + 1]} ;;
      --partner) partner=${arguments[at + 1]} ;;
      --key) key=${arguments[at + 1]} ;;
      --cert) certificate=${arguments[at + 1]} ;;
    esac
  done
  json server asx version "$(sed -n 's/^asx-rs = .*"=\([0-9.]*\)".*/\1/p' "$servers/asx/Cargo.toml")" \
    host 127.0.0.1 port "$1" pid "$2" url "http://127.0.0.1:$1/as2" control "http://127.0.0.1:$1/control" \
    name "$name" partner "$partner" key "$key" cert "$certificate" inbox "$dir/inbox" raw "$dir/raw" \
    received "$dir/received.jsonl" log "$dir/log"
}

if [ "${1:-}" = send ]; then
  shift
  exec "$program" send "$@"
fi
serve_command "$@"
