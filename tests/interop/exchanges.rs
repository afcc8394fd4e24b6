//! The messages that are exchanged with real products: rows of the table in docs/as2.md.

use crate::table::Direction::{FromIt, ToIt};
use crate::table::Outcome::{Fails, Remark, Works};
use crate::table::{ASX, Exchange, LIBAS2, PYAS2LIB};

const TO_PYAS2LIB: Exchange = Exchange {
    product: &PYAS2LIB,
    direction: ToIt,
    security: "signed_encrypted",
    digest: "sha256",
    signature: "pkcs1",
    cipher: "aes256-cbc",
    key: "pkcs1",
    compressed: "no",
    mdn: "signed",
    binary: true,
    outcome: Works,
};
const FROM_PYAS2LIB: Exchange = Exchange { direction: FromIt, ..TO_PYAS2LIB };
/// What libas2 is to verify is ASCII.
const TO_LIBAS2: Exchange = Exchange { product: &LIBAS2, binary: false, ..TO_PYAS2LIB };
/// libas2 encrypts content keys by RSA-OAEP with SHA-512.
const FROM_LIBAS2: Exchange =
    Exchange { product: &LIBAS2, direction: FromIt, key: "oaep-sha512", ..TO_PYAS2LIB };
/// What asx-rs verifies is text whose lines end by CRLF.
const TO_ASX: Exchange = Exchange { product: &ASX, binary: false, ..TO_PYAS2LIB };
const FROM_ASX: Exchange =
    Exchange { product: &ASX, direction: FromIt, outcome: Remark(REPEATS_HEADERS), ..TO_PYAS2LIB };

const NO_MIC: &str = "its receipt has no MIC for what is not signed";
const SIGNS_ALL_THE_SAME: &str = "its receipt is signed all the same";
const UNSIGNED_NO_MIC: &str = "its receipt is signed all the same, and has no MIC for what is not signed";
const REPEATS_HEADERS: &str = "its bodies begin with their MIME headers once more";

const NOT_AUTHENTICATED: &str = "authentication-failed";
const NOT_DECRYPTED: &str = "decryption-failed";
const INSUFFICIENT: &str = "insufficient-message-security";

const IN_ENVELOPED_DATA: &str = "it has GCM inside EnvelopedData";

pub const EXCHANGES: &[Exchange] = &[
    // To pyas2lib.
    TO_PYAS2LIB,
    Exchange { digest: "sha1", cipher: "3des", ..TO_PYAS2LIB },
    Exchange { digest: "md5", ..TO_PYAS2LIB },
    Exchange { digest: "sha512", cipher: "aes128-cbc", ..TO_PYAS2LIB },
    Exchange { digest: "sha384", key: "oaep-sha1", ..TO_PYAS2LIB },
    Exchange { signature: "pss", ..TO_PYAS2LIB },
    Exchange { signature: "pss", digest: "sha512", key: "oaep-sha1", ..TO_PYAS2LIB },
    Exchange { cipher: "aes192-cbc", mdn: "unsigned", outcome: Remark(SIGNS_ALL_THE_SAME), ..TO_PYAS2LIB },
    Exchange { digest: "sha1", mdn: "none", ..TO_PYAS2LIB },
    Exchange { compressed: "before_signing", ..TO_PYAS2LIB },
    Exchange { compressed: "after_signing", ..TO_PYAS2LIB },
    Exchange { security: "signed", compressed: "before_signing", ..TO_PYAS2LIB },
    Exchange { security: "encrypted", compressed: "before_signing", mdn: "none", ..TO_PYAS2LIB },
    Exchange {
        cipher: "aes256-gcm",
        outcome: Fails { why: "pyas2lib takes the ciphertext for the payload", said: "MIC" },
        ..TO_PYAS2LIB
    },
    Exchange { security: "signed", ..TO_PYAS2LIB },
    Exchange { security: "signed", digest: "sha1", ..TO_PYAS2LIB },
    Exchange { security: "signed", digest: "md5", ..TO_PYAS2LIB },
    Exchange { security: "signed", signature: "pss", digest: "sha384", ..TO_PYAS2LIB },
    Exchange {
        security: "signed",
        digest: "sha512",
        mdn: "unsigned",
        outcome: Remark(SIGNS_ALL_THE_SAME),
        ..TO_PYAS2LIB
    },
    Exchange { security: "signed", mdn: "none", ..TO_PYAS2LIB },
    Exchange { security: "encrypted", outcome: Remark(NO_MIC), ..TO_PYAS2LIB },
    Exchange {
        security: "encrypted",
        digest: "sha1",
        cipher: "aes128-cbc",
        mdn: "unsigned",
        outcome: Remark(UNSIGNED_NO_MIC),
        ..TO_PYAS2LIB
    },
    Exchange { security: "encrypted", cipher: "3des", mdn: "none", ..TO_PYAS2LIB },
    Exchange { security: "none", outcome: Remark(NO_MIC), ..TO_PYAS2LIB },
    Exchange {
        security: "none",
        digest: "sha512",
        mdn: "unsigned",
        outcome: Remark(UNSIGNED_NO_MIC),
        ..TO_PYAS2LIB
    },
    Exchange { security: "none", mdn: "none", ..TO_PYAS2LIB },
    // From pyas2lib.
    FROM_PYAS2LIB,
    Exchange { digest: "sha1", cipher: "3des", ..FROM_PYAS2LIB },
    Exchange { digest: "md5", ..FROM_PYAS2LIB },
    Exchange { digest: "sha224", ..FROM_PYAS2LIB },
    Exchange { digest: "sha512", cipher: "aes128-cbc", ..FROM_PYAS2LIB },
    Exchange { digest: "sha384", key: "oaep-sha1", ..FROM_PYAS2LIB },
    Exchange { cipher: "aes192-cbc", compressed: "before_signing", ..FROM_PYAS2LIB },
    Exchange { signature: "pss", ..FROM_PYAS2LIB },
    Exchange {
        signature: "pss",
        digest: "sha512",
        key: "oaep-sha1",
        compressed: "before_signing",
        ..FROM_PYAS2LIB
    },
    Exchange { mdn: "unsigned", ..FROM_PYAS2LIB },
    Exchange { mdn: "none", ..FROM_PYAS2LIB },
    Exchange { security: "signed", ..FROM_PYAS2LIB },
    Exchange { security: "signed", digest: "sha1", compressed: "before_signing", ..FROM_PYAS2LIB },
    Exchange { security: "signed", digest: "md5", ..FROM_PYAS2LIB },
    Exchange { security: "signed", digest: "sha224", mdn: "unsigned", ..FROM_PYAS2LIB },
    Exchange { security: "signed", digest: "sha512", mdn: "unsigned", ..FROM_PYAS2LIB },
    Exchange { security: "signed", digest: "sha384", signature: "pss", ..FROM_PYAS2LIB },
    Exchange { security: "encrypted", ..FROM_PYAS2LIB },
    Exchange { security: "encrypted", cipher: "3des", compressed: "before_signing", ..FROM_PYAS2LIB },
    Exchange { security: "encrypted", key: "oaep-sha1", mdn: "none", ..FROM_PYAS2LIB },
    Exchange { security: "none", ..FROM_PYAS2LIB },
    Exchange { security: "none", compressed: "before_signing", ..FROM_PYAS2LIB },
    Exchange { security: "none", mdn: "none", ..FROM_PYAS2LIB },
    // To libas2.
    TO_LIBAS2,
    Exchange { digest: "sha1", cipher: "3des", ..TO_LIBAS2 },
    Exchange { digest: "sha384", cipher: "aes192-cbc", key: "oaep-sha1", ..TO_LIBAS2 },
    Exchange { digest: "sha512", cipher: "aes128-cbc", key: "oaep-sha256", ..TO_LIBAS2 },
    Exchange { key: "oaep-sha384", mdn: "unsigned", ..TO_LIBAS2 },
    Exchange { key: "oaep-sha512", mdn: "none", ..TO_LIBAS2 },
    Exchange { security: "signed", ..TO_LIBAS2 },
    Exchange { security: "signed", digest: "sha512", mdn: "unsigned", ..TO_LIBAS2 },
    Exchange {
        security: "signed",
        binary: true,
        outcome: Fails {
            why: "libas2 verifies no signature over other bytes than ASCII",
            said: "Could not verify signature",
        },
        ..TO_LIBAS2
    },
    Exchange {
        security: "signed",
        signature: "pss",
        outcome: Fails { why: "libas2 verifies no RSA-PSS", said: "Could not verify signature" },
        ..TO_LIBAS2
    },
    Exchange { security: "encrypted", binary: true, outcome: Remark(NO_MIC), ..TO_LIBAS2 },
    Exchange {
        security: "encrypted",
        key: "ecdh",
        mdn: "unsigned",
        outcome: Fails { why: "libas2 reads no ECDH but its own", said: "unsupported state" },
        ..TO_LIBAS2
    },
    Exchange {
        cipher: "aes256-gcm",
        outcome: Fails { why: "libas2 reads no AuthEnvelopedData", said: "EnvelopedData" },
        ..TO_LIBAS2
    },
    Exchange { security: "none", mdn: "none", ..TO_LIBAS2 },
    // From libas2.
    FROM_LIBAS2,
    Exchange { digest: "sha1", cipher: "3des", ..FROM_LIBAS2 },
    Exchange { digest: "sha384", cipher: "aes192-cbc", ..FROM_LIBAS2 },
    Exchange { digest: "sha512", cipher: "aes128-cbc", ..FROM_LIBAS2 },
    Exchange { mdn: "unsigned", ..FROM_LIBAS2 },
    Exchange { mdn: "none", ..FROM_LIBAS2 },
    Exchange { security: "signed", ..FROM_LIBAS2 },
    Exchange { security: "signed", digest: "sha512", mdn: "unsigned", ..FROM_LIBAS2 },
    Exchange { security: "encrypted", ..FROM_LIBAS2 },
    Exchange { security: "none", ..FROM_LIBAS2 },
    Exchange { key: "ecdh", ..FROM_LIBAS2 },
    Exchange { cipher: "aes128-gcm", outcome: Remark(IN_ENVELOPED_DATA), ..FROM_LIBAS2 },
    Exchange {
        security: "encrypted",
        cipher: "aes256-gcm",
        outcome: Remark(IN_ENVELOPED_DATA),
        ..FROM_LIBAS2
    },
    // To asx-rs, whose peer puts CMS into base64 before.
    TO_ASX,
    Exchange { digest: "sha1", outcome: Remark("its MIC is of SHA-256 then"), ..TO_ASX },
    Exchange { digest: "sha384", cipher: "aes192-cbc", ..TO_ASX },
    Exchange { digest: "sha512", cipher: "aes128-cbc", key: "oaep-sha256", ..TO_ASX },
    Exchange { mdn: "unsigned", outcome: Remark(SIGNS_ALL_THE_SAME), ..TO_ASX },
    Exchange { mdn: "none", outcome: Remark("it answers with a receipt all the same"), ..TO_ASX },
    Exchange { signature: "ecdsa", ..TO_ASX },
    Exchange {
        binary: true,
        outcome: Fails {
            why: "asx-rs verifies no signature over other line ends than CRLF",
            said: NOT_AUTHENTICATED,
        },
        ..TO_ASX
    },
    Exchange {
        compressed: "before_signing",
        outcome: Fails {
            why: "what is compressed has bytes that asx-rs takes for line ends, and changes before it verifies the signature",
            said: NOT_AUTHENTICATED,
        },
        ..TO_ASX
    },
    Exchange {
        signature: "pss",
        outcome: Fails { why: "asx-rs verifies no RSA-PSS", said: NOT_AUTHENTICATED },
        ..TO_ASX
    },
    Exchange {
        cipher: "3des",
        outcome: Fails { why: "asx-rs decrypts AES-CBC alone", said: NOT_DECRYPTED },
        ..TO_ASX
    },
    Exchange {
        cipher: "aes256-gcm",
        outcome: Fails { why: "asx-rs reads no AuthEnvelopedData", said: INSUFFICIENT },
        ..TO_ASX
    },
    Exchange {
        key: "oaep-sha1",
        outcome: Fails { why: "asx-rs reads RSA-OAEP with SHA-256 alone", said: NOT_DECRYPTED },
        ..TO_ASX
    },
    Exchange {
        security: "signed",
        outcome: Fails { why: "asx-rs takes only what is signed and encrypted", said: INSUFFICIENT },
        ..TO_ASX
    },
    Exchange {
        security: "encrypted",
        outcome: Fails { why: "asx-rs takes only what is signed and encrypted", said: INSUFFICIENT },
        ..TO_ASX
    },
    // From asx-rs, which has one form for all.
    FROM_ASX,
    Exchange { binary: false, ..FROM_ASX },
    Exchange { signature: "ecdsa", ..FROM_ASX },
];
