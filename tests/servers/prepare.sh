#!/usr/bin/env bash
# Installs what the tests need besides the build: servers and Chromium from Debian, an AS2 partner from PyPI, another and what
# drives Chromium from npm, a small Debian to install into; one more AS2 partner, cargo-nextest, cargo-deny and cargo-deb built by cargo. Everything that is not a Debian package stays under target/servers. Silent when nothing is to do.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
cache=$root/target/servers
venv=$cache/venv
requirements=$root/tests/servers/requirements.txt
node=$cache/node
nextest=0.9.143
deny=0.20.2
deb=3.8.0
debian=$cache/debian-root.tar

"$root/deploy/prepare.sh" postgresql-15 gnupg strace chromium fonts-dejavu-core nodejs npm python3-venv haproxy squid microsocks apache2-bin e2fsprogs \
  systemd man-db dpkg-dev debootstrap proftpd-core proftpd-mod-crypto libwrap0 libsodium23 nginx libnginx-mod-http-dav-ext sshfs rclone lftp xfsprogs
mkdir -p "$cache"
exec 9>"$cache/prepare.lock"
flock 9 # two runs in one checkout: the second finds the work done

make_venv() {
  echo "prepare.sh: making the Python environment of the AS2 partner" >&2
  rm -rf "$venv"
  /usr/bin/python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --no-input --disable-pip-version-check --requirement "$requirements"

  # oscrypto reads OpenSSL's version as three single digits, so it finds none in "3.0.19" and refuses to load.
  # Let every part have several digits; the newest release still has this fault.
  "$venv/bin/python" - <<'PYTHON'
import importlib.util, pathlib
package = pathlib.Path(importlib.util.find_spec("oscrypto").origin).parent / "_openssl"
for name in ("_libcrypto_cffi.py", "_libcrypto_ctypes.py"):
    source = (package / name).read_text()
    wrong, right = r"\\b(\\d\\.\\d\\.\\d[a-z]*)\\b", r"\\b(\\d+\\.\\d+\\.\\d+[a-z]*)\\b"
    if right not in source:
        if source.count(wrong) != 1:
            raise SystemExit(f"{name}: the version expression to mend is not there; has oscrypto changed?")
        (package / name).write_text(source.replace(wrong, right))
PYTHON
}

# Does the library load, sign, encrypt, and read back what it wrote?
check_venv() {
  local directory
  directory=$(mktemp -d)
  openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=check \
    -keyout "$directory/key.pem" -out "$directory/cert.pem" 2>/dev/null
  "$venv/bin/python" -W ignore - "$directory" <<'PYTHON'
import pathlib, sys
from pyas2lib import as2
at = pathlib.Path(sys.argv[1])
certificate = (at / "cert.pem").read_bytes()
both = (at / "key.pem").read_bytes() + certificate
us = lambda name: as2.Organization(as2_name=name, sign_key=both, decrypt_key=both)
them = lambda name: as2.Partner(
    as2_name=name, verify_cert=certificate, encrypt_cert=certificate, sign=True, encrypt=True, enc_alg="aes_256_cbc",
    mdn_mode="SYNC", mdn_digest_alg="sha256")
sent = as2.Message(us("A"), them("B"))
sent.build(b"UNA:+.? '\r\n", filename="check.edi")
received = as2.Message()
status, (error, _), _ = received.parse(sent.headers_str + b"\r\n" + sent.content, lambda _: us("B"), lambda _: them("A"))
if status != "processed" or not (received.signed and received.encrypted) or received.mic != sent.mic:
    raise SystemExit(f"the AS2 partner cannot read its own message: {status} {error}")
PYTHON
  rm -rf "$directory"
}

# Made anew when the pins, this script or the interpreter change: the mend and its check belong to the result.
wanted=$(cat "$requirements" "$0" <(/usr/bin/python3 --version) | sha256sum | cut -d' ' -f1)
if [ "$(cat "$venv/made-from" 2>/dev/null)" != "$wanted" ]; then
  make_venv
  check_venv
  echo "$wanted" >"$venv/made-from"
fi

# From npm, packages only: none of their scripts is run, and no browser is downloaded.
node_packages() { # NAME SOURCE CHECK: what SOURCE/package.json wants, into target/servers/NAME; CHECK is JavaScript that fails
  local into=$cache/$1 from=$root/tests/$2 wanted
  wanted=$(cat "$from"/package{,-lock}.json "$0" | sha256sum | cut -d' ' -f1)
  if [ "$(cat "$into/made-from" 2>/dev/null)" = "$wanted" ]; then return; fi
  echo "prepare.sh: installing into target/servers/$1" >&2
  rm -rf "$into"
  mkdir -p "$into"
  cp "$from"/package{,-lock}.json "$into"
  (cd "$into" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
  (cd "$into" && node --eval "$3")
  echo "$wanted" >"$into/made-from"
}
# What drives Chromium.
node_packages node console 'require("playwright-core").chromium; require("axe-core").source'
# The AS2 partner on libas2: is pkijs the one with which it can sign?
node_packages as2_node servers/as2_node 'if (require("pkijs/package.json").version !== "2.1.90") throw new Error("another pkijs"); require("libas2").AS2Composer'

# The AS2 partner on asx-rs. cargo knows when nothing is to do.
if [ ! -x "$cache/asx/debug/asx-peer" ]; then
  echo "prepare.sh: building the AS2 partner on asx-rs into target/servers/asx, once; this takes minutes" >&2
fi
cargo build --quiet --locked --manifest-path "$root/tests/servers/asx/Cargo.toml" --target-dir "$cache/asx" 9>&-

# A Debian with hardly anything that it can do without, in which the package is installed: what the package needs must be what it
# says that it needs. Besides that only the tools of the backup page. Its devices are made by root.
if [ ! -e "$debian" ]; then
  if [ "$(id -u)" != 0 ]; then
    echo "prepare.sh: the package is tested in a root directory of its own, which only root can make: run this as root" >&2
    exit 1
  fi
  echo "prepare.sh: fetching a small Debian for the package's tests" >&2
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  tools=rsync,sqlite3,postgresql-client-15
  if ! debootstrap --variant=minbase --include=ca-certificates,libssl3,$tools bookworm "$work/root" >"$work/log" 2>&1; then
    cat "$work/log" >&2
    exit 1
  fi
  rm -rf "$work"/root/var/{cache/apt,lib/apt/lists,log}/* "$work"/root/usr/share/{doc,locale,man}/*
  tar --create --file "$debian.new" --directory "$work/root" .
  mv "$debian.new" "$debian"
fi

# Further FTP servers: Debian lets one be installed, so these are unpacked.
for package in vsftpd pure-ftpd; do
  if [ -x "$cache/$package/usr/sbin/$package" ]; then continue; fi
  echo "prepare.sh: unpacking $package" >&2
  work=$(mktemp -d)
  download() { (cd "$work" && apt-get download "$package") >"$work/log" 2>&1; }
  # The package lists may be old, or not fetched yet.
  if ! download && ! { apt-get update >"$work/log" 2>&1 && download; }; then
    cat "$work/log" >&2
    exit 1
  fi
  rm -rf "$cache/$package" "$cache/$package.new"
  dpkg-deb --extract "$work/$package"_*.deb "$cache/$package.new"
  mv "$cache/$package.new" "$cache/$package"
  rm -rf "$work"
done

if ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
  if ! command -v rustup >/dev/null; then
    echo "prepare.sh: cargo fmt and cargo clippy are wanted; add rustfmt and clippy to this Rust toolchain" >&2
    exit 1
  fi
  rustup component add rustfmt clippy
fi
PATH=$cache/cargo/bin:$PATH
install_tool() { # NAME VERSION [OPTION...]
  if command -v "$1" >/dev/null; then return; fi
  echo "prepare.sh: building $1 $2 into target/servers/cargo, once; this takes minutes" >&2
  cargo install --quiet --locked --root "$cache/cargo" --version "$2" "${@:3}" "$1" 9>&-
}
install_tool cargo-nextest "$nextest"
install_tool cargo-deny "$deny" --debug # a third of the time to build; the check itself takes seconds either way
install_tool cargo-deb "$deb" --debug
