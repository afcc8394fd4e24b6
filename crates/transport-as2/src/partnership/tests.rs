use super::*;
use crate::choice::Dated;
use crate::message_terms::tests::message_terms;
use crate::outgoing::RECIPE;
use crate::sent_message::{ANSWERED, refusal_note};
use crate::{fallback, prepared, transfer_id};
use serde_json::json;

fn message(answered: bool) -> Value {
    json!({
        "message_id": "<1@acme>", "boundary": "b", "date_micros": 0, "content_key": null,
        "recipe": RECIPE, "terms": message_terms("ours"), "answered": answered,
    })
}

fn notes(answered: bool, fallback: Option<&NotedFallback>) -> BTreeMap<String, Value> {
    let mut notes = BTreeMap::from([(prepared::NOTE.to_owned(), message(answered))]);
    notes.extend(fallback.map(|noted| (fallback::NOTE.to_owned(), noted.to_note().unwrap())));
    notes
}

#[test]
fn a_message_that_the_partner_may_have_keeps_its_key_and_certificate() {
    let open = notes(false, None);
    let pinned = Pinned::of(&open, 2).unwrap();
    assert!(pinned.is("ours") && pinned.is("theirs"));
    // The first certificate is the partner's.
    assert!(!pinned.is("archive") && !pinned.is("other"));
    for free in [BTreeMap::new(), notes(true, None)] {
        assert!(matches!(Pinned::of(&free, 2).unwrap(), Pinned::Nothing));
    }
}

#[test]
fn after_a_refusal_the_other_is_used_until_that_was_refused_as_well() {
    let noted = NotedFallback { refused: "<1@acme>".into(), instead: "new".into(), is_spent: false };
    let refused = notes(true, Some(&noted));
    let pinned = Pinned::of(&refused, 2).unwrap();
    assert!(pinned.is("new") && !pinned.is("theirs"));
    // The message in its place is under way: its own terms count.
    let sent = notes(false, Some(&noted));
    assert!(matches!(Pinned::of(&sent, 2).unwrap(), Pinned::Terms(_)));
    let spent = notes(true, Some(&NotedFallback { is_spent: true, ..noted }));
    assert!(matches!(Pinned::of(&spent, 2).unwrap(), Pinned::Nothing));
}

#[test]
fn what_was_given_up_since_is_not_encrypted_for_instead() {
    let material = crate::later_fallback::tests::material();
    let at = |seconds| Timestamp::from_timestamp(seconds, 0).unwrap();
    let mut partner = crate::testing::partner("GLOBEX", crate::agreement::Agreement::default());
    let dated = |name: &str, until| Dated { until, ..Dated::always(name.to_owned()) };
    partner.certificates.all = vec![dated("new", None), dated("old", Some(at(10)))];
    let old = material.certificate("old").unwrap().fingerprint.clone();
    let instead = Pinned::Instead(old.clone());
    let found = |pinned: &Pinned, now| {
        pinned.certificate(&material, &partner, at(now)).unwrap().map(|it| it.name.clone())
    };
    assert_eq!((found(&instead, 9).as_deref(), found(&instead, 10)), (Some("old"), None));
    // A message that the partner may have goes out as it was.
    let mut terms = message_terms("ours");
    terms.encrypted_for = old;
    let terms = Pinned::Terms(Box::new(terms));
    assert_eq!(found(&terms, 10).as_deref(), Some("old"));
}

#[test]
fn a_message_that_was_refused_later_is_drawn_anew() {
    let mut notes = notes(false, None);
    notes.insert(ANSWERED.to_owned(), refusal_note("<1@acme>", 1));
    assert!(matches!(Pinned::of(&notes, 2).unwrap(), Pinned::Nothing));
    // Attempts since may have brought it there.
    assert!(matches!(Pinned::of(&notes, 3).unwrap(), Pinned::Terms(_)));
}

#[test]
fn a_message_that_the_partner_has_a_part_of_keeps_its_terms_unless_it_was_refused() {
    let part = |message_id: &str, restarts: u64| {
        let part = json!({ "message_id": message_id, "etag": "\"1\"", "total": 9, "restarts": restarts });
        (transfer_id::NOTE.to_owned(), part)
    };
    let mut held = notes(true, None);
    held.extend([part("<1@acme>", 1)]);
    assert!(matches!(Pinned::of(&held, 2).unwrap(), Pinned::Terms(_)));
    for other in [part("<1@acme>", 0), part("<2@acme>", 1)] {
        held.extend([other]);
        assert!(matches!(Pinned::of(&held, 2).unwrap(), Pinned::Nothing));
    }
    held.extend([part("<1@acme>", 1)]);
    held.get_mut(prepared::NOTE).unwrap()["refused"] = true.into();
    assert!(matches!(Pinned::of(&held, 2).unwrap(), Pinned::Nothing));
    // Another version began it: the rest would not fit the part, and another message is drawn, under the terms of today.
    let mut begun = notes(true, None);
    begun.extend([part("<1@acme>", 1)]);
    begun.get_mut(prepared::NOTE).unwrap()["recipe"] = (RECIPE + 1).into();
    assert!(matches!(Pinned::of(&begun, 2).unwrap(), Pinned::Nothing));
    begun.get_mut(prepared::NOTE).unwrap()["answered"] = false.into();
    assert!(matches!(Pinned::of(&begun, 2).unwrap(), Pinned::Terms(_)));
}
