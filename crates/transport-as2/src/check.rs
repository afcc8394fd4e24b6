//! What identities, partners, listeners and endpoints say of AS2, each by itself and beside each other.

mod certificates;
mod pgp;

pub(crate) use certificates::in_force;

use crate::agreement::{
    Agreement, As2Id, Cipher, Compression, DigestName, MdnRequest, Order, SendSecurity, SignatureForm,
};
use crate::header_options::ContentCoding;
use crate::login;
use crate::options::SPEC;
use crate::receipt_check;
use crate::reply_check;
use crate::report_types::{mistakes, report_type};
use model::ExchangePolicy;
use model::definition::{Definitions, Endpoint, Listener};
use model::schema::{FieldPath, Finding, Findings, Section, Values};
use net::ConnectOptions;
use std::collections::BTreeMap;

/// The definitions that a check is made among, and where it reports.
pub(crate) struct Check<'a, 'b> {
    pub(crate) definitions: &'a Definitions,
    pub(crate) findings: &'a mut Findings<'b>,
}

/// What definitions say beside each other: AS2 names and listeners' addresses are taken once, and somebody is there whom
/// messages can be for.
pub(crate) fn definitions(definitions: &Definitions) -> Vec<Finding> {
    let mut found = Vec::new();
    let identities = definitions.identities.values();
    let identities = identities.filter_map(|own| Some((Section::IDENTITY, &own.name, own.side(SPEC.name)?)));
    let partners = definitions.partners.values();
    let partners =
        partners.filter_map(|other| Some((Section::PARTNER, &other.name, other.agreement(SPEC.name)?)));
    // A message says by it who sent it.
    let mut ids: BTreeMap<&str, String> = BTreeMap::new();
    for (section, name, side) in identities.chain(partners) {
        let Some(id) = side.text("id") else { continue };
        if let Some(other) = ids.insert(id, format!("{section}.{name}")) {
            let message = format!("{other} already has the AS2 name '{id}'");
            Findings::of(&mut found, section, name).within(SPEC.name).error("id", message);
        }
    }
    let listeners = definitions.listeners.values().filter(|listener| listener.transport == SPEC.name);
    let somebody = definitions.identities.values().any(|own| own.side(SPEC.name).is_some());
    let mut taken: BTreeMap<(String, String, String), &str> = BTreeMap::new();
    for listener in listeners {
        let mut findings = Findings::of(&mut found, Section::LISTENER, &listener.name);
        let text = |name: &str| listener.options.text(name).unwrap_or_default();
        let path = text("path").trim_end_matches('/').to_owned();
        let place = (text("server").to_owned(), text("host").to_ascii_lowercase(), path);
        if let Some(other) = taken.insert(place, &listener.name) {
            let message = format!("listener '{other}' already uses this path at the same server and host");
            findings.error("path", message);
        }
        if !somebody {
            let message = "no identity has an AS2 name: add a table [identity.NAME.as2] with your own AS2 name \
                and keys";
            findings.missing(Section::IDENTITY, "", message);
        }
    }
    found
}

impl Check<'_, '_> {
    fn id(&mut self, side: &Values) {
        self.findings.accept("id", As2Id::try_from(side.text("id").unwrap_or_default().to_owned()));
    }

    pub(crate) fn identity(&mut self, identity: &model::definition::Identity) {
        let Some(side) = identity.side(SPEC.name) else { return };
        self.id(side);
        self.own_keys(side);
        self.own_pgp_keys(side);
    }

    pub(crate) fn partner(&mut self, partner: &model::definition::Partner) {
        let Some(side) = partner.agreement(SPEC.name) else { return };
        self.id(side);
        let agreement = Agreement::of(side);
        if agreement.largest_message == 0 {
            self.findings.error("receive.largest", "must be at least 1: with 0 every message is refused");
        }
        receipt_check::partner(side, &agreement, self.findings);
        reply_check::partner(&agreement, self.findings);
        self.weak_words(&agreement);
        for (path, message) in agreement.headers.mistakes() {
            self.findings.error(path, message);
        }
        self.layers(&agreement);
        self.exchange(&agreement);
        self.forms(&agreement);
        self.trust(side, &agreement);
        self.partner_pgp(side, &agreement);
    }

    /// A partner that is answered by itself is answered by a signed message.
    fn exchange(&mut self, agreement: &Agreement) {
        if agreement.exchange != ExchangePolicy::Ask && !agreement.send_security.signs() {
            let message = "answers the partner by signed messages: set send.security to \"signed\" or \"signed_encrypted\"";
            self.findings.error("certificate_exchange", message);
        }
    }

    /// Forms can be written, and types of receipts told apart.
    fn forms(&mut self, agreement: &Agreement) {
        let form = &agreement.form;
        for (option, message) in form.fields.mistakes() {
            self.findings.error(FieldPath::from("form").join(option), message);
        }
        if form.post && agreement.headers.content_coding != ContentCoding::No {
            let message = "cannot be sent in a form (form.post): use send.compress";
            self.findings.error("send.content_coding", message);
        }
        for (report, number) in form.reports.iter().zip(1..) {
            for (option, message) in mistakes(report) {
                self.findings.error(FieldPath::from("reports").item(number).join(option), message);
            }
        }
        if let Some(kind) = &form.report_type {
            if report_type(&form.reports, kind).is_none() {
                let message = format!(
                    "no type of receipts is called '{kind}': add it to 'reports', or use GISB-Acknowledgement-Receipt"
                );
                self.findings.error("mdn.report_type", message);
            }
            if agreement.mdn == MdnRequest::None {
                self.findings.warning("mdn.report_type", "has no effect: no receipt is asked for (mdn.ask)");
            }
        }
    }

    /// How messages are wrapped makes sense.
    fn layers(&mut self, agreement: &Agreement) {
        let security = agreement.send_security;
        let encrypts_first = agreement.order == Order::EncryptThenSign;
        let found = [
            (
                "send.order",
                encrypts_first && !(security.signs() && security.encrypts()),
                "has no effect: messages to the partner are not both signed and encrypted (send.security)",
            ),
            (
                "send.signature_form",
                agreement.signature_form == SignatureForm::Opaque && !security.signs(),
                "has no effect: messages to the partner are not signed (send.security)",
            ),
            (
                "send.compress",
                agreement.compress == Compression::AfterSigning && encrypts_first && security.encrypts(),
                "'after_signing' compresses what is encrypted already (send.order), which does not get smaller; use \
                'before_signing'",
            ),
        ];
        for (path, _, message) in found.into_iter().filter(|(_, applies, _)| *applies) {
            self.findings.warning(path, message);
        }
    }

    /// What weakens the protection is allowed, and said.
    fn weak_words(&mut self, agreement: &Agreement) {
        let weak_digest = matches!(agreement.digest, DigestName::Md5 | DigestName::Sha1);
        let found: [(&str, bool, &str); 7] = [
            (
                "send.security",
                agreement.send_security == SendSecurity::None,
                "'none' sends messages that anyone on the network can read and change",
            ),
            (
                "send.cipher",
                agreement.cipher == Cipher::TripleDes && agreement.legacy,
                "'3des' is not safe for large messages; agree on aes256-cbc with the partner",
            ),
            (
                "send.digest",
                weak_digest && agreement.legacy,
                "signatures by MD5 and SHA-1 can be forged; agree on sha256 with the partner",
            ),
            (
                "mdn.ask",
                agreement.mdn == MdnRequest::None,
                "'none' gives no proof that the partner received the message",
            ),
            (
                "receive.security",
                agreement.receive_security == SendSecurity::None,
                "'none' accepts messages from anyone who knows the partner's AS2 name",
            ),
            (
                "accept_expired",
                agreement.accept_expired,
                "'true' accepts certificates that the partner may no longer use",
            ),
            (
                "legacy",
                agreement.legacy,
                "'true' accepts signatures that can be forged (MD5, SHA-1, keys under 2048 bits) and triple DES",
            ),
        ];
        for (path, applies, message) in found {
            if applies {
                self.findings.warning(path, format!("legacy: {message}"));
            }
        }
        if agreement.legacy {
            return;
        }
        if weak_digest {
            let digest = agreement.digest;
            let message = format!(
                "'{digest}' signatures can be forged: agree on sha256 with the partner, or allow them with legacy = true"
            );
            self.findings.error("send.digest", message);
        }
        if agreement.cipher == Cipher::TripleDes {
            let message = "'3des' is not safe for large messages: agree on aes256-cbc with the partner, or allow it with legacy = true";
            self.findings.error("send.cipher", message);
        }
    }

    pub(crate) fn listener(&mut self, listener: &Listener) {
        let text = |name: &str| listener.options.text(name);
        let path = text("path").unwrap_or_default();
        if !path.starts_with('/') || path.contains(['?', '#']) || path.chars().any(char::is_whitespace) {
            let message = "must begin with '/' and contain no '?', '#' or spaces, such as \"/as2\"";
            self.findings.error("path", message);
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        let is_host = |host: &str| {
            !host.is_empty()
                && host.chars().all(plain)
                && (host.parse::<std::net::Ipv6Addr>().is_ok() || !host.contains(':'))
        };
        if text("host").is_some_and(|host| !is_host(host)) {
            let message = "must be a host name without scheme, port or path, such as \"as2.acme.example\"";
            self.findings.error("host", message);
        }
        if listener.options.size("largest") == Some(0) {
            self.findings.error("largest", "must be at least 1: with 0 every message is refused");
        }
        let key = text("certificate").and_then(|name| self.definitions.keys.get(name));
        if let Some(key) = key.filter(|key| key.certificate.is_none()) {
            let message = format!("key '{}' has no 'certificate'; TLS needs it", key.name);
            self.findings.error("certificate", message);
        }
    }

    /// What an endpoint says of its messages and connections.
    fn connection(&mut self, endpoint: &Endpoint) {
        ConnectOptions::read(&endpoint.options, self.findings).check(self.definitions, self.findings);
        login::check(endpoint, self.definitions, self.findings);
        if let Some(media_type) = endpoint.options.text("media_type")
            && !is_media_type(media_type)
        {
            let message = "must be a media type such as \"application/edi-x12\"";
            self.findings.error("media_type", message);
        }
        let over_tls = endpoint.url().is_none_or(|url| url.scheme() == "https");
        let (trust, tls) = (endpoint.options.table("trust"), endpoint.options.table("tls"));
        let trusts = trust.texts("authorities").next().is_some() || trust.texts("pins").next().is_some();
        for (field, given) in [("trust", trusts), ("tls", tls.text("client_key").is_some())] {
            if given && !over_tls {
                let message = "has no effect: the URL is http://, so that nothing is encrypted on the way";
                self.findings.warning(field, message);
            }
        }
    }

    /// Both sides of an endpoint speak AS2, and our keys can do what was agreed.
    pub(crate) fn endpoint(&mut self, endpoint: &Endpoint) {
        self.connection(endpoint);
        let partner = endpoint.partner().and_then(|name| self.definitions.partners.get(name));
        let identity =
            endpoint.options.text("identity").and_then(|name| self.definitions.identities.get(name));
        let agreement = partner.map(|partner| (&partner.name, partner.agreement(SPEC.name)));
        let own = identity.map(|identity| (&identity.name, identity.side(SPEC.name)));
        for (field, named) in [("partner", &agreement), ("identity", &own)] {
            if let Some((name, None)) = named {
                let message =
                    format!("'{name}' has no AS2 name: add a table [{field}.{name}.as2] with an id");
                self.findings.error(field, message);
            }
        }
        let both =
            partner.zip(identity).and_then(|(partner, identity)| certificates::both(partner, identity));
        if let Some((partner, identity)) = both {
            self.keys_for(&partner.name, &partner.agreement, &identity);
            self.pgp_keys_for(&partner.name, &partner.agreement, &identity.pgp_keys, &identity.name);
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
