//! What would have matched where the signature or the encryption of a received message failed, and what to tell its sender.
//!
//! It is for the operator alone, on the event of the refusal: nothing of it goes into the answer, which says the same of every
//! failed decryption, and takes the same work.

use crate::agreement::{Identity, Partner};
use crate::choice::{Choices, Standing};
use crate::material::{Validity, fingerprint, hexadecimal};
use crate::mdn::CARRIED;
use crate::rejection::Rejection;
use crate::tell;
use model::definition::Definitions;
use model::{AuditEvent, Error, TELL_PARTNER, Timestamp};
use openssl::x509::X509;
use smime::{SignedForm, certificate_names};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// Most certificates and keys that are compared.
const MOST_COMPARED: usize = 500;

/// What a message was found to be.
enum Fault {
    /// Signed by something that verifies with no certificate of the partner.
    Signer {
        /// As the message names it.
        named: String,
        /// SHA-256 and subject of the certificate in the message that made the signature.
        carried: Option<(String, String)>,
    },
    /// Signed in the name of a certificate of the partner, but not with its key; or changed.
    Signature,
    /// Changed after it was signed; or signed in another form, where one fits its signature.
    Content { form: Option<SignedForm> },
    /// Signed with a certificate that has expired.
    Expired,
    /// Signed with a certificate that is not valid yet.
    NotYetValid,
    /// Decrypted, and not taken for this reason, which its sender is not told of by the receipt.
    Plaintext { what: String },
    /// Not to be decrypted; the recipients that it names, where none of them is ours.
    Decryption { recipients: Vec<String> },
}

impl Fault {
    fn of(error: &smime::Error, form: Option<SignedForm>) -> Option<Self> {
        use smime::Error as E;
        Some(match error {
            E::SignerUnknown { signer, carried, .. } => {
                let carried = carried.as_ref().map(|it| (hexadecimal(&it.fingerprint), it.subject.clone()));
                Self::Signer { named: signer.clone(), carried }
            }
            E::SignatureInvalid => Self::Signature,
            E::IntegrityFailed { .. } => Self::Content { form },
            E::CertificateExpired => Self::Expired,
            E::CertificateNotYetValid => Self::NotYetValid,
            E::NoRecipient { recipients } => Self::Decryption { recipients: recipients.clone() },
            E::Undecipherable { cause } => match told_of_plaintext(cause) {
                Some(what) => Self::Plaintext { what },
                None => Self::Decryption { recipients: Vec::new() },
            },
            E::DecryptionFailed => Self::Decryption { recipients: Vec::new() },
            _ => return None,
        })
    }
}

/// What its sender can be told of a plaintext that nothing proves; none where it may be what a wrong key made.
fn told_of_plaintext(cause: &smime::Error) -> Option<String> {
    use smime::Error as E;
    match cause {
        E::Refused(reason) => reason.downcast_ref::<Rejection>().map(|rejection| rejection.text()),
        E::SignatureInvalid | E::SignerUnknown { .. } | E::WeakSignature(_) | E::WeakEncryption(_) => {
            Some(format!("{cause}."))
        }
        _ => None,
    }
}

/// Between whom a message goes, and what was found wrong with it.
#[derive(Default)]
pub(crate) struct Diagnosis {
    known: Option<Known>,
    fault: OnceLock<Fault>,
}

struct Known {
    definitions: Arc<Definitions>,
    partner: Partner,
    identity: Identity,
    now: Timestamp,
}

/// What the operator sees.
struct Found {
    would_match: Option<String>,
    tell_partner: String,
}

impl Diagnosis {
    pub(crate) fn new(
        definitions: &Arc<Definitions>,
        partner: &Partner,
        identity: &Identity,
        now: Timestamp,
    ) -> Self {
        let definitions = Arc::clone(definitions);
        let known = Known { definitions, partner: partner.clone(), identity: identity.clone(), now };
        Self { known: Some(known), fault: OnceLock::new() }
    }

    /// Keeps why a message could not be read, with the form of its content that its signature fits.
    pub(crate) fn note(&self, error: &smime::Error, form: Option<SignedForm>) {
        if let Some(fault) = Fault::of(error, form) {
            self.fault.get_or_init(|| fault);
        }
    }

    /// The event of a refusal, with what would have matched and what to tell the partner.
    pub(crate) fn told(&self, event: AuditEvent) -> AuditEvent {
        let (Some(known), Some(fault)) = (&self.known, self.fault.get()) else { return event };
        let Found { would_match, tell_partner } = known.explain(fault);
        let event = event.peer_detail(TELL_PARTNER, tell_partner);
        match would_match {
            Some(words) => event.peer_detail("would_match", words),
            None => event,
        }
    }
}

impl Known {
    fn explain(&self, fault: &Fault) -> Found {
        let message = self.message();
        let ours = || self.listed_certificates();
        let plain = |tell_partner: String| Found { would_match: None, tell_partner };
        match fault {
            Fault::Signer { named, carried } => self.signer(named, carried.as_ref()),
            Fault::Signature => plain(format!(
                "{message} is signed in the name of your certificate, but not with its key, or it was changed on the way. Please \
                 check which key signs your messages to us. We have of you: {}.",
                ours()
            )),
            Fault::Content { form: Some(form) } => Found {
                would_match: Some(format!("the same content in another form: {}", tell::form(*form))),
                tell_partner: tell::signed_form(&message, *form),
            },
            Fault::Content { form: None } => plain(format!(
                "{message} was changed after it was signed: its content does not match the digest in its signature, neither as it \
                 is nor with CRLF line ends. Please check what stands between your AS2 system and the internet, such as a proxy \
                 or a virus scanner that changes line ends or headers."
            )),
            Fault::Expired => plain(format!(
                "{message} is signed with a certificate that has expired. Please sign with a valid one, and send it to us before. \
                 We have of you: {}.",
                ours()
            )),
            Fault::NotYetValid => plain(format!(
                "{message} is signed with a certificate that is not valid yet. Please sign with the present one until then, and \
                 check the clock of your system. We have of you: {}.",
                ours()
            )),
            Fault::Plaintext { what } => {
                // The same work as for any failed decryption.
                self.decryption(&[]);
                plain(format!(
                    "{message} could be decrypted, but was not taken: {what} The receipt says that it could not be decrypted, as \
                     nothing proves who encrypted it."
                ))
            }
            Fault::Decryption { recipients } => self.decryption(recipients),
        }
    }

    fn message(&self) -> String {
        format!("Your AS2 message from {} to {}", self.partner.as2_id, self.identity.as2_id)
    }

    /// A signature that no certificate of the partner verifies: one that is defined, and not used for the partner now.
    fn signer(&self, named: &str, carried: Option<&(String, String)>) -> Found {
        let is_it = |certificate: &X509| match carried {
            Some((sha256, _)) => fingerprint(certificate).is_ok_and(|own| own == *sha256),
            None => certificate_names(certificate).is_ok_and(|names| names.iter().any(|name| name == named)),
        };
        let mut all = compared(&self.definitions.certificates, &self.partner.certificates)
            .filter_map(|one| Some((one.name.as_str(), X509::from_pem(one.pem.as_bytes()).ok()?)));
        let found = all.find(|(_, certificate)| is_it(certificate));
        let would_match = match (&found, carried) {
            (Some((name, _)), _) => {
                let why = why_not_verifying(&self.definitions, &self.partner, name, self.now);
                Some(format!("the certificate '{name}', {why}"))
            }
            (None, Some((sha256, subject))) => Some(format!(
                "a certificate that is not {}: {subject}, SHA-256 {sha256}. Do not take it from the message: ask the \
                 partner for it over another way",
                match self.definitions.certificates.len() {
                    0..=MOST_COMPARED => "defined here".to_owned(),
                    _ => format!("one of the partner's, nor of the {MOST_COMPARED} that were compared"),
                }
            )),
            (None, None) => None,
        };
        let with = carried
            .map_or_else(|| named.to_owned(), |(sha256, subject)| format!("{subject}, SHA-256 {sha256}"));
        Found {
            would_match,
            tell_partner: format!(
                "{} is signed with a certificate that we do not accept from you: {with}. Please sign with the certificate that \
                 we have, or send us the new one over another way than your AS2 messages. We have of you: {}.",
                self.message(),
                self.listed_certificates()
            ),
        }
    }

    /// The same work whatever the message names: how long an answer takes must not tell failed decryptions apart.
    fn decryption(&self, recipients: &[String]) -> Found {
        let keys = compared(&self.definitions.keys, &self.identity.keys);
        let mut found = None;
        for key in keys {
            let Some(pem) = &key.certificate else { continue };
            let Ok(certificate) = X509::from_pem(pem.as_bytes()) else { continue };
            let names = certificate_names(&certificate).unwrap_or_default();
            if names.iter().any(|name| recipients.contains(name)) {
                found.get_or_insert_with(|| key.name.clone());
            }
        }
        let would_match = found.map(|name| format!("our key '{name}', {}", self.why_not_decrypting(&name)));
        let now = match self.identity.keys.to_read_with(self.now) {
            Some(dated) => self.our_certificate(&dated.name),
            None => "none at the moment".to_owned(),
        };
        let begin = format!(
            "We could not decrypt your AS2 message from {} to {}",
            self.partner.as2_id, self.identity.as2_id
        );
        let named = match recipients {
            [] => ", though it names our certificate as a recipient".to_owned(),
            named => format!(": it is encrypted for {}", named.join("; ")),
        };
        Found {
            would_match,
            tell_partner: format!("{begin}{named}. Please encrypt for our present certificate: {now}."),
        }
    }

    /// Why a key of ours does not decrypt messages to this identity now.
    fn why_not_decrypting(&self, name: &str) -> String {
        let listed = &self.identity.keys;
        if let Some(dated) = listed.named(name) {
            return match listed.standing(name, self.now) {
                _ if !dated.reads => "which is limited to another use (uses)".to_owned(),
                Some(Standing::Over(until)) => format!("whose time ended {} (until, overlap)", moment(until)),
                _ => "which did not decrypt it".to_owned(),
            };
        }
        let lists = |other: &&Arc<model::definition::Identity>| {
            Identity::of(other).is_ok_and(|other| other.keys.named(name).is_some())
        };
        match self.definitions.identities.values().find(lists) {
            Some(other) => format!("which is one of identity '{}'", other.name),
            None => format!("which is not among those of identity '{}' (keys)", self.identity.name),
        }
    }

    /// The partner's certificates, as words for the partner.
    fn listed_certificates(&self) -> String {
        let described = |name: &str| {
            let pem = self.definitions.certificates.get(name).map(|one| one.pem.as_bytes());
            pem.and_then(|pem| X509::from_pem(pem).ok()).map(|certificate| described(&certificate))
        };
        let listed: &Choices = &self.partner.certificates;
        let all: Vec<String> = listed.names().filter_map(described).collect();
        if all.is_empty() { "no certificate".to_owned() } else { all.join("; ") }
    }

    fn our_certificate(&self, name: &str) -> String {
        let pem = self.definitions.keys.get(name).and_then(|key| key.certificate.as_deref());
        let certificate = pem.and_then(|pem| X509::from_pem(pem.as_bytes()).ok());
        certificate.map_or_else(|| format!("'{name}'"), |certificate| described(&certificate))
    }
}

/// Why a certificate that is defined does not verify what a partner signs now.
fn why_not_verifying(definitions: &Definitions, partner: &Partner, name: &str, now: Timestamp) -> String {
    let listed = &partner.certificates;
    if let Some(dated) = listed.named(name) {
        return match listed.standing(name, now) {
            _ if !dated.reads => "which is limited to another use (uses)".to_owned(),
            Some(Standing::Over(until)) => format!("whose time ended {} (until, overlap)", moment(until)),
            _ => "which is one of the partner's, but does not verify this signature".to_owned(),
        };
    }
    let lists = |other: &&Arc<model::definition::Partner>| {
        Partner::of(other).is_ok_and(|other| other.certificates.named(name).is_some())
    };
    match definitions.partners.values().find(lists) {
        Some(other) => format!("which is one of partner '{}'", other.name),
        None => format!("which is not among those of partner '{}' (certificates)", partner.name),
    }
}

/// An error about the signature of a receipt, with the certificate of the definitions that would have verified it.
pub(crate) fn of_receipt(
    error: Error,
    definitions: &Definitions,
    partner: &Partner,
    now: Timestamp,
) -> Error {
    let carried = error.context().iter().find(|(key, _)| *key == CARRIED).map(|(_, sha256)| sha256.clone());
    let Some(sha256) = carried else { return error };
    let is_it = |pem: &str| {
        let certificate = X509::from_pem(pem.as_bytes()).ok();
        certificate.and_then(|found| fingerprint(&found).ok()).is_some_and(|own| own == sha256)
    };
    let mut all = compared(&definitions.certificates, &partner.certificates);
    let Some(found) = all.find(|one| is_it(&one.pem)) else { return error };
    let why = why_not_verifying(definitions, partner, &found.name, now);
    error.with("would match", format!("the certificate '{}', {why}", found.name))
}

/// The definitions that are compared: those of a list first, then others, and not more than [`MOST_COMPARED`].
fn compared<'a, T>(
    definitions: &'a BTreeMap<String, Arc<T>>,
    listed: &'a Choices,
) -> impl Iterator<Item = &'a Arc<T>> {
    let own = listed.names().filter_map(|name| definitions.get(name));
    let others = definitions.iter().filter(|(name, _)| listed.named(name).is_none());
    own.chain(others.map(|(_, one)| one)).take(MOST_COMPARED)
}

/// A certificate in words by which both sides can compare it.
fn described(certificate: &X509) -> String {
    let [named, _] = certificate_names(certificate).unwrap_or_default();
    let sha256 = fingerprint(certificate).unwrap_or_default();
    let until = Validity::of(certificate).map(|validity| validity.not_after.format("%Y-%m-%d").to_string());
    format!("{named}, SHA-256 {sha256}, valid until {}", until.unwrap_or_default())
}

fn moment(at: Timestamp) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests;
