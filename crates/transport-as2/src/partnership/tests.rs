use super::*;
use crate::fallback;
use serde_json::json;

fn notes(answered: bool, fallback: Option<&NotedFallback>) -> BTreeMap<String, Value> {
    let message = json!({ "terms": "ACME\nours\ntheirs, archive\ntext/plain", "answered": answered });
    let mut notes = BTreeMap::from([(prepared::NOTE.to_owned(), message)]);
    notes.extend(fallback.map(|noted| (fallback::NOTE.to_owned(), noted.to_note().unwrap())));
    notes
}

#[test]
fn a_message_that_the_partner_may_have_keeps_its_key_and_certificate() {
    let open = notes(false, None);
    let pinned = Pinned::of(&open).unwrap();
    assert!(pinned.is("ours") && pinned.is("theirs"));
    // The first certificate is the partner's.
    assert!(!pinned.is("archive") && !pinned.is("other"));
    for free in [BTreeMap::new(), notes(true, None)] {
        assert!(matches!(Pinned::of(&free).unwrap(), Pinned::Nothing));
    }
}

#[test]
fn after_a_refusal_the_other_is_used_until_that_was_refused_as_well() {
    let noted = NotedFallback { refused: "<1@acme>".into(), instead: "new".into(), is_spent: false };
    let refused = notes(true, Some(&noted));
    let pinned = Pinned::of(&refused).unwrap();
    assert!(pinned.is("new") && !pinned.is("theirs"));
    // The message in its place is under way: its own terms count.
    let sent = notes(false, Some(&noted));
    assert!(matches!(Pinned::of(&sent).unwrap(), Pinned::Terms(_)));
    let spent = notes(true, Some(&NotedFallback { is_spent: true, ..noted }));
    assert!(matches!(Pinned::of(&spent).unwrap(), Pinned::Nothing));
}
