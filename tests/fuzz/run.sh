#!/usr/bin/env bash
# Fuzzes what reads messages from partners: each target for some seconds, from seeds that are made here. A finding ends it with
# the input that led to it. The seeds and their keys stay the same until this file changes, and with them what was found before.
#
#   tests/fuzz/run.sh [SECONDS [TARGET...]]   600 seconds, all targets
#   tests/fuzz/run.sh --seeds FOLDER          makes the seeds there and no more
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
seconds=${1:-600}
targets=("${@:2}")
[ ${#targets[@]} -gt 0 ] || targets=(message cms mdn headers content_range form_data exchange pgp)
version=0.13.2
tools=$root/target/servers/cargo
out=$root/target/fuzz

seeds() { # FOLDER
  local at=$1 key cipher object name
  rm -rf "$at"
  mkdir -p "$at"/{objects,message,cms,mdn,headers,content_range,form_data,exchange,pgp}
  openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=fuzz -set_serial 1 -keyout "$at/rsa.key.pem" -out "$at/rsa.cert.pem" 2>/dev/null
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj /CN=fuzz -set_serial 2 -keyout "$at/ec.key.pem" -out "$at/ec.cert.pem" 2>/dev/null
  printf 'Content-Type: text/plain\r\n\r\nUNA:+.? ' >"$at/plain"
  printf 'Content-Type: text/plain; charset=utf-8; name*=UTF-8%s%s\r\nContent-Disposition: attachment; filename="=?iso-8859-1?Q?a=E9?="\r\n\r\nx' "''" 'a%C3%A9' >"$at/headers/names"
  printf 'automatic-action/MDN-sent-automatically; processed/error: decryption-failed' >"$at/headers/disposition"
  printf 'multipart/signed; protocol="application/pkcs7-signature"; micalg=sha-256; boundary="b"' >"$at/headers/type"
  printf 'bytes 65982464-307502442/307502443' >"$at/content_range/draft"
  printf 'bytes 0-18446744073709551614/18446744073709551615' >"$at/content_range/largest"
  printf ' --b\r\nContent-Disposition: form-data; name="from"\r\n\r\n123\r\n--b\r\nContent-Disposition: form-data; name="input-data"; filename="a"\r\nContent-Type: text/plain\r\n\r\nISA\r\n--b--\r\n' >"$at/form_data/form"
  printf '"ci1257348820455.829541_tharding_2k_te"' >"$at/content_range/id"
  printf 'Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\nVU5BOisuPyA=\r\n--b\r\nContent-Transfer-Encoding: quoted-printable\r\nContent-Disposition: attachment; filename=a\r\n\r\na=3D=\r\nb\r\n--b--\r\n' >"$at/message/parts"
  # CMS objects. The first character is the kind, in the order of the target cms.
  for key in rsa ec; do
    openssl cms -sign -crlfeol -in "$at/plain" -signer "$at/$key.cert.pem" -inkey "$at/$key.key.pem" -out "$at/message/signed-$key"
    openssl cms -sign -nodetach -outform DER -binary -in "$at/plain" -signer "$at/$key.cert.pem" -inkey "$at/$key.key.pem" -out "$at/objects/2-$key"
    for cipher in aes-256-cbc des3; do
      openssl cms -encrypt -outform DER -stream -binary -"$cipher" -in "$at/plain" -recip "$at/$key.cert.pem" -out "$at/objects/0-$key-$cipher"
    done
    openssl cms -encrypt -outform DER -binary -aes-128-gcm -in "$at/plain" -recip "$at/$key.cert.pem" -out "$at/objects/1-$key"
  done
  openssl cms -sign -nodetach -outform DER -binary -in "$at/plain" -signer "$at/rsa.cert.pem" -inkey "$at/rsa.key.pem" -keyopt rsa_padding_mode:pss -out "$at/objects/2-pss"
  openssl cms -encrypt -outform DER -binary -aes256 -in "$at/plain" -recip "$at/rsa.cert.pem" -keyopt rsa_padding_mode:oaep -out "$at/objects/0-oaep"
  # Many builds of OpenSSL do not compress: "plain", compressed by zlib.
  openssl base64 -d -A >"$at/objects/3-plain" <<<MIAGCyqGSIb3DQEJEAEJoIAwgAIBADANBgsqhkiG9w0BCRADCDCABgkqhkiG9w0BBwGggCSABCx42nPOzytJzSvRDaksSLVSKEmtKNEvyEnMzOPl4uUK9XO00tazVwAA6FoLEQAAAAAAAAAAAAAAAA==
  { printf 'Content-Type: application/pkcs7-mime; smime-type=compressed-data\r\n\r\n' && cat "$at/objects/3-plain"; } >"$at/message/compressed"
  for name in signed-rsa compressed; do
    openssl cms -encrypt -outform DER -stream -binary -aes256 -in "$at/message/$name" -recip "$at/rsa.cert.pem" -out "$at/objects/0-$name"
  done
  local kinds=(enveloped-data authEnveloped-data signed-data compressed-data)
  for object in "$at"/objects/*; do
    name=$(basename "$object")
    { printf '%b' "\\000${name::1}" && cat "$object"; } >"$at/cms/$name"
    { printf 'Content-Type: application/pkcs7-mime; smime-type=%s\r\n\r\n' "${kinds[${name::1}]}" && cat "$object"; } >"$at/message/$name"
  done
  printf 'Content-Type: multipart/report; report-type="GISB-Acknowledgement-Receipt"; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<TITLE>Acknowledgement Receipt Success</TITLE>\r\n--b\r\nContent-Type: text/plain\r\n\r\nrequest-status=ok*\r\n<ReceivedContentMic algid=rsa-md5 encode=base64 >AAAA</ReceivedContentMic>\r\nOriginal-RefNum: 7\r\n--b--\r\n' >"$at/mdn/gisb"
  printf 'Content-Type: multipart/report; report-type=disposition-notification; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nok\r\n--b\r\nContent-Type: message/disposition-notification\r\n\r\nFinal-Recipient: rfc822; a\r\nOriginal-Message-ID: <1@a>\r\nDisposition: automatic-action/MDN-sent-automatically; processed\r\nReceived-content-MIC: AAAA, sha256\r\n\r\n--b--\r\n' >"$at/mdn/plain"
  openssl cms -sign -crlfeol -in "$at/mdn/plain" -signer "$at/rsa.cert.pem" -inkey "$at/rsa.key.pem" -out "$at/mdn/signed"
  # The document of a message about certificates, and after a zero byte its other part.
  local document info reference
  document='requestId="1" xmlns="urn:ietf:params:xml:ns:ediintcertificateexchange" xmlns:ds="http://www.w3.org/2000/09/xmldsig#"'
  info='<TradingPartnerInfo><Name qualifier="AS2">fuzz</Name></TradingPartnerInfo>'
  reference='<ds:X509IssuerName>CN=fuzz</ds:X509IssuerName><ds:X509SerialNumber>1</ds:X509SerialNumber>'
  openssl crl2pkcs7 -nocrl -certfile "$at/rsa.cert.pem" -outform DER -out "$at/rsa.p7c"
  openssl base64 -in "$at/rsa.p7c" -out "$at/rsa.base64"
  for name in rsa.p7c rsa.base64 rsa.cert.pem; do
    { printf '<?xml version="1.0"?><EDIINTCertificateExchangeRequest %s>%s<TrustRequest><CertUsage>digitalSignature</CertUsage><RespondByDate>2030-01-31T12:00:00.5+01:00</RespondByDate><ResponseURL>https://a/?a=1&amp;b=2</ResponseURL><EndEntity><CertificateIdentifier>%s</CertificateIdentifier><CertificateContentID>&lt;certificates&#62;</CertificateContentID></EndEntity></TrustRequest></EDIINTCertificateExchangeRequest>\000' "$document" "$info" "$reference" && cat "$at/$name"; } >"$at/exchange/$name"
  done
  printf '<EDIINTCertificateExchangeResponse %s>%s<TrustResponse><CertStatus>Rejected</CertStatus><ReasonForRejection><![CDATA[old]]></ReasonForRejection><CertificateReference>%s</CertificateReference></TrustResponse></EDIINTCertificateExchangeResponse>' "$document" "$info" "$reference" >"$at/exchange/response"
  # A home of its own, whose name is short: the agent's socket is in it.
  GNUPGHOME=$(mktemp -d /tmp/gpgXXXXXX)
  export GNUPGHOME
  local gpg=(gpg --batch --yes --quiet --pinentry-mode loopback --passphrase '' --trust-model always) more
  "${gpg[@]}" --quick-generate-key fuzz@waybill.example ed25519 sign,cert never
  "${gpg[@]}" --quick-add-key "$("${gpg[@]}" --with-colons --list-keys | awk -F: '/^fpr/ { print $10; exit }')" cv25519 encr never
  "${gpg[@]}" --armor --export-secret-keys >"$at/pgp.private.asc"
  for more in '' '--compress-algo none' '--textmode'; do
    # The first byte says that it is read as it is.
    { printf '\000' && "${gpg[@]}" $more -r fuzz@waybill.example --sign --encrypt <"$at/plain"; } >"$at/pgp/both${more// /-}"
    { printf '\001' && "${gpg[@]}" $more --sign <"$at/plain"; } >"$at/pgp/inside${more// /-}"
  done
  { printf '\000' && "${gpg[@]}" --armor --detach-sign <"$at/plain"; } >"$at/pgp/detached"
  gpgconf --kill all
  rm -rf "$GNUPGHOME"
  unset GNUPGHOME
  touch "$at/made"
}
if [ "${1:-}" = --seeds ]; then
  seeds "$2"
  exit
fi
[ "$out/seeds/made" -nt run.sh ] || seeds "$out/seeds"

[ "$("$tools/bin/cargo-fuzz" --version 2>/dev/null)" = "cargo-fuzz $version" ] ||
  cargo install --quiet --locked --root "$tools" cargo-fuzz@$version
PATH=$tools/bin:$PATH
# The fuzzer's instructions are an unstable option of the compiler.
export RUSTC_BOOTSTRAP=1 CARGO_INCREMENTAL=0 FUZZ_SEEDS=$out/seeds

for target in "${targets[@]}"; do
  printf '\n== %s, %s s\n' "$target" "$seconds"
  mkdir -p "$out/corpus/$target"
  cargo fuzz run --fuzz-dir fuzzer --target-dir "$out/target" --sanitizer none "$target" "$out/corpus/$target" "$out/seeds/$target" -- \
    -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=1024 -timeout=20 -print_final_stats=1 -artifact_prefix="$out/"
done
