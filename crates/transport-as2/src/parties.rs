//! Who sends to whom: the two names of a received message, found among the definitions.

use crate::agreement::{Identity, Partner, identity_named, partner_named};
use crate::choice::{Choices, Standing};
use crate::diagnosis::Diagnosis;
use crate::disposition::{Disposition, DispositionError};
use crate::fallback;
use crate::legacy;
use crate::material::{Certificate, Material, Own, hexadecimal};
use crate::outgoing::OwnKey;
use crate::pgp_message::PgpReading;
use crate::receipt_target::ReceiptTarget;
use crate::request::RequestHead;
use crate::signer::Signer;
use model::{Result, Timestamp};
use openssl::x509::X509;
use smime::{DecryptionKey, Report};
use std::sync::Arc;

/// Both sides of a message that is for us.
pub(crate) struct Parties {
    pub(crate) identity: Identity,
    /// The key that signs the receipt.
    pub(crate) own: OwnKey,
    pub(crate) partner: Arc<Partner>,
    /// The OpenPGP key that signs the receipt, where there is one.
    pub(crate) pgp_own: Option<Arc<pgp_mime::OwnKey>>,
    /// The OpenPGP keys that read messages.
    pub(crate) pgp: PgpReading,
    /// What of our key is too weak for today, as the agreement allows.
    pub(crate) legacy: Option<String>,
    /// The keys that decrypt.
    keys: Vec<Arc<Own>>,
    /// The certificates that verify.
    certificates: Vec<Arc<Certificate>>,
    /// When the message came.
    now: Timestamp,
    /// Where the receipt goes that the sender asks for later; `None` where it comes in the answer.
    pub(crate) receipt_to: Option<ReceiptTarget>,
    /// What is found wrong with the message, for the operator.
    pub(crate) diagnosis: Arc<Diagnosis>,
}

/// A message that is not for us, or whose sender is unknown.
pub(crate) struct UnknownParty {
    pub(crate) disposition: Disposition,
    pub(crate) reason: String,
}

/// That of these certificates which verified the outermost signature of a message.
pub(crate) fn verified_by<'a>(
    certificates: &'a [Arc<Certificate>],
    report: &Report,
) -> Option<&'a Certificate> {
    let fingerprint = hexadecimal(&report.signed()?.fingerprint);
    certificates.iter().find(|known| known.fingerprint == fingerprint).map(Arc::as_ref)
}

impl Parties {
    /// Finds both by their names. The inner error is a fault of our own definitions.
    ///
    /// # Errors
    /// The answer to an unknown sender.
    pub(crate) fn of(
        material: &Material,
        head: &RequestHead,
        now: Timestamp,
    ) -> Result<Result<Self>, UnknownParty> {
        if head.from == head.to {
            return Err(UnknownParty {
                disposition: Disposition::Failure("sender-equals-receiver".into()),
                reason: "AS2-From and AS2-To are the same.".into(),
            });
        }
        let unknown = |who: &str, name: &str| UnknownParty {
            disposition: Disposition::Error(DispositionError::UnknownTradingPartner),
            reason: format!("The {who} {name:?} is unknown to this system."),
        };
        let definitions = &material.definitions;
        let identity = identity_named(definitions, &head.to).ok_or_else(|| unknown("receiver", &head.to))?;
        let partner = partner_named(definitions, &head.from).ok_or_else(|| unknown("sender", &head.from))?;
        let parties = || {
            let keys = material.decrypting(&identity, now)?;
            let own = match (material.signing(&identity, now), keys.first()) {
                (Ok(own), _) => own,
                // Nothing is signed then.
                (Err(_), Some(any)) if !head.mdn.signed || head.mdn.by_pgp => Arc::clone(any),
                (Err(error), _) => return Err(error),
            };
            let pgp = PgpReading {
                own: material.pgp.decrypting(definitions, &identity, now)?,
                partner: material.pgp.verifying_keys(definitions, &partner, now)?,
            };
            let pgp_own = match head.mdn.by_pgp && !identity.pgp_keys.all.is_empty() {
                true => Some(material.pgp.signing(definitions, &identity, now)?.1),
                false => None,
            };
            Ok(Self {
                pgp_own,
                pgp,
                legacy: legacy::of_own_key(&own, &identity, &partner)?,
                own: own.key.clone(),
                keys,
                certificates: material.verifying(&partner, now)?,
                diagnosis: Arc::new(Diagnosis::new(definitions, &partner, &identity, now)),
                identity,
                partner: Arc::new(partner),
                now,
                receipt_to: None,
            })
        };
        Ok(parties())
    }

    /// The same at a listener that takes messages of so many bytes at most, where it says that: the smaller limit counts.
    pub(crate) fn at_listener(mut self, largest: Option<u64>) -> Self {
        let agreed = self.partner.agreement.largest_message;
        if let Some(most) = largest.filter(|most| *most < agreed) {
            Arc::make_mut(&mut self.partner).agreement.largest_message = most;
        }
        self
    }

    /// The keys that decrypt, in the order in which a report counts them.
    pub(crate) fn decryption_keys(&self) -> Vec<DecryptionKey> {
        let key = |own: &Arc<Own>| DecryptionKey {
            key: own.key.key.clone(),
            certificate: own.key.certificate.clone(),
        };
        self.keys.iter().map(key).collect()
    }

    /// The certificates that verify.
    pub(crate) fn pinned(&self) -> Vec<X509> {
        self.certificates.iter().map(|known| known.certificate.clone()).collect()
    }

    /// The key of ours that decrypted a message.
    pub(crate) fn decrypted_with(&self, report: &Report) -> Option<&Own> {
        report.decrypted_with().and_then(|place| self.keys.get(place)).map(Arc::as_ref)
    }

    /// The certificate that verified a message's signature.
    pub(crate) fn verified_with(&self, report: &Report) -> Option<&Certificate> {
        verified_by(&self.certificates, report)
    }

    /// The partner's certificates that may verify a message.
    pub(crate) fn certificates(&self) -> &[Arc<Certificate>] {
        &self.certificates
    }

    /// Ours that signs the receipt for a message; none where it is not signed.
    pub(crate) fn receipt_signer(&self, head: &RequestHead) -> Option<Signer<'_>> {
        if !head.mdn.wanted || !head.mdn.signed {
            return None;
        }
        match head.mdn.by_pgp {
            true => self.pgp_own.as_ref().map(|own| Signer::Pgp(own.public())),
            false => Some(Signer::Certificate(&self.own.certificate)),
        }
    }

    /// What verified the outermost signature of a message; none of one that is not signed.
    pub(crate) fn signer(&self, report: &Report, pgp: Option<&pgp_mime::Report>) -> Option<Signer<'_>> {
        match pgp.and_then(|pgp| pgp.signed.as_ref()) {
            Some(proof) => self.pgp.partner.get(proof.key).map(|key| Signer::Pgp(key)),
            None => self.verified_with(report).map(|known| Signer::Certificate(&known.certificate)),
        }
    }

    /// These parties, with the receipt signed by the key that the message was encrypted for if that key has signed before: a
    /// sender that has not changed to our new certificate yet may know only this one.
    pub(crate) fn answering(mut self, report: &Report) -> Self {
        let Some(key) = self.decrypted_with(report) else { return self };
        let keys = &self.identity.keys;
        let standing = keys.standing(&key.name, self.now);
        let has_signed = matches!(standing, Some(Standing::Over(_) | Standing::Replaced(_)));
        if !has_signed || !keys.named(&key.name).is_some_and(|dated| dated.sends) {
            return self;
        }
        // One that the agreement does not allow any more does not sign.
        if let Ok(legacy) = legacy::of_own_key(key, &self.identity, &self.partner) {
            let own = key.key.clone();
            (self.own, self.legacy) = (own, legacy);
        }
        self
    }

    /// The names of our OpenPGP key that decrypted a message, and of the partner's that verified it.
    pub(crate) fn pgp_used(&self, pgp: &pgp_mime::Report) -> (Option<&str>, Option<&str>) {
        let own = pgp.decrypted_with.and_then(|place| self.identity.pgp_keys.name_read(place, self.now));
        let keys = &self.partner.agreement.pgp_keys;
        let theirs = pgp.signed.as_ref().and_then(|proof| keys.name_read(proof.key, self.now));
        (own, theirs)
    }

    /// What a message used though it is not in force, for the event.
    pub(crate) fn used_outside(&self, report: &Report, pgp: Option<&pgp_mime::Report>) -> Vec<String> {
        let (keys, certificates) = (&self.identity.keys, &self.partner.certificates);
        let key = self.decrypted_with(report).and_then(|own| {
            fallback::outside("the message was encrypted for our key", keys, &own.name, self.now)
        });
        let certificate = self.verified_with(report).and_then(|known| {
            let used = "the message was signed with the certificate";
            fallback::outside(used, certificates, &known.name, self.now)
        });
        let (own, theirs) = pgp.map(|pgp| self.pgp_used(pgp)).unwrap_or_default();
        let outside = |used: &str, choices: &Choices, name: Option<&str>| {
            name.and_then(|name| fallback::outside(used, choices, name, self.now))
        };
        let pgp_key = outside("the message was encrypted for our OpenPGP key", &self.identity.pgp_keys, own);
        let keys = &self.partner.agreement.pgp_keys;
        let pgp_signer = outside("the message was signed with the OpenPGP key", keys, theirs);
        [key, certificate, pgp_key, pgp_signer].into_iter().flatten().collect()
    }
}
