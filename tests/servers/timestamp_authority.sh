#!/usr/bin/env bash
# A time-stamping authority (RFC 3161) of `openssl ts`, without a socket of its own: a test carries the messages.
#
#   make DIR [USAGE [DAYS]]   a root (root.pem), a certificate below it that signs (signer.pem), and its settings.
#                             USAGE is its extendedKeyUsage (default "critical,timeStamping", "" for none),
#                             DAYS how long it is valid (default 30; below 0: it has expired)
#   reply DIR                 the answer to the TimeStampReq on standard input
#   refuse DIR                the same of an authority that takes no SHA-256: a refusal
#   sign DIR                  a token over the TSTInfo on standard input, by whatever certificate there is
set -euo pipefail

# quietly COMMAND...: its words are shown only when it fails.
quietly() {
  local words
  words=$("$@" 2>&1) || {
    echo "${0##*/}: $*: $words" >&2
    exit 1
  }
}

make() {
  local directory=$1 usage=${2-critical,timeStamping} days=${3-30}
  mkdir -p "$directory"
  cd "$directory"
  quietly openssl req -x509 -newkey rsa:2048 -nodes -keyout root.key -out root.pem -days 30 -subj "/O=Test/CN=Root"
  quietly openssl req -newkey rsa:2048 -nodes -keyout signer.key -out signer.csr -subj "/O=Test/CN=Time Stamps"
  {
    echo "basicConstraints=CA:FALSE"
    if [ -n "$usage" ]; then echo "extendedKeyUsage=$usage"; fi
  } >extensions
  quietly openssl x509 -req -in signer.csr -CA root.pem -CAkey root.key -CAcreateserial -days "$days" \
    -extfile extensions -out signer.pem
  echo 01 >serial
  cat >settings <<END
[tsa]
default_tsa = here
[here]
serial = $PWD/serial
crypto_device = builtin
signer_cert = $PWD/signer.pem
certs = $PWD/root.pem
signer_key = $PWD/signer.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = \${ENV::DIGESTS}
accuracy = secs:1, millisecs:500
clock_precision_digits = 6
ess_cert_id_chain = no
ess_cert_id_alg = \${ENV::ESS_DIGEST}
END
}

# `openssl ts` counts serial numbers in a file: one answer at a time.
reply() {
  cd "$1"
  exec 9>turn
  flock 9
  cat >query
  quietly env DIGESTS="${DIGESTS-sha256}" ESS_DIGEST="${ESS_DIGEST-sha256}" \
    openssl ts -reply -config settings -queryfile query -out answer
  cat answer
}

sign() {
  cd "$1"
  cat >info
  quietly openssl cms -sign -binary -nodetach -nosmimecap -cades -md sha256 -econtent_type 1.2.840.113549.1.9.16.1.4 \
    -signer signer.pem -inkey signer.key -certfile root.pem -outform DER -in info -out token
  cat token
}

case ${1-} in
  make) make "${@:2}" ;;
  reply) reply "$2" ;;
  refuse) DIGESTS=sha512 reply "$2" ;;
  sign) sign "$2" ;;
  *)
    echo "usage: ${0##*/} make|reply|refuse|sign DIR" >&2
    exit 1
    ;;
esac
