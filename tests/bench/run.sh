#!/usr/bin/env bash
# Every measurement, optimised, on this machine; some take minutes. Figures go to standard output.
#   tests/bench/run.sh            all
#   tests/bench/run.sh flow idle  only these of waybill-bench
set -euo pipefail
cd "$(dirname "$0")/../.."
tests/servers/prepare.sh >&2
cargo build --release --locked -p waybill-tests --bins >&2
if [ $# -eq 0 ]; then
  cargo build --release --locked -p waybill-smime -p waybill-staging -p waybill-transport-sftp --examples >&2
  for room in smime staging transport-sftp; do
    printf '\n## %s\n\n' "$room"
    cargo run --quiet --release --locked -p "waybill-$room" --example throughput
  done
fi
target/release/waybill-bench "$@"
