#!/usr/bin/env bash
# Fuzzes what reads messages from partners: each target for some seconds, from seeds that are made here. A finding ends it with
# the input that led to it.
#
#   tests/fuzz/run.sh [SECONDS [TARGET...]]   600 seconds, all targets
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
seconds=${1:-600}
targets=("${@:2}")
[ ${#targets[@]} -gt 0 ] || targets=(message cms mdn headers content_range)
version=0.13.2
tools=$root/target/servers/cargo
out=$root/target/fuzz

[ "$("$tools/bin/cargo-fuzz" --version 2>/dev/null)" = "cargo-fuzz $version" ] ||
  cargo install --quiet --locked --root "$tools" cargo-fuzz@$version
PATH=$tools/bin:$PATH
# The fuzzer's instructions are an unstable option of the compiler.
export RUSTC_BOOTSTRAP=1 CARGO_INCREMENTAL=0

seeds() {
  local at=$out/seeds cms
  mkdir -p "$at"/{message,cms,mdn,headers,content_range}
  openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=fuzz -set_serial 1 -keyout "$at/key.pem" -out "$at/cert.pem" 2>/dev/null
  printf 'Content-Type: text/plain\r\n\r\nUNA:+.? ' >"$at/plain"
  printf 'Content-Type: text/plain; charset=utf-8; name*=UTF-8%s%s\r\nContent-Disposition: attachment; filename="=?iso-8859-1?Q?a=E9?="\r\n\r\nx' "''" 'a%C3%A9' >"$at/headers/names"
  printf 'automatic-action/MDN-sent-automatically; processed/error: decryption-failed' >"$at/headers/disposition"
  printf 'multipart/signed; protocol="application/pkcs7-signature"; micalg=sha-256; boundary="b"' >"$at/headers/type"
  printf 'bytes 65982464-307502442/307502443' >"$at/content_range/draft"
  printf 'bytes 0-18446744073709551614/18446744073709551615' >"$at/content_range/largest"
  printf '"ci1257348820455.829541_tharding_2k_te"' >"$at/content_range/id"
  openssl cms -sign -in "$at/plain" -signer "$at/cert.pem" -inkey "$at/key.pem" -out "$at/message/signed" 2>/dev/null
  openssl cms -sign -nodetach -outform DER -binary -in "$at/plain" -signer "$at/cert.pem" -inkey "$at/key.pem" -out "$at/opaque.der"
  for cipher in aes-256-cbc aes-128-gcm des3; do
    openssl cms -encrypt -outform DER -stream -binary -"$cipher" -in "$at/plain" -recip "$at/cert.pem" -out "$at/$cipher.der"
  done
  for cms in "$at"/*.der; do
    { printf '\000' && cat "$cms"; } >"$at/cms/$(basename "$cms")"
    { printf 'Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n\r\n' && cat "$cms"; } >"$at/message/$(basename "$cms")"
  done
  printf 'Content-Type: multipart/report; report-type=disposition-notification; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nok\r\n--b\r\nContent-Type: message/disposition-notification\r\n\r\nFinal-Recipient: rfc822; a\r\nOriginal-Message-ID: <1@a>\r\nDisposition: automatic-action/MDN-sent-automatically; processed\r\nReceived-content-MIC: AAAA, sha256\r\n\r\n--b--\r\n' >"$at/mdn/plain"
}
seeds

for target in "${targets[@]}"; do
  printf '\n== %s, %s s\n' "$target" "$seconds"
  mkdir -p "$out/corpus/$target"
  cargo fuzz run --fuzz-dir . --target-dir "$out/target" --sanitizer none "$target" "$out/corpus/$target" "$out/seeds/$target" -- \
    -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=1024 -timeout=20 -print_final_stats=1 -artifact_prefix="$out/"
done
