//! Keys and certificates of both sides, read and ready.

use crate::outgoing::OwnKey;
use model::{Error, ErrorKind, Result};
use openssl::pkey::PKey;
use openssl::x509::X509;
use transport::PartnerMaterial;

/// Reads our key with its certificate.
///
/// # Errors
/// `ConfigInvalid`: PEM or passphrase is wrong.
pub(crate) fn own_key(own: &transport::OwnKey) -> Result<OwnKey> {
    let unusable = |what: &'static str, error: openssl::error::ErrorStack| {
        Error::permanent(ErrorKind::ConfigInvalid, what)
            .with("identity", &own.identity.name)
            .with("key", &own.identity.key)
            .advice("check the key's PEM text and its passphrase")
            .caused_by(error)
    };
    let pem = own.private_key.reveal().as_bytes();
    let key = match &own.passphrase {
        Some(passphrase) => PKey::private_key_from_pem_passphrase(pem, passphrase.reveal().as_bytes()),
        // A callback that gives nothing: without one OpenSSL would ask on the terminal.
        None => PKey::private_key_from_pem_callback(pem, |_| Ok(0)),
    };
    Ok(OwnKey {
        key: key.map_err(|error| unusable("read our private key", error))?,
        certificate: X509::from_pem(own.certificate.as_bytes())
            .map_err(|error| unusable("read our certificate", error))?,
    })
}

/// Reads a partner's certificates, the encrypting one first.
///
/// # Errors
/// `ConfigInvalid`: a PEM text is wrong, or there is none.
pub(crate) fn partner_certificates(partner: &PartnerMaterial) -> Result<Vec<X509>> {
    let name = &partner.partner.name;
    let certificates: Vec<X509> = partner
        .certificates
        .iter()
        .map(|pem| {
            X509::from_pem(pem.as_bytes()).map_err(|error| {
                Error::permanent(ErrorKind::ConfigInvalid, "read a partner's certificate")
                    .with("partner", name)
                    .caused_by(error)
            })
        })
        .collect::<Result<_>>()?;
    if certificates.is_empty() {
        return Err(Error::permanent(ErrorKind::ConfigInvalid, "find a partner's certificate")
            .with("partner", name)
            .advice("add the certificate that the partner signs and decrypts with"));
    }
    Ok(certificates)
}
