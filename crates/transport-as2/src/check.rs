//! What partners, identities and endpoints say together.

use crate::agreement::{Agreement, As2Id, Cipher, DigestName, Identity, MdnRequest, Partner, SendSecurity};
use crate::options::SPEC;
use model::definition::{Definitions, Endpoint};
use model::schema::{Finding, Section, Subject, Values};
use openssl::pkey::{Id, PKey, Private};
use openssl::x509::X509;
use smime::Weakness;
use std::collections::BTreeMap;

/// Problems in the definitions of everybody who speaks AS2.
pub(crate) fn definitions(definitions: &Definitions) -> Vec<Finding> {
    let mut check = Check { definitions, findings: Vec::new(), ids: BTreeMap::new() };
    for identity in definitions.identities.values() {
        if let Some(side) = identity.side(SPEC.name) {
            check.identity(&identity.name, side);
        }
    }
    for partner in definitions.partners.values() {
        if let Some(side) = partner.agreement(SPEC.name) {
            check.partner(&partner.name, side);
        }
    }
    for endpoint in definitions.endpoints.values().filter(|endpoint| endpoint.transport == SPEC.name) {
        check.endpoint(endpoint);
    }
    check.listeners();
    check.findings
}

struct Check<'a> {
    definitions: &'a Definitions,
    findings: Vec<Finding>,
    /// AS2 names, and whose they are.
    ids: BTreeMap<String, String>,
}

impl Check<'_> {
    /// An AS2 name, which no other partner or identity may have: a message says by it who sent it.
    fn id(&mut self, subject: &Subject, side: &Values) -> bool {
        let path = [SPEC.name, "id"];
        let id = match As2Id::try_from(side.text("id").unwrap_or_default().to_owned()) {
            Ok(id) => id,
            Err(message) => {
                self.findings.push(subject.error(&path, message));
                return false;
            }
        };
        let owner = format!("{}.{}", subject.section, subject.name);
        if let Some(other) = self.ids.insert(id.as_str().to_owned(), owner) {
            self.findings.push(subject.error(&path, format!("'{id}' is the AS2 name of {other} already")));
        }
        true
    }

    fn identity(&mut self, name: &str, side: &Values) {
        let subject = Subject::new(Section::IDENTITY, name);
        self.id(&subject, side);
        let path = [SPEC.name, "keys"];
        let mut keys = side.texts("keys").peekable();
        if keys.peek().is_none() {
            self.findings
                .push(subject.error(&path, "names no key; messages are signed and decrypted by one"));
        }
        for key in keys {
            let Some(definition) = self.definitions.keys.get(key) else { continue };
            if definition.certificate.is_none() {
                let message =
                    format!("'{key}' is a key without 'certificate'; partners verify and encrypt by it");
                self.findings.push(subject.error(&path, message));
            } else if private_key(self.definitions, key).is_some_and(|key| key.id() != Id::RSA) {
                let message =
                    format!("'{key}' is a key that is not RSA: partners cannot encrypt messages to it");
                self.findings.push(subject.warning(&path, message));
            }
        }
    }

    fn partner(&mut self, name: &str, side: &Values) {
        let subject = Subject::new(Section::PARTNER, name);
        if !self.id(&subject, side) {
            return;
        }
        let Some(Ok(partner)) = self.definitions.partners.get(name).map(|partner| Partner::of(partner))
        else {
            return;
        };
        let agreement = &partner.agreement;
        if agreement.largest_message == 0 {
            let message = "takes at least 1: with 0 every message is refused";
            self.findings.push(subject.error(&[SPEC.name, "receive", "largest"], message));
        }
        self.weak_words(&subject, agreement);
        self.trust(&subject, &partner);
    }

    /// What weakens the protection is allowed, and said.
    fn weak_words(&mut self, subject: &Subject, agreement: &Agreement) {
        let found: [(&[&str], bool, &str); 7] = [
            (
                &["send", "security"],
                agreement.send_security == SendSecurity::None,
                "'none' sends messages that anyone can read and change",
            ),
            (
                &["send", "cipher"],
                agreement.cipher == Cipher::TripleDes,
                "'3des' is broken for large messages; agree on aes256-cbc",
            ),
            (
                &["send", "digest"],
                agreement.digest == DigestName::Sha1 && agreement.legacy,
                "'sha1' can be forged; agree on sha256",
            ),
            (
                &["mdn", "ask"],
                agreement.mdn == MdnRequest::None,
                "'none' leaves no proof that the partner has the message",
            ),
            (
                &["receive", "security"],
                agreement.receive_security == SendSecurity::None,
                "'none' takes messages from anyone who knows the partner's name",
            ),
            (
                &["accept_expired"],
                agreement.accept_expired,
                "'true' accepts certificates that the partner may no longer use",
            ),
            (
                &["legacy"],
                agreement.legacy,
                "'true' lets signatures count that can be forged: MD5, SHA-1, keys under 2048 bits",
            ),
        ];
        for (path, applies, message) in found {
            if applies {
                let path = [&[SPEC.name][..], path].concat();
                self.findings.push(subject.warning(&path, format!("legacy: {message}")));
            }
        }
        if agreement.digest == DigestName::Sha1 && !agreement.legacy {
            let message = "'sha1' can be forged: agree on sha256, or allow it with legacy = true";
            self.findings.push(subject.error(&[SPEC.name, "send", "digest"], message));
        }
    }

    /// What was agreed needs certificates of the right kind.
    fn trust(&mut self, subject: &Subject, partner: &Partner) {
        let agreement = &partner.agreement;
        let path = [SPEC.name, "certificates"];
        let mut uses = Vec::new();
        if agreement.send_security.encrypts() {
            uses.push("send.security encrypts to it");
        }
        if agreement.receive_security.signs() {
            uses.push("receive.security verifies its signature");
        }
        if agreement.mdn == MdnRequest::Signed {
            uses.push("mdn.ask verifies its receipts");
        }
        if partner.certificates.is_empty() && !uses.is_empty() {
            let message = format!("at least one certificate is needed: {}", uses.join(", "));
            self.findings.push(subject.error(&path, message));
        }
        let certificate = |name: &String| {
            let pem = &self.definitions.certificates.get(name)?.pem;
            X509::from_pem(pem.as_bytes()).ok()?.public_key().ok()
        };
        let short = |name: &String| {
            certificate(name).and_then(|key| Weakness::of_key(&key).map(|_| (name.clone(), key.bits())))
        };
        let weak = partner.certificates.iter().find_map(short).filter(|_| !agreement.legacy);
        let first = partner.certificates.first();
        let first = first.and_then(|name| Some((name, certificate(name)?.id() == Id::RSA)));
        if let Some((name, bits)) = weak {
            let message = format!(
                "'{name}' has a key of {bits} bits, which can be broken: ask for a certificate with 2048 or more, or \
                 allow it with legacy = true"
            );
            self.findings.push(subject.error(&path, message));
        }
        if let (true, Some((name, false))) = (agreement.send_security.encrypts(), first) {
            let message = format!(
                "'{name}' comes first and encrypts, but its key is not RSA; put an RSA certificate first"
            );
            self.findings.push(subject.error(&path, message));
        }
    }

    /// What an endpoint says of its messages and connections.
    fn connection(&mut self, subject: &Subject, endpoint: &Endpoint) {
        if let Some(media_type) = endpoint.options.text("media_type")
            && !is_media_type(media_type)
        {
            let message = "takes a media type such as \"application/edi-x12\"";
            self.findings.push(subject.error(&["media_type"], message));
        }
        let key = endpoint.options.table("tls").text("client_key");
        if let Some(key) = key.and_then(|name| self.definitions.keys.get(name))
            && key.certificate.is_none()
        {
            let message = format!("'{}' is a key without 'certificate'; servers are shown it", key.name);
            self.findings.push(subject.error(&["tls", "client_key"], message));
        }
        let over_tls = endpoint.url().is_some_and(|url| url.scheme() == "https");
        let (trust, tls) = (endpoint.options.table("trust"), endpoint.options.table("tls"));
        let trusts = trust.texts("authorities").next().is_some() || trust.texts("pins").next().is_some();
        for (field, given) in [("trust", trusts), ("tls", tls.text("client_key").is_some())] {
            if given && !over_tls {
                let message = "has no effect: the URL is http://, so that nothing is encrypted on the way";
                self.findings.push(subject.warning(&[field], message));
            }
        }
    }

    /// Both sides of an endpoint speak AS2, and a message that goes out again is the same to the last byte: only RSA
    /// signs so.
    fn endpoint(&mut self, endpoint: &Endpoint) {
        let subject = Subject::new(Section::ENDPOINT, &endpoint.name);
        self.connection(&subject, endpoint);
        let partner = endpoint.partner().and_then(|name| self.definitions.partners.get(name));
        let identity =
            endpoint.options.text("identity").and_then(|name| self.definitions.identities.get(name));
        let (Some(partner), Some(identity)) = (partner, identity) else { return };
        let (partner, identity) = match (Partner::of(partner), Identity::of(identity)) {
            (Ok(partner), Ok(identity)) => (partner, identity),
            (partner, identity) => {
                for (field, side) in [("partner", partner.err()), ("identity", identity.err())] {
                    if let Some(error) = side {
                        self.findings.push(subject.error(&[field], error.to_string()));
                    }
                }
                return;
            }
        };
        let rsa = private_key(self.definitions, identity.key()).is_none_or(|key| key.id() == Id::RSA);
        if partner.agreement.send_security.signs() && !rsa {
            let message = format!(
                "signs what is sent to '{}' by key '{}', which is not RSA: its signatures differ each time, so that a \
                 message could not be repeated unchanged; give '{}' an RSA key",
                partner.name,
                identity.key(),
                identity.name
            );
            self.findings.push(subject.error(&["identity"], message));
        }
    }

    /// No two listeners take the same messages; and somebody must be there whom messages can be for.
    fn listeners(&mut self) {
        let listeners =
            self.definitions.listeners.values().filter(|listener| listener.transport == SPEC.name);
        let somebody = self.definitions.identities.values();
        let somebody = somebody
            .filter(|identity| identity.side(SPEC.name).is_some())
            .any(|own| Identity::of(own).is_ok());
        let mut taken: BTreeMap<(String, String, String), &str> = BTreeMap::new();
        for listener in listeners {
            let subject = Subject::new(Section::LISTENER, &listener.name);
            let text = |name: &str| listener.options.text(name).unwrap_or_default().to_owned();
            let path = text("path");
            if !path.starts_with('/') || path.contains(['?', '#']) || path.chars().any(char::is_whitespace) {
                let message = "begins with '/' and holds no '?', '#' or spaces, such as \"/as2\"";
                self.findings.push(subject.error(&["path"], message));
            }
            let host = text("host");
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
            let is_host = !host.is_empty()
                && host.chars().all(plain)
                && (host.parse::<std::net::Ipv6Addr>().is_ok() || !host.contains(':'));
            if listener.options.text("host").is_some() && !is_host {
                let message =
                    "takes a host name alone, without scheme, port or path, such as \"as2.acme.example\"";
                self.findings.push(subject.error(&["host"], message));
            }
            if let Some(key) =
                listener.options.text("certificate").and_then(|name| self.definitions.keys.get(name))
                && key.certificate.is_none()
            {
                let message = format!("'{}' is a key without 'certificate'; clients are shown it", key.name);
                self.findings.push(subject.error(&["certificate"], message));
            }
            let path = path.trim_end_matches('/').to_owned();
            let place = (text("server"), host.to_ascii_lowercase(), path);
            if let Some(other) = taken.insert(place, &listener.name) {
                let message =
                    format!("is the path of listener '{other}' at the same server and host already");
                self.findings.push(subject.error(&["path"], message));
            }
            if !somebody {
                let message =
                    "nobody here speaks AS2: add a table [identity.NAME.as2] with our AS2 name and keys";
                self.findings.push(subject.error(&[], message).for_want_of(Section::IDENTITY));
            }
        }
    }
}

/// Whether a text is `type/subtype`, with parameters perhaps (RFC 2045, 5.1), and fits a header line.
fn is_media_type(text: &str) -> bool {
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
    };
    let (essence, parameters) = text.split_once(';').map_or((text, ""), |(before, after)| (before, after));
    let whole = essence.trim_end().split_once('/').is_some_and(|(kind, sub)| is_token(kind) && is_token(sub));
    whole && parameters.chars().all(|c| c.is_ascii_graphic() || c == ' ')
}

fn private_key(definitions: &Definitions, name: &str) -> Option<PKey<Private>> {
    let key = definitions.keys.get(name)?;
    let passphrase = key.passphrase.as_ref().map(|words| words.reveal().as_bytes()).unwrap_or_default();
    // With a callback of our own: OpenSSL's asks at the terminal.
    PKey::private_key_from_pem_callback(key.private_key.reveal().as_bytes(), |room| {
        let fits = passphrase.len().min(room.len());
        room[..fits].copy_from_slice(&passphrase[..fits]);
        Ok(fits)
    })
    .ok()
}
