//! How a key is shown to people.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use openssl::sha::sha256;

/// `SHA256:…` of a key as it goes over the wire.
pub(crate) fn fingerprint(key: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(sha256(key)))
}
