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
            self.findings.push(subject.error(&path, format!("{other} already has the AS2 name '{id}'")));
        }
        true
    }

    fn identity(&mut self, name: &str, side: &Values) {
        let subject = Subject::new(Section::IDENTITY, name);
        self.id(&subject, side);
        let path = [SPEC.name, "keys"];
        let mut keys = side.texts("keys").peekable();
        if keys.peek().is_none() {
            self.findings.push(
                subject
                    .error(&path, "must contain at least one key; messages are signed and decrypted with it"),
            );
        }
        for key in keys {
            let Some(definition) = self.definitions.keys.get(key) else { continue };
            if definition.certificate.is_none() {
                let message = format!(
                    "key '{key}' has no 'certificate'; partners need it to verify and encrypt messages"
                );
                self.findings.push(subject.error(&path, message));
            } else if private_key(self.definitions, key).is_some_and(|key| key.id() != Id::RSA) {
                let message =
                    format!("key '{key}' is not an RSA key: partners cannot encrypt messages for it");
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
            let message = "must be at least 1: with 0 every message is refused";
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
                "'none' sends messages that anyone on the network can read and change",
            ),
            (
                &["send", "cipher"],
                agreement.cipher == Cipher::TripleDes,
                "'3des' is not safe for large messages; agree on aes256-cbc with the partner",
            ),
            (
                &["send", "digest"],
                agreement.digest == DigestName::Sha1 && agreement.legacy,
                "'sha1' signatures can be forged; agree on sha256 with the partner",
            ),
            (
                &["mdn", "ask"],
                agreement.mdn == MdnRequest::None,
                "'none' gives no proof that the partner received the message",
            ),
            (
                &["receive", "security"],
                agreement.receive_security == SendSecurity::None,
                "'none' accepts messages from anyone who knows the partner's AS2 name",
            ),
            (
                &["accept_expired"],
                agreement.accept_expired,
                "'true' accepts certificates that the partner may no longer use",
            ),
            (
                &["legacy"],
                agreement.legacy,
                "'true' accepts signatures that can be forged: MD5, SHA-1, keys under 2048 bits",
            ),
        ];
        for (path, applies, message) in found {
            if applies {
                let path = [&[SPEC.name][..], path].concat();
                self.findings.push(subject.warning(&path, format!("legacy: {message}")));
            }
        }
        if agreement.digest == DigestName::Sha1 && !agreement.legacy {
            let message = "'sha1' signatures can be forged: agree on sha256 with the partner, or allow them with legacy = true";
            self.findings.push(subject.error(&[SPEC.name, "send", "digest"], message));
        }
    }

    /// What was agreed needs certificates of the right kind.
    fn trust(&mut self, subject: &Subject, partner: &Partner) {
        let agreement = &partner.agreement;
        let path = [SPEC.name, "certificates"];
        let mut uses = Vec::new();
        if agreement.send_security.encrypts() {
            uses.push("to encrypt messages (send.security)");
        }
        if agreement.receive_security.signs() {
            uses.push("to verify the signatures of messages (receive.security)");
        }
        if agreement.mdn == MdnRequest::Signed {
            uses.push("to verify the signatures of receipts (mdn.ask)");
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
                "certificate '{name}' has a key of {bits} bits, which can be broken: ask the partner for a \
                certificate with a key of 2048 bits or more, or allow it with legacy = true"
            );
            self.findings.push(subject.error(&path, message));
        }
        if let (true, Some((name, false))) = (agreement.send_security.encrypts(), first) {
            let message = format!(
                "'{name}' is the first certificate and is used to encrypt, but its key is not RSA; put a \
                certificate with an RSA key first"
            );
            self.findings.push(subject.error(&path, message));
        }
    }

    /// What an endpoint says of its messages and connections.
    fn connection(&mut self, subject: &Subject, endpoint: &Endpoint) {
        if let Some(media_type) = endpoint.options.text("media_type")
            && !is_media_type(media_type)
        {
            let message = "must be a media type such as \"application/edi-x12\"";
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
                "messages to '{}' would be signed with key '{}', which is not an RSA key: such signatures \
                differ each time, so a retry could not send the same bytes again; give '{}' an RSA key",
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
                let message = "must begin with '/' and contain no '?', '#' or spaces, such as \"/as2\"";
                self.findings.push(subject.error(&["path"], message));
            }
            let host = text("host");
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
            let is_host = !host.is_empty()
                && host.chars().all(plain)
                && (host.parse::<std::net::Ipv6Addr>().is_ok() || !host.contains(':'));
            if listener.options.text("host").is_some() && !is_host {
                let message =
                    "must be a host name without scheme, port or path, such as \"as2.acme.example\"";
                self.findings.push(subject.error(&["host"], message));
            }
            if let Some(key) =
                listener.options.text("certificate").and_then(|name| self.definitions.keys.get(name))
                && key.certificate.is_none()
            {
                let message = format!("key '{}' has no 'certificate'; TLS needs it", key.name);
                self.findings.push(subject.error(&["certificate"], message));
            }
            let path = path.trim_end_matches('/').to_owned();
            let place = (text("server"), host.to_ascii_lowercase(), path);
            if let Some(other) = taken.insert(place, &listener.name) {
                let message =
                    format!("listener '{other}' already uses this path at the same server and host");
                self.findings.push(subject.error(&["path"], message));
            }
            if !somebody {
                let message = "no identity has an AS2 name: add a table [identity.NAME.as2] with your own AS2 name \
                    and keys";
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
