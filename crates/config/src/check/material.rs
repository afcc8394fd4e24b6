//! Certificates and keys: that they can be read, belong together and are still good.

use super::Checker;
use crate::certificate_facts::moment;
use crate::pkcs12;
use crate::public::is_openpgp_key;
use crate::reader::Reader;
use model::definition::{CertificateDefinition, Credential, KeyDefinition};
use model::schema::Section;
use model::{Secret, Timestamp};
use openssl::pkey::{HasPublic, Id, PKey, PKeyRef, Private};
use openssl::x509::X509;
use std::sync::Arc;

/// Someone should have heard by then.
const SOON_DAYS: i64 = 60;

impl Checker<'_> {
    pub(super) fn certificates(&mut self) {
        for (name, reader) in self.section(Section::CERTIFICATE) {
            let Some(pem) = reader.text("pem") else { continue };
            if is_openpgp(&pem.value) {
                // What uses it reads it: OpenPGP is no matter of this room.
                if !is_openpgp_key(&pem.value) {
                    let message =
                        "is not one OpenPGP public key in armour and nothing else (gpg --export --armor)";
                    reader.error("pem", message);
                    continue;
                }
                let definition = CertificateDefinition { name: name.to_owned(), pem: pem.value };
                self.definitions.certificates.insert(name.to_owned(), Arc::new(definition));
                continue;
            }
            let Some(certificate) = certificate(&reader, "pem", &pem.value) else { continue };
            let Some(pem) = alone(&reader, "pem", &certificate) else { continue };
            let now = reader.context.environment.now();
            if let Some((severity, message)) = validity(&certificate, now) {
                match severity {
                    Trouble::Unreadable => reader.error("pem", message),
                    Trouble::Dated => reader.warning("pem", message),
                }
            }
            if let Ok(key) = certificate.public_key() {
                weak(&reader, "pem", &key);
            }
            let definition = CertificateDefinition { name: name.to_owned(), pem };
            self.definitions.certificates.insert(name.to_owned(), Arc::new(definition));
        }
    }

    pub(super) fn credentials(&mut self) {
        for (name, reader) in self.section(Section::CREDENTIAL) {
            let (Some(username), Some(password)) = (reader.text("username"), reader.secret("password"))
            else {
                continue;
            };
            if username.value.is_empty() {
                reader.error("username", "is empty");
            }
            let credential = Credential { name: name.to_owned(), username: username.value, password };
            self.definitions.credentials.insert(name.to_owned(), Arc::new(credential));
        }
    }

    /// Definitions of kinds that a transport declares for itself.
    pub(super) fn others(&mut self) {
        for spec in self.catalogue.iter().flat_map(|transport| transport.sections) {
            for (name, reader) in self.section(spec.section) {
                let Some(values) = reader.values(spec.group.fields) else { continue };
                let named = self.definitions.others.entry(spec.section).or_default();
                named.insert(name.to_owned(), Arc::new(values));
            }
        }
    }

    pub(super) fn keys(&mut self) {
        for (name, reader) in self.section(Section::KEY) {
            let mut passphrase = reader.secret("passphrase");
            let mut certificate_text = reader.text("certificate").map(|text| text.value);
            let Some(mut private_key) = reader.secret("private_key") else { continue };
            if is_openpgp(private_key.reveal()) {
                if certificate_text.is_some() {
                    reader.error("certificate", "an OpenPGP key has none: its public half is in itself");
                    continue;
                }
                let name = name.to_owned();
                let definition =
                    KeyDefinition { name: name.clone(), private_key, passphrase, certificate: None };
                self.definitions.keys.insert(name, Arc::new(definition));
                continue;
            }
            if pkcs12::is(private_key.reveal()) {
                match pkcs12::open(&private_key, passphrase.as_ref()) {
                    Ok(opened) => {
                        (private_key, passphrase) = (opened.private_key, None);
                        certificate_text = certificate_text.or(opened.certificates);
                    }
                    Err(message) => {
                        reader.error("private_key", message);
                        continue;
                    }
                }
            }
            let chain = certificate_text.as_ref().and_then(|text| chain(&reader, "certificate", text));
            let own = chain.as_ref().and_then(|chain| chain.first().cloned());
            if let Some((_, message)) =
                own.as_ref().and_then(|own| validity(own, reader.context.environment.now()))
            {
                reader.warning("certificate", message);
            }
            if is_openssh(private_key.reveal()) {
                // Its own form holds no more than SSH needs; the SSH library reads it.
                if certificate_text.is_some() {
                    reader.error(
                        "private_key",
                        "is in OpenSSH's own format, which cannot be used with a certificate; convert a \
                        copy with ssh-keygen -p -m PKCS8 -f KEY",
                    );
                }
            } else {
                match private(&private_key, passphrase.as_ref()) {
                    Ok(key) => {
                        weak(&reader, "private_key", &key);
                        if own
                            .as_ref()
                            .and_then(|own| own.public_key().ok())
                            .is_some_and(|own| !own.public_eq(&key))
                        {
                            reader.error("certificate", "does not belong to the private key");
                        }
                    }
                    Err(message) => {
                        reader.error("private_key", message);
                        continue;
                    }
                }
            }
            let definition = KeyDefinition {
                name: name.to_owned(),
                private_key,
                passphrase,
                certificate: chain.as_ref().and_then(|chain| {
                    let all = chain.iter().map(|certificate| alone(&reader, "certificate", certificate));
                    all.collect::<Option<Vec<_>>>().map(|all| all.concat())
                }),
            };
            self.definitions.keys.insert(name.to_owned(), Arc::new(definition));
        }
    }
}

/// Whether a text is an OpenPGP key in armour.
fn is_openpgp(text: &str) -> bool {
    text.contains("-----BEGIN PGP P")
}

fn is_openssh(pem: &str) -> bool {
    // A comment or the public key may stand before it.
    pem.contains("-----BEGIN OPENSSH PRIVATE KEY-----")
}

/// The certificate as the definitions keep it: nothing that stood beside it goes with it.
fn alone(reader: &Reader<'_>, field: &str, certificate: &X509) -> Option<String> {
    let pem = certificate.to_pem().ok().and_then(|pem| String::from_utf8(pem).ok());
    if pem.is_none() {
        reader.error(field, "cannot be converted to PEM");
    }
    pem
}

/// The first certificate of a PEM text. Its content is never shown: anything may have been put there.
fn certificate(reader: &Reader<'_>, field: &str, pem: &str) -> Option<X509> {
    let stack = chain(reader, field, pem)?;
    if stack.len() > 1 {
        reader.warning(field, format!("contains {} certificates; only the first one is used", stack.len()));
    }
    stack.into_iter().next()
}

/// All certificates of a PEM text, at least one.
fn chain(reader: &Reader<'_>, field: &str, pem: &str) -> Option<Vec<X509>> {
    match X509::stack_from_pem(pem.as_bytes()) {
        Ok(stack) if stack.is_empty() => {
            reader.error(field, "contains no certificate; write it in PEM form, -----BEGIN CERTIFICATE-----, or refer to its file");
            None
        }
        Ok(stack) => Some(stack),
        Err(error) => {
            reader.error(field, format!("is not a certificate in PEM form: {}", reason(&error)));
            None
        }
    }
}

fn private(pem: &Secret<String>, passphrase: Option<&Secret<String>>) -> Result<PKey<Private>, String> {
    let mut asked = false;
    // With a callback of our own: OpenSSL's asks at the terminal.
    let key = PKey::private_key_from_pem_callback(pem.reveal().as_bytes(), |room| {
        asked = true;
        let words = passphrase.map(|words| words.reveal().as_bytes()).unwrap_or_default();
        let fits = words.len().min(room.len());
        room[..fits].copy_from_slice(&words[..fits]);
        Ok(fits)
    });
    match (key, asked, passphrase) {
        (Ok(key), ..) => Ok(key),
        (Err(_), true, None) => Err("is encrypted; set its 'passphrase'".into()),
        (Err(_), true, Some(_)) => {
            Err("cannot be decrypted: the passphrase is wrong, or the key is damaged".into())
        }
        (Err(error), ..) => Err(format!("is not a private key in PEM form: {}", reason(&error))),
    }
}

/// The library's own first reason, without its file and line numbers.
fn reason(error: &openssl::error::ErrorStack) -> String {
    error.errors().first().and_then(openssl::error::Error::reason).unwrap_or("it cannot be read").to_owned()
}

/// Warns of a key with too few bits.
fn weak<T: HasPublic>(reader: &Reader<'_>, field: &str, key: &PKeyRef<T>) {
    if matches!(key.id(), Id::RSA | Id::DSA) && key.bits() < 2048 {
        let bits = key.bits();
        reader.warning(field, format!("has a key of {bits} bits; less than 2048 bits is not safe"));
    }
}

enum Trouble {
    Unreadable,
    Dated,
}

fn validity(certificate: &X509, now: Timestamp) -> Option<(Trouble, String)> {
    let (Some(from), Some(until)) = (moment(certificate.not_before()), moment(certificate.not_after()))
    else {
        return Some((Trouble::Unreadable, "has a validity that cannot be read".into()));
    };
    let day = |time: Timestamp| time.format("%Y-%m-%d").to_string();
    let dated = |message: String| Some((Trouble::Dated, message));
    if now > until {
        return dated(format!("the certificate expired on {}", day(until)));
    }
    if now < from {
        return dated(format!("the certificate is not valid before {}", day(from)));
    }
    let days = (until - now).num_days();
    if days <= SOON_DAYS {
        return dated(format!("the certificate expires on {}, in {days} days", day(until)));
    }
    None
}
