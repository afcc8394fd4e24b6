//! `cert import`: what a partner or an authority sent, as PEM files of ours.

use super::files::{NewFiles, PUBLIC};
use super::passphrase::Passphrase;
use super::private_key::{ChosenKey, existing, new_passphrase, written};
use super::read::{contents, own_first};
use super::{definition, made, not_made};
use crate::cli::{ImportCertificates, Output};
use config::CertificateFacts;
use model::{Error, ErrorKind, Result};
use openssl::x509::X509;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub(in crate::commands) fn import(wanted: &ImportCertificates, output: Output) -> Result<ExitCode> {
    let standard_input = |file: &Option<PathBuf>| file.as_deref() == Some(Path::new("-"));
    if standard_input(&wanted.passphrase_file) && standard_input(&wanted.key_passphrase_file) {
        return Err(refused("standard input holds one passphrase: give the other one in a file"));
    }
    let passphrase = Passphrase::new(wanted.passphrase_file.as_deref(), "--passphrase-file");
    let mut found = contents(&wanted.file, &passphrase)?;
    let mut files = NewFiles::below(&wanted.out)?;
    let key = match (found.key.take(), &wanted.key) {
        (Some(_), Some(_)) => return Err(refused("the file holds a private key itself: leave out --key")),
        (Some(key), None) => {
            let file = wanted.key_passphrase_file.as_deref();
            let words = new_passphrase(file, wanted.ask_key_passphrase)?;
            Some(written(key, &format!("{}.key.pem", wanted.name), words.as_ref(), file, &mut files)?)
        }
        (None, Some(path)) => {
            let key = existing(path, wanted.key_passphrase_file.as_deref())?;
            own_first(&mut found.certificates, &key.key, &wanted.file)?;
            Some(key)
        }
        (None, None) if wanted.key_passphrase_file.is_some() || wanted.ask_key_passphrase => {
            return Err(refused("the file holds no private key that a passphrase could be for"));
        }
        (None, None) => None,
    };
    let definitions = match &key {
        Some(key) => of_key(key, &wanted.name, &found.certificates, &mut files)?,
        None => of_partner(&wanted.name, &found.certificates, &mut files)?,
    };
    let facts: Vec<_> = found.certificates.iter().map(|one| CertificateFacts::of(one)).collect();
    made(&files.keep()?, &facts, &definitions, output)
}

fn refused(advice: &'static str) -> Error {
    Error::permanent(ErrorKind::ConfigInvalid, "import certificates").advice(advice)
}

/// A key's certificates go into one file: its own, then those of its authorities.
fn of_key(key: &ChosenKey, name: &str, certificates: &[X509], files: &mut NewFiles) -> Result<String> {
    if certificates.is_empty() {
        return definition::key(name, key, None);
    }
    let path = files.write(&format!("{name}.cert.pem"), &pem(certificates)?, PUBLIC)?;
    definition::key(name, key, Some(&path))
}

/// Each certificate goes into a file of its own, with a definition of its own.
fn of_partner(name: &str, certificates: &[X509], files: &mut NewFiles) -> Result<String> {
    let mut definitions = String::new();
    for (at, certificate) in certificates.iter().enumerate() {
        let name = if at == 0 { name.to_owned() } else { format!("{name}-{}", at + 1) };
        let pem = pem(std::slice::from_ref(certificate))?;
        let path = files.write(&format!("{name}.cert.pem"), &pem, PUBLIC)?;
        definitions.push_str(&definition::certificate(&name, &path)?);
    }
    Ok(definitions)
}

fn pem(certificates: &[X509]) -> Result<Vec<u8>> {
    let pem = certificates.iter().map(|certificate| certificate.to_pem());
    let pem: std::result::Result<Vec<_>, _> = pem.collect();
    pem.map(|pem| pem.concat()).map_err(not_made("write a certificate"))
}
