//! What identities and partners say of their keys and certificates: that they serve what was agreed, and that their windows
//! leave no time without one.

use super::Check;
use crate::agreement::{Agreement, DigestName, Fallback, Identity, MdnRequest, Partner};
use crate::choice::{CERTIFICATE_USES, Choices, Dated, KEY_USES, UseWords};
use crate::material::{Validity, can_hold};
use crate::options::SPEC;
use model::Timestamp;
use model::definition::{self, Definitions};
use model::schema::{FieldPath, Finding, Findings, Section, Values};
use openssl::pkey::{Id, PKey, Private, Public};
use openssl::x509::X509;
use smime::Weakness;

/// What definitions lack at this moment, though they may have it at another.
pub(crate) fn in_force(definitions: &Definitions, now: Timestamp) -> Vec<Finding> {
    let mut found = Vec::new();
    for identity in definitions.identities.values() {
        let Some(side) = identity.side(SPEC.name) else { continue };
        let choices = Choices::of(side, "keys", KEY_USES);
        if !choices.all.is_empty() && choices.sending(now).is_empty() {
            let message = "none of the keys signs now: no message and no receipt can be signed";
            let mut findings = Findings::of(&mut found, Section::IDENTITY, &identity.name);
            findings.within(SPEC.name).warning("keys", message);
        }
    }
    for partner in definitions.partners.values() {
        let Some(side) = partner.agreement(SPEC.name) else { continue };
        let choices = Choices::of(side, "certificates", CERTIFICATE_USES);
        let none = !choices.all.is_empty() && choices.sending(now).is_empty();
        if none && Agreement::of(side).encrypts_by_smime() {
            let message = "none of the certificates is for encrypting now: no message can be sent";
            let mut findings = Findings::of(&mut found, Section::PARTNER, &partner.name);
            findings.within(SPEC.name).warning("certificates", message);
        }
    }
    found
}

impl Check<'_, '_> {
    /// Our keys.
    pub(crate) fn own_keys(&mut self, side: &Values) {
        let keys = Choices::of(side, "keys", KEY_USES);
        if keys.all.is_empty() {
            self.findings
                .error("keys", "must contain at least one key; messages are signed and decrypted with it");
            return;
        }
        if !keys.all.iter().any(|key| key.sends) {
            let message = "none of them signs (uses): at least one key must";
            self.findings.error("keys", message);
        }
        self.windows(side, "keys", &keys, KEY_USES);
        let definitions = self.definitions;
        for (key, number) in keys.all.iter().zip(1..) {
            let path = FieldPath::from("keys").item(number);
            let name = &key.name;
            let Some(definition) = definitions.keys.get(name) else { continue };
            let Some(certificate) = &definition.certificate else {
                let message = format!(
                    "key '{name}' has no 'certificate'; partners need it to verify and encrypt messages"
                );
                self.findings.error(path, message);
                continue;
            };
            let is_other = |key: PKey<Private>| !can_hold(key.id());
            if key.reads && private_key(definitions, name).is_some_and(is_other) {
                let message = format!(
                    "key '{name}' is neither RSA nor EC: partners cannot encrypt messages for it (uses = [\"sign\"])"
                );
                self.findings.warning(path.clone(), message);
            }
            self.dates(path, key, certificate);
        }
    }

    /// What was agreed with a partner needs certificates of the right kind.
    pub(crate) fn trust(&mut self, side: &Values, agreement: &Agreement) {
        let certificates = Choices::of(side, "certificates", CERTIFICATE_USES);
        let mut needs = Vec::new();
        if agreement.encrypts_by_smime() {
            needs.push((true, "to encrypt messages (send.security)"));
        }
        if agreement.receive_security.signs() && agreement.pgp_keys.all.is_empty() {
            needs.push((false, "to verify the signatures of messages (receive.security)"));
        }
        if agreement.mdn == MdnRequest::Signed && !agreement.is_pgp() {
            needs.push((false, "to verify the signatures of receipts (mdn.ask)"));
        }
        let has = |sends: bool| certificates.all.iter().any(|one| if sends { one.sends } else { one.reads });
        let lacking: Vec<&str> =
            needs.iter().filter(|(sends, _)| !has(*sends)).map(|(_, need)| *need).collect();
        if !lacking.is_empty() {
            let message = format!("at least one certificate is needed: {}", lacking.join(", "));
            self.findings.error("certificates", message);
        }
        self.windows(side, "certificates", &certificates, CERTIFICATE_USES);
        let encrypting = match agreement.encrypts_by_smime() {
            true => certificates.ever_sending(),
            false => Vec::new(),
        };
        let definitions = self.definitions;
        for (one, number) in certificates.all.iter().zip(1..) {
            let path = FieldPath::from("certificates").item(number);
            let Some(definition) = definitions.certificates.get(&one.name) else { continue };
            self.strength(path.clone(), &one.name, encrypting.contains(&one), agreement);
            self.dates(path, one, &definition.pem);
        }
        if agreement.fallback == Fallback::Once && agreement.mdn == MdnRequest::None {
            let message = "has no effect: no receipt is asked for that could refuse a message (mdn.ask)";
            self.findings.warning("fallback", message);
        }
        self.also_encrypt_for(agreement);
    }

    /// Whether a certificate can be used for what it is for.
    fn strength(&mut self, path: FieldPath, name: &str, encrypts: bool, agreement: &Agreement) {
        let Some(key) = public_key(self.definitions, name) else { return };
        if Weakness::of_key(&key).is_some() && !agreement.legacy {
            let message = format!(
                "certificate '{name}' has a key of {} bits, which can be broken: ask the partner for a \
                certificate with a key of 2048 bits or more, or allow it with legacy = true",
                key.bits()
            );
            self.findings.error(path, message);
        } else if encrypts && !can_hold(key.id()) {
            let message = format!(
                "messages are encrypted for '{name}', but its key is neither RSA nor EC: put a certificate with such a key \
                first, or say that this one only verifies (uses = [\"verify\"])"
            );
            self.findings.error(path, message);
        }
    }

    fn also_encrypt_for(&mut self, agreement: &Agreement) {
        let path = "send.also_encrypt_for";
        if !agreement.also_encrypt_for.is_empty() && !agreement.send_security.encrypts() {
            self.findings
                .warning(path, "has no effect: messages to the partner are not encrypted (send.security)");
        }
        for (name, number) in agreement.also_encrypt_for.iter().zip(1..) {
            let Some(key) = public_key(self.definitions, name) else { continue };
            let path = FieldPath::from(path).item(number);
            if !can_hold(key.id()) {
                let message = format!(
                    "certificate '{name}' has a key that is neither RSA nor EC: nothing can be encrypted for it"
                );
                self.findings.error(path, message);
            } else if Weakness::of_key(&key).is_some() && !agreement.legacy {
                let message = format!(
                    "certificate '{name}' has a key of {} bits, which can be broken: use one with 2048 bits or more, or \
                    allow it with legacy = true",
                    key.bits()
                );
                self.findings.error(path, message);
            }
        }
    }

    /// The keys of an identity can do what was agreed with a partner, at any time.
    pub(crate) fn keys_for(&mut self, partner: &str, agreement: &Agreement, identity: &Identity) {
        let id = |dated: &&Dated| private_key(self.definitions, &dated.name).map(|key| key.id());
        let mut wrong = Vec::new();
        for key in identity.keys.ever_sending() {
            if let Some(reason) = id(&key).and_then(|id| cannot_sign(id, agreement)) {
                wrong.push(format!(
                    "messages to '{partner}' cannot be signed with key '{}' of '{}': {reason}",
                    key.name, identity.name
                ));
            }
        }
        // The content key of a message that is not proved yet is kept encrypted for one of our own keys.
        let kinds: Vec<Id> = identity.keys.all.iter().filter_map(|key| id(&key)).collect();
        let holds = kinds.is_empty() || kinds.iter().any(|id| can_hold(*id));
        if agreement.encrypts_by_smime() && !holds {
            wrong.push(format!(
                "messages to '{partner}' are encrypted, and '{}' has neither an RSA nor an EC key by which their content \
                keys are kept for a retry: add one to its keys",
                identity.name
            ));
        }
        wrong.into_iter().for_each(|message| self.findings.error("identity", message));
    }

    /// The windows of a list: each lasts, and together they leave no gap.
    pub(super) fn windows(&mut self, side: &Values, list: &str, choices: &Choices, words: UseWords) {
        for (number, (dated, item)) in choices.all.iter().zip(side.list(list)).enumerate() {
            let path = FieldPath::from(list).item(number + 1);
            if choices.all[..number].iter().any(|earlier| earlier.name == dated.name) {
                let message = format!("names '{}' a second time: give one item its whole window", dated.name);
                self.findings.error(path.clone(), message);
            }
            if dated.is_never() {
                self.findings.error(path.clone().key("until"), "must be later than 'from'");
            }
            let uses = item.as_table().and_then(|table| table.get("uses"));
            if uses.is_some_and(|uses| uses.items().is_empty()) {
                let message = format!("must name a use: \"{}\", \"{}\" or both", words.sends, words.reads);
                self.findings.error(path.key("uses"), message);
            }
        }
        if let Some((end, next)) = choices.gap() {
            let message = format!(
                "from {} to {} none of them may {}: let the windows meet or overlap",
                end.to_rfc3339(),
                next.to_rfc3339(),
                words.sends
            );
            self.findings.error(list, message);
        }
    }

    /// A window within the dates of its certificate.
    fn dates(&mut self, path: FieldPath, dated: &Dated, pem: &str) {
        let Some(validity) = X509::from_pem(pem.as_bytes()).ok().and_then(|x| Validity::of(&x).ok()) else {
            return;
        };
        if dated.from.is_some_and(|from| from < validity.not_before) {
            let message = format!("its certificate is valid only from {}", validity.not_before.to_rfc3339());
            self.findings.warning(path.clone().key("from"), message);
        }
        if dated.until.is_some_and(|until| until > validity.not_after) {
            let message = format!("its certificate is valid only until {}", validity.not_after.to_rfc3339());
            self.findings.warning(path.key("until"), message);
        }
    }
}

/// Reads both sides of an endpoint, where they speak AS2 and have a valid name.
pub(crate) fn both(
    partner: &definition::Partner,
    identity: &definition::Identity,
) -> Option<(Partner, Identity)> {
    Partner::of(partner).ok().zip(Identity::of(identity).ok())
}

/// The key of a certificate; what cannot be read is reported where it is defined.
fn public_key(definitions: &Definitions, certificate: &str) -> Option<PKey<Public>> {
    let pem = &definitions.certificates.get(certificate)?.pem;
    X509::from_pem(pem.as_bytes()).ok()?.public_key().ok()
}

/// Why a key of this kind cannot sign as it was agreed.
fn cannot_sign(id: Id, agreement: &Agreement) -> Option<&'static str> {
    let digest = agreement.digest;
    match id {
        _ if !agreement.signs_by_smime() => None,
        Id::RSA => None,
        Id::EC if digest == DigestName::Md5 => {
            Some("an EC key cannot sign by MD5; agree on sha256 (send.digest)")
        }
        Id::EC | Id::ED25519 => None,
        _ => Some("it is neither an RSA, an EC nor an Ed25519 key"),
    }
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
