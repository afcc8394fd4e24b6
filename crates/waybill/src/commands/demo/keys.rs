//! Keys and self-signed certificates, made on the spot.

use super::write_file;
use model::{Error, ErrorKind, Result};
use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::x509::{X509, X509NameBuilder};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Writes `key.pem` and `certificate.pem` for a name into a directory.
pub(crate) fn make_pair(directory: &Path, name: &str) -> Result<()> {
    let (key, certificate) = pair(name).map_err(|error| {
        Error::permanent(ErrorKind::Internal, "make a key and its certificate").caused_by(error)
    })?;
    let path = directory.join("key.pem");
    write_file(&path, key)?;
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))
        .map_err(|error| super::failed("protect a key", &path, error))?;
    write_file(&directory.join("certificate.pem"), certificate)
}

fn pair(name: &str) -> Result<(Vec<u8>, Vec<u8>), ErrorStack> {
    let key = PKey::from_rsa(Rsa::generate(2048)?)?;
    let mut subject = X509NameBuilder::new()?;
    subject.append_entry_by_text("CN", name)?;
    let subject = subject.build();
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::MAYBE_ZERO, false)?;
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_serial_number(&*serial.to_asn1_integer()?)?;
    builder.set_subject_name(&subject)?;
    builder.set_issuer_name(&subject)?;
    builder.set_pubkey(&key)?;
    builder.set_not_before(&*Asn1Time::days_from_now(0)?)?;
    builder.set_not_after(&*Asn1Time::days_from_now(365)?)?;
    builder.sign(&key, MessageDigest::sha256())?;
    Ok((key.private_key_to_pem_pkcs8()?, builder.build().to_pem()?))
}
