//! Whose certificate it is to be: a subject (RFC 4514), host names, addresses.

use crate::cli::SubjectOptions;
use model::{Error, ErrorKind, Result};
use openssl::x509::{X509Name, X509NameBuilder, X509NameRef};
use std::net::IpAddr;

/// The attributes of a subject, as RFC 4514 and OpenSSL write them.
const ATTRIBUTES: [&str; 14] = [
    "CN",
    "O",
    "OU",
    "L",
    "ST",
    "C",
    "street",
    "emailAddress",
    "serialNumber",
    "title",
    "GN",
    "SN",
    "UID",
    "DC",
];

/// A subject with its other names.
pub(in crate::commands) struct Subject {
    name: X509Name,
    pub(super) hosts: Vec<String>,
    pub(super) addresses: Vec<String>,
    pub(super) emails: Vec<String>,
}

impl Subject {
    /// Reads the options; without a subject it is `CN=NAME`.
    ///
    /// # Errors
    /// Something cannot stand in a certificate.
    pub(super) fn read(options: &SubjectOptions, name: &str) -> Result<Self> {
        let mut subject = match &options.subject {
            Some(text) => Self::with(parse(text)?)?,
            None => Self::of(name)?,
        };
        for host in &options.host {
            match host.parse::<IpAddr>() {
                Ok(address) => subject.addresses.push(address.to_string()),
                Err(_) if is_host(host) => subject.hosts.push(host.clone()),
                Err(_) => {
                    return Err(wrong(
                        "host",
                        host,
                        "give a host name such as as2.acme.example, or an IP address",
                    ));
                }
            }
        }
        for email in &options.email {
            let fits = email.split_once('@').is_some_and(|(left, host)| !left.is_empty() && is_host(host))
                && email.bytes().all(|byte| byte.is_ascii_graphic());
            if !fits {
                return Err(wrong("email", email, "give an address such as as2@acme.example"));
            }
            subject.emails.push(email.clone());
        }
        Ok(subject)
    }

    /// `CN=NAME` alone.
    ///
    /// # Errors
    /// The name is too long.
    pub(in crate::commands) fn of(name: &str) -> Result<Self> {
        Self::with(vec![("CN", name.to_owned())])
    }

    /// Of attributes, the most specific first, as people write them.
    fn with(attributes: Vec<(&'static str, String)>) -> Result<Self> {
        let failed = |error| {
            Error::permanent(ErrorKind::Internal, "make the subject of a certificate").caused_by(error)
        };
        let mut name = X509NameBuilder::new().map_err(failed)?;
        for (attribute, value) in attributes.into_iter().rev() {
            name.append_entry_by_text(attribute, &value).map_err(|error| {
                let advice = match attribute {
                    "C" => "C is a country's code of two letters, such as DE",
                    _ => "it is too long, or has characters that this attribute cannot have",
                };
                wrong(attribute, &value, advice).caused_by(error)
            })?;
        }
        Ok(Self { name: name.build(), hosts: Vec::new(), addresses: Vec::new(), emails: Vec::new() })
    }

    pub(super) fn name(&self) -> &X509NameRef {
        &self.name
    }
}

fn wrong(what: &'static str, value: &str, advice: &'static str) -> Error {
    Error::permanent(ErrorKind::ConfigInvalid, "use an argument").with(what, value).advice(advice)
}

fn is_host(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_*".contains(&byte))
        && !text.split('.').any(str::is_empty)
}

/// `CN=Acme,O=Acme Ltd`: a backslash takes the special meaning from the character behind it.
fn parse(text: &str) -> Result<Vec<(&'static str, String)>> {
    let mut attributes = Vec::new();
    for part in split(text) {
        let wrong = |advice: String| {
            Error::permanent(ErrorKind::ConfigInvalid, "read the subject").with("part", &part).advice(advice)
        };
        let (word, value) = part
            .split_once('=')
            .ok_or_else(|| wrong("write a subject such as CN=Acme AS2,O=Acme Ltd,C=DE".to_owned()))?;
        let word = word.trim();
        let attribute =
            ATTRIBUTES.iter().find(|known| known.eq_ignore_ascii_case(word)).ok_or_else(|| {
                wrong(format!("there is no attribute {word}; use one of {}", ATTRIBUTES.join(", ")))
            })?;
        let value = unescaped(value.trim_start());
        if value.is_empty() || value.chars().any(char::is_control) {
            return Err(wrong("a value has at least one character, and no control characters".to_owned()));
        }
        attributes.push((*attribute, value));
    }
    Ok(attributes)
}

/// The parts between commas without a backslash before them.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        if c == ',' && !escaped {
            parts.push(String::new());
            continue;
        }
        escaped = c == '\\' && !escaped;
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts
}

/// A value without its backslashes, and without white space at its end that has none before it.
fn unescaped(text: &str) -> String {
    let mut value = String::new();
    let mut kept = 0;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                value.extend(chars.next());
                kept = value.len();
            }
            c => {
                value.push(c);
                if !c.is_whitespace() {
                    kept = value.len();
                }
            }
        }
    }
    value.truncate(kept);
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::KeyType;
    use crate::commands::cert::{generate, self_signed};
    use config::CertificateFacts;
    use model::Timestamp;

    fn options(subject: Option<&str>, host: &[&str], email: &[&str]) -> SubjectOptions {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        SubjectOptions { subject: subject.map(str::to_owned), host: texts(host), email: texts(email) }
    }

    #[test]
    fn a_subject_is_shown_as_it_was_written() {
        let now = Timestamp::from_timestamp(1_800_000_000, 0).unwrap();
        let key = generate(KeyType::Ed25519).unwrap();
        for (written, shown) in [
            ("CN=Acme AS2,O=Acme Ltd,C=DE", "CN=Acme AS2,O=Acme Ltd,C=DE"),
            ("cn = Müller \\& Co\\, Köln , o=x", "CN=Müller & Co\\, Köln,O=x"),
        ] {
            let options =
                options(Some(written), &["as2.acme.example", "::1", "192.0.2.7"], &["as2@acme.example"]);
            let subject = Subject::read(&options, "acme").unwrap();
            let facts = CertificateFacts::of(&self_signed(&key, &subject, now, 1).unwrap());
            assert_eq!(facts.subject, shown);
            assert_eq!(facts.names, ["::1", "192.0.2.7", "as2.acme.example", "as2@acme.example"]);
        }
    }

    #[test]
    fn what_cannot_stand_in_a_certificate_is_refused() {
        let refused = |options: SubjectOptions, words: &str| {
            let error = Subject::read(&options, "acme").err().map(|error| error.chain()).unwrap_or_default();
            assert!(error.contains(words), "{options:?}: {error}");
        };
        refused(options(Some("Acme"), &[], &[]), "CN=Acme AS2");
        refused(options(Some("XX=Acme"), &[], &[]), "no attribute XX");
        refused(options(Some("CN="), &[], &[]), "at least one character");
        refused(options(Some("CN=a\0b"), &[], &[]), "control characters");
        refused(options(Some("C=Germany"), &[], &[]), "two letters");
        refused(options(None, &["a b"], &[]), "host name");
        refused(options(None, &["a..b"], &[]), "host name");
        refused(options(None, &[], &["acme"]), "as2@acme.example");
    }
}
