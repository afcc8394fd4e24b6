//! `cert export`: a certificate in the form that a partner wants.

use super::super::operation::with_control;
use super::files::{PUBLIC, taken};
use super::write;
use crate::cli::{CertificateForm, ExportCertificate};
use crate::command_session::open_or_make;
use crate::process::ClockAndRandom;
use config::Settings;
use control::ListCertificates;
use model::{Error, ErrorKind, Result};
use openssl::base64::encode_block;
use openssl::x509::X509;
use std::fs::OpenOptions;
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;

pub(in crate::commands) async fn export(settings: &Settings, wanted: ExportCertificate) -> Result<ExitCode> {
    if wanted.chain && wanted.form == CertificateForm::Der {
        return Err(refused("DER holds one certificate: leave out --chain, or use pem or pkcs7"));
    }
    let is_text = matches!(wanted.form, CertificateForm::Pem | CertificateForm::Pkcs7Pem);
    if !is_text && wanted.out.is_none() && std::io::stdout().is_terminal() {
        return Err(refused("this form is no text: give a file with --out FILE"));
    }
    let ambient = ClockAndRandom::default();
    let store = open_or_make(settings, &ambient).await?;
    let request = ListCertificates { directory: wanted.definitions.clone() };
    let operation =
        |control: control::Control, caller| async move { control.certificates(&caller, &request).await };
    let list = with_control(settings, store, &ambient, operation).await?;
    let found = list.find(&wanted.name)?;
    let found = found.iter().take(if wanted.chain { usize::MAX } else { 1 });
    let certificates: Vec<X509> = found
        .map(|one| X509::from_pem(one.pem.as_bytes()))
        .collect::<std::result::Result<_, _>>()
        .map_err(super::not_made("read a certificate"))?;
    let bytes = encoded(&certificates, wanted.form)?;
    match &wanted.out {
        Some(path) => to_file(path, &bytes)?,
        None => write::bytes(&bytes)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn refused(advice: &'static str) -> Error {
    Error::permanent(ErrorKind::ConfigInvalid, "export a certificate").advice(advice)
}

fn encoded(certificates: &[X509], form: CertificateForm) -> Result<Vec<u8>> {
    let failed = super::not_made("write a certificate");
    let each = |encode: fn(&X509) -> std::result::Result<Vec<u8>, openssl::error::ErrorStack>| {
        let parts: std::result::Result<Vec<_>, _> = certificates.iter().map(encode).collect();
        parts.map(|parts| parts.concat()).map_err(&failed)
    };
    let pkcs7 = || {
        smime::pkcs7_certificates(certificates).map_err(|error| {
            Error::permanent(ErrorKind::Internal, "write a certificate").with("reason", error)
        })
    };
    match form {
        CertificateForm::Pem => each(|certificate| certificate.to_pem()),
        CertificateForm::Der => each(|certificate| certificate.to_der()),
        CertificateForm::Pkcs7 => pkcs7(),
        CertificateForm::Pkcs7Pem => Ok(armoured(&pkcs7()?)),
    }
}

/// DER as text, in lines of 64 characters (RFC 7468).
fn armoured(der: &[u8]) -> Vec<u8> {
    let mut text = b"-----BEGIN PKCS7-----\n".to_vec();
    for line in encode_block(der).as_bytes().chunks(64) {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    text.extend_from_slice(b"-----END PKCS7-----\n");
    text
}

fn to_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => taken(path),
        _ => Error::local_io("write a file", error).with("path", path.display()),
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(PUBLIC).open(path).map_err(failed)?;
    if let Err(error) = file.write_all(bytes).and_then(|()| file.sync_all()) {
        // Half a certificate helps nobody.
        if let Err(left) = std::fs::remove_file(path) {
            write::note(format_args!("{} could not be removed: {left}", path.display()));
        }
        return Err(failed(error));
    }
    write::note(format_args!("wrote {}", path.display()));
    Ok(())
}
