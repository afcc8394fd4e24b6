//! Private keys as people have them: OpenSSH's own form and PEM, encrypted or not.

use model::{Error, ErrorKind, Result, Secret};
use openssl::pkey::PKey;
use russh::keys::PrivateKey;
use std::sync::Arc;

/// Whether a text looks like a private key that can be read, without reading it: decrypting takes long
/// on purpose.
///
/// # Errors
/// `ConfigInvalid`: no private key, or an encrypted one without its passphrase.
pub(crate) fn check(text: &Secret<String>, passphrase: Option<&Secret<String>>) -> Result<()> {
    let text = text.reveal().trim_start();
    if text.starts_with("PuTTY-User-Key-File-") {
        return Err(invalid("use the private key")
            .advice("it is in PuTTY's form; export it as an OpenSSH key with puttygen"));
    }
    if !text.contains("PRIVATE KEY-----") {
        let error = invalid("use the private key");
        return Err(if text.starts_with("ssh-") || text.starts_with("ecdsa-") {
            error.advice("it is the public half; give the file without .pub")
        } else {
            error.advice("it is neither an OpenSSH key nor PEM; a private key begins with '-----BEGIN'")
        });
    }
    let encrypted = if is_openssh(text) {
        PrivateKey::from_openssh(text).is_ok_and(|key| key.is_encrypted())
    } else {
        text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED")
    };
    if encrypted && passphrase.is_none() {
        return Err(invalid("use the private key").advice("it is encrypted: give its passphrase too"));
    }
    Ok(())
}

/// Reads a private key. Blocks for as long as the key's own protection against guessing takes.
///
/// # Errors
/// `ConfigInvalid`: not a key, another passphrase, a type that SSH does not have.
pub(crate) fn read(text: &Secret<String>, passphrase: Option<&Secret<String>>) -> Result<Arc<PrivateKey>> {
    check(text, passphrase)?;
    let text = text.reveal().trim_start();
    let passphrase = passphrase.map(|secret| secret.reveal().as_str());
    let key = if is_openssh(text) {
        let key = PrivateKey::from_openssh(text).map_err(|e| unreadable().caused_by(e))?;
        match passphrase {
            Some(passphrase) if key.is_encrypted() => {
                key.decrypt(passphrase).map_err(|e| unreadable().caused_by(e))?
            }
            _ => key,
        }
    } else {
        read_pem(text, passphrase)?
    };
    Ok(Arc::new(key))
}

/// OpenSSL reads every form of PEM that was ever written; the SSH library reads plain PKCS #8.
fn read_pem(text: &str, passphrase: Option<&str>) -> Result<PrivateKey> {
    let key =
        PKey::private_key_from_pem_passphrase(text.as_bytes(), passphrase.unwrap_or_default().as_bytes())
            .map_err(|e| unreadable().caused_by(e))?;
    let plain = Secret::new(key.private_key_to_pem_pkcs8().map_err(|e| unreadable().caused_by(e))?);
    let plain = std::str::from_utf8(plain.reveal()).map_err(|e| unreadable().caused_by(e))?;
    russh::keys::decode_secret_key(plain, None).map_err(|e| unreadable().caused_by(e))
}

fn is_openssh(text: &str) -> bool {
    text.contains("-----BEGIN OPENSSH PRIVATE KEY-----")
}

fn invalid(operation: &'static str) -> Error {
    Error::permanent(ErrorKind::ConfigInvalid, operation)
}

fn unreadable() -> Error {
    invalid("read the private key").advice(
        "check that it is whole and that the passphrase is its own; SSH takes ed25519, ECDSA (P-256, P-384, P-521) and RSA keys",
    )
}
