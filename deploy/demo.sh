#!/usr/bin/env bash
# Installs what the build needs, builds Waybill with optimised dependencies, and runs the demonstration:
# two gateways and an SFTP server on this machine. Options go to `waybill demo` (--exit-when-done).
set -euo pipefail
cd "$(dirname "$0")/.."
deploy/prepare.sh
echo "Building Waybill; the first time takes some minutes." >&2
cargo build --quiet --locked --package waybill
exec "${CARGO_TARGET_DIR:-target}/debug/waybill" demo "$@"
