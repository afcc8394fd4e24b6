use super::*;
use crate::message_terms::tests::message_terms;
use crate::testing::Key;
use model::{PayloadId, Retry, Sha256};
use transport::{KeptBytes, StagedPayload};

/// A message of this recipe, which is not encrypted, before its first attempt has ended.
fn message(recipe: u32) -> PreparedMessage {
    let seed = MessageSeed {
        message_id: "<1@acme>".into(),
        boundary: "b-1".into(),
        date: Timestamp::UNIX_EPOCH,
        content_key: None,
    };
    PreparedMessage {
        seed,
        terms: message_terms("ours"),
        reply_url: None,
        recipe,
        earlier: Earlier::None,
        may_have: false,
        refused: false,
    }
}

fn notes(prepared: &PreparedMessage, own: &[OwnKey]) -> BTreeMap<String, Value> {
    BTreeMap::from([(NOTE.to_owned(), prepared.to_note(own).unwrap())])
}

/// What the next attempt reads of it, under the same terms.
fn read(
    notes: &BTreeMap<String, Value>,
    is_repeated: bool,
    own: &[OwnKey],
) -> Result<Option<PreparedMessage>> {
    PreparedMessage::from_notes(notes, (&message_terms("ours"), is_repeated), own)
}

#[test]
fn a_message_is_told_from_one_that_took_its_place() {
    let note = serde_json::json!({ "message_id": "<2@acme>", "answered": true });
    assert!(is_current(Some(&note), "<2@acme>") && is_current(None, "<1@acme>"));
    assert!(!is_current(Some(&note), "<1@acme>"));
    assert!(was_answered(Some(&note), "<2@acme>") && !was_answered(Some(&note), "<1@acme>"));
}

#[test]
fn the_url_for_the_receipt_stays_with_the_message() {
    for reply_url in [Some("https://old.acme.example/as2".to_owned()), None] {
        let notes = notes(&PreparedMessage { reply_url: reply_url.clone(), ..message(RECIPE) }, &[]);
        assert_eq!(asks_for_later(notes.get(NOTE)), reply_url.is_some());
        let again = read(&notes, true, &[]).unwrap().unwrap();
        assert_eq!((again.reply_url, again.earlier), (reply_url, Earlier::Open));
        let other = message_terms("new");
        assert!(PreparedMessage::from_notes(&notes, (&other, false), &[]).unwrap().is_none());
    }
    assert!(read(&BTreeMap::new(), false, &[]).unwrap().is_none());
}

#[test]
fn a_message_that_another_version_began_is_never_sent_with_other_bytes() {
    let begun = || message(RECIPE + 1);
    let answered = || PreparedMessage { earlier: Earlier::Answered, ..begun() };
    // The partner does not have it, or has a part of it: another message takes its place, under the terms of today.
    let gone = notes(&answered(), &[]);
    assert!(Noted::last(&gone).unwrap().is_none());
    assert!(read(&gone, false, &[]).unwrap().is_none() && read(&gone, true, &[]).unwrap().is_none());
    let may_have = PreparedMessage { may_have: true, ..answered() };
    for open in [begun(), may_have] {
        let open = notes(&open, &[]);
        assert!(Noted::last(&open).unwrap().is_some());
        let error = read(&open, true, &[]).err().unwrap();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unsupported, Retry::Permanent));
        // A receipt that came later has refused it.
        assert!(read(&open, false, &[]).unwrap().is_none());
    }
    // Of one in staging the bytes are the same.
    for kept in [begun(), answered()] {
        let mut notes = notes(&kept, &[]);
        let bytes =
            StagedPayload { id: PayloadId::new(uuid::Uuid::nil()), length: 8, sha256: Sha256([0; 32]) };
        let of = |message_id: &str| {
            let about = serde_json::json!({ "message_id": message_id });
            KeptBytes { bytes: bytes.clone(), about }.to_note().unwrap()
        };
        notes.insert(spool::NOTE.to_owned(), of("<1@acme>"));
        assert!(Noted::last(&notes).unwrap().is_some());
        let again = read(&notes, true, &[]).unwrap().unwrap();
        assert_eq!(again.seed.message_id, "<1@acme>");
        // No attempt says that its own version began it.
        assert_eq!(again.to_open_note(&[]).unwrap()["recipe"], RECIPE + 1);
        // Another message is in staging.
        notes.insert(spool::NOTE.to_owned(), of("<2@acme>"));
        assert_eq!(read(&notes, true, &[]).is_err(), kept.earlier == Earlier::None);
    }
}

#[test]
fn without_its_content_key_a_message_is_replaced_only_where_the_partner_does_not_have_it() {
    let own = |key: Key| [OwnKey { key: key.key, certificate: key.certificate }];
    let (old, new) = (own(Key::ec("old")), own(Key::ec("new")));
    let recipients = std::slice::from_ref(&old[0].certificate);
    let key = EncryptedContentKey::generate(Cipher::Aes256Cbc, recipients, KeyTransport::Pkcs1v15);
    let mut open = message(RECIPE);
    open.seed.content_key = Some(key.unwrap());
    let notes = notes(&open, &old);
    assert!(read(&notes, true, &old).unwrap().is_some());
    assert_eq!(read(&notes, true, &new).err().unwrap().kind(), ErrorKind::ConfigInvalid);
    // A receipt that came later has refused it.
    assert!(read(&notes, false, &new).unwrap().is_none());
}

#[test]
fn a_content_key_that_was_kept_is_the_same_key() {
    let (us, partner) = (Key::new("ACME"), Key::new("GLOBEX"));
    let own = OwnKey { key: us.key, certificate: us.certificate };
    let newer = Key::ec("ACME");
    let other = OwnKey { key: newer.key, certificate: newer.certificate };
    let stranger = OwnKey { key: partner.key, certificate: partner.certificate.clone() };
    for cipher in [Cipher::Aes256Cbc, Cipher::Aes128Cbc, Cipher::TripleDesCbc] {
        let recipients = [partner.certificate.clone()];
        let key = EncryptedContentKey::generate(cipher, &recipients, KeyTransport::Pkcs1v15).unwrap();
        let kept = encrypt_key(&key, &holders(&[other.clone(), own.clone()]).unwrap()).unwrap();
        // Any of them opens it, also when the others are gone.
        for ours in [vec![stranger.clone(), own.clone()], vec![other.clone()]] {
            let read = decrypt_key(&kept, &ours).unwrap();
            assert_eq!(*read.to_bytes(), *key.to_bytes());
        }
        // The partner's key, or the database alone, does not open it.
        assert!(decrypt_key(&kept, std::slice::from_ref(&stranger)).is_err());
    }
}
