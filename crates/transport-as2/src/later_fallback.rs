//! A message that a later receipt refused because the partner could not decrypt or verify it: where that was agreed, the next
//! attempt sends another one in its place, with another certificate or key.

use crate::agreement::{Identity, Partner};
use crate::disposition::Disposition;
use crate::fallback::{self, Instead, NotedFallback, Tried};
use crate::material::{Certificate, Material, Own};
use crate::partnership::Partnership;
use crate::prepared;
use crate::sent_message::SentMessage;
use model::{Lifecycle, Result, Timestamp};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use transport::Awaited;

/// What follows from such a refusal.
pub(crate) enum OnceMore {
    /// Nothing.
    Not,
    /// Nothing: this message was refused before, and another one is made in its place.
    Handled,
    /// Nothing, as the other key or certificate cannot be used, for this reason.
    Unusable(String),
    /// With these notes the next attempt makes another message; with these words for the event.
    Sent(Vec<(String, Value)>, String),
    /// The refused message stood in the place of another one: once is enough, as this note says.
    Spent((String, Value)),
}

/// What follows from a refusal with this disposition.
///
/// # Errors
/// `ConfigInvalid`: a key or certificate cannot be read. `Internal`: a note cannot be read or written.
pub(crate) fn once_more(
    disposition: &Disposition,
    material: &Arc<Material>,
    (identity, partner): (&Identity, &Partner),
    (awaited, sent): (&Awaited, &SentMessage),
    message_id: &str,
    now: Timestamp,
) -> Result<OnceMore> {
    if !disposition.is_about_keys() || awaited.state.is_final() {
        return Ok(OnceMore::Not);
    }
    if let Some(noted) = NotedFallback::of(&awaited.notes)? {
        if noted.refused == message_id {
            return Ok(OnceMore::Handled);
        }
        let spent = NotedFallback { is_spent: true, ..noted };
        return Ok(OnceMore::Spent((fallback::NOTE.to_owned(), spent.to_note()?)));
    }
    let Some(Value::Object(mut note)) = awaited.notes.get(prepared::NOTE).cloned() else {
        return Ok(OnceMore::Not);
    };
    let keys = identity.keys.names().map(|name| material.own(identity, name));
    let keys: Vec<Arc<Own>> = keys.collect::<Result<_>>()?;
    let signed = match keys.iter().find(|own| own.fingerprint == sent.own_fingerprint) {
        Some(own) => Tried::Listed(&own.name),
        None => Tried::Unlisted,
    };
    let certificates = partner.certificates.names().map(|name| material.certificate(name));
    let certificates: Vec<Arc<Certificate>> = certificates.collect::<Result<_>>()?;
    // The partner's comes first.
    let first = sent.recipient_fingerprint.split(", ").next();
    let encrypted = match certificates.iter().find(|known| Some(known.fingerprint.as_str()) == first) {
        Some(known) => Tried::Listed(&known.name),
        // The operator may have changed it while the receipt was awaited.
        None if !sent.recipient_fingerprint.is_empty() => Tried::Unlisted,
        None => Tried::Nothing,
    };
    let instead = Instead::after(disposition, material, (identity, signed), (partner, encrypted), now)?;
    let Some(instead) = instead else {
        return Ok(OnceMore::Not);
    };
    // What cannot be used is not noted: the next attempt would begin with it.
    if let Some(endpoint) = material.definitions.endpoints.get(&awaited.endpoint) {
        // It will be a new message, whatever the refused one was.
        let partnership = Partnership::of(endpoint, Arc::clone(material), (&BTreeMap::new(), 1), now);
        let other = partnership.and_then(|usual| usual.with(&instead));
        if let Err(unusable) = other.and_then(|other| other.recipients()) {
            return Ok(OnceMore::Unusable(unusable.chain()));
        }
    }
    let noted = NotedFallback {
        refused: message_id.to_owned(),
        instead: instead.fingerprint().to_owned(),
        is_spent: false,
    };
    // Else the refused message would go out again as it was.
    note.extend([("answered".to_owned(), true.into()), ("refused".to_owned(), true.into())]);
    let notes =
        vec![(prepared::NOTE.to_owned(), Value::Object(note)), (fallback::NOTE.to_owned(), noted.to_note()?)];
    let words = format!(
        "the partner answered {disposition} to {message_id}; the file is sent once more, {}",
        instead.describe()
    );
    Ok(OnceMore::Sent(notes, words))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::agreement::{Agreement, As2Id, Fallback, SendSecurity};
    use crate::choice::Choices;
    use crate::material::Materials;
    use crate::testing::Key;
    use model::definition::{CertificateDefinition, Definitions, KeyDefinition};
    use model::{DeliveryId, DeliveryState, Secret, TransferId};
    use serde_json::json;
    use std::time::SystemTime;
    use uuid::Uuid;

    /// With our key `ours`, and the partner's certificates `old` and `new`.
    pub(crate) fn material() -> Arc<Material> {
        let mut definitions = Definitions::default();
        for name in ["ours", "old", "new"] {
            let key = Key::new(name);
            let pem = String::from_utf8(key.certificate.to_pem().unwrap()).unwrap();
            if name == "ours" {
                let private_key = String::from_utf8(key.key.private_key_to_pem_pkcs8().unwrap()).unwrap();
                let own = KeyDefinition {
                    name: name.to_owned(),
                    private_key: Secret::new(private_key),
                    passphrase: None,
                    certificate: Some(pem),
                };
                definitions.keys.insert(name.to_owned(), Arc::new(own));
            } else {
                let known = CertificateDefinition { name: name.to_owned(), pem };
                definitions.certificates.insert(name.to_owned(), Arc::new(known));
            }
        }
        Materials::default().of(Arc::new(definitions))
    }

    fn awaited(state: DeliveryState, fallback: Option<&NotedFallback>) -> Awaited {
        let message = json!({ "message_id": "<1@acme>", "terms": "", "answered": false });
        let mut notes = BTreeMap::from([(prepared::NOTE.to_owned(), message)]);
        notes.extend(fallback.map(|noted| (fallback::NOTE.to_owned(), noted.to_note().unwrap())));
        Awaited {
            delivery: DeliveryId::new(Uuid::nil()),
            transfer: TransferId::new(Uuid::nil()),
            state,
            attempt: 1,
            flow: "orders".into(),
            endpoint: "globex-as2".into(),
            notes,
            payload: crate::later_receipt::tests::payload(),
        }
    }

    #[test]
    fn a_message_that_was_refused_for_its_keys_is_made_once_more_and_the_refusal_counts_once() {
        let material = material();
        let as2_id = |id: &str| As2Id::try_from(id.to_owned()).unwrap();
        let names =
            |names: &[&str]| Choices::from(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let identity = Identity {
            name: "acme".into(),
            as2_id: as2_id("ACME"),
            keys: names(&["ours"]),
            pgp_keys: names(&[]),
        };
        let partner = |fallback| Partner {
            name: "globex".into(),
            as2_id: as2_id("GLOBEX"),
            certificates: names(&["old", "new"]),
            agreement: Agreement { send_security: SendSecurity::Encrypted, fallback, ..Agreement::default() },
        };
        let (old, new) = (material.certificate("old").unwrap(), material.certificate("new").unwrap());
        let sent: SentMessage = serde_json::from_value(json!({
            "partner": "globex", "from": "ACME", "to": "GLOBEX", "asked": "signed", "security": "encrypted",
            "own_fingerprint": material.own(&identity, "ours").unwrap().fingerprint,
            "recipient_fingerprint": old.fingerprint, "sent_with": [], "legacy": [], "earlier": "none",
            "content_headers": "", "mic": null, "proof": null,
        }))
        .unwrap();
        let now: Timestamp = (SystemTime::now() + std::time::Duration::from_secs(60)).into();
        let follows = |said: &str, fallback, awaited: &Awaited| {
            let said = Disposition::parse(said).unwrap();
            let partner = partner(fallback);
            once_more(&said, &material, (&identity, &partner), (awaited, &sent), "<1@acme>", now).unwrap()
        };
        let (unread, waits) = ("x; processed/error: decryption-failed", DeliveryState::AwaitingReceipt);
        let OnceMore::Sent(notes, words) = follows(unread, Fallback::Once, &awaited(waits, None)) else {
            panic!("it is sent once more");
        };
        assert!(words.contains("'new'") && words.contains("<1@acme>"), "{words}");
        let notes: BTreeMap<String, Value> = notes.into_iter().collect();
        assert_eq!(notes[prepared::NOTE]["answered"], true);
        let noted = NotedFallback::of(&notes).unwrap().unwrap();
        assert_eq!((noted.refused.as_str(), &noted.instead), ("<1@acme>", &new.fingerprint));
        // The same refusal again, before another message was made.
        let again = awaited(DeliveryState::Retrying, Some(&noted));
        assert!(matches!(follows(unread, Fallback::Once, &again), OnceMore::Handled));
        // This one stands in the place of another.
        let other = NotedFallback { refused: "<0@acme>".into(), ..noted };
        let OnceMore::Spent((key, spent)) = follows(unread, Fallback::Once, &awaited(waits, Some(&other)))
        else {
            panic!("once is enough");
        };
        assert_eq!((key.as_str(), &spent["is_spent"]), (fallback::NOTE, &json!(true)));
        // The operator has put the new one in the place of the old one while the receipt was awaited.
        let changed = Partner { certificates: names(&["new"]), ..partner(Fallback::Once) };
        let said = Disposition::parse(unread).unwrap();
        let (open, parties) = (awaited(waits, None), (&identity, &changed));
        let follows_change = once_more(&said, &material, parties, (&open, &sent), "<1@acme>", now).unwrap();
        assert!(matches!(follows_change, OnceMore::Sent(_, words) if words.contains("'new'")));
        for (said, fallback, state) in [
            (unread, Fallback::No, waits),
            (unread, Fallback::Once, DeliveryState::Delivered),
            ("x; processed/error: unexpected-processing-error", Fallback::Once, waits),
        ] {
            assert!(matches!(follows(said, fallback, &awaited(state, None)), OnceMore::Not), "{said}");
        }
    }
}
