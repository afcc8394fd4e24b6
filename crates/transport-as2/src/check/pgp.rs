//! What identities and partners say of their OpenPGP keys: that they can be read, and serve what was agreed.

use super::Check;
use crate::agreement::{Agreement, MdnRequest};
use crate::choice::{CERTIFICATE_USES, Choices, Dated, KEY_USES};
use crate::pgp_message;
use model::schema::{FieldPath, Values};
use pgp_mime::{OwnKey, PartnerKey};
use std::time::SystemTime;

const LIST: &str = "pgp_keys";

impl Check<'_, '_> {
    /// Our OpenPGP keys.
    pub(crate) fn own_pgp_keys(&mut self, side: &Values) {
        let keys = Choices::of(side, LIST, KEY_USES);
        self.windows(side, LIST, &keys, KEY_USES);
        let definitions = self.definitions;
        for (dated, number) in keys.all.iter().zip(1..) {
            let Some(definition) = definitions.keys.get(&dated.name) else { continue };
            let path = FieldPath::from(LIST).item(number);
            let passphrase = definition.passphrase.as_ref().map(|words| words.reveal().as_str());
            match OwnKey::read(definition.private_key.reveal(), passphrase) {
                Ok(key) => {
                    if dated.sends && key.public().is_version_6() {
                        let message = "its signatures (OpenPGP version 6) cannot be verified by GnuPG, nor by any partner that \
                            reads a message as a stream: sign with a key of version 4, or set uses = [\"decrypt\"]";
                        self.findings.error(path.clone(), message);
                    }
                    self.pgp_dates(path, dated, key.public());
                }
                Err(error) => {
                    let message =
                        format!("key '{}' is no OpenPGP private key that can be used: {error}", dated.name);
                    self.findings.error(path, message);
                }
            }
        }
    }

    /// A partner's OpenPGP keys, and what was agreed with it for PGP/MIME.
    pub(crate) fn partner_pgp(&mut self, side: &Values, agreement: &Agreement) {
        let keys = &agreement.pgp_keys;
        self.windows(side, LIST, keys, CERTIFICATE_USES);
        let definitions = self.definitions;
        for (dated, number) in keys.all.iter().zip(1..) {
            let Some(definition) = definitions.certificates.get(&dated.name) else { continue };
            let path = FieldPath::from(LIST).item(number);
            match PartnerKey::read(&definition.pem) {
                Ok(key) => {
                    if dated.reads && key.is_version_6() {
                        let message = "signatures by it (OpenPGP version 6) are verified where they are in one object with the \
                            content, and not where they stand behind it (multipart/signed), as those of receipts do";
                        self.findings.warning(path.clone(), message);
                    }
                    self.pgp_dates(path, dated, &key);
                }
                Err(error) => {
                    let message = format!(
                        "certificate '{}' is no OpenPGP public key that can be used: {error}",
                        dated.name
                    );
                    self.findings.error(path, message);
                }
            }
        }
        if !agreement.is_pgp() {
            return;
        }
        let mut needs = Vec::new();
        if agreement.send_security.encrypts() && !keys.all.iter().any(|one| one.sends) {
            needs.push("to encrypt messages (send.security)");
        }
        if agreement.mdn == MdnRequest::Signed && !keys.all.iter().any(|one| one.reads) {
            needs.push("to verify the signatures of receipts (mdn.ask)");
        }
        if !needs.is_empty() {
            let message = format!("at least one OpenPGP key is needed: {}", needs.join(", "));
            self.findings.error(LIST, message);
        }
        for (path, applies, message) in pgp_message::mistakes(agreement) {
            if applies {
                self.findings.error(path, message);
            }
        }
    }

    /// The identity of an endpoint has what PGP/MIME to a partner needs.
    pub(crate) fn pgp_keys_for(
        &mut self,
        partner: &str,
        agreement: &Agreement,
        keys: &Choices,
        identity: &str,
    ) {
        if agreement.is_pgp() && agreement.send_security.signs() && !keys.all.iter().any(|key| key.sends) {
            let message = format!(
                "messages to '{partner}' are signed by OpenPGP (send.packaging), and '{identity}' has no key for that: add one \
                to its pgp_keys"
            );
            self.findings.error("identity", message);
        }
    }

    /// A window within the dates of its key.
    fn pgp_dates(&mut self, path: FieldPath, dated: &Dated, key: &PartnerKey) {
        if key.is_revoked() {
            self.findings.error(path, format!("'{}' is revoked: take it out of the list", dated.name));
            return;
        }
        let until = dated.until.map(SystemTime::from);
        if key.validity().until.is_some_and(|ends| until.is_some_and(|until| until > ends)) {
            self.findings.warning(path.key("until"), "the key expires before that, by its own dates");
        }
    }
}
