//! Keys and self-signed certificates, made on the spot.

use super::super::cert::{Subject, generate, self_signed};
use super::write_file;
use crate::cli::KeyType;
use crate::process::ClockAndRandom;
use model::{Error, ErrorKind, Result};
use openssl::error::ErrorStack;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Writes `key.pem` and `certificate.pem` for a name into a directory.
pub(crate) fn make_pair(directory: &Path, name: &str) -> Result<()> {
    let (key, certificate) = pair(&Subject::of(name)?).map_err(|error| {
        Error::permanent(ErrorKind::Internal, "make a key and its certificate").caused_by(error)
    })?;
    let path = directory.join("key.pem");
    write_file(&path, key)?;
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))
        .map_err(|error| super::failed("protect a key", &path, error))?;
    write_file(&directory.join("certificate.pem"), certificate)
}

fn pair(subject: &Subject) -> std::result::Result<(Vec<u8>, Vec<u8>), ErrorStack> {
    let key = generate(KeyType::Rsa2048)?;
    let certificate = self_signed(&key, subject, ClockAndRandom::default().clock.now(), 365)?;
    Ok((key.private_key_to_pem_pkcs8()?, certificate.to_pem()?))
}
