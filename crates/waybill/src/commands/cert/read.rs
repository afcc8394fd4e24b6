//! Keys and certificates from a file of any form.

use super::passphrase::Passphrase;
use super::private_key::{belongs, bytes_of, from_pem};
use config::{certificates_in, leaf_first};
use model::{Error, ErrorKind, Result};
use openssl::error::ErrorStack;
use openssl::pkcs12::{ParsedPkcs12_2, Pkcs12};
use openssl::pkey::{PKey, Private};
use openssl::provider::Provider;
use openssl::x509::X509;
use std::path::Path;

/// What a file holds.
pub(super) struct Contents {
    pub(super) key: Option<PKey<Private>>,
    /// The key's own first, each before the one that issued it.
    pub(super) certificates: Vec<X509>,
}

/// Reads a file.
///
/// # Errors
/// It holds neither certificates nor a key; the passphrase is wrong; OpenSSL cannot read its algorithms here.
pub(super) fn contents(path: &Path, passphrase: &Passphrase) -> Result<Contents> {
    let bytes = bytes_of(path)?;
    let bytes = bytes.reveal();
    let (key, certificates): (_, Vec<X509>) = match Pkcs12::from_der(bytes) {
        Ok(file) => {
            let parsed = open_pkcs12(&file, path, passphrase)?;
            (parsed.pkey, parsed.cert.into_iter().chain(parsed.ca.into_iter().flatten()).collect())
        }
        Err(_) => {
            let key = if holds(bytes, b"PRIVATE KEY-----") {
                Some(from_pem(bytes, path, passphrase)?.0)
            } else {
                None
            };
            let certificates = certificates_in(bytes);
            if certificates.is_none() && key.is_some() && holds(bytes, b"-----BEGIN CERTIFICATE-----") {
                let advice =
                    "one of its certificates cannot be read: the file may be cut off, or changed by hand";
                return Err(unreadable(path).advice(advice));
            }
            (key, certificates.unwrap_or_default())
        }
    };
    if key.is_none() && certificates.is_empty() {
        let advice = if holds(bytes, b"CERTIFICATE REQUEST-----") {
            "this is a certificate request: send it to the authority, and import its answer"
        } else {
            "it holds no certificate and no private key in PEM form, DER, PKCS #7 or PKCS #12"
        };
        return Err(unreadable(path).advice(advice));
    }
    let mut certificates = leaf_first(certificates);
    if let Some(key) = &key {
        own_first(&mut certificates, key, path)?;
    }
    Ok(Contents { key, certificates })
}

/// Puts a key's own certificate first.
///
/// # Errors
/// There are certificates, and none belongs to the key.
pub(super) fn own_first(certificates: &mut [X509], key: &PKey<Private>, path: &Path) -> Result<()> {
    match certificates.iter().position(|certificate| belongs(certificate, key)) {
        Some(own) => certificates[..=own].rotate_right(1),
        None if certificates.is_empty() => {}
        None => {
            return Err(Error::permanent(ErrorKind::ConfigInvalid, "use a certificate with its key")
                .with("path", path.display())
                .advice("no certificate of the file belongs to the private key"));
        }
    }
    Ok(())
}

fn holds(bytes: &[u8], words: &[u8]) -> bool {
    bytes.windows(words.len()).any(|part| part == words)
}

fn unreadable(path: &Path) -> Error {
    Error::permanent(ErrorKind::ConfigInvalid, "read keys and certificates").with("path", path.display())
}

/// Opens a PKCS #12 file: without a passphrase, then with one; with the algorithms of old files where it needs them.
fn open_pkcs12(file: &Pkcs12, path: &Path, passphrase: &Passphrase) -> Result<ParsedPkcs12_2> {
    match parsed(file, "", path) {
        Err(Trouble::Passphrase) => {}
        Err(Trouble::Other(error)) => return Err(error),
        Ok(parsed) => return Ok(parsed),
    }
    let words = passphrase.get(path)?;
    parsed(file, words.reveal(), path).map_err(|trouble| match trouble {
        Trouble::Passphrase => unreadable(path).advice("the passphrase is wrong"),
        Trouble::Other(error) => error,
    })
}

enum Trouble {
    Passphrase,
    Other(Error),
}

fn parsed(file: &Pkcs12, words: &str, path: &Path) -> std::result::Result<ParsedPkcs12_2, Trouble> {
    let first = match file.parse2(words) {
        Ok(parsed) => return Ok(parsed),
        Err(error) if is_wrong_passphrase(&error) => return Err(Trouble::Passphrase),
        Err(error) => error,
    };
    // RC2 and short RC4 keys protect the files of old programs. OpenSSL has them in a provider that is loaded for this
    // command alone: it changes what the whole process accepts.
    let Ok(_legacy) = Provider::try_load(None, "legacy", true) else {
        let error = unreadable(path).caused_by(first).advice(
            "the file is protected by old algorithms, which OpenSSL keeps in its legacy provider, and this machine has none \
             (legacy.so of OpenSSL): convert the file where there is one, with openssl pkcs12 -legacy -in FILE -nodes -out \
             NEW.pem, import NEW.pem and remove it",
        );
        return Err(Trouble::Other(error));
    };
    file.parse2(words).map_err(|error| {
        if is_wrong_passphrase(&error) {
            return Trouble::Passphrase;
        }
        Trouble::Other(unreadable(path).caused_by(error).advice(
            "the file is damaged, or protected by an algorithm that OpenSSL does not have; or it has no check of its passphrase, \
             and that is wrong",
        ))
    })
}

/// OpenSSL's own words for a check value that the passphrase does not give: the crate has no constant for it.
fn is_wrong_passphrase(error: &ErrorStack) -> bool {
    error.errors().iter().any(|error| error.reason() == Some("mac verify failure"))
}
