//! Identities and partners.

use super::Checker;
use crate::field::Section;
use crate::reader::Reader;
use model::definition::{
    Agreement, As2Id, Cipher, DigestName, DuplicatePolicy, Identity, MdnRequest, Partner, SendSecurity,
};
use std::sync::Arc;

impl<'a> Checker<'a> {
    pub(super) fn identities(&mut self) {
        for (name, reader) in self.section(Section::Identity) {
            let as2_id = self.as2_id(&reader);
            let key = self.name_in(&reader, "key", Section::Key);
            if let Some(facts) = key.as_deref().and_then(|key| self.key_facts.get(key)) {
                if !facts.has_certificate {
                    reader
                        .error("key", "names a key without 'certificate'; partners verify and encrypt by it");
                } else if !facts.is_rsa {
                    reader.warning(
                        "key",
                        "names a key that is not RSA: partners cannot encrypt messages to it",
                    );
                }
            }
            if let (Some(as2_id), Some(key)) = (as2_id, key) {
                let identity = Identity { name: name.to_owned(), as2_id, key };
                self.definitions.identities.insert(name.to_owned(), Arc::new(identity));
            }
        }
    }

    pub(super) fn partners(&mut self) {
        for (name, reader) in self.section(Section::Partner) {
            let as2_id = self.as2_id(&reader);
            let certificates = self.names_in(&reader, "certificates", Section::Certificate);
            let Some(agreement) = agreement(&reader) else { continue };
            self.trust(&reader, &agreement, &certificates);
            if let Some(as2_id) = as2_id {
                let partner = Partner { name: name.to_owned(), as2_id, certificates, agreement };
                self.definitions.partners.insert(name.to_owned(), Arc::new(partner));
            }
        }
    }

    /// An AS2 name, which no other partner or identity may have: a message says by it who sent it.
    fn as2_id(&mut self, reader: &Reader<'a>) -> Option<As2Id> {
        let text = reader.text("as2_id")?;
        let id = As2Id::try_from(text.value).map_err(|message| reader.error("as2_id", message)).ok()?;
        if let Some((other, place)) = self.as2_ids.get(id.as_str()) {
            reader.error("as2_id", format!("'{id}' is the AS2 name of {other} already ({place})"));
            return None;
        }
        self.as2_ids.insert(id.as_str().to_owned(), (reader.path.clone(), text.place.clone()));
        Some(id)
    }

    /// What was agreed needs certificates of the right kind.
    fn trust(&self, reader: &Reader<'_>, agreement: &Agreement, certificates: &[String]) {
        let mut uses = Vec::new();
        if agreement.send_security.encrypts() {
            uses.push("send_security encrypts to it");
        }
        if agreement.receive_security.signs() {
            uses.push("receive_security verifies its signature");
        }
        if agreement.mdn == MdnRequest::Signed {
            uses.push("mdn verifies its receipts");
        }
        if reader.list("certificates").is_empty() && !uses.is_empty() {
            reader.error("certificates", format!("at least one certificate is needed: {}", uses.join(", ")));
        }
        let short = |name: &String| self.short_certificates.get(name).map(|bits| (name.clone(), *bits));
        if let (false, Some((name, bits))) = (agreement.legacy, certificates.iter().find_map(short)) {
            reader.error(
                "certificates",
                format!(
                    "'{name}' has a key of {bits} bits, which can be broken: ask for a certificate with 2048 or \
                     more, or allow it with legacy = true"
                ),
            );
        }
        let first =
            certificates.first().and_then(|first| self.rsa_certificates.get(first).map(|rsa| (first, *rsa)));
        if let (true, Some((first, false))) = (agreement.send_security.encrypts(), first) {
            reader.error(
                "certificates",
                format!(
                    "'{first}' comes first and encrypts, but its key is not RSA; put an RSA certificate first"
                ),
            );
        }
    }
}

/// Always there: every field has its default.
fn agreement(reader: &Reader<'_>) -> Option<Agreement> {
    let agreement = Agreement {
        send_security: reader.word("send_security", SendSecurity::parse)?,
        cipher: reader.word("cipher", Cipher::parse)?,
        digest: reader.word("digest", DigestName::parse)?,
        mdn: reader.word("mdn", MdnRequest::parse)?,
        receive_security: reader.word("receive_security", SendSecurity::parse)?,
        duplicates: reader.word("duplicates", DuplicatePolicy::parse)?,
        accept_expired: reader.flag("accept_expired"),
        legacy: reader.flag("legacy"),
        largest_message: reader.size("largest_message")?,
    };
    let old = [
        (
            "send_security",
            agreement.send_security == SendSecurity::None,
            "sends messages that anyone can read and change",
        ),
        (
            "cipher",
            agreement.cipher == Cipher::TripleDes,
            "is broken for large messages; agree on aes256-cbc",
        ),
        (
            "digest",
            agreement.digest == DigestName::Sha1 && agreement.legacy,
            "can be forged; agree on sha256",
        ),
        ("mdn", agreement.mdn == MdnRequest::None, "leaves no proof that the partner has the message"),
        (
            "receive_security",
            agreement.receive_security == SendSecurity::None,
            "takes messages from anyone who knows the partner's name",
        ),
        (
            "accept_expired",
            agreement.accept_expired,
            "goes on with certificates that the partner may have given up",
        ),
        (
            "legacy",
            agreement.legacy,
            "lets signatures count that can be forged: MD5, SHA-1, keys under 2048 bits",
        ),
    ];
    for (field, applies, why) in old {
        if applies {
            let value = reader.text_or_default(field).unwrap_or_else(|| "true".into());
            reader.warning(field, format!("legacy: '{value}' {why}"));
        }
    }
    if agreement.digest == DigestName::Sha1 && !agreement.legacy {
        reader.error("digest", "'sha1' can be forged: agree on sha256, or allow it with legacy = true");
    }
    Some(agreement)
}
