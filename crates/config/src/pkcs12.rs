//! Keys in PKCS #12 files (RFC 7292): taken apart when definitions are checked, so that every transport gets PEM.

use model::Secret;
use openssl::pkcs12::Pkcs12;

const BEGIN: &str = "-----BEGIN PKCS12-----";
const END: &str = "-----END PKCS12-----";

/// What was in a file.
pub(crate) struct Opened {
    /// PEM, not encrypted.
    pub(crate) private_key: Secret<String>,
    /// The key's certificate and those of its authorities, PEM.
    pub(crate) certificates: Option<String>,
}

/// The content of a file as text, if it is a PKCS #12 file.
pub(crate) fn as_text(bytes: &[u8]) -> Option<String> {
    Pkcs12::from_der(bytes).ok()?;
    Some(format!("{BEGIN}\n{}\n{END}", openssl::base64::encode_block(bytes)))
}

/// Whether a text is one of [`as_text`].
pub(crate) fn is(text: &str) -> bool {
    text.trim_start().starts_with(BEGIN)
}

/// Takes a file apart.
///
/// # Errors
/// Why it cannot be used, for the field of the key.
pub(crate) fn open(text: &Secret<String>, passphrase: Option<&Secret<String>>) -> Result<Opened, String> {
    let unreadable = || "is not a PKCS #12 file".to_owned();
    let body = text.reveal().split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END));
    let body: String = body.ok_or_else(unreadable)?.0.split_whitespace().collect();
    let der = Secret::new(openssl::base64::decode_block(&body).map_err(|_| unreadable())?);
    let file = Pkcs12::from_der(der.reveal()).map_err(|_| unreadable())?;
    let words = passphrase.map(|words| words.reveal().as_str()).unwrap_or_default();
    let parsed = file.parse2(words).map_err(|_| {
        let which = if passphrase.is_some() { "the passphrase is wrong" } else { "it needs a 'passphrase'" };
        format!(
            "is a PKCS #12 file that cannot be opened: {which}, or it is protected by an algorithm that is no longer \
            safe; then write it anew with openssl pkcs12 -legacy -in FILE -nodes | openssl pkcs12 -export -out NEW"
        )
    })?;
    let key = parsed.pkey.ok_or("is a PKCS #12 file without a private key")?;
    let pem = key.private_key_to_pem_pkcs8().map_err(|_| unreadable())?;
    let private_key = String::from_utf8(pem).map(Secret::new).map_err(|_| unreadable())?;
    let all = parsed.cert.into_iter().chain(parsed.ca.into_iter().flatten());
    let certificates =
        all.map(|certificate| certificate.to_pem().ok().and_then(|pem| String::from_utf8(pem).ok()));
    let certificates: String = certificates.collect::<Option<Vec<_>>>().ok_or_else(unreadable)?.concat();
    let certificates = Some(certificates).filter(|text| !text.is_empty());
    Ok(Opened { private_key, certificates })
}
