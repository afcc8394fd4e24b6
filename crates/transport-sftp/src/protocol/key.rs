//! Private keys as people have them: OpenSSH's own form and PEM, encrypted or not.

use model::definition::PublicKey;
use model::{Error, ErrorKind, Result, Secret};
use openssl::pkey::PKey;
use openssl::sha::Sha256;
use russh::keys::{HashAlg, PrivateKey};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Whether a text looks like a private key that can be read, without reading it: decrypting takes long
/// on purpose.
///
/// # Errors
/// `ConfigInvalid`: no private key, or an encrypted one without its passphrase.
pub(crate) fn check(text: &Secret<String>, passphrase: Option<&Secret<String>>) -> Result<()> {
    let text = text.reveal().trim_start();
    if text.starts_with("PuTTY-User-Key-File-") {
        return Err(invalid("use the private key")
            .advice("it is in PuTTY's format; export it as an OpenSSH key with puttygen"));
    }
    if !text.contains("PRIVATE KEY-----") {
        let error = invalid("use the private key");
        return Err(if text.contains("BEGIN PKCS12-----") {
            error.advice("it is a PKCS #12 file; define it as a [key.NAME], and name that with 'key'")
        } else if text.starts_with("ssh-") || text.starts_with("ecdsa-") {
            error.advice("it is a public key; use the file without .pub")
        } else {
            error.advice("it is neither an OpenSSH key nor PEM; a private key begins with '-----BEGIN'")
        });
    }
    if is_encrypted(text) && passphrase.is_none() {
        return Err(invalid("use the private key").advice("it is encrypted: set its passphrase too"));
    }
    Ok(())
}

/// Why a key cannot be used, for a finding at its field.
pub(crate) fn reason(error: &Error) -> String {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    let words: Vec<String> = cause.into_iter().chain(error.advised().map(str::to_owned)).collect();
    format!("cannot be used: {}", words.join("; "))
}

fn is_encrypted(text: &str) -> bool {
    if is_openssh(text) {
        openssh(text).is_ok_and(|key| key.is_encrypted())
    } else {
        text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED")
    }
}

/// Reads a private key to see whether it can be used, and remembers the verdict: an encrypted one takes long to read on
/// purpose, and definitions are checked often. Blocks as [`read`].
///
/// # Errors
/// As [`read`].
pub(crate) fn try_out(text: &Secret<String>, passphrase: Option<&Secret<String>>) -> Result<()> {
    check(text, passphrase)?;
    if !is_encrypted(text.reveal().trim_start()) {
        return read(text, passphrase).map(drop);
    }
    // Of neither is anything kept but a digest over both.
    let mut digest = Sha256::new();
    for part in [text.reveal().as_str(), passphrase.map_or("", |secret| secret.reveal().as_str())] {
        digest.update(&(part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    let digest = digest.finish();
    if lock().contains(&digest) {
        return Ok(());
    }
    read(text, passphrase)?;
    let mut good = lock();
    if good.len() >= GOOD_LIMIT {
        good.clear();
    }
    good.insert(digest);
    Ok(())
}

/// Encrypted keys that were read with their passphrase.
static GOOD: Mutex<BTreeSet<[u8; 32]>> = Mutex::new(BTreeSet::new());

/// Most of them remembered.
const GOOD_LIMIT: usize = 10_000;

fn lock() -> MutexGuard<'static, BTreeSet<[u8; 32]>> {
    GOOD.lock().unwrap_or_else(PoisonError::into_inner)
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
        let key = openssh(text)?;
        match passphrase {
            Some(passphrase) if key.is_encrypted() => {
                key.decrypt(passphrase).map_err(|e| not_decrypted(&key, e))?
            }
            _ => key,
        }
    } else {
        read_pem(text, passphrase)?
    };
    Ok(Arc::new(key))
}

/// The public half of a private key. Blocks as [`read`].
///
/// # Errors
/// As [`read`].
pub(crate) fn public_half(text: &Secret<String>, passphrase: Option<&Secret<String>>) -> Result<PublicKey> {
    let key = read(text, passphrase)?;
    let mut public = key.public_key().clone();
    // Whoever made the key wrote there what they liked.
    public.set_comment("");
    Ok(PublicKey {
        algorithm: public.algorithm().as_str().to_owned(),
        fingerprint: public.fingerprint(HashAlg::Sha256).to_string(),
        openssh: public.to_openssh().map_err(|error| unreadable().caused_by(error))?.trim_end().to_owned(),
    })
}

const BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const END: &str = "-----END OPENSSH PRIVATE KEY-----";

/// Reads OpenSSH's own form. What stands before and after it (a comment, the public key) is left, and its lines may be
/// of any length and indented, as they are after having been through other tools.
fn openssh(text: &str) -> Result<PrivateKey> {
    let rest = text.split_once(BEGIN).map_or("", |(_, rest)| rest);
    let Some((body, _)) = rest.split_once(END) else {
        return Err(unreadable().caused_by("its last line, which begins with '-----END', is missing"));
    };
    let body: Vec<u8> = body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let mut plain = Secret::new(format!("{BEGIN}\n"));
    for line in body.chunks(LINE) {
        plain = Secret::new(format!("{}{}\n", plain.reveal(), String::from_utf8_lossy(line)));
    }
    let plain = Secret::new(format!("{}{END}\n", plain.reveal()));
    PrivateKey::from_openssh(plain.reveal()).map_err(|e| unreadable().caused_by(e))
}

/// Characters in a line of OpenSSH's form.
const LINE: usize = 70;

fn not_decrypted(key: &PrivateKey, error: ssh_key::Error) -> Error {
    match error {
        ssh_key::Error::Crypto => unreadable().caused_by("it cannot be decrypted with this passphrase"),
        error => invalid("read the private key")
            .with("encrypted with", key.cipher())
            .advice("this encryption is not supported; change it with: ssh-keygen -p -Z aes256-ctr -f KEY")
            .caused_by(error),
    }
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
    text.contains(BEGIN)
}

fn invalid(operation: &'static str) -> Error {
    Error::permanent(ErrorKind::ConfigInvalid, operation)
}

fn unreadable() -> Error {
    invalid("read the private key").advice(
        "check that it is complete and that the passphrase is right; SSH accepts ed25519, ECDSA (P-256, \
        P-384, P-521) and RSA keys",
    )
}

#[cfg(test)]
mod tests;
