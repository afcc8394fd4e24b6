//! Whoever signs a message or a receipt, as its evidence keeps it: a certificate, or the public half of an OpenPGP key.

use crate::material::fingerprint;
use crate::pgp_signature::armour;
use model::{Error, ErrorKind, Result};
use openssl::x509::X509;
use pgp_mime::PartnerKey;

/// What verifies a signature.
#[derive(Clone, Copy)]
pub(crate) enum Signer<'a> {
    /// By S/MIME.
    Certificate(&'a X509),
    /// By OpenPGP.
    Pgp(&'a PartnerKey),
}

impl Signer<'_> {
    /// As it is kept, under the first name as a certificate (DER), under the second one as an OpenPGP key (armour).
    ///
    /// # Errors
    /// It cannot be encoded.
    pub(crate) fn piece<'n>(&self, (certificate, key): (&'n str, &'n str)) -> Result<(&'n str, Vec<u8>)> {
        match self {
            Self::Certificate(known) => Ok((certificate, der(known)?)),
            Self::Pgp(known) => Ok((key, armour(known)?.into_bytes())),
        }
    }

    /// SHA-256 of the certificate, or the fingerprint of the key, in hexadecimal.
    ///
    /// # Errors
    /// The certificate cannot be digested.
    pub(crate) fn fingerprint(&self) -> Result<String> {
        match self {
            Self::Certificate(known) => fingerprint(known),
            Self::Pgp(known) => Ok(known.fingerprint()),
        }
    }
}

/// A certificate as DER.
///
/// # Errors
/// It cannot be encoded.
pub(crate) fn der(certificate: &X509) -> Result<Vec<u8>> {
    certificate
        .to_der()
        .map_err(|error| Error::permanent(ErrorKind::Internal, "encode a certificate").caused_by(error))
}
