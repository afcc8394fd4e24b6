#!/usr/bin/env bash
# Builds the Debian package of Waybill and prints its path.
#
#   deploy/package.sh                  what is shipped: cargo's profile `dist`
#   deploy/package.sh --profile dev    by another of cargo's profiles, quicker to build; the tests use it
#
# Wants cargo-deb (cargo install cargo-deb) and Debian's dpkg-dev. What it makes lies in target/package; the package with the
# debug symbols, which a crash report needs, lies beside it.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/target/servers/cargo/bin:$PATH
profile=dist
if [ "${1:-}" = --profile ]; then profile=${2:?--profile wants a name}; fi
target=${CARGO_TARGET_DIR:-target}
made=$target/package
directory=$profile
if [ "$profile" = dev ]; then directory=debug; fi
binary=$target/$directory/waybill

deploy/prepare.sh dpkg-dev >&2
command -v cargo-deb >/dev/null || {
  echo "package.sh: cargo-deb is wanted: cargo install --locked cargo-deb" >&2
  exit 1
}
mkdir -p "$made"
exec 9>"$made/lock"
flock 9 # two at once would write the same files

cargo build --quiet --locked --package waybill --profile "$profile" >&2

# Made of the same before: nothing to do.
made_from=$profile-$(cat "$binary" "$0" deploy/licences.py deploy/waybill.toml deploy/{debian,systemd}/* config/waybill.toml config/examples/* \
  crates/waybill/Cargo.toml Cargo.lock ./*.md docs/*.md | sha256sum | cut -d' ' -f1)
if [ "$(cat "$made/made-from" 2>/dev/null)" = "$made_from" ] && ls "$made"/waybill_*.deb 2>/dev/null; then exit; fi

# What is made from the binary's own declaration, and the documents as the installed paths have them.
assets=$made/assets
rm -rf "$assets"
mkdir -p "$assets"/{completions,examples}
"$binary" man "$assets/man"
"$binary" completions bash >"$assets/completions/waybill"
"$binary" completions zsh >"$assets/completions/_waybill"
"$binary" completions fish >"$assets/completions/waybill.fish"
for example in config/examples/*.toml; do
  # The service has its secrets as credentials.
  sed -e 's|/run/secrets/|/run/credentials/waybill.service/secret_|g' -e 's|${env:[A-Z_]*:-\([^}]*\)}|\1|g' \
    "$example" >"$assets/examples/${example##*/}"
done
deploy/licences.py | gzip --best --no-name >"$assets/licences.txt.gz"

quick=()
if [ "$profile" = dev ]; then quick=(--fast --no-dbgsym --no-separate-debug-symbols --strip); fi
rm -rf "$made/new"
cargo deb --quiet --no-build --locked --package waybill --profile "$profile" "${quick[@]}" --output "$made/new/" >&2

# What is left of an older version must not be taken for this one; one of the same name is replaced at once.
for old in "$made"/*.*deb; do
  if [ ! -e "$made/new/${old##*/}" ]; then rm -f "$old"; fi
done
mv "$made"/new/* "$made"
size=$(dpkg-deb --fsys-tarfile "$made"/waybill_*.deb | tar --list --verbose ./usr/bin/waybill | awk '{ print $3 }')
echo "package.sh: the stripped binary has $size bytes" >&2
echo "$made_from" >"$made/made-from"
ls "$made"/waybill_*.deb
