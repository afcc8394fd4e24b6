//! Pins: the only certificate or public key that is accepted from a server.

use super::shown::{fingerprint, hex};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use model::PeerText;
use openssl::x509::X509Ref;
use std::fmt;

/// What a server's certificate must match.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PeerPin {
    /// SHA-256 of the certificate's DER.
    Certificate([u8; 32]),
    /// SHA-256 of the DER of its SubjectPublicKeyInfo (RFC 7469, section 2.4).
    PublicKey([u8; 32]),
}

impl PeerPin {
    /// Reads `sha256:HEX`, bare hexadecimal with or without colons, or `sha256//BASE64`.
    ///
    /// # Errors
    /// What it must be: it has none of these forms.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "'{}' is not a pin: write \"sha256:\" and the SHA-256 of the certificate as 64 hexadecimal digits, or \
                 \"sha256//\" and the SHA-256 of its public key in base64",
                PeerText::from(text)
            )
        };
        let text = text.trim();
        let begins = |prefix: &str| {
            text.get(..prefix.len())
                .filter(|is| is.eq_ignore_ascii_case(prefix))
                .map(|_| &text[prefix.len()..])
        };
        if let Some(encoded) = begins("sha256//") {
            let bytes = BASE64.decode(encoded).map_err(|_| wrong())?;
            return bytes.try_into().map(Self::PublicKey).map_err(|_| wrong());
        }
        let digits: Vec<u8> = begins("sha256:")
            .unwrap_or(text)
            .chars()
            .filter(|c| !matches!(c, ':' | ' '))
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()).ok_or_else(wrong))
            .collect::<Result<_, _>>()?;
        if digits.len() != 64 {
            return Err(wrong());
        }
        let bytes: Vec<u8> =
            digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
        bytes.try_into().map(Self::Certificate).map_err(|_| wrong())
    }

    pub(super) fn fits(&self, certificate: &X509Ref) -> bool {
        match self {
            Self::Certificate(wanted) => fingerprint(certificate).is_some_and(|is| is == *wanted),
            Self::PublicKey(wanted) => public_key(certificate).is_some_and(|is| is == *wanted),
        }
    }
}

impl fmt::Display for PeerPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(digest) => write!(f, "sha256:{}", hex(digest)),
            Self::PublicKey(digest) => write!(f, "sha256//{}", BASE64.encode(digest)),
        }
    }
}

/// SHA-256 of the DER of the public key with its algorithm.
pub(super) fn public_key(certificate: &X509Ref) -> Option<[u8; 32]> {
    let der = certificate.public_key().and_then(|key| key.public_key_to_der()).ok()?;
    Some(openssl::sha::sha256(&der))
}

/// Checks that a text is a pin.
///
/// # Errors
/// As [`PeerPin::read`].
pub(crate) fn check_pin(text: &str) -> Result<(), String> {
    PeerPin::read(text).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_read_in_every_form_that_tools_print() {
        let hex = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
        let colons: Vec<&str> = (0..32).map(|at| &hex[2 * at..2 * at + 2]).collect();
        let wanted = PeerPin::read(hex).unwrap();
        for text in [format!("sha256:{hex}"), colons.join(":").to_uppercase(), format!("SHA256: {hex}")] {
            assert_eq!(PeerPin::read(&text).unwrap(), wanted, "{text}");
        }
        assert_eq!(wanted.to_string(), format!("sha256:{hex}"));
        let PeerPin::Certificate(bytes) = wanted else { panic!("{wanted:?}") };
        let key = format!("sha256//{}", BASE64.encode(bytes));
        assert_eq!(PeerPin::read(&key).unwrap(), PeerPin::PublicKey(bytes));
        assert_eq!(PeerPin::PublicKey(bytes).to_string(), key);
        for wrong in ["", "sha256:", "sha256//", "sha256//AAAA", &hex[2..], &hex.replace('0', "g")] {
            assert!(PeerPin::read(wrong).is_err(), "{wrong}");
        }
    }
}
