//! Both sides of an exchange that we begin: what a message is signed with and encrypted for, and what verifies its receipt.
//!
//! That is what is in force now (`choice`). A message that the partner may have goes out again as it was, also when something
//! else has come into force since: drawn anew, it would be delivered twice.

use crate::agreement::{Agreement, Identity, MdnRequest, Partner, SendSecurity};
use crate::diagnosis;
use crate::disposition::Disposition;
use crate::fallback::{Instead, NotedFallback, ReceiptSigner, Tried};
use crate::legacy;
use crate::material::{Certificate, Material, Own, usable};
use crate::message_terms::MessageTerms;
use crate::outgoing::OwnKey;
use crate::outgoing::pgp::PgpSides;
use crate::pgp_keys::PgpNames;
use crate::prepared::Noted;
use crate::sent_message::was_refused;
use crate::transfer_id::has_part;
use model::definition::Endpoint;
use model::{Error, ErrorKind, RemotePath, Result, Timestamp};
use openssl::x509::X509;
use pgp_mime::PartnerKey;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The partner and our own side of the exchange, ready.
pub(crate) struct Partnership {
    pub(crate) partner: Partner,
    pub(crate) identity: Identity,
    /// The key that signs.
    pub(crate) own: Arc<Own>,
    /// All keys of the identity: one of them opens the notes of earlier attempts.
    pub(crate) own_keys: Vec<OwnKey>,
    /// The certificate that messages are encrypted for; none where they are not encrypted.
    pub(crate) certificate: Option<Arc<Certificate>>,
    /// Of the certificates that messages are encrypted for, with commas between.
    pub(crate) recipient_fingerprint: String,
    /// The certificates that verify receipts.
    pub(crate) certificates: Vec<X509>,
    /// The OpenPGP keys that verify receipts.
    pub(crate) pgp: Vec<Arc<PartnerKey>>,
    /// What of it is too weak for today, as the agreement allows.
    pub(crate) legacy: Vec<String>,
    /// Certificates that messages are encrypted for beside the partner's.
    also: Vec<Arc<Certificate>>,
    verifying: Vec<Arc<Certificate>>,
    /// The media type of the message's file; of several, of the first. Of the destination, which knows it.
    pub(crate) root_type: String,
    /// The receipt that is asked for today: a message that goes out again asks for what it asked for.
    pub(crate) asks_today: MdnRequest,
    /// The terms of the message of an earlier attempt that the partner may have, or has a part of: it goes out again under them.
    pub(crate) repeated: Option<MessageTerms>,
    material: Arc<Material>,
    now: Timestamp,
}

impl Partnership {
    /// The partner and identity of an endpoint, for this attempt of a delivery with these notes.
    ///
    /// # Errors
    /// `ConfigInvalid`: the definitions do not have what is needed now, or it cannot be read. `Internal`: a note cannot be
    /// read.
    pub(crate) fn of(
        endpoint: &Endpoint,
        material: Arc<Material>,
        (notes, attempt): (&BTreeMap<String, Value>, u32),
        now: Timestamp,
    ) -> Result<Self> {
        let missing = |what: &'static str| {
            Error::permanent(ErrorKind::ConfigInvalid, "find the partner and identity of an AS2 endpoint")
                .with("endpoint", &endpoint.name)
                .with("missing", what)
        };
        let definitions = Arc::clone(&material.definitions);
        let name = endpoint.partner().ok_or_else(|| missing("partner"))?;
        let mut partner = Partner::of(definitions.partner(name)?)?;
        let name = endpoint.options.text("identity").ok_or_else(|| missing("identity"))?;
        let mut identity = Identity::of(definitions.identity(name)?)?;
        let asks_today = partner.agreement.mdn;
        let pinned = Pinned::of(notes, attempt)?;
        let repeated = pinned.terms().cloned();
        if let Some(terms) = &repeated {
            terms.apply(&mut identity, &mut partner);
        }
        let own = match pinned.own(&material, &identity)? {
            Some(own) => own,
            None if repeated.is_some() && partner.agreement.signs_by_smime() => {
                return Err(key_is_gone(&identity));
            }
            None => signing(&material, &identity, &partner, now)?,
        };
        let certificate = match pinned.certificate(&material, &partner, now)? {
            Some(certificate) => Some(certificate),
            // Its content key was encrypted when it was drawn: the certificate may be gone.
            None if repeated.is_some() => None,
            None => material.encrypting(&partner, now)?,
        };
        let mut also = material.also_recipients(&partner)?;
        if let Some(terms) = &repeated {
            also.retain(|known| terms.is_encrypted_for(&known.fingerprint));
        }
        let read = |name| material.own(&identity, name).map(|own| own.key.clone());
        let own_keys = identity.keys.names().map(read).collect::<Result<_>>()?;
        let verifying = material.verifying(&partner, now)?;
        let partnership = Self {
            also,
            certificates: verifying.iter().map(|known| known.certificate.clone()).collect(),
            pgp: material.pgp.verifying_keys(&definitions, &partner, now)?,
            recipient_fingerprint: String::new(),
            legacy: Vec::new(),
            partner,
            identity,
            own,
            own_keys,
            certificate,
            verifying,
            root_type: String::new(),
            asks_today,
            repeated,
            material,
            now,
        };
        partnership.described()
    }

    /// The same for a new message, with another key or certificate.
    ///
    /// # Errors
    /// `ConfigInvalid`: it is weaker than the agreement allows.
    pub(crate) fn with(mut self, instead: &Instead) -> Result<Self> {
        match instead {
            Instead::Key(own) => self.own = Arc::clone(own),
            Instead::Certificate(certificate) => self.certificate = Some(Arc::clone(certificate)),
        }
        self.described()
    }

    /// Puts the terms of a message that goes out again in the place of what the flow and the person who sent the file have said
    /// since.
    pub(crate) fn repeat(&mut self) {
        if let Some(terms) = &self.repeated {
            terms.apply(&mut self.identity, &mut self.partner);
        }
    }

    /// The terms of a message of today.
    pub(crate) fn terms(&self, media_type: String, file_name: &RemotePath) -> MessageTerms {
        let made_with = (self.own.fingerprint.as_str(), self.recipient_fingerprint.as_str());
        let types = (media_type, self.root_type.clone());
        MessageTerms::of((&self.identity, &self.partner), made_with, types, file_name)
    }

    /// With what follows from the key and the certificates.
    fn described(mut self) -> Result<Self> {
        let mut partner = self.partner.clone();
        // A message goes out again as it was, and what is weak of it is told of.
        partner.agreement.legacy |= self.repeated.is_some();
        let encrypted_for: Vec<&X509> = self.encrypted_for().map(|known| &known.certificate).collect();
        let mut legacy = legacy::of_message(&partner, &encrypted_for)?;
        if partner.agreement.signs_by_smime() {
            legacy.extend(legacy::of_own_key(&self.own, &self.identity, &partner)?);
        }
        let fingerprints: Vec<&str> = self.encrypted_for().map(|known| known.fingerprint.as_str()).collect();
        let recipient_fingerprint = match &self.repeated {
            Some(terms) => terms.encrypted_for.clone(),
            None => fingerprints.join(", "),
        };
        (self.legacy, self.recipient_fingerprint) = (legacy, recipient_fingerprint);
        Ok(self)
    }

    /// The certificates that messages are encrypted for: the partner's, which some products look for in the first place, then
    /// the others.
    fn encrypted_for(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        let first = self.certificate.as_ref();
        let is_first = move |other: &&Arc<Certificate>| {
            first.is_some_and(|first| first.fingerprint == other.fingerprint)
        };
        first.into_iter().chain(self.also.iter().filter(move |other| !is_first(other)))
    }

    /// The certificates that a new message is encrypted for.
    ///
    /// # Errors
    /// `ConfigInvalid`: one of them may not be used now.
    pub(crate) fn recipients(&self) -> Result<Vec<X509>> {
        let checked = |known: &Arc<Certificate>| {
            usable(known, &self.partner, self.now).map(|()| known.certificate.clone())
        };
        self.encrypted_for().map(checked).collect()
    }

    /// What helps after the partner refused a message in this way; none where nothing else is to be tried.
    ///
    /// # Errors
    /// `ConfigInvalid`: a key or certificate cannot be read.
    pub(crate) fn instead(&self, disposition: &Disposition) -> Result<Option<Instead>> {
        let encrypted = match &self.certificate {
            Some(known) => Tried::Listed(&known.name),
            // A message that goes out again, for a certificate that is gone.
            None if self.partner.agreement.encrypts_by_smime() => Tried::Unlisted,
            None => Tried::Nothing,
        };
        let signed = (&self.identity, Tried::Listed(&self.own.name));
        Instead::after(disposition, &self.material, signed, (&self.partner, encrypted), self.now)
    }

    /// The agreement by which the answer to a message is judged: the receipt must be what was asked for, or what is asked for today
    /// if that is less, as after a person has looked at a receipt that proved nothing. One that came counts in any case: it may
    /// refuse the message.
    pub(crate) fn judging(&self, has_receipt: bool) -> Agreement {
        let agreed = &self.partner.agreement;
        let today = if has_receipt { self.asks_today.or_unsigned() } else { self.asks_today };
        Agreement { mdn: agreed.mdn.weaker(today), ..agreed.clone() }
    }

    /// What a message of this protection by PGP/MIME is signed with and encrypted for now.
    ///
    /// # Errors
    /// `ConfigInvalid`: there is no key for that, or one cannot be read.
    pub(crate) fn pgp_sides(
        material: &Material,
        endpoint: &Endpoint,
        (security, now): (SendSecurity, Timestamp),
    ) -> Result<PgpSides> {
        let definitions = &material.definitions;
        let partner = Partner::of(definitions.partner(endpoint.partner().unwrap_or_default())?)?;
        let name = endpoint.options.text("identity").unwrap_or_default();
        let identity = Identity::of(definitions.identity(name)?)?;
        let own = match security.signs() {
            true => Some(material.pgp.signing(definitions, &identity, now)?),
            false => None,
        };
        let encrypting = match security.encrypts() {
            true => Some(material.pgp.encrypting(definitions, &partner, now)?),
            false => None,
        };
        let names = PgpNames {
            signed_with: own.as_ref().map(|(name, _)| name.clone()),
            encrypted_for: encrypting.as_ref().map(|(name, _)| name.clone()),
        };
        let (own, partner) = (own.map(|(_, key)| key), encrypting.map(|(_, key)| key));
        Ok(PgpSides { own, partner, names })
    }

    /// An error about the signature of a receipt, with the certificate that would have verified it.
    pub(crate) fn diagnosed(&self, error: Error) -> Error {
        diagnosis::of_receipt(error, &self.material.definitions, &self.partner, self.now)
    }

    /// What signed a receipt: a certificate or an OpenPGP key, by its fingerprint.
    pub(crate) fn receipt_signer(&self, fingerprint: &str) -> Option<ReceiptSigner<'_>> {
        ReceiptSigner::of(&self.partner, (&self.verifying, &self.pgp), fingerprint, self.now)
    }

    /// What a message is sent with, by the names that the definitions give it: for the receipt.
    pub(crate) fn sent_with(&self) -> Vec<(&'static str, String)> {
        let agreement = &self.partner.agreement;
        let names: Vec<&str> = self.encrypted_for().map(|known| known.name.as_str()).collect();
        let key = agreement.signs_by_smime().then(|| ("sent_signed_with", self.own.name.clone()));
        let certificates = agreement.encrypts_by_smime().then(|| ("sent_encrypted_with", names.join(", ")));
        key.into_iter().chain(certificates).collect()
    }

    /// In words, for a test of the endpoint.
    pub(crate) fn describe(&self) -> String {
        let sent: Vec<String> = self
            .sent_with()
            .into_iter()
            .map(|(what, name)| match what {
                "sent_signed_with" => {
                    format!("signed with {name} (ends {})", day(self.own.validity.not_after))
                }
                _ => {
                    let ends = self.certificate.as_ref().map(|known| day(known.validity.not_after));
                    format!("encrypted for {name} (ends {})", ends.unwrap_or_default())
                }
            })
            .collect();
        let sent = if sent.is_empty() { "neither signed nor encrypted".to_owned() } else { sent.join(", ") };
        format!("{} to {}: {sent}", self.identity.as2_id, self.partner.as2_id)
    }
}

fn day(time: Timestamp) -> String {
    time.format("%Y-%m-%d").to_string()
}

/// The key that signs now; where nothing is signed, any.
fn signing(material: &Material, identity: &Identity, partner: &Partner, now: Timestamp) -> Result<Arc<Own>> {
    let signing = material.signing(identity, now);
    match identity.keys.all.first() {
        Some(any) if signing.is_err() && !partner.agreement.signs_by_smime() => {
            material.own(identity, &any.name)
        }
        _ => signing,
    }
}

/// The error where the key is gone that signed a message which the partner may have.
fn key_is_gone(identity: &Identity) -> Error {
    Error::permanent(ErrorKind::ConfigInvalid, "send a message again with the same bytes")
        .with("identity", &identity.name)
        .advice(
            "the identity does not have the key any more that the message was signed with: put it back until the delivery has \
            ended, or ask the partner whether it has the file, and send the transfer as a new one",
        )
}

/// What the notes of earlier attempts say to send with.
enum Pinned {
    /// Whatever is in force.
    Nothing,
    /// The partner may have the message that was drawn under these terms, or has a part of it.
    Terms(Box<MessageTerms>),
    /// A message was refused, and another is sent with this key or certificate.
    Instead(String),
}

impl Pinned {
    fn of(notes: &BTreeMap<String, Value>, attempt: u32) -> Result<Self> {
        if let Some(noted) = Noted::last(notes)? {
            let Noted { message_id, terms, is_open, may_have, refused } = noted;
            let refused = refused || was_refused(notes, &message_id, attempt);
            if may_have || (!refused && (is_open || has_part(notes, &message_id)?)) {
                return Ok(Self::Terms(Box::new(terms)));
            }
        }
        Ok(match NotedFallback::of(notes)? {
            Some(noted) if !noted.is_spent => Self::Instead(noted.instead),
            _ => Self::Nothing,
        })
    }

    fn terms(&self) -> Option<&MessageTerms> {
        match self {
            Self::Terms(terms) => Some(terms),
            Self::Nothing | Self::Instead(_) => None,
        }
    }

    /// Whether it is our key, or the partner's certificate.
    fn is(&self, fingerprint: &str) -> bool {
        match self {
            Self::Nothing => false,
            // The first certificate is the partner's.
            Self::Terms(terms) => {
                terms.signed_with == fingerprint
                    || terms.encrypted_for.split(", ").next() == Some(fingerprint)
            }
            Self::Instead(instead) => instead == fingerprint,
        }
    }

    /// The key, if it is still one of the identity's.
    fn own(&self, material: &Material, identity: &Identity) -> Result<Option<Arc<Own>>> {
        if matches!(self, Self::Nothing) {
            return Ok(None);
        }
        let all = identity.keys.names().map(|name| material.own(identity, name));
        let all: Vec<_> = all.collect::<Result<_>>()?;
        Ok(all.into_iter().find(|own| self.is(&own.fingerprint)))
    }

    /// The certificate, if it is still one of the partner's and messages to it are encrypted.
    fn certificate(
        &self,
        material: &Material,
        partner: &Partner,
        now: Timestamp,
    ) -> Result<Option<Arc<Certificate>>> {
        if matches!(self, Self::Nothing) || !partner.agreement.encrypts_by_smime() {
            return Ok(None);
        }
        let all = partner.certificates.names().map(|name| material.certificate(name));
        let all: Vec<_> = all.collect::<Result<_>>()?;
        let found = all.into_iter().find(|known| self.is(&known.fingerprint));
        // A new message is not encrypted for one that was given up since it was chosen.
        let may_be_used = |known: &Arc<Certificate>| {
            let dated = partner.certificates.named(&known.name);
            dated.is_some_and(|dated| dated.sends && dated.until.is_none_or(|until| now < until))
        };
        Ok(found.filter(|known| matches!(self, Self::Terms(_)) || may_be_used(known)))
    }
}

#[cfg(test)]
mod tests;
