//! TLS as client and as server: trust, our certificates, and what is recorded.

mod certificate;
mod ciphers;
mod client;
mod pin;
mod profiles;
mod server;
mod session;
mod shown;

pub use certificate::{OwnCertificate, ServerCertificate};
pub use client::{TlsOptions, TlsProfile, Trust};
pub use server::{ServerTls, ServerTlsOptions};
pub use session::TlsSession;

pub(crate) use ciphers::check_cipher;
pub(crate) use client::handshake;
pub(crate) use pin::check_pin;
pub(crate) use profiles::Profiles;
pub(crate) use server::{Registered, accept};

use model::{Error, ErrorKind, Secret};
use openssl::pkey::{PKey, Private};

/// Reads a private key: PEM in PKCS #8, PKCS #1 or SEC 1 form, possibly encrypted.
fn private_key(pem: &Secret<String>, passphrase: Option<&Secret<String>>) -> Result<PKey<Private>, Error> {
    // Without a passphrase OpenSSL would ask for one on the terminal: an empty one makes it fail instead.
    let passphrase = passphrase.map_or(&b""[..], |secret| secret.reveal().as_bytes());
    PKey::private_key_from_pem_passphrase(pem.reveal().as_bytes(), passphrase).map_err(|cause| {
        Error::permanent(ErrorKind::ConfigInvalid, "read a TLS private key")
            .advice("give the private key in PEM form, and its passphrase if it is encrypted")
            .caused_by(cause)
    })
}

/// An error of the TLS library while it is configured.
fn unusable(what: &'static str) -> impl Fn(openssl::error::ErrorStack) -> Error {
    move |cause| Error::permanent(ErrorKind::ConfigInvalid, what).caused_by(cause)
}
