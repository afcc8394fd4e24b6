//! `waybill cert`: makes and requests certificates, reads them from files of every form, shows them, and writes them for
//! partners. Private keys go into files of ours and nowhere else.

mod certificate;
mod definition;
mod exchange;
mod export;
mod files;
mod import;
mod passphrase;
mod private_key;
mod read;
mod reference;
mod show;
mod subject;

pub(super) use certificate::{generate, self_signed};
pub(super) use exchange::{accept, announce, proposals, reject};
pub(super) use export::export;
pub(super) use import::import;
pub(super) use show::show;
pub(super) use subject::Subject;

use super::operation::as_json;
use super::write;
use crate::cli::{MakeCertificate, Output, RequestCertificate};
use crate::process::ClockAndRandom;
use config::{CertificateFacts, key_name};
use files::NewFiles;
use model::{Error, ErrorKind, Result};
use openssl::error::ErrorStack;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// `cert make`
pub(super) fn make(wanted: &MakeCertificate, output: Output) -> Result<ExitCode> {
    let name = &wanted.key.name;
    let subject = Subject::read(&wanted.subject, name)?;
    let file = format!("{name}.cert.pem");
    let mut files = NewFiles::below(&wanted.key.out)?;
    files.refuse_existing([file.as_str()])?;
    let key = private_key::choose(&wanted.key, &mut files)?;
    let now = ClockAndRandom::default().clock.now();
    let certificate =
        self_signed(&key.key, &subject, now, wanted.days).map_err(not_made("make a certificate"))?;
    let pem = certificate.to_pem().map_err(not_made("make a certificate"))?;
    let path = files.write(&file, &pem, files::PUBLIC)?;
    let definition = definition::key(name, &key, Some(&path))?;
    let facts = [CertificateFacts::of(&certificate)];
    made(&files.keep()?, &facts, &definition, output)
}

/// `cert request`
pub(super) fn request(wanted: &RequestCertificate, output: Output) -> Result<ExitCode> {
    let name = &wanted.key.name;
    let subject = Subject::read(&wanted.subject, name)?;
    let file = format!("{name}.csr.pem");
    let mut files = NewFiles::below(&wanted.key.out)?;
    files.refuse_existing([file.as_str()])?;
    let key = private_key::choose(&wanted.key, &mut files)?;
    let request = certificate::request(&key.key, &subject).map_err(not_made("make a certificate request"))?;
    let pem = request.to_pem().map_err(not_made("make a certificate request"))?;
    let path = files.write(&file, &pem, files::PUBLIC)?;
    let files = files.keep()?;
    if output == Output::Json {
        let answer =
            json!({ "files": files, "request": path, "private_key": key.path, "key": key_name(&key.key) });
        write::json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    written(&files);
    write::note(format_args!(
        "send {} to the authority; when its answer is here: waybill cert import ANSWER --name {name} --key {}",
        path.display(),
        key.path.display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// What was written, and the definitions to go with it.
fn made(
    files: &[PathBuf],
    facts: &[CertificateFacts],
    definitions: &str,
    output: Output,
) -> Result<ExitCode> {
    if output == Output::Json {
        let answer = json!({
            "files": files,
            "certificates": as_json(&facts)?,
            "definitions": definitions,
        });
        write::json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    written(files);
    for facts in facts {
        write::note(format_args!(
            "certificate of {}, {}, valid until {}, SHA-256 {}",
            facts.subject,
            facts.key,
            write::time(facts.not_after),
            facts.sha256
        ));
    }
    write::note(
        "the definition, for a file of your definitions (waybill.toml must allow the directory in roots.secrets):",
    );
    write::bytes(definitions.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn written(files: &[PathBuf]) {
    for path in files {
        write::note(format_args!("wrote {}", path.display()));
    }
}

fn not_made(what: &'static str) -> impl Fn(ErrorStack) -> Error {
    move |error| Error::permanent(ErrorKind::Internal, what).caused_by(error)
}
