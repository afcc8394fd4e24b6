#!/usr/bin/env bash
# An AS2 partner that shares no code with Waybill or pyas2lib: libas2 behind node's HTTP server. Fields, commands and the
# behaviours it can be told: README.md beside this file.
#
#   as2_node.sh start DIR [--owner-pid PID] [--ec] [option of `serve`]...
#   as2_node.sh send OPTION...
# shellcheck source=server.sh
. "$(dirname "$0")/server.sh"

[ -d "$cache/as2_node/node_modules" ] || die "no $cache/as2_node/node_modules: run tests/servers/prepare.sh"

main=$servers/as2_node/main.mjs

configure() {
  local key=$dir/peer.key certificate=$dir/peer.pem arguments=() kind=(-newkey rsa:2048)
  while [ $# -gt 0 ]; do
    case $1 in
      --key) key=${2:?} && shift 2 ;;
      --cert) certificate=${2:?} && shift 2 ;;
      --ec) kind=(-newkey ec -pkeyopt ec_paramgen_curve:P-256) && shift ;;
      *) arguments+=("$1") && shift ;;
    esac
  done
  if [ "$key" = "$dir/peer.key" ]; then
    openssl req -x509 "${kind[@]}" -nodes -sha256 -days 3650 -subj "/CN=AS2 peer on node" \
      -keyout "$key" -out "$certificate" 2>"$dir/openssl.log" || die "openssl made no key: $(cat "$dir/openssl.log")"
  fi
  printf '%s\0' --key "$key" --cert "$certificate" "${arguments[@]}" >"$dir/run/arguments"
}

launch() {
  local arguments node=(node) revert=--security-revert=CVE-2023-46809
  mapfile -d '' arguments <"$dir/run/arguments"
  # Newer versions of node decrypt no content key that came by PKCS #1 v1.5, unless they are told to.
  if node "$revert" --eval 0 >/dev/null 2>&1; then node+=("$revert"); fi
  exec setsid "${node[@]}" "$main" serve --dir "$dir" --port "$1" "${arguments[@]}"
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
  json server as2_node version "$(sed -n 's/.*"libas2": "\([^"]*\)".*/\1/p' "$servers/as2_node/package.json")" \
    host 127.0.0.1 port "$1" pid "$2" url "http://127.0.0.1:$1/as2" control "http://127.0.0.1:$1/control" \
    name "$name" partner "$partner" key "$key" cert "$certificate" inbox "$dir/inbox" raw "$dir/raw" \
    received "$dir/received.jsonl" mdns "$dir/mdns.jsonl" log "$dir/log"
}

if [ "${1:-}" = send ]; then
  shift
  exec node "$main" send "$@"
fi
serve_command "$@"
