#!/usr/bin/env bash
# An AS2 partner that exchanges certificates, written from draft-meadors-certificate-exchange-14 alone,
# with `openssl cms`. Fields, commands and the behaviours it can be told: README.md beside this file.
#
#   cem_peer.sh start DIR [--owner-pid PID] [option of `cem_peer.py serve`]...
#   cem_peer.sh request OPTION...    as `cem_peer.py request`
# shellcheck source=server.sh
. "$(dirname "$0")/server.sh"

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
    openssl req -x509 -newkey rsa:2048 -nodes -sha256 -days 3650 -subj "/CN=AS2 peer" \
      -keyout "$key" -out "$certificate" 2>"$dir/openssl.log" || die "openssl made no key: $(cat "$dir/openssl.log")"
  fi
  printf '%s\0' --key "$key" --cert "$certificate" "${arguments[@]}" >"$dir/run/arguments"
}

launch() {
  local arguments
  mapfile -d '' arguments <"$dir/run/arguments"
  exec setsid python3 -B "$servers/cem_peer.py" serve --dir "$dir" --port "$1" "${arguments[@]}"
}

answers() {
  grep -q "^listening on $1$" "$dir/log" && (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

describe() {
  python3 -B - "$1" "$2" "$dir" <<'PYTHON'
import json, sys
port, pid, at = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
values = open(f"{at}/run/arguments").read().split("\0")[:-1]
given = {n[2:]: v for n, v in zip(values, values[1:]) if n.startswith("--")}
print(json.dumps({
    "server": "cem_peer", "version": "draft-meadors-certificate-exchange-14", "host": "127.0.0.1", "port": port, "pid": pid,
    "url": f"http://127.0.0.1:{port}/as2", "control": f"http://127.0.0.1:{port}/control", "name": "PEER",
    "partner": "WAYBILL", "key": given["key"], "cert": given["cert"],
    "received": f"{at}/received.jsonl", "log": f"{at}/log"}))
PYTHON
}

if [ "${1:-}" = request ]; then
  exec python3 -B "$servers/cem_peer.py" "$@"
fi
serve_command "$@"
