//! Keys and certificates that are used outside their windows: the other side has not changed yet, or changed early.
//!
//! What we read may use them (`parties`, and the receipts in `destination`), and is told of. What we send does so only where
//! it was agreed (`fallback = "once"`): after a receipt that says that the partner could not decrypt or verify the message,
//! which then goes out once more, as a new message.

use crate::agreement::{Fallback, Identity, Partner};
use crate::choice::{Choices, Standing};
use crate::disposition::{Disposition, DispositionError};
use crate::material::{Certificate, Material, Own};
use model::{AuditEvent, Error, ErrorKind, EventKind, Result, Timestamp};
use pgp_mime::PartnerKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use transport::Services;

/// The key of the note.
pub(crate) const NOTE: &str = "as2_fallback";

/// What was used though it is not in force, and why; `None` if it is.
pub(crate) fn outside(used: &str, choices: &Choices, name: &str, now: Timestamp) -> Option<String> {
    Some(match choices.standing(name, now)? {
        Standing::InForce => return None,
        Standing::NotYet(from) => {
            format!("{used} '{name}', which is used from {}: the partner changed early", from.to_rfc3339())
        }
        Standing::Over(at) | Standing::Replaced(at) => {
            format!(
                "{used} '{name}', which was used until {}: the partner has not changed yet",
                at.to_rfc3339()
            )
        }
    })
}

/// What signed a receipt.
pub(crate) struct ReceiptSigner<'a> {
    /// The name of its definition.
    pub(crate) name: &'a str,
    /// That it is not in force, in words; `None` if it is.
    pub(crate) outside: Option<String>,
}

impl<'a> ReceiptSigner<'a> {
    /// The one with this fingerprint of a partner's certificates and OpenPGP keys that verify now, as [`Choices::reading`] has
    /// them.
    pub(crate) fn of(
        partner: &'a Partner,
        (certificates, keys): (&'a [Arc<Certificate>], &[Arc<PartnerKey>]),
        fingerprint: &str,
        now: Timestamp,
    ) -> Option<Self> {
        if let Some(known) = certificates.iter().find(|known| known.fingerprint == fingerprint) {
            let used = "the receipt was signed with the certificate";
            let outside = outside(used, &partner.certificates, &known.name, now);
            return Some(Self { name: &known.name, outside });
        }
        let place = keys.iter().position(|key| key.fingerprint() == fingerprint)?;
        let choices = &partner.agreement.pgp_keys;
        let name = choices.name_read(place, now)?;
        let outside = outside("the receipt was signed with the OpenPGP key", choices, name, now);
        Some(Self { name, outside })
    }
}

/// The event of such uses; none when there was none.
pub(crate) fn event(services: &Services, partner: &Partner, used: &[String]) -> Option<AuditEvent> {
    (!used.is_empty()).then(|| {
        let used = used.join("; ");
        tracing::warn!(partner = %partner.name, %used, "a key or certificate was used outside its time");
        services.event(EventKind::CertificateFallback).partner(&partner.name).detail("used", used)
    })
}

/// What the log says where such an event cannot be recorded.
pub(crate) const LOST: &str = "the event about a key or certificate outside its time could not be recorded";

/// A message that was refused, and what the one in its place is sent with: the note as it is stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct NotedFallback {
    /// The Message-ID of the refused one.
    pub(crate) refused: String,
    /// The key or certificate that is used instead, by its fingerprint.
    pub(crate) instead: String,
    /// Whether the message in its place was refused as well.
    #[serde(default)]
    pub(crate) is_spent: bool,
}

impl NotedFallback {
    /// What an earlier attempt noted.
    ///
    /// # Errors
    /// `Internal`, permanent: the note cannot be read.
    pub(crate) fn of(notes: &BTreeMap<String, Value>) -> Result<Option<Self>> {
        let read = notes.get(NOTE).map(|note| serde_json::from_value(note.clone()));
        read.transpose().map_err(|error| {
            Error::permanent(ErrorKind::Internal, "read the note of a fallback").caused_by(error)
        })
    }

    /// As it is stored.
    ///
    /// # Errors
    /// `Internal`, permanent: it cannot be written.
    pub(crate) fn to_note(&self) -> Result<Value> {
        serde_json::to_value(self).map_err(|error| {
            Error::permanent(ErrorKind::Internal, "write the note of a fallback").caused_by(error)
        })
    }
}

/// What a message was signed with, or encrypted for.
#[derive(Clone, Copy)]
pub(crate) enum Tried<'a> {
    /// It was neither.
    Nothing,
    /// One of the list, by its name.
    Listed(&'a str),
    /// One that was taken off the list since: what is in force now is another one.
    Unlisted,
}

/// What a message is sent with once more.
#[derive(Clone)]
pub(crate) enum Instead {
    /// Another key of ours signs.
    Key(Arc<Own>),
    /// It is encrypted for another certificate.
    Certificate(Arc<Certificate>),
}

impl Instead {
    /// What may help after a receipt with this disposition; none where nothing else is to be tried.
    ///
    /// # Errors
    /// `ConfigInvalid`: a key or certificate cannot be read.
    pub(crate) fn after(
        disposition: &Disposition,
        material: &Material,
        (identity, signed): (&Identity, Tried<'_>),
        (partner, encrypted): (&Partner, Tried<'_>),
        now: Timestamp,
    ) -> Result<Option<Self>> {
        let agreement = &partner.agreement;
        if agreement.fallback == Fallback::No {
            return Ok(None);
        }
        Ok(match disposition {
            Disposition::Error(DispositionError::DecryptionFailed) => match encrypted {
                Tried::Listed(name) => {
                    material.encrypting_instead(partner, name, now)?.map(Self::Certificate)
                }
                Tried::Unlisted if !partner.certificates.sending(now).is_empty() => {
                    material.encrypting(partner, now)?.map(Self::Certificate)
                }
                Tried::Unlisted | Tried::Nothing => None,
            },
            Disposition::Error(DispositionError::AuthenticationFailed) if agreement.signs_by_smime() => {
                match signed {
                    Tried::Listed(name) => material.signing_instead(identity, name, now)?.map(Self::Key),
                    Tried::Unlisted if !identity.keys.sending(now).is_empty() => {
                        Some(Self::Key(material.signing(identity, now)?))
                    }
                    Tried::Unlisted | Tried::Nothing => None,
                }
            }
            _ => None,
        })
    }

    pub(crate) fn fingerprint(&self) -> &str {
        match self {
            Self::Key(own) => &own.fingerprint,
            Self::Certificate(certificate) => &certificate.fingerprint,
        }
    }

    /// In words, for errors and the event.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Key(own) => format!("signed with our key '{}'", own.name),
            Self::Certificate(certificate) => format!("encrypted for the certificate '{}'", certificate.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choice::Dated;

    #[test]
    fn a_note_says_what_is_used_instead() {
        let noted = NotedFallback { refused: "<1@acme>".into(), instead: "ab12".into(), is_spent: false };
        let notes = BTreeMap::from([(NOTE.to_owned(), noted.to_note().unwrap())]);
        assert_eq!(NotedFallback::of(&notes).unwrap(), Some(noted));
        assert_eq!(NotedFallback::of(&BTreeMap::new()).unwrap(), None);
        let broken = BTreeMap::from([(NOTE.to_owned(), Value::from(7))]);
        assert!(NotedFallback::of(&broken).is_err());
    }

    #[test]
    fn what_is_in_force_is_not_told_of() {
        let at = |seconds| Timestamp::from_timestamp(seconds, 0).unwrap();
        let dated = Dated { from: Some(at(10)), until: Some(at(20)), ..Dated::always("new".into()) };
        let choices = Choices { all: vec![dated], ..Choices::default() };
        let told = |now| outside("signed with", &choices, "new", at(now));
        assert!(told(9).unwrap().contains("'new', which is used from 1970-01-01T00:00:10"));
        assert_eq!((told(10), told(19)), (None, None));
        assert!(told(20).unwrap().contains("has not changed yet"));
    }
}
