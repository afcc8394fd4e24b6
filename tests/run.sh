#!/usr/bin/env bash
# Every check and every test, from a clean clone: installs what is missing, then formatting, lints, licences and test suites.
#
#   tests/run.sh                      all of it
#   tests/run.sh -p waybill-store     the tests alone, with these options given to `cargo nextest run`
#
# The first stage that fails ends the run and is named. The last lines are nextest's own summary.
set -euo pipefail
cd "$(dirname "$0")/.."
exec </dev/null
PATH=$PWD/target/servers/cargo/bin:$PATH
# Every crate is built once here: what would make a second build quick is 8 GB of disk.
export CARGO_INCREMENTAL=${CARGO_INCREMENTAL:-0}

# The tests write files of a gibibyte: where the disk is too small for them, let it be the first thing to be seen.
room() {
  df -h . "${TMPDIR:-/tmp}"
  local kilobytes directory
  for directory in . "${TMPDIR:-/tmp}"; do
    kilobytes=$(df --output=avail -k "$directory" | tail -n 1)
    if [ "$kilobytes" -lt $((6 << 20)) ]; then
      echo "less than 6 GiB are free in $directory: the tests need more (gateways refuse work on a full disk)"
      return 1
    fi
  done
}

stage() { # NAME COMMAND...
  local name=$1 started=$SECONDS
  shift
  printf '\n== %s\n' "$name"
  if ! "$@"; then
    printf '\n== FAILED: %s (after %s s): %s\n' "$name" "$((SECONDS - started))" "$*"
    exit 1
  fi
  printf '== %s: %s s\n' "$name" "$((SECONDS - started))"
}

# nextest's summary is left to be last, whether it is good or bad. A process left behind fails the run.
tests() {
  printf '\n== tests\n'
  /usr/bin/python3 tests/servers/run_and_check.py cargo nextest run "$@"
}

stage 'what the build needs' deploy/prepare.sh
stage 'what the tests need' tests/servers/prepare.sh
if [ $# -gt 0 ]; then
  tests "$@"
  exit
fi
stage 'formatting' cargo fmt --all --check
# Tests may open sockets and read the clock by themselves: what else may not says so in its lib.rs.
stage 'lints' cargo clippy --workspace --all-targets --locked -- -D warnings -A clippy::disallowed_methods
stage 'licences, banned crates, sources' cargo deny --locked --log-level error check --hide-inclusion-graph bans licenses sources
stage 'examples in the documentation' cargo test --doc --workspace --locked --quiet
# Before the tests, of which one installs it: its binary is another than theirs, which can be made to crash.
stage 'the Debian package, quickly built' deploy/package.sh --profile dev
stage 'room on the disk' room
printf '\n== before the tests: %s s\n' "$SECONDS"
tests --workspace --locked
