#!/usr/bin/env bash
# Every measurement, optimised, on this machine; some take minutes. Figures go to standard output.
#   tests/bench/run.sh            all
#   tests/bench/run.sh flow idle  only these of waybill-bench
set -euo pipefail
cd "$(dirname "$0")/../.."
tests/servers/prepare.sh >&2
cargo build --release --locked -p waybill-tests --bins >&2

room() { # NAME OPTIONS...
  local name=$1
  shift
  printf '\n## %s\n\n' "$name"
  cargo run --quiet --release --locked -p "waybill-$name" --example "${name#transport-}_throughput" -- "$@"
}

if [ $# -eq 0 ]; then
  place=$(mktemp -d)
  trap 'rm -rf "$place"' EXIT
  room smime
  room staging "$place"
  room transport-sftp
fi
target/release/waybill-bench "$@"
